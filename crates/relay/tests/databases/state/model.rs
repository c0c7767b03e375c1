//! What a store is to do, in plain words, and the comparison.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use binpulse_relay::state::{
    Acquired, LaneRecord, Lease, Parked, ParkedEntry, ParkedFilter, Reason, Save, Store,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::{LONG, lane, parked};

const LANES: u32 = 3;
const OWNERS: [&str; 2] = ["one", "other"];
const IDS: u8 = 6;

/// What happens in a history. Owners and lanes are numbers; rows are named by numbers too.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A lease that lasts, or one that has ended when it is answered.
    Acquire {
        owner: usize,
        lane: u32,
        lasts: bool,
    },
    Renew {
        owner: usize,
        lanes: Vec<u32>,
        lasts: bool,
    },
    Release {
        owner: usize,
        lanes: Vec<u32>,
    },
    /// Saves with the fences that the owner was given last, however old they are.
    Save {
        owner: usize,
        lanes: Vec<u32>,
        next: u64,
        park: Vec<u8>,
        put_back: Vec<u8>,
        unpark: Vec<u8>,
    },
    Park(Vec<u8>),
    Retry(Vec<u8>),
    Unpark(Vec<u8>),
    /// The process ends, and another opens the store.
    Crash,
}

impl Arbitrary for Step {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        let owner = 0..OWNERS.len();
        let lanes = || proptest::sample::subsequence((0..LANES).collect::<Vec<_>>(), 1..=3);
        let ids = |most: usize| proptest::collection::vec(0..IDS, 0..=most);
        let save = (owner.clone(), lanes(), 1_u64..1000, ids(3), ids(2), ids(2));
        prop_oneof![
            4 => (owner.clone(), 0..LANES, any::<bool>())
                .prop_map(|(owner, lane, lasts)| Self::Acquire { owner, lane, lasts }),
            1 => (owner.clone(), lanes(), any::<bool>())
                .prop_map(|(owner, lanes, lasts)| Self::Renew { owner, lanes, lasts }),
            1 => (owner, lanes()).prop_map(|(owner, lanes)| Self::Release { owner, lanes }),
            5 => save.prop_map(|(owner, lanes, next, park, put_back, unpark)| {
                Self::Save { owner, lanes, next, park, put_back, unpark }
            }),
            1 => ids(3).prop_map(Self::Park),
            1 => ids(3).prop_map(Self::Retry),
            1 => ids(3).prop_map(Self::Unpark),
            1 => Just(Self::Crash),
        ]
        .boxed()
    }
}

struct Held {
    owner: &'static str,
    fence: u64,
    lasts: bool,
}

/// A store and the model.
pub(crate) struct World {
    url: String,
    route: String,
    store: Option<Store>,
    forgets_leases: bool,
    leases: HashMap<u32, Held>,
    records: BTreeMap<u32, LaneRecord>,
    parked: Vec<(Parked, bool)>,
    /// What each owner was given last.
    fences: HashMap<(usize, u32), u64>,
    steps: u64,
}

fn row(id: u8, salt: u64) -> Parked {
    let mut row = parked(&format!("id {id}"), u64::from(id) + salt, vec![id; usize::from(id) * 7]);
    row.answer = format!("answer {salt}");
    row.lane = (id % 3 != 2).then(|| lane(u32::from(id % 3)));
    row.keys = (id.is_multiple_of(2).then(|| format!("key {}", id % 4)).into_iter())
        .chain((id % 4 == 2).then(|| "key 3".to_owned()))
        .collect();
    row.reason = if id.is_multiple_of(2) { Reason::Behind } else { Reason::Unreadable };
    row
}

