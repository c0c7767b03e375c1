//! A process that reads the same stream as the live one, publishes nothing and writes nothing to the
//! source: what it makes of the rows is compared with what the live one published.

use std::path::Path;
use std::sync::Arc;

use super::plan::{Plan, SinkPlan};
use super::replay::{self, Error as ReplayError};
use crate::checkpoint::{self, FileStore, Store};
use crate::control::Saved;
use crate::encode::Lane;
use crate::shadow::LaneDigests;
use crate::telemetry::http::{Answer, Document};

/// Why a shadow has no place to begin.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    /// The live process's checkpoint, or what it is for.
    #[error("the live process's checkpoint: {0}")]
    Live(#[from] ReplayError),
    /// The shadow's own.
    #[error("the shadow's checkpoint: {0}")]
    Own(#[from] checkpoint::Error),
    /// One file for two processes.
    #[error(
        "--checkpoint {file} is the live process's file: name another, which may not exist yet"
    )]
    SameFile {
        /// As given.
        file: String,
    },
}

/// Makes the live process's plan that of its shadow, with its checkpoint in `file`. A shadow that is new
/// begins where the live process's checkpoint is.
pub async fn begin_shadow(live: Plan, file: &Path) -> Result<Plan, ShadowError> {
    if live.checkpoint.file.as_deref() == Some(file) {
        return Err(ShadowError::SameFile { file: file.display().to_string() });
    }
    // Under another name: `run` refuses a shadow's file, and a shadow that of a stream, whatever its path.
    let name = format!("{} (shadow)", live.stream);
    let mut store = FileStore::open(file, &name).await?;
    if store.load().await?.is_none() {
        let mut place = replay::peek(&live).await?;
        // A snapshot is the live process's. What it holds back the shadow holds back too.
        place.annotations.retain(|name, _| Saved::has(name));
        place.lanes.insert(Lane::notice_key_of("lanes").into(), u64::from(live.pack.lanes));
        place.stream.clone_from(&name);
        store.begin(&place).await?;
    }
    Ok(shadow_of(live, file, name))
}

fn shadow_of(mut plan: Plan, file: &Path, name: String) -> Plan {
    plan.name_apart("shadow");
    plan.shadow.digests = true;
    plan.sink = SinkPlan::Null;
    plan.claims = None;
    plan.checkpoint.file = Some(file.to_owned());
    plan.checkpoint.name = Some(name);
    if plan.quarantine.file.is_some() {
        plan.quarantine.file = Some(file.with_extension("quarantine"));
    }
    plan.snapshot.on_start = false;
    plan.ha.stands_by = false;
    plan.ha.takes_over = false;
    let freshness = &mut plan.freshness;
    freshness.heartbeats = false;
    freshness.canaries = false;
    freshness.echoes.clear();
    for route in &mut freshness.routes {
        // Its rows are recognised; nobody owes an echo of them here.
        route.consumers.clear();
    }
    plan
}

/// What `GET /digests` shows.
pub(super) fn endpoint(plan: &Plan, digests: Arc<LaneDigests>) -> Document {
    let format = plan.settings.values.text_opt("message.format").unwrap_or_default();
    let (stream, format) = (plan.stream.clone(), format.to_owned());
    Box::new(move || Answer::json(&digests.document(&stream, &format)))
}
