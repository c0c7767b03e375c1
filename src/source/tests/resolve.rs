//! Where a stream begins, asked of a server that has its files and sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::server::{Answer, Server, config, rows};
use crate::change::{GtidSet, MariaGtidSet, Position};
use crate::source::resume::{Resolved, Saved, Wanted, resolve, resolve_any};
use crate::source::{Error, Start};

const A: &str = "00bbe985-e52d-11f1-91a9-02fc00000001";
const B: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

fn set(numbers: &str) -> GtidSet {
    if numbers.is_empty() {
        GtidSet::new()
    } else {
        format!("{A}:{numbers}").parse().expect("a set")
    }
}

/// A server with the files 3 to 7 of 500 bytes each, before which 0, 10, 20, 20 and 30 transactions lie.
#[derive(Debug, Clone, Copy)]
struct World {
    version: &'static str,
    uuid: &'static str,
    gtid_mode: &'static str,
    executed: &'static str,
    /// For how many seconds the mode is what it is, and the server runs.
    ages: (&'static str, &'static str),
    /// Whether files begin with the GTIDs before them.
    lists: bool,
}

const TODAY: World = World {
    version: "9.7.4",
    uuid: A,
    gtid_mode: "ON",
    executed: "1-40",
    ages: ("4294967295", "1000"),
    lists: true,
};
const FILES: [(&str, &str); 5] = [
    ("b.000003", ""),
    ("b.000004", "1-10"),
    ("b.000005", "1-20"),
    ("b.000006", "1-20"),
    ("b.000007", "1-30"),
];

impl World {
    fn answer(&self, sql: &str) -> Answer {
        match sql {
            "SELECT @@GLOBAL.version, CURRENT_USER()" => rows(&[[self.version, "u@h"]]),
            "SELECT @@GLOBAL.server_id, @@GLOBAL.version" => rows(&[["1", self.version]]),
            "SELECT @@GLOBAL.server_uuid, @@GLOBAL.gtid_mode" => {
                rows(&[[self.uuid, self.gtid_mode]])
            }
            "SHOW BINARY LOGS" => rows(&FILES.map(|(name, _)| [name, "500"])),
            "SHOW BINARY LOG STATUS" => {
                let executed = set(self.executed).to_string();
                rows(&[["b.000007", "500", "", "", executed.as_str()]])
            }
            "SHOW GLOBAL STATUS WHERE Variable_name = 'Uptime'" => rows(&[["Uptime", self.ages.1]]),
            _ if sql.starts_with("SET ") => Answer::Rows(Vec::new()),
            _ if sql.contains("variables_info") => rows(&[[self.ages.0]]),
            _ if sql.contains("gtid_owned") => {
                let executed = set(self.executed).to_string();
                rows(&[["", executed.as_str(), ""]])
            }
            _ if sql.starts_with("SHOW GLOBAL VARIABLES") => rows(&[
                ["gtid_mode", self.gtid_mode],
                ["server_uuid", self.uuid],
                ["server_id", "1"],
            ]),
            _ if sql.starts_with("SHOW BINLOG EVENTS IN '") && sql.ends_with("LIMIT 3") => {
                let file = sql.split('\'').nth(1).unwrap_or_default();
                let listed = FILES.iter().find(|(name, _)| *name == file).expect("it has it").1;
                let listed = set(listed).to_string();
                let described = [file, "4", "Format_desc", "1", "126", "Server ver"];
                if self.lists {
                    rows(&[described, [file, "126", "Previous_gtids", "1", "157", &listed]])
                } else {
                    rows(&[described])
                }
            }
            _ => Answer::Refused,
        }
    }

    async fn resolve(self, wanted: &Wanted) -> Result<Resolved, Error> {
        let server = Server::start(self.version, move |sql| self.answer(sql), begun, Vec::new());
        resolve(&server.await.config(), 0, wanted).await
    }

    async fn start(self, wanted: &Wanted) -> Result<Start, Error> {
        Ok(self.resolve(wanted).await?.start)
    }
}

/// File 3 was begun at 1003 s, and so on.
fn begun(file: &str) -> u32 {
    1000 + u32::from(file.as_bytes()[file.len() - 1] - b'0')
}

