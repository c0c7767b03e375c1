//! Faults of SNS and SQS.

use std::time::Instant;

use crate::aws::faults::{Effect, When};
use crate::stage::Stage;

/// Each publish call fails like this from now on.
pub(super) fn fails(stage: &Stage, effect: &Effect) -> Instant {
    for operation in ["Publish", "PublishBatch"] {
        stage.endpoint.fault(operation, When::Always, effect.clone());
    }
    Instant::now()
}
