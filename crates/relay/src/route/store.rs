//! The state as a route uses it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::lane::LaneKey;
use crate::state::{Acquired, LaneRecord, Parked, Save, StateError};

/// What a route asks of its state.
pub trait LaneStore: Send + Sync + 'static {
    /// Takes or keeps a lane's lease.
    fn acquire(
        &self,
        lane: &LaneKey,
        owner: &str,
        ttl: Duration,
    ) -> impl Future<Output = Result<Acquired, StateError>> + Send;

    /// Renews all leases of `owner`; the lanes that it has lost.
    fn renew(
        &self,
        owner: &str,
        ttl: Duration,
    ) -> impl Future<Output = Result<Vec<LaneKey>, StateError>> + Send;

    /// Gives all leases of `owner` up.
    fn release(&self, owner: &str) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Saves all, but lanes whose fence is not the lease's: these are the answer.
    fn save(&self, saves: &[Save])
    -> impl Future<Output = Result<Vec<LaneKey>, StateError>> + Send;

    /// Parks what belongs to no lane.
    fn park(&self, parked: &[Parked]) -> impl Future<Output = Result<(), StateError>> + Send;

    /// How many requests are parked.
    fn parked_count(&self) -> impl Future<Output = Result<u64, StateError>> + Send;
}

/// A state that ends with the process: for `listen`, for targets that only show rows, and for tests.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    lanes: HashMap<LaneKey, LaneRecord>,
    parked: Vec<Parked>,
}

impl MemoryStore {
    /// The lane as it was saved last.
    pub async fn record(&self, lane: &LaneKey) -> Option<LaneRecord> {
        self.0.lock().await.lanes.get(lane).cloned()
    }

    /// What is parked.
    pub async fn parked(&self) -> Vec<Parked> {
        self.0.lock().await.parked.clone()
    }
}

impl LaneStore for MemoryStore {
    async fn acquire(
        &self,
        lane: &LaneKey,
        _owner: &str,
        _ttl: Duration,
    ) -> Result<Acquired, StateError> {
        let record = self.record(lane).await.unwrap_or_default();
        Ok(Acquired::Leased { fence: 1, record })
    }

    async fn renew(&self, _owner: &str, _ttl: Duration) -> Result<Vec<LaneKey>, StateError> {
        Ok(Vec::new())
    }

    async fn release(&self, _owner: &str) -> Result<(), StateError> {
        Ok(())
    }

    async fn save(&self, saves: &[Save]) -> Result<Vec<LaneKey>, StateError> {
        let mut kept = self.0.lock().await;
        for save in saves {
            kept.lanes.insert(save.lane.clone(), save.record.clone());
            kept.parked.extend(save.park.iter().cloned());
        }
        Ok(Vec::new())
    }

    async fn park(&self, parked: &[Parked]) -> Result<(), StateError> {
        self.0.lock().await.parked.extend(parked.iter().cloned());
        Ok(())
    }

    async fn parked_count(&self) -> Result<u64, StateError> {
        Ok(self.0.lock().await.parked.len() as u64)
    }
}
