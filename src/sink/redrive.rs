//! Quarantined messages, published again and then forgotten.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::quarantine::{Entry, Quarantine, Reader, Record};
use super::sns::Sns;
use super::{Error as SinkError, Settlement, intake, quarantine};
use crate::encode::{LaneId, Message};

/// Bodies that are published before the file is written again, bytes.
const ROUND_BYTES: usize = 32 << 20;
/// Room of the sink's queue: more than a round and its last message, so that a round fits.
const ROOM_BYTES: usize = 2 * ROUND_BYTES;
/// Settlements under way.
const SETTLEMENTS_MAX: usize = 256;

/// What has come of a redrive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Messages that their topics took: they are gone from the file.
    pub accepted: u64,
    /// Messages that were refused again, or that this version can't read, and why. They stay.
    pub refused: Vec<String>,
    /// Row events that could not be decoded. They stay: there is no message to send.
    pub undecoded: u64,
    /// Whether it was asked to stop before the end.
    pub interrupted: bool,
}

/// Why a redrive could not continue. What was accepted before is gone from the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error(transparent)]
    Quarantine(#[from] quarantine::Error),
    /// The sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// The topics of the messages in a file, each once.
pub fn topics(path: &Path) -> Result<Vec<String>, quarantine::Error> {
    let mut topics = BTreeSet::new();
    for entry in Reader::new(path)? {
        if let Entry::Message(record) = entry? {
            topics.insert(record.destination);
        }
    }
    Ok(topics.into_iter().collect())
}

/// Publishes the messages of the quarantine at `path` again, in the file's order, with the bodies,
/// attributes, groups and deduplication ids that they had, and removes those that are accepted. Its
/// sink must continue after a refusal. Blocks while it writes the file.
///
/// `tell` learns how many were accepted or refused so far.
///
/// A crash may leave accepted messages in the file: they are sent again the next time, and consumers
/// know them by their numbers.
pub async fn redrive(
    path: &Path,
    quarantine: &mut Quarantine,
    sns: Sns,
    stop: &CancellationToken,
    tell: &mut (dyn FnMut(u64) + Send),
) -> Result<Report, Error> {
    let (feed, intake) = intake(ROOM_BYTES);
    let (sender, mut settlements) = mpsc::channel(SETTLEMENTS_MAX);
    let sink_stop = CancellationToken::new();
    let mut sink = tokio::spawn(sns.run(intake, sender, sink_stop.clone()));
    let mut rounds = Rounds::default();
    let (mut report, mut settled) = (Report::default(), 0);
    while !report.interrupted {
        let messages = rounds.next(path, &mut report)?;
        if messages.is_empty() {
            break;
        }
        let mut left = messages.len();
        for message in messages {
            // A sink that takes no more has ended; its settlements then end too.
            drop(feed.send(message).await);
        }
        let mut accepted = BTreeSet::new();
        while left > 0 {
            let settlement = tokio::select! {
                biased;
                settlement = settlements.recv() => settlement,
                () = stop.cancelled(), if !report.interrupted => {
                    report.interrupted = true;
                    sink_stop.cancel();
                    continue;
                }
            };
            match settlement {
                Some(Settlement::Settled { id, .. }) => {
                    accepted.insert(id);
                }
                Some(Settlement::Failed { message, error }) => {
                    let (lane, sequence) = (&message.lane_key, message.sequence_first);
                    report.refused.push(format!("{lane} {sequence}: {error}"));
                }
                None => break,
            }
            left -= 1;
            settled += 1;
            tell(settled);
        }
        if !accepted.is_empty() {
            quarantine.retain(|number| !accepted.contains(&number))?;
        }
        report.accepted += accepted.len() as u64;
        rounds.removed(accepted.len() as u64);
        if left > 0 && !report.interrupted {
            return Err(match (&mut sink).await {
                Ok(Err(error)) => error.into(),
                Ok(Ok(())) => SinkError::Abandoned.into(),
                Err(error) => SinkError::Task(error).into(),
            });
        }
    }
    drop(feed);
    // Whatever it could not deliver is still in the file.
    drop(sink.await);
    Ok(report)
}

/// Reads the file in pieces.
#[derive(Debug, Default)]
struct Rounds {
    /// Entries at the front that were looked at and stay.
    done: u64,
    lanes: HashMap<(String, String), u32>,
}

impl Rounds {
    /// The next messages, each with its number in the file as its id.
    fn next(&mut self, path: &Path, report: &mut Report) -> Result<Vec<Message>, Error> {
        let (mut messages, mut bytes) = (Vec::new(), 0);
        for (number, entry) in (0..).zip(Reader::new(path)?) {
            let entry = entry?;
            if number < self.done {
                continue;
            }
            if bytes >= ROUND_BYTES {
                break;
            }
            self.done = number + 1;
            match entry {
                Entry::Undecoded(_) => report.undecoded += 1,
                Entry::Message(record) => {
                    let name = format!("{} {}", record.lane, record.sequence_first);
                    let lane = self.lane(&record);
                    match record.into_message(number, lane) {
                        Some(message) => {
                            bytes += message.billed_bytes();
                            messages.push(message);
                        }
                        None => report.refused.push(format!(
                            "{name}: written by a newer binpulse, which must redrive it"
                        )),
                    }
                }
            }
        }
        Ok(messages)
    }

    fn lane(&mut self, record: &Record) -> LaneId {
        let next = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        let key = (record.destination.clone(), record.lane.clone());
        LaneId(*self.lanes.entry(key).or_insert(next))
    }

    /// So many of the entries looked at are gone.
    fn removed(&mut self, count: u64) {
        self.done = self.done.saturating_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::aws;
    use crate::encode::{Attribute, DataType};
    use crate::sink::quarantine::Undecoded;
    use crate::sink::sns::Config;
    use crate::sink::sns::fixture::message;
    use crate::sink::sns::stand_in::{Answer, Call, StandIn};
    use crate::sink::{MessageRejected, OnRefusal};

    const TOPIC: &str = "arn:aws:sns:eu-west-1:000000000000:changes.fifo";
    const LIMIT: u64 = 1 << 30;

    struct Trial {
        _folder: tempfile::TempDir,
        path: PathBuf,
    }

    fn kept(id: u64, lane: u32, body: &str) -> Message {
        let mut message = message(id, lane, 1);
        message.body = body.to_owned();
        let (name, value) = ("kind".into(), "change".to_owned());
        message.attributes.push(Attribute { name, data_type: DataType::String, value });
        message
    }

    impl Trial {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("quarantine");
            Self { _folder: folder, path }
        }

        fn open(&self) -> Quarantine {
            Quarantine::open(&self.path, LIMIT).expect("it opens")
        }

        fn put(&self, messages: &[Message]) {
            let mut quarantine = self.open();
            let refusal =
                MessageRejected::TooLarge { bytes: 9, limit: 5, destination: TOPIC.to_owned() };
            for message in messages {
                quarantine.put(message, &refusal, UNIX_EPOCH).expect("there is room");
            }
        }

        /// Bodies of the messages in the file, and a word for what is none.
        fn left(&self) -> Vec<String> {
            let body = |entry| match entry {
                Ok(Entry::Message(record)) => record.body,
                Ok(Entry::Undecoded(_)) => "undecoded".to_owned(),
                Err(error) => panic!("{error}"),
            };
            Reader::new(&self.path).expect("it is there").map(body).collect()
        }

        async fn redrive(
            &self,
            service: &StandIn,
            on_refusal: OnRefusal,
            stop: &CancellationToken,
        ) -> Result<Report, Error> {
            let shared = aws::Shared::stand_in_over("eu-west-1", service.clone()).await;
            let retry_first = Duration::from_millis(1);
            let config = Config { on_refusal, retry_first, ..Config::default() };
            let sns = Sns::open(config, &shared, &[Arc::from(TOPIC)]).await.expect("it answers");
            redrive(&self.path, &mut self.open(), sns, stop, &mut |_| {}).await
        }
    }

    /// Takes all but those whose body begins with `poison`.
    fn service() -> StandIn {
        let fate = |body: &str| body.starts_with("poison").then_some(("Bad", true));
        StandIn::new(move |_, call: &Call| {
            if call.entries.is_empty() {
                Answer::Takes
            } else {
                Answer::Each(call.bodies().map(fate).collect())
            }
        })
    }

    fn undecoded() -> Undecoded {
        Undecoded {
            quarantined_at_us: 0,
            error: "a column too many".to_owned(),
            gtid: None,
            transaction: "binlog.000001:4".to_owned(),
            position: "binlog.000001:99".to_owned(),
            database: "shop".to_owned(),
            table: "t".to_owned(),
            committed_at_us: 0,
            event: String::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_leaves_the_file_and_the_rest_stays_in_its_order() {
        let trial = Trial::new();
        trial.put(&[kept(1, 1, "poison 1"), kept(2, 2, "a")]);
        trial.open().put_undecoded(undecoded()).expect("there is room");
        trial.put(&[kept(3, 1, "b"), kept(4, 2, "poison 2"), kept(5, 1, "c")]);
        // A newer version's.
        let text = std::fs::read_to_string(&trial.path).expect("text");
        let first = text.lines().next().expect("a line");
        let json = &first[first.find('{').expect("an object")..=first.rfind('}').expect("its end")];
        let newer = json.replace(r#""kind":"change""#, r#""kind":"dream""#);
        assert_ne!(json, newer);
        std::fs::write(&trial.path, text + &crate::journal::line(&newer)).expect("written");
        assert_eq!(topics(&trial.path).expect("whole"), [TOPIC]);

        let service = service();
        let stop = CancellationToken::new();
        let report = trial.redrive(&service, OnRefusal::GoOn, &stop).await.expect("it ends");
        assert_eq!((report.accepted, report.undecoded, report.interrupted), (3, 1, false));
        assert_eq!(report.refused.len(), 3, "{:?}", report.refused);
        let told = |of: &str, why: &str| {
            report.refused.iter().any(|text| text.starts_with(of) && text.contains(why))
        };
        assert!(told("shop.t1#0 1: ", "Bad") && told("shop.t2#0 4: ", "Bad"));
        assert!(told("shop.t1#0 1: ", "written by a newer binpulse"), "{:?}", report.refused);
        assert_eq!(trial.left(), ["poison 1", "undecoded", "poison 2", "poison 1"]);
        let mut came = service.bodies();
        came.sort_unstable();
        assert_eq!(came, ["a", "b", "c", "poison 1", "poison 2"], "each once");
        // As they had been, in the order of their lanes.
        let bodies = service.bodies().into_iter();
        assert_eq!(bodies.filter(|body| "bc".contains(&**body)).collect::<Vec<_>>(), ["b", "c"]);
        let mut entries = service.calls().into_iter().flat_map(|call| call.entries);
        let b = entries.find(|entry| entry["Message"] == "b").expect("it came");
        assert_eq!((&*b["MessageGroupId"], &*b["MessageDeduplicationId"]), ("lane-1", "1-3"));
        assert_eq!(b["MessageAttributes.entry.1.Value.StringValue"], "change");

        // Once more, nothing changes.
        let report = trial.redrive(&service, OnRefusal::GoOn, &stop).await.expect("it ends");
        assert_eq!((report.accepted, report.refused.len()), (0, 3));
        assert_eq!(trial.left().len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_to_stop_ends_it_with_what_was_taken_gone_and_the_rest_in_the_file() {
        let trial = Trial::new();
        trial.put(&[kept(1, 1, "a"), kept(2, 1, "b")]);
        let service = StandIn::new(|number, call: &Call| {
            if !call.entries.is_empty() && number > 0 { Answer::Hangs } else { Answer::Takes }
        });
        let stop = CancellationToken::new();
        let wait = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            stop.cancel();
        };
        let (report, ()) = tokio::join!(trial.redrive(&service, OnRefusal::GoOn, &stop), wait);
        let report = report.expect("it was asked to");
        assert_eq!((report.accepted, report.interrupted), (1, true));
        assert_eq!(trial.left(), ["b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sink_that_ends_by_itself_is_an_error_with_what_was_taken_gone() {
        let trial = Trial::new();
        trial.put(&[kept(1, 1, "a"), kept(2, 1, "poison"), kept(3, 1, "b")]);
        let stop = CancellationToken::new();
        let ended = trial.redrive(&service(), OnRefusal::Halt, &stop).await;
        assert!(matches!(ended, Err(Error::Sink(SinkError::Halted(_)))), "{ended:?}");
        assert_eq!(trial.left(), ["poison", "b"]);
    }

    #[test]
    fn a_large_file_is_read_in_rounds_that_continue_behind_what_stays() {
        let trial = Trial::new();
        let body = "x".repeat(ROUND_BYTES / 4);
        trial.put(&(0..6).map(|id| kept(id, 1, &body)).collect::<Vec<_>>());
        let (mut rounds, mut report) = (Rounds::default(), Report::default());
        let mut next = |rounds: &mut Rounds| {
            let messages = rounds.next(&trial.path, &mut report).expect("whole");
            messages.iter().map(|message| (message.id, message.sequence_first)).collect::<Vec<_>>()
        };
        assert_eq!(next(&mut rounds), [(0, 0), (1, 1), (2, 2), (3, 3)]);
        // Two of them were taken, and two stay in front.
        trial.open().retain(|number| number > 1).expect("written");
        rounds.removed(2);
        assert_eq!(next(&mut rounds), [(2, 4), (3, 5)]);
        rounds.removed(0);
        assert_eq!(next(&mut rounds), []);
    }
}
