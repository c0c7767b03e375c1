//! The machines of a simulation.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::io::DuplexStream;

/// A connection that is being made.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<DuplexStream>> + Send>>;

/// Whether a process goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It does.
    Runs,
    /// It stands still.
    Stands,
    /// It has been killed.
    Dead,
}

/// What one process of a simulation runs on.
pub trait Machine: Send + Sync {
    /// Whether the process goes on. Asked whenever one of its futures is polled, by the future's number;
    /// the waker is kept, and woken when the answer becomes another.
    fn admits(&self, part: u64, waker: &Waker) -> Admission;
    /// That future is no more.
    fn leaves(&self, part: u64);
    /// Its wall clock.
    fn wall(&self) -> SystemTime;
    /// Time since its start.
    fn since_boot(&self) -> Duration;
    /// 64 bits of its randomness.
    fn random(&self) -> u64;
    /// How long a disk takes now.
    fn disk_delay(&self) -> Duration;
    /// Connects to a server.
    fn connect(&self, host: &str, port: u16) -> Connecting;
    /// The way to AWS.
    fn http(&self) -> SharedHttpClient;
    /// Takes what makes the document of `/status`.
    fn shows(&self, status: StatusDocument);
    /// Takes what does what is posted to `/control`.
    fn takes(&self, commands: Commands);
}

/// Does what is posted to `/control`, JSON; what is done, or why nothing is, in words.
pub type Commands = Box<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// Makes the document of `/status`.
pub type StatusDocument = Box<dyn Fn() -> serde_json::Value + Send + Sync>;

thread_local! {
    static CURRENT: RefCell<Option<Arc<dyn Machine>>> = const { RefCell::new(None) };
}

/// The machine that this code runs on, if it is one of a simulation.
pub fn current() -> Option<Arc<dyn Machine>> {
    CURRENT.with_borrow(Clone::clone)
}

/// A future that runs on a machine, with all that it spawns.
pub fn on<F: Future>(machine: Arc<dyn Machine>, future: F) -> Part<F> {
    Part::new(Some(machine), future)
}

/// A future of a process. Killed, it is dropped where it waits, and never ready.
pub struct Part<F> {
    machine: Option<Arc<dyn Machine>>,
    number: u64,
    inner: Option<Pin<Box<F>>>,
}

impl<F> std::fmt::Debug for Part<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Part")
    }
}

impl<F> Part<F> {
    pub(super) fn new(machine: Option<Arc<dyn Machine>>, future: F) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Self { machine, number, inner: Some(Box::pin(future)) }
    }
}

impl<F> Drop for Part<F> {
    fn drop(&mut self) {
        if let Some(machine) = &self.machine {
            machine.leaves(self.number);
        }
    }
}

impl<F: Future> Future for Part<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Pending };
        let Some(machine) = &this.machine else { return inner.as_mut().poll(context) };
        match machine.admits(this.number, context.waker()) {
            Admission::Runs => {}
            Admission::Stands => return Poll::Pending,
            Admission::Dead => {
                this.inner = None;
                return Poll::Pending;
            }
        }
        let before = CURRENT.replace(Some(Arc::clone(machine)));
        let polled = inner.as_mut().poll(context);
        CURRENT.set(before);
        polled
    }
}
