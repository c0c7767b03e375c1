//! Transactions: where they start and end, what names them, what is refused.

use binpulse::change::Position;
use binpulse::decode::{Config, Decoder, Fault, Step, Unseen, XaFault};

use crate::fixture::{self, Fixture};

/// Lines of a reading, with the server's own identities written as `S`.
fn lines(fixture: &Fixture) -> Vec<String> {
    let reading = fixture::read(&fixture.files);
    assert!(reading.error.is_none(), "{}: {:?}", fixture.name, reading.error);
    short(reading.lines)
}

fn short(lines: Vec<String>) -> Vec<String> {
    let first = lines.iter().find_map(|line| line.strip_prefix("begin ")).unwrap_or_default();
    let own = first.split(" at ").next().and_then(|id| id.rfind([':', '-']).map(|end| &id[..end]));
    let own = own.unwrap_or("none").to_owned();
    lines
        .into_iter()
        .map(|line| line.replace(&own, "S").replace("S-", "S:"))
        .filter(|line| !line.starts_with("passed") && !line.starts_with("schema"))
        .map(|line| match (line.find(" at "), line.find(" to binlog")) {
            (Some(at), _) if line.starts_with("begin") => line[..at].to_owned(),
            (_, Some(at)) if line.starts_with("commit") => {
                let behind = line[at + 4..].find(' ').map(|end| line[at + 4 + end..].to_owned());
                format!("commit{}", behind.unwrap_or_default())
            }
            _ => line,
        })
        .collect()
}

/// Where the `nth` transaction of the log that is announced at all starts.
fn starts(fixture: &Fixture) -> Vec<u64> {
    let (_, file) = &fixture.files[0];
    let mut offset = 4;
    let mut found = Vec::new();
    for event in fixture::events(file) {
        if matches!(event[4], 33 | 34 | 42 | 162) {
            found.push(offset);
        }
        offset += event.len() as u64;
    }
    found
}

#[test]
fn rows_of_xa_transactions_come_at_their_commit_on_every_server() {
    for server in ["mysql-9.7", "mysql-5.7", "mariadb-10.11"] {
        let fixture = fixture::one("xa", server);
        let starts = starts(&fixture);
        let (one, two, four) = (starts[3], starts[4], starts[11]);
        let text = |text: &str| text.bytes().fold(String::from("x"), |h, b| format!("{h}{b:02X}"));
        let insert = |id: u32, a: &str| format!("d.t insert [-] -> [{id},{}]", text(a));
        assert_eq!(
            lines(&fixture),
            [
                "begin S:1".into(),
                "commit".into(),
                "begin S:2".into(),
                "commit".into(),
                "begin S:3".into(),
                insert(1, "plain"),
                "commit".into(),
                "begin S:6".into(),
                insert(4, "between"),
                format!("commit open since {one}"),
                "begin S:7".into(),
                insert(2, "held"),
                format!("d.t update [2,{}] -> [2,{}]", text("held"), text("updated")),
                format!("commit resolves S:4 open since {two}"),
                "begin S:8".into(),
                "commit resolves S:5".into(),
                "begin S:9".into(),
                insert(5, "one phase"),
                "commit".into(),
                "begin S:11".into(),
                insert(6, "same session"),
                "commit resolves S:10".into(),
                "begin S:13".into(),
                insert(8, "after the open one"),
                format!("commit open since {four}"),
            ],
            "{server}"
        );
    }
}

#[test]
fn held_rows_come_from_the_overflow_file_as_they_come_from_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let fixture = fixture::one("xa", "mysql-9.7");
    let spilled = Config {
        xa_spool_bytes_max: 100,
        xa_spool_folder: Some(folder.path().into()),
        ..fixture::config()
    };
    let spilled = fixture::read_by(&fixture.files, spilled);
    assert!(spilled.error.is_none(), "{:?}", spilled.error);
    assert_eq!(spilled.lines, fixture::read(&fixture.files).lines);
    let none = Config { xa_spool_bytes_max: 100, ..fixture::config() };
    let error = fixture::read_by(&fixture.files, none).error.expect("too large");
    assert!(matches!(error.fault, Fault::Xa(XaFault::TooLarge { limit: 100, .. })), "{error}");
}

