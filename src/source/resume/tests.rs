use super::{Saved, Start, Wanted, decide};
use crate::change::{GtidSet, MariaGtidSet, Position};
use crate::source::preflight::{BinlogFile, Facts, Grants, Logged};
use crate::source::{Error, Flavor, Halt, Recovery};

const A: &str = "00bbe985-e52d-11f1-91a9-02fc00000001";
const B: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

fn set(text: &str) -> GtidSet {
    text.parse().expect("the test's text is a set")
}

fn server(gtid_mode: &str, executed: &str, purged: &str) -> Facts {
    let variables = [("gtid_mode", gtid_mode), ("server_uuid", A), ("server_id", "1")];
    let file = |name: &str, bytes| BinlogFile { name: name.to_owned(), bytes };
    Facts {
        flavor: Flavor::Mysql,
        version: "9.7.4".to_owned(),
        account: "u@h".to_owned(),
        variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        grants: Ok(Grants::default()),
        replicas: Ok(Vec::new()),
        logged: Logged::default(),
        replicates: None,
        rds_hours: None,
        binlogs: Ok(vec![file("b.000007", 5 << 32), file("b.000008", 500)]),
        gtid_executed: set(executed),
        gtid_owned: GtidSet::new(),
        gtid_purged: set(purged),
        maria_position: MariaGtidSet::new(),
    }
}

fn saved(gtids: &str, server: &str, file: &str, offset: u64) -> Wanted {
    Wanted::Saved(Saved {
        server: server.to_owned(),
        position: Position::new(file, offset),
        gtids: set(gtids),
        maria: MariaGtidSet::new(),
        age: None,
    })
}

fn halt(outcome: Result<super::Resolved, Error>) -> Halt {
    match outcome.expect_err("a definite error").recovery() {
        Recovery::Halt(halt) => halt,
        other @ (Recovery::Retry | Recovery::RetryThenHalt(_) | Recovery::NextHost) => {
            panic!("{other:?}")
        }
    }
}

#[test]
fn a_checkpoint_goes_on_by_gtid_also_on_another_server() {
    let facts = server("ON", &format!("{A}:1-90,{B}:1-5:tag:1-3"), &format!("{A}:1-10"));
    let ours = format!("{A}:1-50,{B}:1-5:tag:1");
    let resolved = decide(&saved(&ours, "elsewhere", "x.1", 9), &facts).expect("usable");
    assert_eq!(resolved.start, Start::Gtid(set(&ours)));
    assert_eq!(resolved.server, A);
}

#[test]
fn purged_transactions_that_we_lack_are_a_lost_position() {
    let facts = server("ON", &format!("{A}:1-90:tag:1-9"), &format!("{A}:1-60:tag:1-2"));
    let outcome = decide(&saved(&format!("{A}:1-90:tag:1"), A, "b.000008", 4), &facts);
    let text = outcome.as_ref().expect_err("purged").to_string();
    assert!(text.contains(&format!("{A}:tag:2")), "{text}");
    assert_eq!(halt(outcome), Halt::PositionLost);
}

#[test]
fn transactions_that_the_server_lacks_are_a_divergence() {
    let facts = server("ON", &format!("{A}:1-40"), "");
    let outcome = decide(&saved(&format!("{A}:1-50"), A, "b.000008", 4), &facts);
    let text = outcome.as_ref().expect_err("diverged").to_string();
    assert!(text.contains(&format!("{A}:41-50")), "{text}");
    assert_eq!(halt(outcome), Halt::Diverged);
    // Divergence wins over a purge: nothing that the server could send would fix it.
    let facts = server("ON", &format!("{A}:1-40"), &format!("{A}:1-40"));
    assert_eq!(halt(decide(&Wanted::Gtid(set(&format!("{B}:1"))), &facts)), Halt::Diverged);
}

#[test]
fn a_transaction_in_the_middle_of_its_commit_is_neither_divergence_nor_past() {
    let mut facts = server("ON", &format!("{A}:1-40"), "");
    facts.gtid_owned = set(&format!("{A}:41"));
    let ours = format!("{A}:1-41");
    let resolved = decide(&saved(&ours, A, "b.000008", 4), &facts).expect("usable");
    assert_eq!(resolved.start, Start::Gtid(set(&ours)));
    // It may yet commit after now.
    let now = decide(&Wanted::Now, &facts).expect("usable");
    assert_eq!(now.start, Start::Gtid(set(&format!("{A}:1-40"))));
}

