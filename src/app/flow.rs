//! The parts between the source and the finalizing thread, from the plan.

use std::sync::Arc;

use super::plan::Plan;
use super::source::Opened;
use crate::checkpoint::{Checkpoint, Tracker};
use crate::decode::{self, Decoder};
use crate::filter::Filter;
use crate::freshness::canary::path::Marks;
use crate::freshness::{Nonces, Recogniser, WatermarkProvider};
use crate::pack::{self, Packer, Sequences};
use crate::pipeline::{ControlMessages, Error, Flow, FlowConfig, OwnRows, Window};

/// Continues from `checkpoint`; messages may grow to `body_bytes_max` while publishing is behind,
/// and canaries carry the `watermark`, and their nonce. Parts of snapshots are of this `attempt`.
pub(super) fn flow(
    plan: &Plan,
    checkpoint: &Checkpoint,
    opened: &Opened,
    body_bytes_max: usize,
    (watermark, nonces): (WatermarkProvider, Nonces),
    attempt: u32,
) -> Result<Flow, Error> {
    let config = FlowConfig {
        schema_changes: plan.schema_changes,
        window: Window::from(opened.resolved.skip_until_us, opened.resolved.skip_until.clone()),
        own_rows: OwnRows::Told,
        begins_by_position: opened.begins_by_position,
        puts_undecoded_aside: plan.quarantine.undecoded,
        nonces: Some(nonces),
        surplus_rows: None,
        snapshot_keys_max: plan.snapshot.touched_keys,
        pace: None,
    };
    let mut pack = plan.pack.clone();
    pack.attempt = attempt;
    let mut flow = configured(plan, pack, checkpoint, config, body_bytes_max, watermark)?;
    flow.know(opened.catalog.indirect.clone());
    Ok(flow)
}

/// The same, however rows are to be treated.
pub(super) fn configured(
    plan: &Plan,
    mut pack: pack::Config,
    checkpoint: &Checkpoint,
    config: FlowConfig,
    body_bytes_max: usize,
    watermark: WatermarkProvider,
) -> Result<Flow, Error> {
    pack.body_bytes_max = body_bytes_max;
    let sequences =
        Sequences::restored(checkpoint.lanes.iter().map(|(key, next)| (Arc::clone(key), *next)));
    let recogniser = Recogniser::new(plan.freshness.schema.clone(), plan.stream.clone())
        .with_marks(Marks::new(plan.freshness.mark.clone(), plan.freshness.paths()));
    let control_messages = ControlMessages::new(
        plan.control_format(),
        checkpoint.server_uuid.clone(),
        checkpoint.epoch,
        watermark,
    );
    let mut flow = Flow::new(
        config,
        Filter::new(plan.filter.clone()),
        recogniser,
        control_messages,
        Packer::new(pack, sequences),
        Tracker::new(checkpoint),
    );
    flow.compare_names(plan.filter.names);
    flow.filter_as(plan.filter_versions.clone(), &plan.filter)?;
    Ok(flow)
}

/// In front of the stream's first event. Prepared transactions that outgrow memory go to a file beside
/// the checkpoint, which is on a disk that may be written to.
pub(super) fn decoder(plan: &Plan) -> Decoder {
    let beside = plan.checkpoint.file.as_deref().and_then(std::path::Path::parent);
    let beside = beside.filter(|folder| !folder.as_os_str().is_empty());
    let folder = beside.map_or_else(std::env::temp_dir, std::path::Path::to_path_buf);
    Decoder::new(decode::Config {
        // The source has checked it.
        verify_checksum: false,
        asks_for_schemas: plan.schema_fallback,
        expanded_bytes_max: plan.expanded_event_max,
        // The flow decides: it knows which transactions it passes over.
        xa_unseen: decode::Unseen::Pass,
        xa_spool_folder: Some(folder),
        ..decode::Config::default()
    })
}