/// Reads the log from the `nth` transaction on.
fn from(fixture: &Fixture, nth: usize, config: Config) -> (Vec<String>, Option<String>) {
    let (name, file) = &fixture.files[0];
    let start = starts(fixture)[nth];
    let mut decoder = Decoder::new(config);
    decoder.start_at(Position::new(name.as_str(), start));
    let (mut lines, mut offset) = (Vec::new(), 4);
    for event in fixture::events(file) {
        // The format description comes first wherever one starts.
        if (event[4] == 15 || offset >= start)
            && let Err(error) = fixture::feed(&mut decoder, event, &mut lines)
        {
            return (lines, Some(error.to_string()));
        }
        offset += event.len() as u64;
    }
    (lines, None)
}

#[test]
fn an_xa_commit_of_rows_that_were_not_seen_is_refused_or_said() {
    let fixture = fixture::one("xa", "mysql-9.7");
    let (_, error) = from(&fixture, 6, fixture::config());
    let error = error.expect("refused");
    assert!(error.contains("XA COMMIT X'6f6e65',X'6272616e6368',7"), "{error}");
    assert!(error.contains("binlog.000001:2"), "{error}");
    let pass = Config { xa_unseen: Unseen::Pass, ..fixture::config() };
    let (lines, error) = from(&fixture, 6, pass);
    assert_eq!(error, None);
    assert!(
        lines.iter().any(|line| line.ends_with(" unseen X'6f6e65',X'6272616e6368',7")),
        "{lines:#?}"
    );
}

#[test]
fn reading_from_the_middle_of_a_file_gives_the_same_from_there_on() {
    for (quirk, server) in
        [("rows", "mysql-9.7"), ("rows", "mariadb-10.11"), ("payload", "mysql-9.7")]
    {
        let fixture = fixture::one(quirk, server);
        let whole = fixture::read(&fixture.files).lines;
        for nth in 0..5 {
            let (part, error) = from(&fixture, nth, fixture::config());
            assert_eq!(error, None);
            let part = &part[1..];
            assert_eq!(part, &whole[whole.len() - part.len()..], "{quirk} {server} from {nth}");
            assert!(part[0].starts_with("begin"), "{}", part[0]);
        }
    }
}

#[test]
fn reading_from_inside_a_transaction_is_refused() {
    let fixture = fixture::one("rows", "mysql-9.7");
    let (name, file) = &fixture.files[0];
    let events = fixture::events(file);
    let first_map = events.iter().position(|event| event[4] == 19).expect("a table map");
    let mut decoder = Decoder::new(Config::default());
    let offset = 4 + events[..first_map].iter().map(|event| event.len() as u64).sum::<u64>();
    decoder.start_at(Position::new(name.as_str(), offset));
    let mut lines = Vec::new();
    fixture::feed(&mut decoder, events[0], &mut lines).expect("a format description");
    let error = fixture::feed(&mut decoder, events[first_map], &mut lines).expect_err("refused");
    assert!(matches!(error.fault, Fault::Order { .. }), "{error}");
    assert_eq!(error.position.offset, offset);
    let again = fixture::feed(&mut decoder, events[0], &mut lines).expect_err("still refused");
    assert!(matches!(again.fault, Fault::Misuse), "{again}");
}

#[test]
fn tagged_gtids_are_read() {
    let lines = lines(&fixture::one("tagged_gtid", "mysql-9.7"));
    let begins: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("begin ")).collect();
    assert_eq!(
        begins,
        [
            "S:1",
            "S:2",
            "S:blue:1",
            "S:blue:2",
            "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee:nightly_batch_of_the_warehouse_0:9223372036854775",
            "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee:7",
            "S:3",
        ]
    );
}