fn saved(gtids: &str, server: &str, file: &str, offset: u64, age: u64) -> Wanted {
    Wanted::Saved(Saved {
        server: server.to_owned(),
        position: Position::new(file, offset),
        gtids: set(gtids),
        maria: MariaGtidSet::new(),
        age: Some(Duration::from_secs(age)),
    })
}

fn from(numbers: &str, file: &str, offset: u64) -> Start {
    Start::GtidFrom { set: set(numbers), from: Position::new(file, offset) }
}

#[tokio::test]
async fn a_set_goes_on_in_the_file_that_it_needs() {
    for (numbers, file) in
        [("", 3), ("1-5", 3), ("1-10", 3), ("1-11", 4), ("1-20", 4), ("1-21", 6), ("1-40", 7)]
    {
        let found = TODAY.start(&Wanted::Gtid(set(numbers))).await.expect("it is there");
        assert_eq!(found, from(numbers, &format!("b.{file:06}"), 4), "{numbers}");
    }
    // From before files listed them: by the set alone
    let old = World { version: "5.7.5", ..TODAY };
    let found = old.start(&Wanted::Gtid(set("1-11"))).await.expect("it is there");
    assert_eq!(found, Start::Gtid(set("1-11")));
    let first = World { version: "5.7.6", ..TODAY };
    let found = first.start(&Wanted::Gtid(set("1-11"))).await.expect("it is there");
    assert_eq!(found, from("1-11", "b.000004", 4));
}

#[tokio::test]
async fn a_checkpoint_of_this_server_goes_on_at_its_place_if_that_is_still_the_one() {
    let here = |gtids, file, offset| saved(gtids, A, file, offset, 10);
    for (wanted, expected) in [
        (here("1-25", "b.000006", 300), from("1-25", "b.000006", 300)),
        (here("1-25", "b.000006", 500), from("1-25", "b.000006", 500)),
        (here("1-25", "b.000006", 0), from("1-25", "b.000006", 4)),
        // The file is shorter than the place: the numbering is another
        (here("1-25", "b.000006", 501), from("1-25", "b.000006", 4)),
        (here("1-15", "b.000004", 501), from("1-15", "b.000004", 4)),
        // More lies before the file than was delivered: another file of the same name
        (here("1-5", "b.000004", 300), from("1-5", "b.000003", 4)),
        // Files of another name, and later ones
        (here("1-15", "c.000001", 300), from("1-15", "b.000004", 4)),
        (here("1-15", "b.000009", 300), from("1-15", "b.000004", 4)),
        // Just the one before the first was purged: nothing lay between
        (here("1-15", "b.000002", 300), from("1-15", "b.000003", 4)),
        // Of another server: the place says nothing
        (saved("1-15", B, "b.000006", 300, 10), from("1-15", "b.000004", 4)),
    ] {
        assert_eq!(TODAY.start(&wanted).await.expect("it is there"), expected, "{wanted:?}");
    }
    let wanted = here("1-25", "b.000006", 300);
    let unlisted = World { lists: false, ..TODAY };
    let at_place = Start::Position(Position::new("b.000006", 300));
    assert_eq!(unlisted.start(&wanted).await.expect("it is there"), at_place);
    let old = World { version: "5.6.51", ..TODAY };
    assert_eq!(old.start(&wanted).await.expect("it is there"), at_place);
    let purged = old.start(&here("1-25", "b.000002", 300)).await.expect("it is there");
    assert_eq!(purged, Start::Gtid(set("1-25")));
}

