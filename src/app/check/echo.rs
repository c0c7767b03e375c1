//! Echo queues: whether canaries can be received and deleted there.

use super::Report;
use crate::app::echo;
use crate::app::plan::Plan;
use crate::aws;

/// Looks at each. Nothing here keeps `run` from starting: the stream does not need them.
pub(super) async fn check(plan: &Plan, shared: &aws::Shared, reports: &mut Vec<Report>) {
    const NEEDED: &str = "a queue whose messages can be received and deleted; without it delivery \
                          to this consumer is not monitored";
    const REMEDY: &str = "check the URL in canary.echo, and allow sqs:ReceiveMessage and \
                        sqs:DeleteMessage on the queue (and kms:Decrypt on its key, if it has one)";
    for (consumer, url) in &plan.freshness.echoes {
        let what = format!("echo queue of {consumer}");
        reports.push(match echo::queue(plan, shared, url).try_out().await {
            Ok(()) => Report::fine(&what, url.as_str()),
            Err(error) => {
                let found = error.to_string();
                Report { refuses: false, ..Report::wrong(&what, found, NEEDED, REMEDY) }
            }
        });
    }
}
