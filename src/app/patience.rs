//! How long is waited for what is not there, and how attempts are spaced.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::platform;

/// Ceiling of the first pause between two attempts, and of the last.
pub(super) const PAUSE_FIRST: Duration = Duration::from_millis(200);
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(15);

/// How long a stage of the start is tried again.
pub(super) struct Patience {
    until: Instant,
    backoff: Backoff,
    awaited: &'static str,
}

impl Patience {
    /// `awaited` is what is said of it while it is not there.
    pub(super) fn new(patience: Duration, awaited: &'static str) -> Self {
        let backoff = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        Self { until: platform::now() + patience, backoff, awaited }
    }

    /// Makes attempts until one succeeds, or fails for what does not pass by itself.
    pub(super) async fn until<T, E: Display>(
        mut self,
        mut attempt: impl AsyncFnMut() -> Result<T, E>,
        passes: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => {
                    let passes = passes(&error);
                    self.after(error, passes).await?;
                }
            }
        }
    }

    /// Waits before the next attempt; the error itself if waiting does not help, or has lasted too long.
    pub(super) async fn after<E: Display>(&mut self, error: E, passes: bool) -> Result<(), E> {
        let pause = self.backoff.pause(random());
        if !passes || platform::now() + pause > self.until {
            return Err(error);
        }
        let awaited = self.awaited;
        tracing::warn!(%error, pause_seconds = pause.as_secs_f64(), "{awaited}");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// 64 random bits. Each hasher of the standard library is keyed again from the system's randomness.
pub(super) fn random() -> u64 {
    platform::random()
}
