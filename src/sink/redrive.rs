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
/// A crash may leave accepted messages in the file: they are sent again the next time, and consumers
/// know them by their numbers.
pub async fn redrive(
    path: &Path,
    quarantine: &mut Quarantine,
    sns: Sns,
    stop: &CancellationToken,
) -> Result<Report, Error> {
    let (feed, intake) = intake(ROOM_BYTES);
    let (sender, mut settlements) = mpsc::channel(SETTLEMENTS_MAX);
    let sink_stop = CancellationToken::new();
    let mut sink = tokio::spawn(sns.run(intake, sender, sink_stop.clone()));
    let mut rounds = Rounds::default();
    let mut report = Report::default();
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
