//! The checkpoint that the stream continues from: the saved one, or a new one.

use std::sync::Arc;

use super::plan::Plan;
use super::previous_run::{PreviousRun, begins_new_epoch};
use super::source::Opened;
use super::store::AnyStore;
use crate::checkpoint::table::TableConfig;
use crate::checkpoint::{self, Checkpoint, FileStore, Store, TableStore};
use crate::control::Saved;
use crate::encode::Lane;
use crate::filter::Versions;
use crate::freshness::schema;
use crate::mysql::SharedHost;
use crate::platform;
use crate::snapshot::Progress;
use crate::source::Start;

/// Opens the store that the plan names; one in a table is on `host`, wherever that moves.
/// `lease`: its fence, and the name of this process.
pub(super) async fn open_store(
    plan: &Plan,
    host: &SharedHost,
    lease: (Option<u64>, &str),
) -> Result<AnyStore, checkpoint::Error> {
    Ok(match &plan.checkpoint.file {
        Some(path) => AnyStore::File(
            FileStore::open(path.clone(), plan.checkpoint.name.as_ref().unwrap_or(&plan.stream))
                .await?,
        ),
        None => {
            let (fence, instance) = lease;
            let config = TableConfig { fence, ..table_config(plan, host, instance.to_owned()) };
            AnyStore::Table(Box::new(TableStore::open(config).await?))
        }
    })
}

/// The tables that the plan names, on this host, for a process of this name.
pub(super) fn table_config(plan: &Plan, host: &SharedHost, owner_name: String) -> TableConfig {
    TableConfig {
        connect: plan.freshness.connect.clone(),
        host: host.clone(),
        table: plan.freshness.schema.table(schema::CHECKPOINT),
        lane_table: plan.freshness.schema.table(schema::CHECKPOINT_LANE),
        stream: plan.stream.clone(),
        owner_name,
        fence: None,
    }
}

/// The checkpoint to continue from: the saved one, or a new one at the start that was resolved, in an
/// epoch behind that of the run `before`. Another number of lanes begins a new epoch: rows of one key
/// would otherwise have numbers in two lanes.
pub(super) async fn begin(
    plan: &Plan,
    store: &mut AnyStore,
    saved: Option<Checkpoint>,
    before: Option<&PreviousRun>,
    opened: &Opened,
) -> Result<Checkpoint, checkpoint::Error> {
    let layout: Arc<str> = Lane::notice_key_of("lanes").into();
    let lanes = u64::from(plan.pack.lanes);
    if let Some(saved) = saved {
        let before = saved.lanes.get(&layout).copied().unwrap_or(1);
        if before == lanes {
            return Ok(saved);
        }
        tracing::warn!(before, lanes, "the number of lanes changed: a new epoch begins");
        let mut checkpoint = Checkpoint {
            epoch: new_epoch().max(saved.epoch + 1),
            lanes: [(layout, lanes)].into(),
            ..saved
        };
        // What an operator holds back stays so; its rows have other numbers.
        Saved::forget_lanes(&mut checkpoint.annotations);
        Versions::begin_epoch(&mut checkpoint.annotations);
        store.begin(&checkpoint).await?;
        return Ok(checkpoint);
    }
    let mut checkpoint = Checkpoint {
        stream: plan.stream.clone(),
        server_uuid: opened.resolved.server.clone(),
        epoch: new_epoch().max(before.map_or(0, PreviousRun::epoch) + 1),
        lanes: [(layout, lanes)].into(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        saved_at_us: platform::wall_us(),
        ..Checkpoint::default()
    };
    checkpoint.gtid_set.clone_from(&opened.resolved.before);
    checkpoint.annotations.extend(plan.snapshot.on_start.then(Progress::owed_entry));
    match &opened.resolved.start {
        Start::Gtid(set) => checkpoint.gtid_set = set.clone(),
        Start::GtidFrom { set, from } => {
            checkpoint.gtid_set = set.clone();
            checkpoint.resume.position = from.clone();
            checkpoint.settled.position = from.clone();
        }
        Start::Maria(set) => {
            checkpoint.resume.maria = set.clone();
            checkpoint.settled.maria = set.clone();
        }
        Start::Position(position) => {
            checkpoint.resume.position = position.clone();
            checkpoint.settled.position = position.clone();
        }
    }
    if before.is_some() && plan.checkpoint.file.is_some() {
        let failed = |error: crate::mysql::Error| checkpoint::Error::Database {
            action: "save the new epoch",
            table: plan.freshness.schema.table(schema::CHECKPOINT),
            code: error.code().unwrap_or(0),
            message: error.to_string(),
            passes: error.passes(),
        };
        if let Some(streamed) = plan.source.hosts.get(opened.host) {
            begins_new_epoch(plan, streamed, &checkpoint).await.map_err(failed)?;
        }
    }
    store.begin(&checkpoint).await?;
    Ok(checkpoint)
}

/// Epochs rise, also when a checkpoint is lost: seconds since 1970 do.
fn new_epoch() -> u64 {
    u64::try_from(platform::wall_us() / 1_000_000).unwrap_or(1)
}

/// A name for this process that no other has had: a random UUID (version 4).
pub(super) fn new_instance() -> String {
    let mut bytes = super::patience::random().to_be_bytes().to_vec();
    bytes.extend(super::patience::random().to_be_bytes());
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&bytes);
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    crate::change::Uuid(uuid).to_string()
}
