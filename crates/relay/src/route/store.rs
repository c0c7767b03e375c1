//! The state as a route uses it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::lane::LaneKey;
use crate::state::{
    Acquired, LaneRecord, Lease, Parked, ParkedEntry, ParkedFilter, Save, StateError, Store,
};

/// What a route asks of its state. Only the route's own task asks, so the answers need not be `Send`.
#[allow(async_fn_in_trait, reason = "implemented in this crate")]
pub trait LaneStore: Send + Sync + 'static {
    /// Takes or keeps a lane's lease.
    fn acquire(
        &self,
        lane: &LaneKey,
        owner: &str,
        ttl: Duration,
    ) -> impl Future<Output = Result<Acquired, StateError>>;

    /// Renews leases; the lanes that were lost.
    fn renew(
        &self,
        leases: &[Lease],
        ttl: Duration,
    ) -> impl Future<Output = Result<Vec<LaneKey>, StateError>>;

    /// Gives leases up.
    fn release(&self, leases: &[Lease]) -> impl Future<Output = Result<(), StateError>>;

    /// Saves all, but lanes whose fence is not the lease's: these are the answer.
    fn save(&self, saves: &[Save]) -> impl Future<Output = Result<Vec<LaneKey>, StateError>>;

    /// Parks what belongs to no lane.
    fn park(&self, parked: &[Parked]) -> impl Future<Output = Result<(), StateError>>;

    /// Parked rows with numbers above `after`, in their order.
    fn parked(
        &self,
        filter: &ParkedFilter,
        after: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<ParkedEntry>, StateError>>;

    /// Notes that parked rows are to be tried again; how many are there.
    fn retry(&self, ids: &[String]) -> impl Future<Output = Result<u64, StateError>>;

    /// Removes parked rows; how many were there.
    fn unpark(&self, ids: &[String]) -> impl Future<Output = Result<u64, StateError>>;

    /// Lanes that nobody holds, with the smallest number that is not dealt with.
    fn idle_lanes(&self) -> impl Future<Output = Result<Vec<(LaneKey, u64)>, StateError>>;

    /// How many requests are parked.
    fn parked_count(&self, filter: &ParkedFilter) -> impl Future<Output = Result<u64, StateError>>;
}

impl LaneStore for Store {
    async fn acquire(
        &self,
        lane: &LaneKey,
        owner: &str,
        ttl: Duration,
    ) -> Result<Acquired, StateError> {
        Self::acquire(self, lane, owner, ttl).await
    }

    async fn renew(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<LaneKey>, StateError> {
        Self::renew(self, leases, ttl).await
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StateError> {
        Self::release(self, leases).await
    }

    async fn save(&self, saves: &[Save]) -> Result<Vec<LaneKey>, StateError> {
        Self::save(self, saves).await
    }

    async fn park(&self, parked: &[Parked]) -> Result<(), StateError> {
        Self::park(self, parked).await
    }

    async fn parked(
        &self,
        filter: &ParkedFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<ParkedEntry>, StateError> {
        Self::parked(self, filter, after, limit).await
    }

    async fn retry(&self, ids: &[String]) -> Result<u64, StateError> {
        Self::retry(self, ids).await
    }

    async fn unpark(&self, ids: &[String]) -> Result<u64, StateError> {
        Self::unpark(self, ids).await
    }

    async fn idle_lanes(&self) -> Result<Vec<(LaneKey, u64)>, StateError> {
        let idle = Self::lanes(self).await?.into_iter().filter(|status| status.owner.is_none());
        Ok(idle.map(|status| (status.lane, status.record.next)).collect())
    }

    async fn parked_count(&self, filter: &ParkedFilter) -> Result<u64, StateError> {
        Self::parked_count(self, filter).await
    }
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

    async fn renew(&self, _leases: &[Lease], _ttl: Duration) -> Result<Vec<LaneKey>, StateError> {
        Ok(Vec::new())
    }

    async fn release(&self, _leases: &[Lease]) -> Result<(), StateError> {
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

    async fn parked(
        &self,
        filter: &ParkedFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<ParkedEntry>, StateError> {
        // Nobody can ask for a retry of what only this process knows.
        let to_retry = filter.to_retry.unwrap_or_default();
        let kept = self.0.lock().await;
        let numbered = kept.parked.iter().zip(1..).filter(|_| !to_retry);
        let shown = numbered.filter(|(_, number)| *number > after).take(limit);
        Ok(shown
            .map(|(parked, number)| ParkedEntry { number, to_retry, parked: parked.clone() })
            .collect())
    }

    async fn retry(&self, _ids: &[String]) -> Result<u64, StateError> {
        Ok(0)
    }

    async fn unpark(&self, ids: &[String]) -> Result<u64, StateError> {
        let mut kept = self.0.lock().await;
        let before = kept.parked.len();
        kept.parked.retain(|parked| !ids.contains(&parked.id));
        Ok((before - kept.parked.len()) as u64)
    }

    /// What this process does not hold it never held.
    async fn idle_lanes(&self) -> Result<Vec<(LaneKey, u64)>, StateError> {
        Ok(Vec::new())
    }

    async fn parked_count(&self, _filter: &ParkedFilter) -> Result<u64, StateError> {
        Ok(self.0.lock().await.parked.len() as u64)
    }
}