impl World {
    pub(crate) async fn open(url: &str, route: &str, forgets_leases: bool) -> Self {
        let store = Some(Store::open(url, route).await.expect("opens"));
        Self {
            url: url.to_owned(),
            route: route.to_owned(),
            store,
            forgets_leases,
            leases: HashMap::new(),
            records: BTreeMap::new(),
            parked: Vec::new(),
            fences: HashMap::new(),
            steps: 0,
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("open")
    }

    fn given(&self, owner: usize, lanes: &[u32]) -> Vec<Lease> {
        let lease = |number: &u32| {
            let fence = self.fences.get(&(owner, *number)).copied().unwrap_or(0);
            Lease { lane: lane(*number), fence }
        };
        lanes.iter().map(lease).collect()
    }

    fn is_current(&self, owner: usize, number: u32) -> bool {
        let given = self.fences.get(&(owner, number));
        self.leases.get(&number).is_some_and(|held| Some(&held.fence) == given)
    }

    pub(crate) async fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.steps += 1;
        let ids = |ids: &[u8]| ids.iter().map(|id| format!("id {id}")).collect::<Vec<_>>();
        let ttl = |lasts: bool| if lasts { LONG } else { Duration::ZERO };
        match step {
            Step::Acquire { owner, lane: number, lasts } => {
                self.acquire(*owner, *number, *lasts).await?;
            }
            Step::Renew { owner, lanes, lasts } => {
                let lost = self.store().renew(&self.given(*owner, lanes), ttl(*lasts)).await;
                let lost = lost.expect("answers");
                let (kept, gone): (Vec<&u32>, Vec<&u32>) =
                    lanes.iter().partition(|number| self.is_current(*owner, **number));
                prop_assert_eq!(lost, gone.into_iter().map(|n: &u32| lane(*n)).collect::<Vec<_>>());
                for number in kept {
                    self.leases.get_mut(number).expect("held").lasts = *lasts;
                }
            }
            Step::Release { owner, lanes } => {
                self.store().release(&self.given(*owner, lanes)).await.expect("answers");
                for number in lanes {
                    if self.is_current(*owner, *number) {
                        self.leases.remove(number);
                    }
                }
            }
            Step::Save { .. } => self.save(step).await?,
            Step::Park(rows) => {
                let rows: Vec<_> = rows.iter().map(|id| row(*id, self.steps)).collect();
                self.store().park(&rows).await.expect("answers");
                for row in rows {
                    self.park(row);
                }
            }
            Step::Retry(rows) => {
                let found = self.store().retry(&ids(rows)).await.expect("answers");
                let rows = ids(rows);
                let mut here = 0;
                for (row, to_retry) in &mut self.parked {
                    *to_retry |= rows.contains(&row.id);
                    here += u64::from(rows.contains(&row.id));
                }
                prop_assert!(found >= here, "named twice counts once or twice");
            }
            Step::Unpark(rows) => {
                let found = self.store().unpark(&ids(rows)).await.expect("answers");
                let before = self.parked.len();
                self.unpark(&ids(rows));
                prop_assert_eq!(found, (before - self.parked.len()) as u64);
            }
            Step::Crash => {
                self.store = None;
                self.store = Some(Store::open(&self.url, &self.route).await.expect("opens"));
                if self.forgets_leases {
                    self.leases.clear();
                }
            }
        }
        Ok(())
    }

    async fn acquire(
        &mut self,
        owner: usize,
        number: u32,
        lasts: bool,
    ) -> Result<(), TestCaseError> {
        let name = OWNERS[owner];
        let ttl = if lasts { LONG } else { Duration::ZERO };
        let acquired = self.store().acquire(&lane(number), name, ttl).await.expect("answers");
        let holder = self.leases.get(&number).filter(|held| held.lasts && held.owner != name);
        if let Some(holder) = holder {
            prop_assert_eq!(acquired, Acquired::Held { owner: holder.owner.to_owned() });
            return Ok(());
        }
        let Acquired::Leased { fence, record } = acquired else {
            return Err(TestCaseError::fail(format!("{acquired:?}")));
        };
        let newest = (0..OWNERS.len()).filter_map(|owner| self.fences.get(&(owner, number))).max();
        prop_assert!(newest.is_none_or(|newest| *newest < fence), "{newest:?} {fence}");
        prop_assert_eq!(record, self.records.get(&number).cloned().unwrap_or_default());
        self.leases.insert(number, Held { owner: name, fence, lasts });
        self.fences.insert((owner, number), fence);
        Ok(())
    }

