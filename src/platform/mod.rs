//! What the service takes from the machine that it runs on: clocks, random numbers, threads, tasks,
//! connections, and disks that may make it wait.
//!
//! In the service each of these is the machine's own. With the feature `testing` a future may be polled
//! on a [`Machine`] of a simulation instead: its clock is the runtime's, which can be paused, and all
//! else is what the simulation says. `docs/develop/simulation.md` tells more.

#[cfg(feature = "testing")]
mod simulated;

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

#[cfg(feature = "testing")]
pub use simulated::{Admission, Commands, Connecting, Machine, Part, StatusDocument, current, on};

/// The monotonic clock. It is the runtime's, which tests can stop.
#[inline]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How long ago that was.
#[inline]
pub fn since(at: Instant) -> Duration {
    now().saturating_duration_since(at)
}

/// The wall clock.
pub fn wall() -> SystemTime {
    #[cfg(feature = "testing")]
    if let Some(machine) = current() {
        return machine.wall();
    }
    SystemTime::now()
}

/// The wall clock, microseconds since 1970 UTC.
pub fn wall_us() -> i64 {
    let since = wall().duration_since(UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_micros()).ok()).unwrap_or(0)
}

/// Time since the machine's start, also while it was suspended. It comes from the kernel as text, in
/// hundredths of a second; zero where there is none.
pub fn since_boot() -> Duration {
    #[cfg(feature = "testing")]
    if let Some(machine) = current() {
        return machine.since_boot();
    }
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = uptime.split_whitespace().next().and_then(|text| text.parse::<f64>().ok());
    let boot = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    boot.unwrap_or_default()
}

/// 64 random bits, not for secrets. Each hasher of the standard library is keyed again from the
/// system's randomness.
pub fn random() -> u64 {
    #[cfg(feature = "testing")]
    if let Some(machine) = current() {
        return machine.random();
    }
    RandomState::new().build_hasher().finish()
}

/// Fills a secret: random bytes of the system's; where it has none to give, of the hasher's keys, which
/// are.
pub fn secret(bytes: &mut [u8; 32]) {
    #[cfg(feature = "testing")]
    let is_simulated = current().is_some();
    #[cfg(not(feature = "testing"))]
    let is_simulated = false;
    let read = |bytes: &mut [u8; 32]| File::open("/dev/urandom")?.read_exact(bytes);
    if is_simulated || read(bytes).is_err() {
        for part in bytes.chunks_exact_mut(8) {
            part.copy_from_slice(&random().to_be_bytes());
        }
    }
}

/// A future as one of this process's: to be wrapped around whatever is spawned.
#[cfg(not(feature = "testing"))]
pub fn part<F: Future>(future: F) -> F {
    future
}

/// A future as one of this process's: to be wrapped around whatever is spawned.
#[cfg(feature = "testing")]
pub fn part<F: Future>(future: F) -> Part<F> {
    Part::new(current(), future)
}

/// Spawns a task of this process.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(part(future))
}

/// Runs work that computes for long, on a thread of its own; it waits by the runtime's means.
pub fn spawn_thread(name: &str, work: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    #[cfg(feature = "testing")]
    if current().is_some() {
        drop(spawn(work));
        return Ok(());
    }
    let runtime = Handle::current();
    thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(work)).map(drop)
}

/// The same, for work that somebody waits for.
pub async fn computing<F>(work: F) -> Result<F::Output, tokio::task::JoinError>
where
    F: Future<Output: Send> + Send + 'static,
{
    #[cfg(feature = "testing")]
    if current().is_some() {
        return spawn(work).await;
    }
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(work)).await
}

/// A thread that needs no runtime, running.
#[derive(Debug)]
pub struct Ticking(Option<thread::JoinHandle<()>>);

impl Ticking {
    /// Calls `turn` again and again, each time at the moment that it last returned, until it returns
    /// none.
    pub fn start(
        name: &str,
        mut turn: impl FnMut() -> Option<Instant> + Send + 'static,
    ) -> io::Result<Self> {
        #[cfg(feature = "testing")]
        if current().is_some() {
            drop(spawn(async move {
                while let Some(next) = turn() {
                    tokio::time::sleep_until(next.into()).await;
                }
            }));
            return Ok(Self(None));
        }
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(next) = turn() {
                thread::sleep(next.saturating_duration_since(now()));
            }
        });
        Ok(Self(Some(thread?)))
    }

    /// Waits until it has ended.
    pub fn join(self) -> thread::Result<()> {
        self.0.map_or(Ok(()), thread::JoinHandle::join)
    }
}

/// Runs what may wait for a disk, away from the threads that must not.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    #[cfg(feature = "testing")]
    if let Some(machine) = current() {
        // A process may end before the work is done, and behind it.
        tokio::time::sleep(machine.disk_delay()).await;
        let done = work();
        tokio::time::sleep(machine.disk_delay()).await;
        return Ok(done);
    }
    tokio::task::spawn_blocking(work).await
}
