//! Whether work can flow: all that `/readyz` looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What `/readyz` answers from: whether the stream and the sink are up, which the sampler of the freshness
/// part sets at each of its ticks, and whether this process is a standby. Cloning shares them. All are off at
/// first.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    stream: Arc<AtomicBool>,
    sink: Arc<AtomicBool>,
    stands_by: Arc<AtomicBool>,
}

impl Readiness {
    /// The replica connection is established, or not.
    pub fn stream(&self, up: bool) {
        self.stream.store(up, Ordering::Relaxed);
    }

    /// The sink accepts messages, or not.
    pub fn sink(&self, up: bool) {
        self.sink.store(up, Ordering::Relaxed);
    }

    /// It waits for another process's lease, and sees it; or not. Such a standby is ready.
    pub fn stands_by(&self, does: bool) {
        self.stands_by.store(does, Ordering::Relaxed);
    }

    /// What is missing, in words; nothing when ready.
    pub fn missing(&self) -> Vec<&'static str> {
        if self.stands_by.load(Ordering::Relaxed) {
            return Vec::new();
        }
        [(&self.stream, "the stream is not up"), (&self.sink, "the sink is not up")]
            .into_iter()
            .filter(|(switch, _)| !switch.load(Ordering::Relaxed))
            .map(|(_, words)| words)
            .collect()
    }
}
