//! A server of MySQL: its tables, its log, the stages of a commit, and what can befall it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use binpulse::change::{Gtid, GtidSet, Tag, Uuid};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::log::{Change, Group, Log};
use crate::value::{Definition, Row, Type, Value};

/// A row's place: its table's id and its key.
pub(crate) type Key = (u64, Vec<Value>);

/// What a transaction has written and not committed: rows by key, `None` for those removed.
pub(crate) type Written = BTreeMap<Key, Option<Row>>;

/// How long the semi-synchronous replica is waited for before the server goes on without.
const SEMISYNC_TIMEOUT: Duration = Duration::from_secs(10);

/// What can be wrong with a server. Each is switched by the schedule of the run.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools, reason = "independent switches")]
pub(crate) struct Ailments {
    /// The process is gone: connections are refused.
    pub(crate) down: bool,
    /// It accepts, and answers nothing.
    pub(crate) hung: bool,
    /// It takes no writes.
    pub(crate) read_only: bool,
    /// The disk does not return from its syncs.
    pub(crate) disk_stuck: bool,
    /// The semi-synchronous replica does not acknowledge.
    pub(crate) replica_mute: bool,
    /// The replication stream stands while all else is well.
    pub(crate) dump_stuck: bool,
    /// Replication connections are refused.
    pub(crate) dump_refused: bool,
    /// Whole transactions are lost on their way from the log to the replication stream.
    pub(crate) dump_loses: bool,
    /// Each answer takes this much longer, in milliseconds.
    pub(crate) slow_ms: u64,
}

/// The rows that are committed.
pub(crate) type Committed = BTreeMap<Key, Row>;

/// The inside of a server.
pub(crate) struct State {
    pub(crate) log: Log,
    pub(crate) rows: Committed,
    /// Rows that a transaction has written: by which session.
    pub(crate) locks: BTreeMap<Key, u32>,
    /// Sessions' named locks.
    pub(crate) named: BTreeMap<String, u32>,
    /// All that the log holds, or held.
    pub(crate) logged: GtidSet,
    pub(crate) executed: GtidSet,
    pub(crate) purged: GtidSet,
    /// Durable in the log; what of it the engine has committed.
    pub(crate) synced: u64,
    pub(crate) committed: u64,
    /// What the replica has received.
    pub(crate) acknowledged: u64,
    /// Commits wait for another server of the run to receive them, unless that was given up meanwhile.
    pub(crate) is_semisync: bool,
    pub(crate) has_given_up: bool,
    /// The server that this one is a replica of.
    pub(crate) follows: Option<u32>,
    /// Its name among servers. One that is set up anew gets another.
    pub(crate) uuid: Uuid,
    pub(crate) ailments: Ailments,
    /// Rises with each crash; what began before ends.
    pub(crate) life: u64,
    pub(crate) begun: Instant,
    pub(crate) next_session: u32,
    /// Ends a session: by its number.
    pub(crate) killed: std::collections::BTreeSet<u32>,
    /// The session of each replica that is being sent the log.
    pub(crate) dumps: BTreeMap<String, u32>,
    /// The file that each of these sessions reads: it is not purged.
    pub(crate) readers: BTreeMap<u32, u64>,
    /// What streams were sent of the log.
    pub(crate) sent: GtidSet,
    /// What sessions wait for.
    pub(crate) waits: BTreeMap<u32, &'static str>,
    sequence: i64,
    dice: Dice,
}

impl State {
    /// It takes no writes.
    pub(crate) fn is_read_only(&self) -> bool {
        self.ailments.read_only || self.follows.is_some()
    }

    /// It takes the users' writes.
    pub(crate) fn takes_writes(&self) -> bool {
        let Ailments { down, hung, .. } = self.ailments;
        !(self.is_read_only() || down || hung)
    }

    /// What it has logged is committed.
    pub(crate) fn is_at_rest(&self) -> bool {
        let last = self.log.files.iter().rev().find_map(|file| file.groups.last());
        last.is_none_or(|group| group.ordinal <= self.committed)
    }

    /// The first transaction behind this one that is durable.
    pub(crate) fn durable_behind(&self, ordinal: u64) -> Option<(u64, Arc<Group>)> {
        let (file, next) = self.log.files.iter().find_map(|file| {
            let passed = file.groups.partition_point(|group| group.ordinal <= ordinal);
            Some((file.number, file.groups.get(passed)?))
        })?;
        (next.ordinal <= self.synced).then(|| (file, Arc::clone(next)))
    }
}

/// Who commits: a session, and the process that it is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Author {
    pub(crate) session: u32,
    pub(crate) process: u64,
}

