//! How far a reading is, for who waits for it.

use std::fmt;
use std::sync::Arc;

use crate::change::Position;
use crate::freshness::Progress;
use crate::source::preflight::BinlogFile;

/// How far a reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayProgress {
    /// It publishes; otherwise it counts.
    pub is_publishing: bool,
    /// Bytes of the binary logs that were read.
    pub done: u64,
    /// Bytes of all of them; `None`: the server did not say.
    pub all: Option<u64>,
    /// Commit time of the newest transaction that was read, microseconds since 1970 UTC; 0: none yet.
    pub newest_commit_us: i64,
}

/// What is told to.
type Told = Arc<dyn Fn(ReplayProgress) + Send + Sync>;

/// Who is told how far a replay is; by default nobody.
#[derive(Clone, Default)]
pub struct Watch(Option<Told>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.0.is_some()).finish()
    }
}

impl Watch {
    /// Tells this. It must return at once.
    pub fn new(tell: impl Fn(ReplayProgress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Of a reading from `start` to `end` of these files.
    pub(super) fn over(&self, files: &[BinlogFile], start: &Position, end: &Position) -> PassWatch {
        let told = self.0.clone();
        // Nobody needs the list where nobody is told.
        let files = if told.is_some() { files } else { &[] };
        let sizes = |file: &BinlogFile| (file.name.clone(), file.bytes);
        let first = files.iter().position(|file| *file.name == *start.file);
        let files = first.and_then(|first| files.get(first..)).unwrap_or_default();
        let mut whole = PassWatch {
            told,
            files: files.iter().map(sizes).collect(),
            start: start.offset,
            all: None,
        };
        whole.all = whole.done(end);
        whole
    }
}

/// The same of one reading.
#[derive(Clone)]
pub(super) struct PassWatch {
    told: Option<Told>,
    /// Names and sizes of the files that are read, in their order.
    files: Vec<(String, u64)>,
    /// Offset in the first of them.
    start: u64,
    all: Option<u64>,
}

impl PassWatch {
    /// Tells how far it is. Whether anybody listened.
    pub(super) fn tell(&self, is_publishing: bool, progress: &Progress) -> bool {
        let Some(told) = &self.told else { return false };
        let done = self.done(&progress.read).unwrap_or(0);
        let done = done.saturating_add(progress.transaction_bytes);
        let newest_commit_us = progress.newest_commit_us;
        told(ReplayProgress { is_publishing, done, all: self.all, newest_commit_us });
        true
    }

    /// Bytes up to there; `None`: that is in none of the files.
    fn done(&self, place: &Position) -> Option<u64> {
        let at = self.files.iter().position(|(name, _)| **name == *place.file)?;
        let before: u64 = self.files.iter().take(at).map(|(_, bytes)| bytes).sum();
        Some(before.saturating_add(place.offset).saturating_sub(self.start))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn how_far_it_is_is_counted_over_the_files_that_are_read() {
        let file = |name: &str, bytes| BinlogFile { name: name.to_owned(), bytes };
        let files = [file("b.1", 1_000), file("b.2", 300), file("b.3", 500)];
        let told = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&told);
        let watch = Watch::new(move |progress| list.lock().expect("not poisoned").push(progress));
        let pass = watch.over(&files, &Position::new("b.2", 4), &Position::new("b.3", 104));
        for read in [Position::default(), Position::new("b.2", 204), Position::new("b.3", 54)] {
            assert!(pass.tell(true, &Progress { read, ..Progress::default() }));
        }
        let told = told.lock().expect("not poisoned");
        let told: Vec<_> = told.iter().map(|one| (one.done, one.all)).collect();
        assert_eq!(told, [(0, Some(400)), (200, Some(400)), (350, Some(400))]);

        // A server that tells of no files, and nobody who listens
        let unknown = watch.over(&[], &Position::new("b.2", 4), &Position::new("b.3", 104));
        assert_eq!((unknown.done(&Position::new("b.2", 9)), unknown.all), (None, None));
        let nobody = Watch::default().over(&files, &Position::new("b.1", 4), &Position::default());
        assert!(!nobody.tell(false, &Progress::default()) && nobody.files.is_empty());
    }
}
