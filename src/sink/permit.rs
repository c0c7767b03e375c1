//! Until when publishing is permitted, for a sink whose owner has the stream only for a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Pause before somebody without a permission looks again.
const AGAIN: Duration = Duration::from_millis(50);

/// From when, and until when.
type Times = (Instant, Instant);

/// A permission to publish. Clones share it; the default is one for ever.
#[derive(Debug, Clone, Default)]
pub struct Permit(Option<Arc<Mutex<Option<Times>>>>);

impl Permit {
    /// One that is not granted yet.
    pub fn withheld() -> Self {
        Self(Some(Arc::default()))
    }

    /// Grants it from one moment up to another.
    pub fn grant(&self, from: Instant, until: Instant) {
        self.set(Some((from, until)));
    }

    /// Takes it back.
    pub fn withdraw(&self) {
        self.set(None);
    }

    fn set(&self, times: Option<Times>) {
        if let Some(shared) = &self.0 {
            *shared.lock().unwrap_or_else(PoisonError::into_inner) = times;
        }
    }

    /// `None`: it is permitted to publish now; else when to ask again.
    pub fn wait(&self, now: Instant) -> Option<Instant> {
        let shared = self.0.as_ref()?;
        match *shared.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((from, until)) if now < until => (now < from).then_some(from),
            Some(_) | None => Some(now + AGAIN),
        }
    }
}
