//! Keeps the tasks beside the stream running: one that panics, or ends by itself, is begun again.
//!
//! Without a heartbeat writer a quiet source can't be told from an outage, and nothing would say why:
//! so what ended is in the log and counted, and what keeps ending makes `/healthz` fail.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::patience::random;
use crate::backoff::Backoff;
use crate::excerpt::excerpt;
use crate::platform;
use crate::telemetry::{Loops, Metrics};

/// Pause before a task is begun again, at most: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A task that has run for so long is well.
const STANDS: Duration = Duration::from_secs(10);
/// How long a task may keep ending, and being started again, before `/healthz` fails.
const FALLEN_MAX: Duration = Duration::from_mins(2);

/// Longest pause between two turns of a loop: for the stream's, a save on a slow disk, or a large
/// event.
pub(super) const LOOP_PAUSE_MAX: Duration = Duration::from_mins(1);

/// The tasks beside the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Writes heartbeats.
    HeartbeatWriter,
    /// Writes canaries.
    CanaryWriter,
    /// Writes canaries into the operator's tables.
    CanaryPathWriter,
    /// Reads a consumer's echo queue.
    EchoReader,
    /// Asks the source when something is suspected.
    ActiveProbe,
    /// Asks the source about its replication and its logs.
    BackgroundProbe,
    /// Samples what is only counted.
    Samples,
    /// Leads the stream to the primary.
    Follow,
    /// Writes epoch and place down in the source.
    Place,
    /// Reads snapshots.
    Snapshot,
    /// Publishes rows again that are asked for.
    Replay,
    /// Renews the lease on the stream.
    Lease,
    /// Sends rows that were held back.
    Release,
    /// Brings settings into force that were read again.
    Reload,
    /// Records the history of the verdict.
    History,
}

impl Task {
    pub(super) const ALL: [Self; 15] = [
        Self::HeartbeatWriter,
        Self::CanaryWriter,
        Self::CanaryPathWriter,
        Self::EchoReader,
        Self::ActiveProbe,
        Self::BackgroundProbe,
        Self::Samples,
        Self::Follow,
        Self::Place,
        Self::Snapshot,
        Self::Replay,
        Self::Lease,
        Self::Release,
        Self::Reload,
        Self::History,
    ];

    /// Its name in metrics, `/healthz` and the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::HeartbeatWriter => "heartbeat_writer",
            Self::CanaryWriter => "canary_writer",
            Self::CanaryPathWriter => "canary_path_writer",
            Self::EchoReader => "echo_reader",
            Self::ActiveProbe => "active_probe",
            Self::BackgroundProbe => "background_probe",
            Self::Samples => "samples",
            Self::Follow => "follow",
            Self::Place => "place",
            Self::Snapshot => "snapshot",
            Self::Replay => "replay",
            Self::Lease => "lease",
            Self::Release => "release",
            Self::Reload => "reload",
            Self::History => "history",
        }
    }
}

/// Begins tasks, and begins them again.
#[derive(Clone)]
pub(super) struct Supervisor {
    tasks: TaskTracker,
    loops: Loops,
    metrics: Arc<Metrics>,
}

impl Supervisor {
    /// Its tasks belong to `tasks`; `/healthz` reads `loops`.
    pub(super) fn new(tasks: &TaskTracker, loops: &Loops, metrics: &Arc<Metrics>) -> Self {
        Self { tasks: tasks.clone(), loops: loops.clone(), metrics: Arc::clone(metrics) }
    }

    /// As [`Self::keep`], as one of `tasks`.
    pub(super) fn keep_in<T>(
        &self,
        tasks: &TaskTracker,
        task: Task,
        stop: &CancellationToken,
        begin: impl FnMut(CancellationToken) -> T + Send + 'static,
    ) where
        T: Future<Output = ()> + Send + 'static,
    {
        Self { tasks: tasks.clone(), ..self.clone() }.keep(task, stop, begin);
    }

