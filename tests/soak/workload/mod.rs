//! A random workload: several sessions at once, every kind of transaction, every type, DDL between.
//!
//! Each session has dice of its own, so a seed gives the same statements; how they interleave, and
//! what a killed server makes of them, is for the machine to decide. What was committed is read from
//! the source afterwards, never assumed.

mod ddl;
mod paced;
mod tables;
mod values;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

use binpulse_demo::{Error, Mysqld};
use mysql_async::prelude::Queryable;
use tokio::task::JoinHandle;

use crate::dice::Dice;
use crate::plan::Plan;
use crate::service::session;
use paced::Paced;
use worker::Worker;

/// Database of everything here.
pub(crate) const DATABASE: &str = "soak";
/// A workload that runs.
pub(crate) struct Workload {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    workers: Vec<JoinHandle<()>>,
}

impl Workload {
    /// Makes the tables and starts to write to the server at that port, wherever it moves.
    pub(crate) async fn start(
        plan: &Plan,
        port: &Arc<AtomicU16>,
        dice: &mut Dice,
    ) -> Result<Self, Error> {
        let mut first = session(port.load(Ordering::Relaxed)).await?;
        first.query_drop(format!("CREATE DATABASE {DATABASE}")).await?;
        first.query_drop(format!("USE {DATABASE}")).await?;
        for statement in tables::all(plan) {
            first.query_drop(statement).await?;
        }
        first.disconnect().await?;
        let stop = Arc::new(AtomicBool::new(false));
        let committed = Arc::new(AtomicU64::new(0));
        let mut workers = Vec::new();
        // Each has dice of its own, also where others are left out.
        let dice = dice.fork();
        for number in &plan.sessions {
            let mut dice = dice.clone();
            for _ in 0..*number {
                dice.next();
            }
            let worker = Worker {
                number: *number,
                port: Arc::clone(port),
                dice: dice.fork(),
                committed: Arc::clone(&committed),
                work: plan.work.clone(),
                branches: 0,
                known: HashMap::new(),
            };
            workers.push(tokio::spawn(worker.run(Arc::clone(&stop))));
        }
        let sessions = plan.rate.div_ceil(paced::RATE_MAX);
        for number in 0..sessions {
            let paced = Paced {
                port: Arc::clone(port),
                rate: plan.rate / sessions,
                dice: Dice::new(plan.seed ^ ((number + 1) << 40)),
                committed: Arc::clone(&committed),
            };
            workers.push(tokio::spawn(paced.run(Arc::clone(&stop))));
        }
        Ok(Self { stop, committed, workers })
    }

    /// Stops writing, and decides about XA transactions that were left prepared. How many
    /// transactions there were.
    pub(crate) async fn stop(self, mysqld: &Mysqld) -> Result<u64, Error> {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            worker.await.map_err(|error| Error::Message(format!("a worker: {error}")))?;
        }
        let mut last = session(mysqld.port()).await?;
        worker::decide_prepared(&mut last, "", false).await?;
        last.disconnect().await?;
        Ok(self.committed.load(Ordering::Relaxed))
    }
}