#[tokio::test]
async fn purged_files_may_have_held_what_has_no_gtid_unless_the_mode_was_on_all_the_time() {
    // So old is the checkpoint; so old the mode and the server
    for (age, ages, is_known) in [
        (100, ("1000", "1000"), true),
        (100, ("161", "161"), true),
        (100, ("160", "1000"), false),
        (100, ("1000", "160"), false),
        (100, ("4294967295", "161"), true),
        (100, ("?", "1000"), false),
        (u64::MAX, ("4294967295", "1000"), false),
    ] {
        let world = World { ages, ..TODAY };
        let found = world.start(&saved("1-15", A, "b.000001", 300, age)).await;
        if is_known {
            assert_eq!(found.expect("known"), from("1-15", "b.000003", 4), "{age} {ages:?}");
        } else {
            let error = found.expect_err("unknown");
            assert!(matches!(error, Error::Purged { .. }), "{age} {ages:?}: {error}");
            assert!(error.to_string().contains("before b.000003"), "{error}");
        }
    }
    // Old servers do not know the mode's age, and a lost session is no answer
    for (answer, is_lost) in [(Answer::Refused, false), (Answer::Gone, true)] {
        let server = Server::answering("9.7.4", move |sql| {
            if sql.contains("variables_info") { answer.clone() } else { TODAY.answer(sql) }
        });
        let wanted = saved("1-15", A, "b.000001", 300, 0);
        let error = resolve(&server.await.config(), 0, &wanted).await.expect_err("unknown");
        assert_eq!(matches!(error, Error::Purged { .. }), !is_lost, "{error}");
    }
    let mut wanted = saved("1-15", A, "b.000001", 300, 0);
    if let Wanted::Saved(saved) = &mut wanted {
        saved.age = None;
    }
    TODAY.start(&wanted).await.expect_err("unknown");
    // A server begins a file with each change of the mode: what follows in the place's own file is of one.
    let next = saved("1-15", A, "b.000002", 300, u64::MAX);
    assert_eq!(TODAY.start(&next).await.expect("known"), from("1-15", "b.000003", 4));
}

#[tokio::test]
async fn without_gtids_now_is_the_end_of_the_log_with_the_set_that_lies_before_it() {
    let plain = World { gtid_mode: "OFF", executed: "", ..TODAY };
    let found = plain.resolve(&Wanted::Now).await.expect("it is there");
    assert_eq!(found.start, Start::Position(Position::new("b.000007", 500)));
    assert!(found.before.is_empty() && found.skip_until.is_none());
    assert_eq!(found.server, A);
    let mixed = World { gtid_mode: "ON_PERMISSIVE", ..TODAY };
    let found = mixed.resolve(&Wanted::Now).await.expect("it is there");
    assert_eq!(
        (found.start, found.before),
        (Start::Position(Position::new("b.000007", 500)), set("1-40"))
    );
    assert_eq!(TODAY.start(&Wanted::Now).await.expect("it is there"), Start::Gtid(set("1-40")));
}

/// What the statement for the log's end tells the nth time.
async fn end_of_log(
    tell: fn(u64) -> Answer,
    words: &'static str,
) -> (Result<Resolved, Error>, u64) {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let world = World { gtid_mode: "OFF", ..TODAY };
    let server = Server::answering("8.0.40", move |sql| match sql {
        // The facts ask too, once
        _ if sql == words => tell(count.fetch_add(1, Ordering::Relaxed)),
        "SHOW BINARY LOG STATUS" | "SHOW MASTER STATUS" => Answer::Refused,
        _ => world.answer(sql),
    });
    let server = server.await;
    let found = resolve(&server.config(), 0, &Wanted::Now).await;
    (found, asked.load(Ordering::Relaxed))
}

#[tokio::test]
async fn the_end_of_the_log_and_its_set_are_of_one_moment() {
    fn at(offset: u64, last: u64) -> Answer {
        let executed = format!("{A}:1-{last}");
        rows(&[["b.000007", &offset.to_string(), "", "", executed.as_str()]])
    }
    for words in ["SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"] {
        // Two looks that agree on the set: the place of the first of them
        let (found, asked) = end_of_log(|nth| at(100 + nth, nth.min(4)), words).await;
        let found = found.expect("it is there");
        assert_eq!(found.start, Start::Position(Position::new("b.000007", 104)), "{words}");
        assert_eq!((found.before, asked), (set("1-4"), 6));
        // One that never rests is taken as it is, after some looks
        let (found, asked) = end_of_log(|nth| at(100 + nth, nth + 1), words).await;
        assert_eq!(asked, 21);
        let found = found.expect("it is there");
        assert_eq!(found.start, Start::Position(Position::new("b.000007", 120)), "{words}");
        // Neither statement is known: the end of the last file
        let (found, _) = end_of_log(|_| Answer::Refused, words).await;
        let found = found.expect("it is there");
        assert_eq!(found.start, Start::Position(Position::new("b.000007", 500)), "{words}");
        assert_eq!(found.before, set("1-40"));
        let (found, _) =
            end_of_log(|nth| if nth == 0 { at(1, 1) } else { Answer::Gone }, words).await;
        found.expect_err("the session is lost");
    }
}

