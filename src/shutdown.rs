//! Stopping, designed: in order, and in bounded time.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// Tasks that stop together. No task is detached: whoever spawns, spawns into a group.
#[derive(Debug)]
pub struct TaskGroup {
    /// Its name, for logs.
    pub name: &'static str,
    /// Cancelled when it is asked to stop.
    pub stop: CancellationToken,
    /// Its tasks.
    pub tasks: TaskTracker,
}

impl TaskGroup {
    /// A group without tasks.
    pub fn new(name: &'static str) -> Self {
        Self { name, stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every task ended.
    Fully,
    /// Time was up while this group was stopping; it and those behind it are abandoned.
    Until(&'static str),
}

/// Stops `groups` front to back, each one fully before the next is asked.
///
/// Order them intake first, so that nothing new arrives, and metrics last, so that the drain can be
/// watched. Whatever is unfinished after `grace` is abandoned; the checkpoint makes that safe.
pub async fn drain(groups: &[TaskGroup], grace: Duration) -> Drained {
    let mut stopping = "";
    let orderly = async {
        for TaskGroup { name, stop, tasks } in groups {
            info!(group = name, "stopping");
            stopping = name;
            stop.cancel();
            tasks.close();
            tasks.wait().await;
        }
    };
    if tokio::time::timeout(grace, orderly).await.is_ok() {
        return Drained::Fully;
    }
    warn!(group = stopping, grace_seconds = grace.as_secs_f64(), "did not stop in time");
    // Those behind it learn of it, though nobody waits for them.
    for group in groups {
        group.stop.cancel();
    }
    Drained::Until(stopping)
}

/// Waits for SIGTERM or SIGINT; returns its name. To be created before anything that takes long, so
/// that an early signal is not lost.
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes over the two signals. From here on the process does not end by them alone.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next signal's name. A second one means: now, without a drain.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// SIGHUP: the settings are to be read again. To be created before anything that takes long.
pub struct Hangups(tokio::signal::unix::Signal);

impl Hangups {
    /// Takes the signal over. From here on the process does not end by it.
    pub fn new() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// The next one.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// SIGXFSZ, which ends a process that writes beyond its file-size limit unless somebody takes it.
const FILE_SIZE: i32 = 25;

/// Takes the signal of the file-size limit for good: such writes then fail with an error.
pub fn take_file_size_signal() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    // Once taken it stays so, whatever becomes of the listener.
    signal(SignalKind::from_raw(FILE_SIZE)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn group(name: &'static str, log: &Arc<Mutex<Vec<&'static str>>>, ends: bool) -> TaskGroup {
        let group = TaskGroup::new(name);
        let (stop, log) = (group.stop.clone(), Arc::clone(log));
        group.tasks.spawn(async move {
            stop.cancelled().await;
            log.lock().expect("one thread").push(name);
            if !ends {
                std::future::pending::<()>().await;
            }
        });
        group
    }

    #[tokio::test(start_paused = true)]
    async fn stages_stop_front_to_back() {
        let log = Arc::default();
        let groups = ["reader", "sink", "metrics"].map(|name| group(name, &log, true));
        assert_eq!(drain(&groups, Duration::from_secs(10)).await, Drained::Fully);
        assert_eq!(*log.lock().expect("one thread"), ["reader", "sink", "metrics"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stage_that_hangs_is_named_and_abandoned_after_the_grace() {
        let log = Arc::default();
        let groups =
            [group("reader", &log, true), group("sink", &log, false), group("metrics", &log, true)];
        assert_eq!(drain(&groups, Duration::from_secs(10)).await, Drained::Until("sink"));
        assert!(groups[2].stop.is_cancelled());
    }
}
