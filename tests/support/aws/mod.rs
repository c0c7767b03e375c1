//! A stand-in for SNS and SQS that is strict about AWS's rules and fails on demand.
//!
//! It speaks what the SDKs speak: the Query protocol and XML for SNS, JSON for SQS, both on one
//! port, plain HTTP/1.1 on loopback. State is in memory. It checks what AWS checks, and notes in
//! [`Store::violations`] what AWS would let pass but order or completeness would not survive.
//! Signatures must be there and name the region; they are not verified.

#![allow(dead_code, reason = "each test binary uses its own part of this support code")]
#![allow(
    clippy::pedantic,
    clippy::wildcard_enum_match_arm,
    reason = "test support: brevity over ceremony"
)]
#![allow(unreachable_pub, reason = "a folder shared by several test binaries")]
#![allow(missing_docs, reason = "test support")]

pub mod entry;
pub mod faults;
pub mod filter;
pub mod form;
pub mod queue;
pub mod serve;
pub mod sns;
pub mod sqs;
pub mod store;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use faults::{Effect, Faults, Rule, When};
use store::Store;

/// Region of everything here.
pub const REGION: &str = "eu-west-1";

/// What the endpoint's tasks share.
#[derive(Debug)]
pub struct Shared {
    pub base: String,
    store: Mutex<Store>,
    faults: Mutex<Faults>,
    pub changed: Notify,
    ahead_ms: AtomicU64,
}

impl Shared {
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().expect("no test panics while it holds the store")
    }

    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("no test panics while it holds the rules")
    }

    /// Now, as the endpoint sees it.
    pub fn now(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.ahead_ms.load(Ordering::Relaxed))
    }
}

/// A running endpoint; dropping it stops it.
#[derive(Debug)]
pub struct Endpoint {
    pub shared: Arc<Shared>,
    pub address: SocketAddr,
    server: JoinHandle<()>,
}

impl Endpoint {
    /// Starts one on a free port of loopback.
    pub async fn start() -> Self {
        Self::start_on(0, 1).await
    }

    /// Starts one on `port`, 0 for a free one; `seed` is that of the faults' dice.
    pub async fn start_on(port: u16, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            base: format!("http://{address}"),
            store: Mutex::new(Store { region: REGION.to_owned(), ..Store::default() }),
            faults: Mutex::new(Faults::new(seed)),
            changed: Notify::new(),
            ahead_ms: AtomicU64::new(0),
        });
        let server = tokio::spawn(serve::accept(listener, Arc::clone(&shared)));
        Self { shared, address, server }
    }

    pub fn url(&self) -> String {
        self.shared.base.clone()
    }

    /// Creates a topic; a name that ends in `.fifo` gives a FIFO topic.
    pub fn topic(&self, name: &str, attributes: &[(&str, &str)]) -> Arc<str> {
        let mut all: BTreeMap<String, String> =
            attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        if name.ends_with(".fifo") {
            all.insert("FifoTopic".to_owned(), "true".to_owned());
        }
        self.shared.store().create_topic(name, all).expect("a valid topic")
    }

    /// Adds a rule; it is asked before the older ones.
    pub fn fault(&self, operation: &'static str, when: When, effect: Effect) {
        self.shared.faults().rules.push(Rule::new(operation, when, effect));
    }

    /// Takes all rules back.
    pub fn heal(&self) {
        self.shared.faults().rules.clear();
    }

    /// Moves the endpoint's clock forward.
    pub fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).expect("a test's time span");
        self.shared.ahead_ms.fetch_add(ms, Ordering::Relaxed);
        self.shared.changed.notify_waiters();
    }

    /// Bodies that were accepted, in order, without duplicates that deduplication removed.
    pub fn bodies(&self) -> Vec<String> {
        let store = self.shared.store();
        let delivered = store.accepted.iter().filter(|accepted| !accepted.is_duplicate);
        delivered.map(|accepted| accepted.entry.body.clone()).collect()
    }

    /// Waits until `condition` holds, looked at after every call.
    pub async fn until(&self, what: &str, condition: impl Fn(&Store) -> bool) {
        let wait = async {
            loop {
                let changed = self.shared.changed.notified();
                if condition(&self.shared.store()) {
                    return;
                }
                changed.await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
        assert!(waited.is_ok(), "timed out: {what}");
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}