#[tokio::test]
async fn a_time_begins_in_the_last_file_that_was_begun_before_it() {
    // Files were begun at 1003 s to 1007 s; a transaction may be two seconds older than its file
    for (seconds, expected) in [
        (1005, Some(3)),
        (1006, Some(4)),
        (1007, Some(5)),
        (1008, Some(6)),
        (1009, Some(7)),
        (5000, Some(7)),
        (1004, None),
    ] {
        let us = seconds * 1_000_000;
        match (TODAY.resolve(&Wanted::Time(us)).await, expected) {
            (Ok(found), Some(file)) => {
                let place = Position::new(format!("b.{file:06}").as_str(), 4);
                assert_eq!(found.start, Start::Position(place), "{seconds}");
                assert_eq!((found.skip_until_us, found.skip_until), (Some(us), None));
            }
            (Err(Error::TooOld { asked, earliest }), None) => {
                assert_eq!((asked, earliest), (us, 1_005_000_000));
            }
            (found, expected) => panic!("{seconds}: {found:?} for {expected:?}"),
        }
    }
    let just_before = TODAY.start(&Wanted::Time(1_005_999_999)).await.expect("it is there");
    assert_eq!(just_before, Start::Position(Position::new("b.000003", 4)));
}

#[tokio::test]
async fn the_first_file_that_there_ever_was_has_every_time() {
    for (file, is_there) in [("b.000001", true), ("b.000002", false), ("b.1", true), ("b", false)] {
        let server = Server::start(
            "9.7.4",
            move |sql| {
                if sql == "SHOW BINARY LOGS" {
                    rows(&[[file, "500"], ["b.000009", "500"]])
                } else {
                    TODAY.answer(sql)
                }
            },
            |_| 1000,
            Vec::new(),
        );
        let found = resolve(&server.await.config(), 0, &Wanted::Time(5)).await;
        assert_eq!(found.is_ok(), is_there, "{file}: {found:?}");
        if let Ok(found) = found {
            assert_eq!(found.start, Start::Position(Position::new(file, 4)));
        }
    }
}

#[tokio::test]
async fn the_first_host_that_can_serve_is_taken_round_the_list() {
    let mut ports = Vec::new();
    for executed in ["1-10", "1-40", "1-30", "1-5"] {
        let world = World { executed, ..TODAY };
        let server = Server::answering("9.7.4", move |sql| world.answer(sql)).await;
        ports.push(server.port);
    }
    let config = config(&ports);
    let host = async |first, numbers| {
        let wanted = Wanted::Gtid(set(numbers));
        resolve_any(&config, first, &wanted).await.map(|(host, _)| host)
    };
    for (first, numbers, expected) in [
        (0, "1-5", 0),
        (0, "1-25", 1),
        (2, "1-25", 2),
        (3, "1-25", 1),
        (3, "1-5", 3),
        (2, "1-35", 1),
    ] {
        assert_eq!(host(first, numbers).await.expect("one can"), expected, "{first} {numbers}");
    }
    let error = host(1, "1-99").await.expect_err("none can");
    let Error::NoHost { failures } = error else { panic!("{error}") };
    let order: Vec<_> = failures.iter().map(|(host, _)| host.clone()).collect();
    let expected: Vec<_> = [1, 2, 3, 0].map(|at| config.hosts[at].clone()).to_vec();
    assert_eq!(order, expected);
    let shown = Error::NoHost { failures }.to_string();
    for port in &ports {
        assert!(shown.contains(&format!("127.0.0.1:{port}: diverged")), "{shown}");
    }
    // Of a single host the error is its own
    let alone = super::server::config(&ports[..1]);
    let error = resolve_any(&alone, 0, &Wanted::Gtid(set("1-99"))).await.expect_err("it can't");
    assert!(matches!(error, Error::Diverged { .. }), "{error}");
}
