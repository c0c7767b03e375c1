//! The store against a server that fails at any statement, and against a model of what must be saved.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{TableConfig, TableStore};
use crate::change::{MariaGtid, MariaGtidSet, Position};
use crate::checkpoint::known::{self, Known};
use crate::checkpoint::{Checkpoint, Delta, Error, Place, Recovery, Store};
use crate::mysql::stand_in::{Cell, Effect, StandIn};
use crate::mysql::{Session, SharedHost};

const UUID: &str = "00bbe985-e52d-11f1-91a9-02fc00000001";
const TABLE: &str = "`b`.`checkpoint`";
const LANES: &str = "`b`.`checkpoint_lane`";

/// As `binpulse init` makes them.
const COLUMNS: &[&str] = &[
    "stream",
    "owner",
    "owner_name",
    "saves",
    "format",
    "begun",
    "server_uuid",
    "epoch",
    "gtid_set",
    "resume_file",
    "resume_offset",
    "resume_maria",
    "settled_file",
    "settled_offset",
    "settled_maria",
    "saved_at_us",
    "version",
    "snapshot",
];
const LANE_COLUMNS: &[&str] = &["stream", "lane_hash", "lane", "next"];

async fn server() -> StandIn {
    StandIn::start(&[(TABLE, COLUMNS, 1), (LANES, LANE_COLUMNS, 2)]).await
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

fn config(server: &StandIn, host: &SharedHost, owner: &str) -> TableConfig {
    TableConfig {
        connect: server.options(),
        host: host.clone(),
        table: TABLE.to_owned(),
        lane_table: LANES.to_owned(),
        stream: "shop".to_owned(),
        owner_name: owner.to_owned(),
        fence: None,
    }
}

fn at(server: &StandIn, owner: &str) -> TableConfig {
    config(server, &SharedHost::new(server.host.clone()), owner)
}

fn place(offset: u64) -> Place {
    let mut maria = MariaGtidSet::new();
    maria.advance(MariaGtid { domain: 0, server: 1, sequence: offset });
    Place { position: Position::new("binlog.000007", offset), maria }
}

fn lane(number: u64) -> Arc<str> {
    format!("shop.t{number}#0").into()
}

fn checkpoint(number: u64) -> Checkpoint {
    Checkpoint {
        stream: "shop".to_owned(),
        server_uuid: format!("server {number}"),
        epoch: number,
        gtid_set: format!("{UUID}:1-{number}").parse().expect("a set"),
        resume: place(number * 10),
        settled: place(number * 10 + 5),
        lanes: BTreeMap::from([(lane(1), number), (lane(number), 7)]),
        annotations: BTreeMap::from([("snapshot".into(), format!("text {number}").into())]),
        saved_at_us: -i64::try_from(number).expect("small"),
        version: format!("0.{number}"),
        ..Checkpoint::default()
    }
}

fn delta(number: u64) -> Delta {
    Delta {
        server_uuid: number.is_multiple_of(3).then(|| format!("server {number}")),
        gtids: format!("{UUID}:{number}").parse().expect("a set"),
        resume: place(number * 10),
        settled: place(number * 10 + number % 2),
        lanes: BTreeMap::from([(lane(number % 4), number)]),
        annotations: BTreeMap::from([((number % 3).to_string().into(), number.to_string().into())]),
        taken_at_us: i64::try_from(number).expect("small"),
        ..Delta::default()
    }
}

/// Without what depends on who reads it.
fn content(checkpoint: Option<Checkpoint>) -> Option<Checkpoint> {
    checkpoint.map(|checkpoint| Checkpoint { owner: 0, ..checkpoint })
}

async fn peeked(server: &StandIn) -> Option<Checkpoint> {
    content(TableStore::peek(at(server, "looks")).await.expect("it can be read"))
}

/// What a process does next.
#[derive(Debug, Clone)]
enum Step {
    /// A process takes the stream over, where it is.
    Open,
    Begin(u64),
    Save(u64),
    /// The process before the newest saves.
    SaveOfOlder(u64),
    /// The other server becomes the primary. Whether it had everything.
    FailOver(bool),
}

/// How the call goes wrong first: after so many statements, in a way.
type Trouble = Option<(usize, u8)>;

fn steps() -> impl Strategy<Value = Vec<(Step, Trouble)>> {
    let step = prop_oneof![
        2 => Just(Step::Open),
        2 => (1..50_u64).prop_map(Step::Begin),
        6 => (1..50_u64).prop_map(Step::Save),
        2 => (1..50_u64).prop_map(Step::SaveOfOlder),
        2 => any::<bool>().prop_map(Step::FailOver),
    ];
    let trouble = prop_oneof![2 => Just(None), 1 => (0..9_usize, 0..3_u8).prop_map(Some)];
    prop::collection::vec((step, trouble), 1..14)
}

struct World {
    servers: [StandIn; 2],
    /// The primary.
    at: usize,
    /// The newest process, and the one before; with what each believes to be saved.
    newest: Option<(TableStore, SharedHost)>,
    older: Option<TableStore>,
    opened: usize,
    /// Name of the newest process, as far as the column has room.
    name: String,
    saved: Option<Checkpoint>,
}

impl World {
    fn primary(&self) -> &StandIn {
        &self.servers[self.at]
    }

    fn cause(&self, trouble: Trouble) {
        let Some((statements, kind)) = trouble else { return };
        let effect = match kind {
            0 => Effect::Refuse(1205),
            1 => Effect::BreakBefore,
            _ => Effect::BreakAfter,
        };
        self.primary().fault("", statements, effect);
    }

    /// After a call that failed in a way that passes: all of it took effect, or nothing.
    async fn is_whole(&self, before: Option<&Checkpoint>, after: Option<&Checkpoint>) {
        self.primary().repair();
        let found = peeked(self.primary()).await;
        assert!(
            found.as_ref() == before || found.as_ref() == after,
            "{found:?} is neither {before:?} nor {after:?}"
        );
    }

    async fn open(&mut self, trouble: Trouble) {
        self.cause(trouble);
        self.opened += 1;
        // Names differ, also beyond what the column has room for.
        let name = format!("process {}{}", self.opened, "x".repeat(300));
        self.name = name.chars().take(255).collect();
        loop {
            let host = SharedHost::new(self.primary().host.clone());
            match TableStore::open(config(self.primary(), &host, &name)).await {
                Ok(mut store) => {
                    let owned = store.load().await.expect("it is in memory");
                    assert!(owned.as_ref().is_none_or(|it| it.owner == store.owner()));
                    assert_eq!(content(owned), self.saved);
                    let newest = self.newest.replace((store, host));
                    self.older = newest.map(|(store, _)| store).or(self.older.take());
                    return;
                }
                Err(error) => assert_eq!(error.recovery(), Recovery::Retry, "{error}"),
            }
            self.primary().repair();
        }
    }

    async fn begin(&mut self, number: u64, trouble: Trouble) {
        let Some((mut store, host)) = self.newest.take() else { return };
        let (before, after) = (self.saved.take(), checkpoint(number));
        self.cause(trouble);
        while let Err(error) = store.begin(&after).await {
            assert_eq!(error.recovery(), Recovery::Retry, "{error}");
            self.is_whole(before.as_ref(), Some(&after)).await;
        }
        let held = store.load().await.expect("it is in memory").expect("it has begun");
        assert_eq!(held.owner, store.owner());
        self.saved = Some(after);
        self.newest = Some((store, host));
    }

    async fn save(&mut self, number: u64, trouble: Trouble) {
        let Some((mut store, host)) = self.newest.take() else { return };
        let Some(before) = store.load().await.expect("it is in memory") else {
            let refused = store.save(&delta(number)).await.expect_err("it has not begun");
            assert!(matches!(refused, Error::NotBegun { .. }), "{refused}");
            self.newest = Some((store, host));
            return;
        };
        let mut after = before.clone();
        after.apply(&delta(number));
        let after = content(Some(after));
        // What the new server has is older, or nothing.
        let there = peeked(self.primary()).await;
        self.cause(trouble);
        while let Err(error) = store.save(&delta(number)).await {
            assert_eq!(error.recovery(), Recovery::Retry, "{error}");
            self.is_whole(there.as_ref(), after.as_ref()).await;
        }
        self.saved = after;
        self.newest = Some((store, host));
    }

    async fn save_of_older(&mut self, number: u64) {
        let Some(older) = &mut self.older else { return };
        if older.load().await.expect("it is in memory").is_none() {
            return;
        }
        let before = self.servers.each_ref().map(StandIn::tables);
        let refused = older.save(&delta(number)).await.expect_err("another has the stream");
        let Error::Fenced { owner, .. } = &refused else { panic!("{refused}") };
        assert!(owner.starts_with("process ") && owner.len() == 255, "{owner}");
        assert_eq!(self.servers.each_ref().map(StandIn::tables), before, "it had an effect");
    }

    /// The stream's process goes along; older processes stay where they were.
    async fn fail_over(&mut self, has_all: bool) {
        let Some((_, host)) = &self.newest else { return };
        let from = self.primary().tables();
        self.at = 1 - self.at;
        host.move_to(&self.primary().host);
        if has_all {
            self.primary().change(|tables| *tables = from);
        }
        let Some((store, _)) = &mut self.newest else { return };
        let has_begun = store.load().await.expect("it is in memory").is_some();
        let there = &self.servers[self.at].tables()[TABLE];
        let owner = there.cell("shop", "owner");
        let is_ours = there.cell("shop", "owner_name") == Some(text(&self.name));
        let is_later = !is_ours && owner >= Some(Cell::Number(store.owner().into()));
        if has_begun && is_later {
            let refused = store.save(&delta(60)).await.expect_err("a later owner was there");
            assert!(matches!(refused, Error::Fenced { .. }), "{refused}");
        } else if has_begun {
            // What the process knows counts, whatever the new server has; a save puts it there.
            self.save(60, None).await;
            return;
        }
        self.newest = None;
        self.saved = peeked(self.primary()).await;
        self.open(None).await;
    }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.as_bytes().to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_has_one_owner_and_each_save_is_whole_whatever_fails(steps in steps()) {
        run(async move {
            let servers = [server().await, server().await];
            let (newest, older, saved) = (None, None, None);
            let mut world = World { servers, at: 0, newest, older, opened: 0, name: String::new(), saved };
            // Another stream shares the tables.
            let other = TableConfig { stream: "bank".to_owned(), ..at(world.primary(), "bank") };
            let mut bank = TableStore::open(other.clone()).await.expect("it opens");
            bank.begin(&checkpoint(9)).await.expect("it begins");
            world.open(None).await;
            for (step, trouble) in steps {
                match step {
                    Step::Open => {
                        if peeked(world.primary()).await == world.saved {
                            world.open(trouble).await;
                        }
                    }
                    Step::Begin(number) => world.begin(number, trouble).await,
                    Step::Save(number) => world.save(number, trouble).await,
                    Step::SaveOfOlder(number) => world.save_of_older(number).await,
                    Step::FailOver(has_all) => world.fail_over(has_all).await,
                }
                for server in &world.servers {
                    server.repair();
                }
                if world.newest.is_some() {
                    assert_eq!(peeked(world.primary()).await, world.saved);
                }
            }
            let bank = TableStore::peek(TableConfig { connect: world.servers[0].options(), ..other });
            let bank = content(bank.await.expect("it can be read"));
            let expected = Checkpoint { stream: "bank".to_owned(), ..checkpoint(9) };
            assert!(bank == Some(expected) || world.at == 1 || bank.is_none(), "{bank:?}");
        });
    }
}

#[test]
fn who_opens_takes_over_and_the_number_of_owners_rises() {
    run(async {
        let server = server().await;
        for number in 1..4 {
            let store = TableStore::open(at(&server, &format!("process {number}"))).await;
            assert_eq!(store.expect("it opens").owner(), number);
        }
        let tables = server.tables();
        assert_eq!(tables[TABLE].cell("shop", "owner"), Some(Cell::Number(3)));
    });
}

#[test]
fn the_fence_of_a_lease_is_the_owners_number_and_an_older_one_takes_nothing() {
    run(async {
        let server = server().await;
        let fenced = |name: &str, fence| TableConfig { fence: Some(fence), ..at(&server, name) };
        let mut first = TableStore::open(fenced("first", 5)).await.expect("it opens");
        first.begin(&checkpoint(3)).await.expect("it begins");
        // The answer to an opening may be lost: it opens again.
        assert_eq!(TableStore::open(fenced("first", 5)).await.expect("it opens").owner(), 5);
        let mut second = TableStore::open(fenced("second", 6)).await.expect("it opens");
        // One that slept between its lease and the store takes nothing back.
        let late = TableStore::open(fenced("late", 5)).await;
        assert!(matches!(late, Err(Error::Fenced { .. })), "{late:?}");
        let refused = first.save(&delta(4)).await;
        assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
        second.save(&delta(4)).await.expect("it is the owner");
        // A version without leases takes over as before.
        assert_eq!(TableStore::open(at(&server, "old")).await.expect("it opens").owner(), 7);
    });
}

#[test]
fn a_stream_that_begins_after_a_failover_begins_on_the_new_server() {
    run(async {
        let (first, second) = (server().await, server().await);
        let host = SharedHost::new(first.host.clone());
        let mut store = TableStore::open(config(&first, &host, "one")).await.expect("it opens");
        host.move_to(&second.host);
        store.begin(&checkpoint(7)).await.expect("it is taken");
        assert_eq!(peeked(&second).await, Some(checkpoint(7)));
        assert_eq!(peeked(&first).await, None);
    });
}

#[test]
fn many_lanes_are_written_and_read_in_pieces_and_begin_forgets_those_before() {
    run(async {
        let server = server().await;
        let mut store = TableStore::open(at(&server, "one")).await.expect("it opens");
        let lanes: BTreeMap<_, _> = (0..10_001).map(|number| (lane(number), number + 1)).collect();
        let many = Checkpoint { lanes, ..checkpoint(3) };
        server.take_statements();
        store.begin(&many).await.expect("it begins");
        let statements = server.take_statements();
        let longest = statements.iter().map(String::len).max().expect("some");
        assert!(longest < 200_000, "{longest} bytes in a statement");
        assert_eq!(peeked(&server).await, Some(many.clone()));
        let read = server.take_statements();
        let pages = read.iter().filter(|sql| sql.contains(LANES));
        assert_eq!(pages.count(), 2, "{read:?}");

        // A save writes the lanes that moved, and not the others.
        server.take_statements();
        store.save(&delta(4)).await.expect("it saves");
        let written: usize = server.take_statements().iter().map(String::len).sum();
        assert!(written < 4_000, "{written} bytes for one lane");
        store.begin(&checkpoint(5)).await.expect("it begins anew");
        assert_eq!(peeked(&server).await, Some(checkpoint(5)));
    });
}

#[test]
fn looking_at_a_checkpoint_sees_one_state_of_row_and_lanes_and_takes_nothing() {
    run(async {
        let server = server().await;
        let mut store = TableStore::open(at(&server, "one")).await.expect("it opens");
        store.begin(&checkpoint(3)).await.expect("it begins");
        // Between row and lanes the owner saves.
        let put = |tables: &mut crate::mysql::stand_in::Tables| {
            tables.get_mut(LANES).expect("it is there").put("shop", "next", &Cell::Number(99));
        };
        server.fault("FROM `b`.`checkpoint_lane`", 0, Effect::Meanwhile(Box::new(put)));
        assert_eq!(peeked(&server).await, Some(checkpoint(3)));
        let now = peeked(&server).await.expect("it is there");
        assert!(now.lanes.values().all(|next| *next == 99), "{now:?}");
        store.save(&delta(4)).await.expect("it is still ours");
        let never = TableConfig { stream: "new".to_owned(), ..at(&server, "looks") };
        assert_eq!(TableStore::peek(never).await.expect("it can be read"), None);
    });
}

#[test]
fn every_session_bounds_its_waits_for_locks_and_takes_none_on_gaps() {
    run(async {
        let server = server().await;
        let mut store = TableStore::open(at(&server, "one")).await.expect("it opens");
        server.fault("UPDATE", 0, Effect::BreakBefore);
        store.begin(&checkpoint(3)).await.expect_err("it breaks");
        store.begin(&checkpoint(3)).await.expect("it connects again");
        let statements = server.take_statements();
        let count = |text: &str| statements.iter().filter(|sql| sql.contains(text)).count();
        assert_eq!(server.sessions(), 2);
        assert_eq!(count("innodb_lock_wait_timeout = 2"), 2, "{statements:?}");
        assert_eq!(count("SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"), 2);
        // A statement that was refused ends its transaction: the next begins in a session of its own.
        server.fault("INSERT", 0, Effect::Refuse(1205));
        let error = store.begin(&checkpoint(4)).await.expect_err("a lock");
        let Error::Database { code, passes, table, .. } = &error else { panic!("{error}") };
        assert_eq!((*code, *passes, table.as_str()), (1205, true, TABLE));
        store.begin(&checkpoint(4)).await.expect("it connects again");
        assert_eq!(server.sessions(), 3);
    });
}

#[test]
fn what_is_no_checkpoint_is_refused_by_its_column() {
    let cases = [
        ("begun", text("x"), "begun"),
        ("format", Cell::Null, "format"),
        ("epoch", text("-1"), "epoch"),
        ("gtid_set", text("nonsense"), "gtid_set"),
        ("resume_offset", Cell::Null, "resume"),
        ("resume_maria", text("0-1"), "resume"),
        ("settled_offset", text("far"), "settled"),
        ("settled_maria", text("?"), "settled"),
    ];
    run(async move {
        let server = server().await;
        let mut store = TableStore::open(at(&server, "one")).await.expect("it opens");
        for (column, cell, named) in cases {
            store.begin(&checkpoint(3)).await.expect("it begins");
            server.change(|tables| {
                tables.get_mut(TABLE).expect("it is there").put("shop", column, &cell);
            });
            let error = TableStore::peek(at(&server, "looks")).await.expect_err(column);
            let Error::Malformed { column: found, .. } = &error else {
                panic!("{column}: {error}")
            };
            assert_eq!(*found, named, "{error}");
            assert_eq!((error.recovery(), error.passes()), (Recovery::Halt, false));
        }
        for (format, is_read) in [(1, true), (2, false)] {
            store.begin(&checkpoint(3)).await.expect("it begins");
            server.change(|tables| {
                let table = tables.get_mut(TABLE).expect("it is there");
                table.put("shop", "format", &Cell::Number(format));
            });
            let read = TableStore::peek(at(&server, "looks")).await;
            let is_newer = matches!(read, Err(Error::Format { found: 2, known: 1, .. }));
            assert_eq!((read.is_ok(), is_newer), (is_read, !is_read), "{read:?}");
        }
    });
}

#[test]
fn a_rehearsal_finds_what_saves_would_be_refused_with_and_changes_nothing() {
    run(async {
        let server = server().await;
        let mut store = TableStore::open(at(&server, "one")).await.expect("it opens");
        store.begin(&checkpoint(3)).await.expect("it begins");
        let before = server.tables();
        for denied in [
            "START TRANSACTION READ WRITE",
            "EXPLAIN INSERT INTO `b`.`checkpoint` ",
            "EXPLAIN UPDATE `b`.`checkpoint` ",
            "EXPLAIN INSERT INTO `b`.`checkpoint_lane`",
            "EXPLAIN UPDATE `b`.`checkpoint_lane`",
            "EXPLAIN DELETE FROM `b`.`checkpoint_lane`",
        ] {
            server.fault(denied, 0, Effect::Refuse(1142));
            let refused = TableStore::rehearse(at(&server, "tries")).await.expect_err(denied);
            assert!(matches!(refused, Error::Database { code: 1142, .. }), "{refused}");
        }
        let found = TableStore::rehearse(at(&server, "tries")).await.expect("nothing is denied");
        assert_eq!(content(found), Some(checkpoint(3)));
        assert_eq!(server.tables(), before);
        let elsewhere = TableConfig { lane_table: "`b`.`gone`".to_owned(), ..at(&server, "tries") };
        assert!(TableStore::rehearse(elsewhere).await.is_err());
        store.save(&delta(4)).await.expect("it is still ours");
    });
}

#[test]
fn on_another_server_a_later_owner_is_left_alone_and_an_older_one_replaced() {
    run(async {
        // Given a process whose server's tables have been copied to another
        for (owner, name, is_ours) in
            [(2, "later", false), (1, "another", false), (0, "older", true), (1, "one", true)]
        {
            let servers = [server().await, server().await];
            let host = SharedHost::new(servers[0].host.clone());
            let mut store =
                TableStore::open(config(&servers[0], &host, "one")).await.expect("it opens");
            store.begin(&checkpoint(3)).await.expect("it begins");
            let copy = servers[0].tables();
            servers[1].change(|tables| {
                *tables = copy;
                let table = tables.get_mut(TABLE).expect("it is there");
                table.put("shop", "owner", &Cell::Number(owner));
                table.put("shop", "owner_name", &text(name));
            });

            // When the stream goes there
            host.move_to(&servers[1].host);
            let before = servers[1].tables();
            let saved = store.save(&delta(4)).await;

            // Then only what is not a later owner's is taken
            assert_eq!(saved.is_ok(), is_ours, "{owner} {name}: {saved:?}");
            if is_ours {
                let mut expected = checkpoint(3);
                expected.apply(&delta(4));
                assert_eq!(peeked(&servers[1]).await, Some(expected));
                assert_eq!(servers[1].tables()[TABLE].cell("shop", "owner"), Some(Cell::Number(1)));
                // From here on a save writes what moved only.
                servers[1].take_statements();
                store.save(&delta(5)).await.expect("it is ours");
                let statements = servers[1].take_statements();
                assert!(!statements.iter().any(|sql| sql.contains("DELETE")), "{statements:?}");
            } else {
                assert!(matches!(saved, Err(Error::Fenced { .. })), "{saved:?}");
                assert_eq!(servers[1].tables(), before);
            }
        }
    });
}

#[test]
fn an_owner_that_stood_still_before_it_began_is_told_who_has_begun_meanwhile() {
    run(async {
        let server = server().await;
        let mut first = TableStore::open(at(&server, "first")).await.expect("it opens");
        first.is_still_ours().await.expect("nobody else has it");
        let mut second = TableStore::open(at(&server, "second")).await.expect("it opens");
        second.begin(&checkpoint(3)).await.expect("it begins");
        let refused = first.is_still_ours().await.expect_err("it is another's");
        assert!(matches!(&refused, Error::Fenced { owner, .. } if owner == "second"), "{refused}");
        second.is_still_ours().await.expect("nobody else has it");
    });
}

#[test]
fn an_owner_whose_row_is_gone_is_told_so() {
    run(async {
        let server = server().await;
        let mut store = TableStore::open(at(&server, "one")).await.expect("it opens");
        store.begin(&checkpoint(3)).await.expect("it begins");
        server.change(|tables| tables.get_mut(TABLE).expect("it is there").rows.clear());
        let refused = store.save(&delta(4)).await.expect_err("there is no row");
        assert!(refused.to_string().contains("no one: its row is gone"), "{refused}");
    });
}

#[test]
fn a_place_that_is_told_beside_is_read_again_and_is_no_checkpoint() {
    run(async {
        let server = server().await;
        let mut session = Session::connect(&server.options()).await.expect("it connects");
        assert_eq!(known::read(&mut session, TABLE, "shop").await.expect("it reads"), None);
        let mut store = TableStore::open(at(&server, "one")).await.expect("it opens");
        // Only taken over, and never begun.
        assert_eq!(known::read(&mut session, TABLE, "shop").await.expect("it reads"), None);
        store.begin(&checkpoint(3)).await.expect("it begins");
        for epoch in [4, 5] {
            let told = Known {
                epoch,
                server_uuid: format!("server {epoch}"),
                position: Position::new("binlog.000009", epoch * 100),
                at_us: -7,
            };
            known::write(&mut session, TABLE, "shop", &told).await.expect("it writes");
            assert_eq!(known::read(&mut session, TABLE, "shop").await.expect("read"), Some(told));
            assert_eq!(known::read(&mut session, TABLE, "bank").await.expect("read"), None);
            // Nobody continues from what stood there before.
            assert_eq!(peeked(&server).await, None);
        }
    });
}