/// Told of each transaction: durable in the log, and committed.
pub(crate) trait Witness: Send + Sync {
    fn logged(&self, server: &Server, group: &Arc<Group>);
    fn committed(&self, server: &Server, group: &Arc<Group>, author: Option<Author>);
}

/// A server.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) id: u32,
    pub(crate) schema: Arc<Vec<Arc<Definition>>>,
    pub(crate) changed: Notify,
    pub(crate) witness: Arc<dyn Witness>,
    state: Mutex<State>,
    wall: Arc<dyn Fn() -> i64 + Send + Sync>,
}

/// The server ended before the commit did, or has no room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

impl Server {
    pub(crate) fn new(
        (name, id): (&'static str, u32),
        schema: &Arc<Vec<Arc<Definition>>>,
        witness: Arc<dyn Witness>,
        wall: Arc<dyn Fn() -> i64 + Send + Sync>,
        dice: Dice,
    ) -> Arc<Self> {
        let state = State {
            log: Log::new(id, wall()),
            rows: BTreeMap::new(),
            locks: BTreeMap::new(),
            named: BTreeMap::new(),
            logged: GtidSet::new(),
            executed: GtidSet::new(),
            purged: GtidSet::new(),
            synced: 0,
            committed: 0,
            acknowledged: 0,
            is_semisync: false,
            has_given_up: false,
            follows: None,
            uuid: uuid_of(id),
            ailments: Ailments::default(),
            life: 1,
            begun: Instant::now(),
            next_session: 10,
            killed: std::collections::BTreeSet::new(),
            dumps: BTreeMap::new(),
            readers: BTreeMap::new(),
            sent: GtidSet::new(),
            waits: BTreeMap::new(),
            sequence: 1,
            dice,
        };
        Arc::new(Self {
            name,
            id,
            schema: Arc::clone(schema),
            changed: Notify::new(),
            witness,
            state: Mutex::new(state),
            wall,
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its clock, microseconds since 1970 UTC.
    pub(crate) fn now_us(&self) -> i64 {
        (self.wall)()
    }

    pub(crate) fn table(&self, schema: &str, name: &str) -> Option<Arc<Definition>> {
        self.schema.iter().find(|it| it.schema == schema && it.name == name).cloned()
    }

    pub(crate) fn ail(&self, change: impl FnOnce(&mut Ailments)) {
        change(&mut self.state().ailments);
        self.changed.notify_waiters();
    }

    /// Waits until something about it changes, for at most so long.
    pub(crate) async fn wait(&self, most: Duration) {
        drop(tokio::time::timeout(most, self.changed.notified()).await);
    }

    /// The process ends. What was not durable may be lost; what was durable is committed when it comes up.
    pub(crate) fn crash(&self) {
        let mut state = self.state();
        state.life += 1;
        state.ailments.down = true;
        let last = state.log.files.iter().rev().find_map(|file| file.groups.last());
        let last = last.map_or(0, |group| group.ordinal).max(state.synced);
        // A part of what the system had not yet been asked to make durable got there all the same.
        let more = last - state.synced + 1;
        let kept = state.synced + state.dice.below(more);
        state.log.truncate(kept);
        state.locks.clear();
        state.named.clear();
        state.dumps.clear();
        state.readers.clear();
        state.waits.clear();
        drop(state);
        self.changed.notify_waiters();
    }

    /// It comes up, and commits what its log holds.
    pub(crate) fn start(self: &Arc<Self>) {
        let mut state = self.state();
        let groups: Vec<_> =
            state.log.files.iter().flat_map(|file| file.groups.iter().cloned()).collect();
        let (synced, committed) = (state.synced, state.committed);
        let mut logged = state.purged.clone();
        for group in &groups {
            logged.insert(group.gtid);
        }
        state.logged = logged;
        // The numbers of what was lost are given again.
        state.sequence = 1;
        drop(state);
        for group in groups {
            if group.ordinal > synced {
                self.state().synced = group.ordinal;
                self.witness.logged(self, &group);
            }
            if group.ordinal > committed {
                self.apply(&group, None);
            }
        }
        let mut state = self.state();
        state.ailments = Ailments { read_only: state.ailments.read_only, ..Ailments::default() };
        state.begun = Instant::now();
        state.log.rotate(self.now_us());
        drop(state);
        self.changed.notify_waiters();
    }

    fn apply(&self, group: &Arc<Group>, author: Option<Author>) {
        let mut state = self.state();
        for change in &group.changes {
            let key = |row: &Row| (change.table.id, change.table.key_of(row));
            if let Some(before) = &change.before {
                state.rows.remove(&key(before));
                state.locks.remove(&key(before));
            }
            if let Some(after) = &change.after {
                state.rows.insert(key(after), after.clone());
                state.locks.remove(&key(after));
            }
        }
        state.executed.insert(group.gtid);
        state.committed = group.ordinal;
        drop(state);
        self.witness.committed(self, group, author);
    }

    /// Commits a transaction of its own: it is in the log at once. The rest is to be waited for, whoever hangs
    /// up meanwhile.
    pub(crate) fn commit(
        self: &Arc<Self>,
        changes: Vec<Change>,
        author: Option<Author>,
    ) -> impl Future<Output = Result<(), Broken>> + use<> {
        let logged = (!changes.is_empty()).then(|| self.log(changes));
        let server = Arc::clone(self);
        async move {
            let Some(logged) = logged else { return Ok(()) };
            let (life, group) = logged?;
            server.through(life, group, author).await
        }
    }

    fn log(&self, changes: Vec<Change>) -> Result<(u64, Arc<Group>), Broken> {
        let mut state = self.state();
        if state.ailments.down {
            return Err(Broken);
        }
        while state.logged.contains(&gtid(state.uuid, state.sequence)) {
            state.sequence += 1;
        }
        let gtid = gtid(state.uuid, state.sequence);
        state.sequence += 1;
        let at = self.now_us();
        state.logged.insert(gtid);
        Ok((state.life, state.log.append(gtid, changes, (at, at), self.id)))
    }

    /// Commits a transaction of the server that it follows, as the applier does: the rows are locked until
    /// the engine has it.
    pub(crate) async fn apply_from_source(self: &Arc<Self>, from: &Group) -> Result<(), Broken> {
        let (life, group) = {
            let mut state = self.state();
            if state.ailments.down {
                return Err(Broken);
            }
            for change in &from.changes {
                for row in [&change.before, &change.after].into_iter().flatten() {
                    state.locks.insert((change.table.id, change.table.key_of(row)), APPLIER);
                }
            }
            state.logged.insert(from.gtid);
            let times = (self.now_us(), from.original_us);
            let changes = from.changes.clone();
            (state.life, state.log.append(from.gtid, changes, times, from.server_id))
        };
        self.through(life, group, None).await
    }

    /// Is set up anew, as a copy of that server, which it then follows.
    pub(crate) fn copy(&self, of: &Self) {
        let (rows, executed) = {
            let source = of.state();
            (source.rows.clone(), source.executed.clone())
        };
        let mut state = self.state();
        state.life += 1;
        state.log = Log::with_past(self.id, executed.clone(), self.now_us());
        (state.synced, state.committed, state.acknowledged) = (0, 0, 0);
        state.rows = rows;
        (state.logged, state.purged) = (executed.clone(), executed.clone());
        state.executed = executed;
        state.ailments = Ailments::default();
        state.uuid.0[14] += 1;
        state.sequence = 1;
        state.sent = GtidSet::new();
        state.follows = Some(of.id);
        state.locks.clear();
        state.named.clear();
        state.dumps.clear();
        state.readers.clear();
        state.waits.clear();
        state.begun = Instant::now();
        drop(state);
        self.changed.notify_waiters();
    }

    /// The stages behind the flush: sync, semi-synchronous acknowledgement, engine.
    async fn through(
        self: &Arc<Self>,
        life: u64,
        group: Arc<Group>,
        author: Option<Author>,
    ) -> Result<(), Broken> {
        let delay = {
            let mut state = self.state();
            Duration::from_millis(state.dice.between(0, 3))
        };
        tokio::time::sleep(delay).await;
        let tells = |words: &'static str| {
            if let Some(Author { session, .. }) = author {
                self.state().waits.insert(session, words);
            }
        };
        tells("starting");
        self.until(life, |state| !state.ailments.disk_stuck && state.synced + 1 == group.ordinal)
            .await?;
        self.state().synced = group.ordinal;
        self.witness.logged(self, &group);
        self.changed.notify_waiters();
        tells("Waiting for semi-sync ACK from replica");
        let acknowledged = self.until(life, |state| {
            let is_waited_for =
                state.ailments.replica_mute || state.is_semisync && !state.has_given_up;
            !is_waited_for || state.acknowledged >= group.ordinal
        });
        match tokio::time::timeout(SEMISYNC_TIMEOUT, acknowledged).await {
            Ok(Ok(())) => {}
            Ok(Err(Broken)) => return Err(Broken),
            // It goes on without, until the replica has caught up.
            Err(_) => self.state().has_given_up = true,
        }
        tells("waiting for handler commit");
        self.until(life, |state| state.committed + 1 == group.ordinal).await?;
        self.apply(&group, author);
        if let Some(Author { session, .. }) = author {
            self.state().waits.remove(&session);
        }
        self.changed.notify_waiters();
        Ok(())
    }

    /// Waits until this holds; an error if the server ends before.
    pub(crate) async fn until(
        &self,
        life: u64,
        holds: impl Fn(&State) -> bool,
    ) -> Result<(), Broken> {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.state();
                if state.life != life {
                    return Err(Broken);
                }
                if holds(&state) {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// Begins a new file.
    pub(crate) fn rotate(&self) {
        let _none_is_removed = self.purge(usize::MAX);
    }

    /// Begins a new file, and removes the oldest as long as more than so many are there, but none that a
    /// stream reads: `PURGE BINARY LOGS` goes no further either. Whether any was removed.
    pub(crate) fn purge(&self, files_max: usize) -> bool {
        let mut state = self.state();
        // What is not yet durable is in the file that is written.
        if state.ailments.down || !state.is_at_rest() {
            return false;
        }
        state.log.rotate(self.now_us());
        let mut is_any = false;
        while state.log.files.len() > files_max {
            let oldest = state.log.files.front().map_or(0, |file| file.number);
            if state.readers.values().any(|file| *file == oldest) {
                break;
            }
            let Some(gone) = state.log.purge_oldest() else { break };
            is_any |= !gone.groups.is_empty();
            for group in gone.groups {
                state.purged.insert(group.gtid);
            }
        }
        drop(state);
        self.changed.notify_waiters();
        is_any
    }
}

/// The session that stands for the applier of a replica.
const APPLIER: u32 = 1;

fn gtid(source: Uuid, sequence: i64) -> Gtid {
    let sequence = u64::try_from(sequence).expect("counted up");
    Gtid { source, tag: Tag::default(), sequence }
}

fn uuid_of(id: u32) -> Uuid {
    let mut uuid = [0x11; 16];
    uuid[15] = u8::try_from(id).expect("a small number");
    Uuid(uuid)
}

/// The tables of all servers.
pub(crate) fn schema() -> Arc<Vec<Arc<Definition>>> {
    let make = |id, schema, name, key, columns: &[(&str, Type)]| {
        let columns = columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        Arc::new(Definition { id, schema, name, columns, key })
    };
    let stream = ("stream", Type::VarChar(760));
    let (own, long, place) = ("binpulse", Type::VarChar(1020), Type::VarChar(760));
    let mut canary = vec![
        stream,
        ("n", Type::U64),
        ("instance", Type::Char(144)),
        ("phase", Type::VarChar(40)),
        ("written_at_us", Type::I64),
    ];
    // Left out of each image, as with binlog_row_image = MINIMAL: the values are no subject here.
    let values: Vec<String> = (0..29).map(|index| format!("v_{index}")).collect();
    canary.extend(values.iter().map(|name| (name.as_str(), Type::Absent)));
    let users = [("id", Type::U64), ("stamp", Type::U64), ("note", long)];
    Arc::new(vec![
        make(
            1,
            own,
            "heartbeat",
            1,
            &[
                stream,
                ("n", Type::U64),
                ("instance", Type::Char(144)),
                ("written_at_us", Type::I64),
                ("server_uuid", long),
            ],
        ),
        make(2, own, "canary", 2, &canary),
        make(3, own, "canary_counter", 1, &[stream, ("n", Type::U64)]),
        make(
            4,
            own,
            "checkpoint",
            1,
            &[
                stream,
                ("owner", Type::U64),
                ("owner_name", long),
                ("saves", Type::U64),
                ("format", Type::U32),
                ("begun", Type::I8),
                ("server_uuid", long),
                ("epoch", Type::U64),
                ("gtid_set", Type::LongText),
                ("resume_file", long),
                ("resume_offset", Type::U64),
                ("resume_maria", Type::Text),
                ("settled_file", long),
                ("settled_offset", Type::U64),
                ("settled_maria", Type::Text),
                ("saved_at_us", Type::I64),
                ("version", Type::VarChar(256)),
                ("snapshot", Type::LongText),
            ],
        ),
        make(
            5,
            own,
            "checkpoint_lane",
            2,
            &[stream, ("lane_hash", Type::Binary(16)), ("lane", Type::Text), ("next", Type::U64)],
        ),
        make(
            6,
            own,
            "lease",
            1,
            &[
                stream,
                ("fence", Type::U64),
                ("renewals", Type::U64),
                ("renewed_at", Type::Datetime6),
                ("taken_at", Type::Datetime6),
                ("lifetime_ms", Type::U32),
                ("instance", Type::Char(144)),
                ("address", place),
                ("host", place),
                ("version", place),
                ("place", place),
            ],
        ),
        make(7, own, "history", 2, &[stream, ("at_us", Type::I64), ("document", Type::LongText)]),
        make(8, "shop", "orders", 1, &users),
        make(9, "shop", "items", 1, &users),
    ])
}
