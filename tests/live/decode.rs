//! The decoder behind a real dump: what the server makes up, leaves out, and where that is.

use binpulse::change::{Gtid, GtidSet, Position, TransactionId};
use binpulse::decode::{Config, Decoder, Step};
use binpulse::source::{FileReader, Replica, Start};

use crate::bed::Bed;
use crate::source::server::{Server, gtid_options};
use crate::source::{config, open};
use crate::suite::{Outcome, tests};

tests! {
    a_stream_from_any_commit_on_says_what_the_files_say on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
}

/// One line a transaction: identity, start, end, rows.
#[derive(Default)]
struct Log {
    lines: Vec<String>,
    ends: Vec<Position>,
    ids: Vec<TransactionId>,
    rows: u64,
    idle: Option<Position>,
}

impl Log {
    fn feed(&mut self, decoder: &mut Decoder, event: &[u8]) {
        let mut steps = decoder.feed(event).expect("an event");
        while let Some(step) = steps.next().expect("a step") {
            match step {
                Step::Begin(_) => self.rows = 0,
                Step::Rows(mut rows) => {
                    while rows.next().expect("a row").is_some() {
                        self.rows += 1;
                    }
                }
                Step::Commit(commit) => {
                    let transaction = commit.transaction;
                    let id = transaction.id.text().unwrap_or_default();
                    self.lines.push(format!(
                        "{id} {} to {}: {} rows",
                        transaction.start, commit.end, self.rows
                    ));
                    self.ends.push(commit.end.clone());
                    self.ids.push(transaction.id);
                }
                Step::Idle { position, resume } => {
                    assert_eq!(position, resume);
                    self.idle = Some(position.clone());
                }
                Step::Schema(_) | Step::Changed(_) | Step::Rotate { .. } | Step::Passed { .. } => {}
            }
        }
    }
}

/// Decodes a stream until the server says that it reads at `end`. (It also says where it reads while
/// it leaves transactions out.)
async fn stream(mut replica: Replica, start: &Start, end: &Position) -> Log {
    let mut decoder = Decoder::new(Config::default());
    if let Start::Position(position) = start {
        decoder.start_at(position.clone());
    }
    let mut log = Log::default();
    while !log.idle.as_ref().is_some_and(|idle| is_behind(idle, end)) {
        let event = replica.next().await.expect("an event").expect("the stream goes on");
        log.feed(&mut decoder, event);
    }
    log
}

/// Whether `position` is at `end` or later: MariaDB's background writes its checkpoints behind.
fn is_behind(position: &Position, end: &Position) -> bool {
    (&position.file, position.offset) >= (&end.file, end.offset)
}

const WORKLOAD: [&str; 12] = [
    "CREATE DATABASE lab",
    "CREATE TABLE lab.t (id INT PRIMARY KEY, body MEDIUMTEXT)",
    "INSERT INTO lab.t VALUES (1, 'a'), (2, 'b')",
    "UPDATE lab.t SET body = 'c'",
    "FLUSH LOGS",
    "INSERT INTO lab.t VALUES (3, REPEAT('x', 70000))",
    "ALTER TABLE lab.t ADD COLUMN n INT",
    "INSERT INTO lab.t VALUES (4, NULL, 4)",
    "FLUSH LOGS",
    "DELETE FROM lab.t WHERE id < 3",
    "INSERT INTO lab.t VALUES (5, NULL, 4)",
    "INSERT INTO lab.t VALUES (6, NULL, 4)",
];

async fn a_stream_from_any_commit_on_says_what_the_files_say(bed: Bed) -> Outcome {
    let name = bed.version();
    let server = Server::start(&bed, gtid_options(&bed)).await;
    server.run(&WORKLOAD).await;
    let mut files: Vec<_> = std::fs::read_dir(&server.data)
        .expect("the data folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|file| {
            let number = file.strip_prefix("binlog.").unwrap_or("x");
            number.bytes().all(|digit| digit.is_ascii_digit())
        })
        .collect();
    files.sort();
    let mut decoder = Decoder::new(Config { contiguous: true, ..Config::default() });
    let mut expected = Log::default();
    for file in &files {
        decoder.follow_at(Position::new(file.as_str(), 4));
        let mut captured = FileReader::open_path(&server.data.join(file)).expect("a file");
        while let Some(event) = captured.next().expect("an event") {
            expected.feed(&mut decoder, event);
        }
    }
    decoder.finish().expect("whole transactions");
    assert!(expected.lines.len() >= 10, "{name}: {:#?}", expected.lines);

    let config = config(&server, "rep");
    let earliest = Position::new(files[0].as_str(), 4);
    let (end, before) = expected.ends.split_last().expect("transactions");
    let starts = std::iter::once(&earliest).chain(before);
    for (skipped, position) in starts.enumerate() {
        let start = Start::Position(position.clone());
        let found = stream(open(&config, &start).await, &start, end).await;
        assert_eq!(found.lines, expected.lines[skipped..], "{name} from {position}");
    }

    // By a GTID set that has holes: the server leaves out what is in it, and we see where it continues.
    let own: Vec<Gtid> = expected
        .ids
        .iter()
        .filter_map(|id| if let TransactionId::Gtid(gtid) = id { Some(*gtid) } else { None })
        .collect();
    if own.len() == expected.ids.len() {
        let mut set = GtidSet::default();
        let has = |number: usize| number.is_multiple_of(2);
        for (_, gtid) in own.iter().enumerate().filter(|(number, _)| has(*number)) {
            set.insert(*gtid);
        }
        let start = Start::Gtid(set);
        let found = stream(open(&config, &start).await, &start, end).await;
        let left: Vec<_> = expected.lines.iter().enumerate().filter(|(n, _)| !has(*n)).collect();
        let left: Vec<_> = left.into_iter().map(|(_, line)| line.clone()).collect();
        assert_eq!(found.lines, left, "{name} by GTID");
    }
    Ok(())
}