    async fn save(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let Step::Save { owner, lanes, next, park, put_back, unpark } = step else { return Ok(()) };
        let ids: Vec<_> = unpark.iter().map(|id| format!("id {id}")).collect();
        let salt = self.steps;
        let saves = self.given(*owner, lanes).into_iter().enumerate().map(|(index, lease)| {
            // Rows are parked with the first lane.
            let rows = |rows: &[u8]| -> Vec<_> {
                let rows = if index == 0 { rows } else { &[] };
                rows.iter().map(|id| row(*id, salt)).collect()
            };
            let record = LaneRecord {
                next: *next,
                done: vec![(*next + 2, *next + 5)],
                ..LaneRecord::default()
            };
            let unpark = if index == 0 { ids.clone() } else { Vec::new() };
            Save {
                lane: lease.lane,
                fence: lease.fence,
                record,
                park: rows(park),
                put_back: rows(put_back),
                unpark,
            }
        });
        let saves: Vec<_> = saves.collect();
        let lost = self.store().save(&saves).await.expect("answers");
        // The same once more, as after an answer that was lost.
        let again = self.store().save(&saves).await.expect("answers");
        prop_assert_eq!(&lost, &again);
        let mut gone = Vec::new();
        for (number, save) in lanes.iter().zip(saves) {
            if !self.is_current(*owner, *number) {
                gone.push(save.lane);
                continue;
            }
            self.records.insert(*number, save.record);
            // Twice: what is removed and parked in one save is parked again at its end.
            for _ in 0..2 {
                for row in &save.park {
                    self.park(row.clone());
                }
                for row in &save.put_back {
                    for (parked, to_retry) in &mut self.parked {
                        if parked.id == row.id {
                            (*parked, *to_retry) = (row.clone(), false);
                        }
                    }
                }
                self.unpark(&save.unpark);
            }
        }
        prop_assert_eq!(lost, gone);
        Ok(())
    }

    fn park(&mut self, row: Parked) {
        if self.parked.iter().all(|(parked, _)| parked.id != row.id) {
            self.parked.push((row, false));
        }
    }

    fn unpark(&mut self, ids: &[String]) {
        self.parked.retain(|(row, _)| !ids.contains(&row.id));
    }

    /// Everything that a store can be asked.
    pub(crate) async fn compare(&self) -> Result<(), TestCaseError> {
        let lanes = self.store().lanes().await.expect("answers");
        let owner = |number: &u32| {
            let held = self.leases.get(number).filter(|held| held.lasts);
            held.map(|held| held.owner.to_owned())
        };
        let found: Vec<_> = lanes.into_iter().map(|l| (l.lane, l.owner, l.record)).collect();
        let expected: Vec<_> = self
            .records
            .iter()
            .map(|(number, record)| (lane(*number), owner(number), record.clone()))
            .collect();
        prop_assert_eq!(found, expected);
        let filters = [
            ParkedFilter::default(),
            ParkedFilter { id: Some("id 1".to_owned()), ..ParkedFilter::default() },
            ParkedFilter { lane: Some(lane(1)), ..ParkedFilter::default() },
            ParkedFilter { keys: vec!["key 2".to_owned()], ..ParkedFilter::default() },
            ParkedFilter {
                keys: vec!["key 0".to_owned(), "key 3".to_owned()],
                ..ParkedFilter::default()
            },
            ParkedFilter {
                reason: Some(Reason::Behind),
                to_retry: Some(false),
                ..ParkedFilter::default()
            },
            ParkedFilter { to_retry: Some(true), ..ParkedFilter::default() },
        ];
        for filter in filters {
            let expected: Vec<_> = self
                .parked
                .iter()
                .filter(|(row, retry)| admits(&filter, row, *retry))
                .cloned()
                .collect();
            let count = self.store().parked_count(&filter).await.expect("answers");
            prop_assert_eq!(count, expected.len() as u64);
            let (mut found, mut after) = (Vec::new(), 0);
            loop {
                let page = self.store().parked(&filter, after, 2).await.expect("answers");
                let Some(last) = page.last() else { break };
                prop_assert!(last.number > after && page.len() <= 2);
                after = last.number;
                found.extend(
                    page.into_iter().map(|ParkedEntry { to_retry, parked, .. }| (parked, to_retry)),
                );
            }
            prop_assert_eq!(found, expected);
        }
        let all = self.store().parked(&ParkedFilter::default(), 0, usize::MAX).await;
        for (earlier, entry) in all.expect("answers").iter().enumerate() {
            let filter = ParkedFilter { before: Some(entry.number), ..ParkedFilter::default() };
            let count = self.store().parked_count(&filter).await.expect("answers");
            prop_assert_eq!(count, earlier as u64);
        }
        Ok(())
    }
}

fn admits(filter: &ParkedFilter, row: &Parked, to_retry: bool) -> bool {
    filter.id.as_ref().is_none_or(|id| *id == row.id)
        && filter.lane.as_ref().is_none_or(|lane| Some(lane) == row.lane.as_ref())
        && (filter.keys.is_empty() || filter.keys.iter().any(|key| row.keys.contains(key)))
        && filter.reason.is_none_or(|reason| reason == row.reason)
        && filter.to_retry.is_none_or(|wanted| wanted == to_retry)
}