    /// Keeps what `begin` makes running until `stop`.
    pub(super) fn keep<T>(
        &self,
        task: Task,
        stop: &CancellationToken,
        begin: impl FnMut(CancellationToken) -> T + Send + 'static,
    ) where
        T: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(platform::part(self.clone().run(task, stop.clone(), begin)));
    }

    async fn run<T>(
        self,
        task: Task,
        stop: CancellationToken,
        mut begin: impl FnMut(CancellationToken) -> T,
    ) where
        T: Future<Output = ()> + Send + 'static,
    {
        let ticker = self.loops.register(task.as_str(), FALLEN_MAX);
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        while !stop.is_cancelled() {
            let since = tokio::time::Instant::now();
            let running = platform::spawn(begin(stop.clone()));
            let ended = watch(running, || ticker.tick()).await;
            if stop.is_cancelled() {
                return;
            }
            backoff.succeeded(since.elapsed());
            let pause = backoff.pause(random());
            self.metrics.task_restarts_total.of(task.as_str()).inc();
            tracing::error!(
                task = task.as_str(),
                pause_seconds = pause.as_secs_f64(),
                "a task has ended and is restarted: {ended}"
            );
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// Waits for the end of a task, and says each time that it has stood for a while; why it ended.
async fn watch(mut running: JoinHandle<()>, stands: impl Fn()) -> String {
    loop {
        match tokio::time::timeout(STANDS, &mut running).await {
            Err(_) => stands(),
            Ok(Ok(())) => return "it returned".to_owned(),
            Ok(Err(error)) => match error.try_into_panic() {
                Ok(panic) => return format!("it panicked: {}", words(panic.as_ref())),
                Err(error) => return error.to_string(),
            },
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    excerpt(text.or(panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::telemetry::metrics::tests::metrics;

    struct Rig {
        supervisor: Supervisor,
        loops: Loops,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
        begun: Arc<AtomicU32>,
    }

    impl Rig {
        /// A supervisor with one task, which panics in its first `falls` lives.
        fn start(falls: u32) -> Self {
            let (loops, metrics) = (Loops::default(), Arc::new(metrics()));
            let supervisor = Supervisor::new(&TaskTracker::new(), &loops, &metrics);
            let (stop, begun) = (CancellationToken::new(), Arc::new(AtomicU32::new(0)));
            let count = Arc::clone(&begun);
            supervisor.keep(Task::HeartbeatWriter, &stop, move |stop| {
                let life = count.fetch_add(1, Ordering::Relaxed);
                async move {
                    assert!(life >= falls, "life {life}");
                    stop.cancelled().await;
                }
            });
            Self { supervisor, loops, metrics, stop, begun }
        }

        async fn pass(&self, time: Duration) {
            tokio::time::sleep(time).await;
        }

        fn restarts(&self) -> u64 {
            self.metrics.task_restarts_total.of("heartbeat_writer").get()
        }

        fn is_healthy(&self) -> bool {
            self.loops.stuck(tokio::time::Instant::now().into_std()).is_empty()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_begun_again_and_counted() {
        let rig = Rig::start(3);
        rig.pass(Duration::from_mins(5)).await;
        assert_eq!((rig.begun.load(Ordering::Relaxed), rig.restarts()), (4, 3));
        assert!(rig.is_healthy(), "it stands");
        rig.stop.cancel();
        rig.supervisor.tasks.close();
        rig.supervisor.tasks.wait().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_keeps_panicking_makes_the_process_unhealthy_and_is_still_tried() {
        let rig = Rig::start(u32::MAX);
        rig.pass(Duration::from_mins(1)).await;
        assert!(rig.is_healthy(), "not at once");
        rig.pass(Duration::from_mins(2)).await;
        let stuck = rig.loops.stuck(tokio::time::Instant::now().into_std());
        assert!(stuck.iter().any(|stuck| stuck.name == "heartbeat_writer"), "{stuck:?}");
        let before = rig.restarts();
        rig.pass(Duration::from_mins(10)).await;
        assert!(rig.restarts() > before && rig.restarts() < 1_000, "{}", rig.restarts());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_told_to_stop_is_not_begun_again() {
        let rig = Rig::start(0);
        rig.pass(Duration::from_secs(1)).await;
        rig.stop.cancel();
        rig.supervisor.tasks.close();
        rig.supervisor.tasks.wait().await;
        assert_eq!((rig.begun.load(Ordering::Relaxed), rig.restarts()), (1, 0));
        let later = Instant::now() + Duration::from_hours(1);
        assert_eq!(rig.loops.stuck(later), [], "it is not stuck");
    }
}