#[test]
fn a_file_position_is_refused_on_another_server() {
    let facts = server("OFF", "", "");
    assert_eq!(halt(decide(&saved("", B, "b.000008", 4), &facts)), Halt::OtherServer);
    // With GTIDs on now, but none saved, the position still is this server's only.
    let facts = server("ON", "", "");
    assert_eq!(halt(decide(&saved("", B, "b.000008", 4), &facts)), Halt::OtherServer);
}

#[test]
fn a_server_that_lacks_our_gtids_has_diverged_whatever_its_mode() {
    for mode in ["OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"] {
        let facts = server(mode, &format!("{A}:1-40"), "");
        let ours = |last| saved(&format!("{A}:1-{last}"), A, "b.000008", 4);
        assert_eq!(halt(decide(&ours(41), &facts)), Halt::Diverged, "{mode}");
        let start = decide(&ours(40), &facts).expect("usable").start;
        // Without ON it is asked by file and offset, which names what has no GTID
        assert_eq!(matches!(start, Start::Position(_)), mode != "ON", "{mode}: {start:?}");
    }
}

#[test]
fn a_position_is_read_from_its_files_front_where_gtids_may_lie_before_it() {
    let wanted = Wanted::Position(Position::new("b.000008", 300));
    for (mode, executed, front) in
        [("OFF", "", false), ("OFF", "1-5", true), ("ON_PERMISSIVE", "1-5", true), ("ON", "", true)]
    {
        let executed = if executed.is_empty() { String::new() } else { format!("{A}:{executed}") };
        let resolved = decide(&wanted, &server(mode, &executed, "")).expect("usable");
        let offset = if front { 4 } else { 300 };
        assert_eq!(resolved.start, Start::Position(Position::new("b.000008", offset)), "{mode}");
        assert_eq!(resolved.skip_until.is_some(), front, "{mode}");
    }
}

#[test]
fn a_file_position_must_lie_in_a_file_that_is_there() {
    let facts = server("OFF", "", "");
    let resolved = decide(&saved("", A, "b.000007", (4 << 32) + 17), &facts).expect("there");
    assert_eq!(resolved.start, Start::Position(Position::new("b.000007", (4 << 32) + 17)));
    assert_eq!(halt(decide(&saved("", A, "b.000006", 4), &facts)), Halt::PositionLost);
    assert_eq!(halt(decide(&saved("", A, "b.000008", 501), &facts)), Halt::Diverged);
}

#[test]
fn now_and_earliest_are_where_the_server_says() {
    let facts = server("ON", &format!("{A}:1-90"), &format!("{A}:1-10"));
    let start = |wanted| decide(&wanted, &facts).expect("usable").start;
    assert_eq!(start(Wanted::Now), Start::Gtid(set(&format!("{A}:1-90"))));
    let (purged, from) = (set(&format!("{A}:1-10")), Position::new("b.000007", 4));
    assert_eq!(start(Wanted::Earliest), Start::GtidFrom { set: purged, from });
    let plain = server("OFF", "", "");
    let earliest = decide(&Wanted::Earliest, &plain).expect("usable").start;
    assert_eq!(earliest, Start::Position(Position::new("b.000007", 4)));
}

#[test]
fn a_mariadb_goes_on_by_its_own_positions() {
    let position = |text: &str| text.parse::<MariaGtidSet>().expect("a position");
    let mut facts = server("ON", "", "");
    facts.flavor = Flavor::Maria;
    facts.variables.remove("server_uuid");
    facts.maria_position = position("0-1-100,1-1-5");
    let wanted = |text| Wanted::Saved(Saved { maria: position(text), ..Saved::default() });
    let resolved = decide(&wanted("0-2-90"), &facts).expect("usable");
    assert_eq!(resolved.start, Start::Maria(position("0-2-90")));
    assert_eq!(resolved.server, "mariadb-1");
    assert_eq!(halt(decide(&wanted("0-2-101"), &facts)), Halt::Diverged);
    // Without a position of its own: from the front, or where its file and offset say
    let none = Wanted::Saved(Saved::default());
    let start = |wanted| decide(&wanted, &facts).expect("usable").start;
    assert_eq!(start(none), Start::Maria(MariaGtidSet::new()));
    let by_file = saved("", "mariadb-1", "b.000008", 300);
    assert_eq!(start(by_file), Start::Position(Position::new("b.000008", 300)));
    let both = Wanted::Saved(Saved {
        maria: position("0-2-90"),
        position: Position::new("b.000008", 300),
        ..Saved::default()
    });
    assert_eq!(start(both), Start::Maria(position("0-2-90")));
    assert_eq!(halt(decide(&Wanted::Gtid(GtidSet::new()), &facts)), Halt::Misconfigured);
}
