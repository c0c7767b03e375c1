//! Saves the checkpoint beside the loop: a slow or full disk holds nothing up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::checkpoint::{Delta, Error, Recovery, Saving, Store, Tracker};
use crate::platform;

/// The loop's end of the saving task.
pub(crate) struct Saver {
    requests: mpsc::Sender<Delta>,
    results: mpsc::Receiver<Saved>,
    saving: Saving,
    is_under_way: bool,
    /// What a failed save leaves to be saved with the next.
    unsaved: Option<Delta>,
}

/// How a save ended.
pub(crate) struct Saved {
    delta: Delta,
    result: Result<(), Error>,
}

/// What the loop learns from a save.
pub(crate) enum Outcome {
    /// Durable, with this heartbeat as the newest within.
    Saved {
        /// Newest heartbeat within.
        heartbeat: Option<u64>,
        /// Texts within; empty: gone.
        texts: BTreeMap<Arc<str>, Arc<str>>,
    },
    /// Not now; it is tried again.
    Failed(Error),
}

impl Saver {
    /// Starts the task; it ends when the saver is dropped.
    pub(crate) fn spawn<S: Store + 'static>(
        mut store: S,
        saving: Saving,
    ) -> (Self, JoinHandle<()>) {
        let (requests, mut taken) = mpsc::channel::<Delta>(1);
        let (told, results) = mpsc::channel(1);
        let task = platform::spawn(async move {
            while let Some(delta) = taken.recv().await {
                let result = store.save(&delta).await;
                if told.send(Saved { delta, result }).await.is_err() {
                    return;
                }
            }
        });
        (Self { requests, results, saving, is_under_way: false, unsaved: None }, task)
    }

    /// Begins a save if one is due, none is under way, and there is something to save.
    pub(crate) fn offer(&mut self, tracker: &mut Tracker, now: Instant) {
        if !self.is_under_way && self.saving.is_due(now) {
            self.begin(tracker);
        }
    }

    /// Somebody waits for the next save.
    pub(crate) fn hurry(&mut self) {
        self.saving.hurry();
    }

    /// When the next save may begin; `None`: at once, or one is under way.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        if self.is_under_way { None } else { self.saving.due_at() }
    }

    /// The end of a save. Pending while none is under way. Cancel safe. An error means that the task
    /// is gone, and nothing will ever be saved again.
    pub(crate) async fn result(&mut self) -> Result<Saved, Error> {
        self.results.recv().await.ok_or_else(|| Error::Io {
            action: "save",
            path: "the checkpoint".into(),
            source: std::io::Error::other("the task that saves has ended, which is a bug"),
        })
    }

    /// Takes note of a save's end. An error is one that no later save can fix.
    pub(crate) fn observe(&mut self, saved: Saved, now: Instant) -> Result<Outcome, Error> {
        self.is_under_way = false;
        match saved.result {
            Ok(()) => {
                self.saving.succeeded(now);
                let Delta { heartbeat, annotations, .. } = saved.delta;
                Ok(Outcome::Saved { heartbeat, texts: annotations })
            }
            Err(error) => match error.recovery() {
                Recovery::Retry => {
                    self.saving.failed(now);
                    self.unsaved = Some(saved.delta);
                    Ok(Outcome::Failed(error))
                }
                Recovery::Halt => Err(error),
            },
        }
    }

    /// Saves everything that is delivered, now: the last act of a stop.
    pub(crate) async fn finish(&mut self, tracker: &mut Tracker) -> Result<(), Error> {
        if self.is_under_way {
            let saved = self.result().await?;
            self.observe(saved, platform::now())?;
        }
        self.begin(tracker);
        if self.is_under_way {
            let saved = self.result().await?;
            if let Outcome::Failed(error) = self.observe(saved, platform::now())? {
                return Err(error);
            }
        }
        Ok(())
    }

    fn begin(&mut self, tracker: &mut Tracker) {
        let delta = match (self.unsaved.take(), tracker.take_delta(platform::wall_us())) {
            (Some(mut older), Some(newer)) => {
                older.merge(newer);
                older
            }
            (Some(delta), None) | (None, Some(delta)) => delta,
            (None, None) => return,
        };
        match self.requests.try_send(delta) {
            Ok(()) => self.is_under_way = true,
            Err(
                mpsc::error::TrySendError::Full(delta) | mpsc::error::TrySendError::Closed(delta),
            ) => {
                self.unsaved = Some(delta);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::change::{Gtid, Position, Tag, TransactionId, Uuid};
    use crate::checkpoint::{Checkpoint, Commit, TransactionKind};

    /// A disk that is full at some of the saves.
    struct Disk {
        saved: Arc<Mutex<Checkpoint>>,
        fails: BTreeSet<usize>,
        saves: usize,
    }

    impl Store for Disk {
        async fn load(&mut self) -> Result<Option<Checkpoint>, Error> {
            Ok(None)
        }
        async fn begin(&mut self, _: &Checkpoint) -> Result<(), Error> {
            Ok(())
        }
        async fn save(&mut self, delta: &Delta) -> Result<(), Error> {
            self.saves += 1;
            if self.fails.contains(&self.saves) {
                let source = std::io::Error::other("full");
                return Err(Error::Io { action: "write", path: "disk".into(), source });
            }
            self.saved.lock().expect("no panic").apply(delta);
            Ok(())
        }
    }

    fn commit(tracker: &mut Tracker, sequence: u64) {
        let gtid = Gtid { source: Uuid([1; 16]), tag: Tag::default(), sequence };
        let end = Position::new("binlog.000001", sequence * 100);
        let (id, class) = (TransactionId::Gtid(gtid), TransactionKind::Heartbeat(sequence));
        tracker.numbered(0, &Arc::from("d.t#0"), sequence + 1);
        tracker.commit(&Commit { id, class, end: &end, resolves: &[], open_xa: None });
        tracker.close_ack_group();
    }

    /// What is saved at the end, and the heartbeats that were said to be within a save.
    fn saved_by(fails: BTreeSet<usize>, waits: &[bool]) -> (Checkpoint, Vec<Option<u64>>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let content = Arc::new(Mutex::new(Checkpoint::default()));
            let disk = Disk { saved: Arc::clone(&content), fails, saves: 0 };
            let (mut saver, _task) = Saver::spawn(disk, Saving::new(Duration::from_secs(1)));
            let mut tracker = Tracker::new(&Checkpoint::default());
            let (mut now, mut told) = (Instant::now(), Vec::new());
            for (sequence, waits) in (1..).zip(waits) {
                commit(&mut tracker, sequence);
                saver.offer(&mut tracker, now);
                assert_eq!(saver.due_at().is_none(), saver.is_under_way);
                if *waits && saver.is_under_way {
                    let result = saver.result().await.expect("the task lives");
                    if let Outcome::Saved { heartbeat, .. } =
                        saver.observe(result, now).expect("retried")
                    {
                        told.push(heartbeat);
                        assert_eq!(saver.due_at(), Some(now + Duration::from_secs(1)));
                    }
                    now += Duration::from_secs(40);
                }
            }
            while saver.finish(&mut tracker).await.is_err() {}
            let content = content.lock().expect("no panic").clone();
            (content, told)
        })
    }

    proptest! {
        #[test]
        fn nothing_is_missing_from_the_last_save_whichever_failed_before(
            fails in proptest::collection::btree_set(1_usize..12, 0..8),
            waits in proptest::collection::vec(any::<bool>(), 1..12),
        ) {
            let (saved, told) = saved_by(fails, &waits);
            let count = waits.len() as u64;
            prop_assert_eq!(saved.gtid_set.count(), u128::from(count));
            prop_assert_eq!(saved.settled.position, Position::new("binlog.000001", count * 100));
            prop_assert_eq!(saved.lanes.values().copied().collect::<Vec<_>>(), vec![count + 1]);
            prop_assert!(told.iter().all(Option::is_some) && told.is_sorted());
        }
    }

    #[tokio::test]
    async fn a_failure_that_no_later_save_can_fix_ends_the_stream() {
        struct Taken;
        impl Store for Taken {
            async fn load(&mut self) -> Result<Option<Checkpoint>, Error> {
                Ok(None)
            }
            async fn begin(&mut self, _: &Checkpoint) -> Result<(), Error> {
                Ok(())
            }
            async fn save(&mut self, _: &Delta) -> Result<(), Error> {
                Err(Error::Fenced { place: "disk".to_owned(), owner: "another".to_owned() })
            }
        }
        let (mut saver, _task) = Saver::spawn(Taken, Saving::new(Duration::from_secs(1)));
        let mut tracker = Tracker::new(&Checkpoint::default());
        commit(&mut tracker, 1);
        saver.offer(&mut tracker, Instant::now());
        let result = saver.result().await.expect("the task lives");
        let ended = saver.observe(result, Instant::now());
        assert!(matches!(ended, Err(Error::Fenced { .. })));
    }
}