#[test]
fn commit_times_lengths_and_servers_are_those_of_the_transaction() {
    for (quirk, server, precise) in [
        ("rows", "mysql-9.7", true),
        ("tagged_gtid", "mysql-9.7", true),
        ("rows", "mysql-5.6", false),
    ] {
        let fixture = fixture::one(quirk, server);
        let (name, file) = &fixture.files[0];
        let mut decoder = Decoder::new(fixture::config());
        decoder.start_at(Position::new(name.as_str(), 4));
        let (mut start, mut seen) = (0, 0);
        for event in fixture::events(file) {
            let mut steps = decoder.feed(event).expect("an event");
            while let Some(step) = steps.next().expect("a step") {
                match step {
                    Step::Begin(transaction) => {
                        let seconds = transaction.committed_at_us / 1_000_000;
                        assert!((1_790_000_000..2_000_000_000).contains(&seconds), "{seconds}");
                        assert_eq!(
                            transaction.committed_at_us % 1_000_000 == 0,
                            !precise,
                            "{}",
                            transaction.committed_at_us
                        );
                        assert_eq!(transaction.server_id, 7);
                        start = transaction.start.offset;
                    }
                    Step::Commit(commit) => {
                        let length = commit.end.offset - start;
                        assert_eq!(commit.transaction.length_bytes, precise.then_some(length));
                        seen += 1;
                    }
                    Step::Rows(_)
                    | Step::Schema(_)
                    | Step::Changed(_)
                    | Step::Idle { .. }
                    | Step::Rotate { .. }
                    | Step::Passed { .. } => {}
                }
            }
        }
        assert!(seen > 5);
    }
}

#[test]
fn statement_based_changes_are_refused_without_their_values() {
    for server in ["mysql-9.7", "mariadb-10.11"] {
        let fixture = fixture::one("statement", server);
        let error = fixture::read(&fixture.files).error.expect("refused");
        assert!(
            matches!(&error.fault, Fault::StatementBased { statement: "INSERT", database, .. }
            if database == "d"),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.contains("binlog_format=ROW") && !text.contains("hidden"), "{text}");
    }
}

#[test]
fn an_alter_in_two_phases_is_one_statement_once_it_has_succeeded() {
    for server in ["mariadb-10.11", "mariadb-11.8"] {
        let reading = fixture::read(&fixture::one("two_phase_alter", server).files);
        assert!(reading.error.is_none(), "{:?}", reading.error);
        let lines = reading.lines.iter().filter(|line| !line.starts_with("passed"));
        let steps: Vec<_> = lines.map(|line| line.split(' ').next().expect("a word")).collect();
        let statements: Vec<_> = reading
            .lines
            .iter()
            .filter_map(|line| line.strip_prefix("schema d | "))
            .filter(|statement| !statement.starts_with("CREATE DATABASE"))
            .collect();
        assert_eq!(
            statements,
            [
                "CREATE TABLE a (id INT PRIMARY KEY, x INT)",
                "ALTER TABLE a ADD COLUMN y INT, ALGORITHM=COPY",
                "CREATE INDEX i ON a (y)",
                "SET STATEMENT max_statement_time = 10 FOR ALTER TABLE a DROP COLUMN y",
            ],
            "{server}"
        );
        // Each phase is a transaction of its own, with an identity that a checkpoint must count.
        assert_eq!(
            steps.iter().filter(|step| **step == "begin").count(),
            13,
            "{server}: {steps:?}"
        );
        assert_eq!(steps.iter().filter(|step| **step == "commit").count(), 13, "{server}");
    }
}

#[test]
fn temporal_columns_whose_length_is_not_told_are_refused() {
    let fixture = fixture::one("old_temporal", "mariadb-10.11");
    let reading = fixture::read(&fixture.files);
    assert!(!reading.lines.iter().any(|line| line.contains("insert")));
    let error = reading.error.expect("refused");
    assert_eq!(error.table(), Some("d.t"));
    assert!(error.to_string().contains("column 2 (a)"), "{error}");
}

#[test]
fn files_follow_each_other() {
    for server in ["mysql-9.7", "mysql-5.6", "mariadb-10.11"] {
        let fixture = fixture::one("rotation", server);
        let lines = lines(&fixture);
        let rotations: Vec<_> = lines.iter().filter(|line| line.starts_with("rotate")).collect();
        assert_eq!(
            rotations,
            ["rotate to binlog.000002:4", "rotate to binlog.000003:4", "rotate to binlog.000004:4"]
        );
        assert_eq!(lines.iter().filter(|line| line.contains("insert")).count(), 2);
    }
}
