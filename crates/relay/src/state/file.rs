//! The store of one process: a file, kept by redb.
//!
//! A commit is on disk when a call returns. Leases are in memory alone: the file's lock keeps other
//! processes out, so that leases are only between the tasks of this one.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, WriteTransaction,
};

use super::lease::Leases;
use super::{
    Acquired, DEADLINE, LaneRecord, LaneStatus, Lease, PARKED_BYTES_MAX, Parked, ParkedEntry,
    ParkedFilter, ParkedHeader, Save, StateError, from_json, to_json,
};
use crate::lane::LaneKey;

/// Stream, epoch and lane to the lane's record.
const LANES: TableDefinition<'static, (&str, u64, &str), &str> = TableDefinition::new("lanes");
/// Number to the parked row without its body, and whether it is to be tried again.
const PARKED: TableDefinition<'static, u64, (&str, bool)> = TableDefinition::new("parked");
/// Number to the body.
const BODIES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("bodies");
/// Id to number.
const NUMBERS: TableDefinition<'static, &str, u64> = TableDefinition::new("numbers");
/// What is said of the whole file.
const ABOUT: TableDefinition<'static, &str, &str> = TableDefinition::new("about");

/// Layout of the tables.
const FORMAT: &str = "1";
/// Fences that one process can give before they run into those of the next.
const FENCES_BITS: u32 = 40;
/// Memory for pages that were read.
const CACHE_BYTES: usize = 16 << 20;
/// Bytes that are read of the file that names the holder.
const HOLDER_BYTES_MAX: u64 = 200;

/// See the module.
#[derive(Debug)]
pub struct FileStore {
    shared: Arc<Shared>,
    /// Held for as long as a call is at work, also when its caller gave up: calls stay in order.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Shared {
    place: String,
    database: Database,
    leases: Mutex<Leases>,
}

impl FileStore {
    pub(super) async fn open(path: &str, route: &str) -> Result<Self, StateError> {
        let (path, route) = (path.to_owned(), route.to_owned());
        let opened = tokio::task::spawn_blocking(move || Shared::open(&path, &route)).await;
        let shared = opened.map_err(|error| StateError::unavailable("file", error))??;
        Ok(Self { shared: Arc::new(shared), turn: Arc::default() })
    }

    /// Does one call on a thread that may wait for the disk.
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Shared) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let shared = Arc::clone(&self.shared);
        let turn = Arc::clone(&self.turn);
        let work = async move {
            let turn = turn.lock_owned().await;
            let done = tokio::task::spawn_blocking(move || {
                let result = call(&shared);
                drop(turn);
                result
            });
            done.await
        };
        match tokio::time::timeout(DEADLINE, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(self.shared.unavailable(error)),
            Err(_) => {
                let message = format!("no answer of the disk within {} s", DEADLINE.as_secs());
                Err(self.shared.unavailable(message))
            }
        }
    }

    pub(super) async fn acquire(
        &self,
        lane: &LaneKey,
        owner: &str,
        ttl: Duration,
    ) -> Result<Acquired, StateError> {
        let (lane, owner) = (lane.clone(), owner.to_owned());
        self.call(move |shared| {
            let taken = shared.leases().acquire(&lane, &owner, Instant::now(), ttl);
            match taken {
                Ok(fence) => Ok(Acquired::Leased { fence, record: shared.record(&lane)? }),
                Err(owner) => Ok(Acquired::Held { owner }),
            }
        })
        .await
    }

    #[expect(clippy::unused_async, reason = "the stores have one form")]
    pub(super) async fn renew(
        &self,
        leases: &[Lease],
        ttl: Duration,
    ) -> Result<Vec<LaneKey>, StateError> {
        let (mut held, now) = (self.shared.leases(), Instant::now());
        let lost = leases.iter().filter(|lease| !held.renew(&lease.lane, lease.fence, now, ttl));
        Ok(lost.map(|lease| lease.lane.clone()).collect())
    }

    #[expect(clippy::unused_async, reason = "the stores have one form")]
    pub(super) async fn release(&self, leases: &[Lease]) -> Result<(), StateError> {
        let mut held = self.shared.leases();
        for lease in leases {
            held.release(&lease.lane, lease.fence);
        }
        Ok(())
    }

    pub(super) async fn save(&self, saves: &[Save]) -> Result<Vec<LaneKey>, StateError> {
        let saves = saves.to_vec();
        self.call(move |shared| shared.save(&saves)).await
    }

    pub(super) async fn park(&self, parked: &[Parked]) -> Result<(), StateError> {
        let parked = parked.to_vec();
        self.call(move |shared| {
            shared.write(|transaction| {
                parked.iter().try_for_each(|parked| shared.park(transaction, parked))
            })
        })
        .await
    }

    pub(super) async fn parked(
        &self,
        filter: &ParkedFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<ParkedEntry>, StateError> {
        let filter = filter.clone();
        self.call(move |shared| shared.parked(&filter, after, limit)).await
    }

    pub(super) async fn parked_count(&self, filter: &ParkedFilter) -> Result<u64, StateError> {
        let filter = filter.clone();
        self.call(move |shared| shared.parked_count(&filter)).await
    }

    pub(super) async fn retry(&self, ids: &[String]) -> Result<u64, StateError> {
        let ids = ids.to_vec();
        self.call(move |shared| {
            shared.write(|transaction| {
                let found = ids.iter().map(|id| shared.mark(transaction, id));
                found.sum()
            })
        })
        .await
    }

    pub(super) async fn unpark(&self, ids: &[String]) -> Result<u64, StateError> {
        let ids = ids.to_vec();
        self.call(move |shared| {
            shared.write(|transaction| {
                let found = ids.iter().map(|id| shared.unpark(transaction, id));
                found.sum()
            })
        })
        .await
    }

    pub(super) async fn lanes(&self) -> Result<Vec<LaneStatus>, StateError> {
        self.call(Shared::lanes).await
    }
}

/// Makes an empty database under another name, and then gives it its own: a process that ends in the middle
/// leaves no file that is none. Of two that do it at the same time one is too late, and opens the other's.
fn create(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".new-{}", std::process::id()));
    let unfinished = Path::new(&unfinished);
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(unfinished)?;
    drop(Database::builder().create_with_backend(FileBackend::new(file)?)?);
    let linked = std::fs::hard_link(unfinished, path);
    std::fs::remove_file(unfinished)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Shared {
    fn open(path: &str, route: &str) -> Result<Self, StateError> {
        let place = format!("file:{path}");
        let wrong = |error: &dyn std::fmt::Display| {
            let needed = "a file in a folder that exists and is writable";
            let remedy = "change relay.state, or make the folder";
            StateError::unfit(&place, error.to_string(), needed, remedy)
        };
        if !Path::new(path).exists() {
            create(Path::new(path)).map_err(|error| wrong(&*error))?;
        }
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(|error| wrong(&error))?;
        let holder = format!("{path}.holder");
        let backend = FileBackend::new(file);
        let opened = Database::builder()
            .set_cache_size(CACHE_BYTES)
            // What was damaged is refused, instead of being read for as long as it goes.
            .set_check_integrity_on_open(true)
            .create_with_backend(backend.map_err(|error| refusal(&place, &holder, &error))?);
        let database = opened.map_err(|error| refusal(&place, &holder, &error))?;
        // For whoever is refused; the lock does not depend on it.
        drop(write_holder(Path::new(&holder)));
        let mut shared = Self { place, database, leases: Mutex::new(Leases::new(0)) };
        let generation = shared.begin(route)?;
        shared.leases = Mutex::new(Leases::new(generation << FENCES_BITS));
        Ok(shared)
    }

    /// Looks whether the file is of this route, and counts the processes that opened it.
    fn begin(&self, route: &str) -> Result<u64, StateError> {
        self.write(|transaction| {
            let mut about = self.table(transaction, ABOUT)?;
            let mut said = |name: &str, value: &str| -> Result<String, StateError> {
                let found = about.get(name).map_err(|error| self.unavailable(error))?;
                let found = found.map(|found| found.value().to_owned());
                if let Some(found) = found {
                    return Ok(found);
                }
                about.insert(name, value).map_err(|error| self.unavailable(error))?;
                Ok(value.to_owned())
            };
            let (format, of) = (said("format", FORMAT)?, said("route", route)?);
            if format != FORMAT {
                let (found, needed) = (format!("format {format}"), format!("format {FORMAT}"));
                let remedy = "use the version of binpulse that wrote it, or another file";
                return Err(StateError::unfit(&self.place, found, &needed, remedy));
            }
            if of != route {
                let (found, needed) = (format!("the state of route {of}"), format!("of {route}"));
                let remedy = "give each route a file of its own";
                return Err(StateError::unfit(&self.place, found, &needed, remedy));
            }
            let generation = said("generation", "0")?.parse::<u64>().unwrap_or(0) + 1;
            let text = generation.to_string();
            about.insert("generation", text.as_str()).map_err(|error| self.unavailable(error))?;
            Ok(generation)
        })
    }

    fn unavailable(&self, error: impl std::fmt::Display) -> StateError {
        StateError::unavailable(&self.place, error)
    }

    fn leases(&self) -> std::sync::MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One transaction, on disk when this returns.
    fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let transaction = self.database.begin_write().map_err(|error| self.unavailable(error))?;
        let result = work(&transaction)?;
        transaction.commit().map_err(|error| self.unavailable(error))?;
        Ok(result)
    }

    fn table<'t, K: redb::Key + 'static, V: redb::Value + 'static>(
        &self,
        transaction: &'t WriteTransaction,
        table: TableDefinition<'_, K, V>,
    ) -> Result<Table<'t, K, V>, StateError> {
        transaction.open_table(table).map_err(|error| self.unavailable(error))
    }

    /// Tables to read: all of them, as of one moment.
    fn read<T>(
        &self,
        work: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        let transaction = self.database.begin_read().map_err(|error| self.unavailable(error))?;
        work(&transaction).map_err(|error| self.unavailable(error))
    }

    fn record(&self, lane: &LaneKey) -> Result<LaneRecord, StateError> {
        let found = self.read(|transaction| match transaction.open_table(LANES) {
            Ok(lanes) => Ok(lanes.get(key_of(lane))?.map(|found| found.value().to_owned())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })?;
        found.map_or_else(
            || Ok(LaneRecord::default()),
            |json| {
                from_json(&self.place, format_args!("the record of lane {lane}"), json.as_bytes())
            },
        )
    }

    fn save(&self, saves: &[Save]) -> Result<Vec<LaneKey>, StateError> {
        let leases = self.leases();
        let is_held = |save: &&Save| leases.is_current(&save.lane, save.fence);
        let (held, lost): (Vec<_>, Vec<_>) = saves.iter().partition(is_held);
        drop(leases);
        if !held.is_empty() {
            self.write(|transaction| {
                held.iter().try_for_each(|save| self.save_one(transaction, save))
            })?;
        }
        Ok(lost.into_iter().map(|save| save.lane.clone()).collect())
    }

    fn save_one(&self, transaction: &WriteTransaction, save: &Save) -> Result<(), StateError> {
        let record = to_json(&self.place, &save.record)?;
        self.table(transaction, LANES)?
            .insert(key_of(&save.lane), record.as_str())
            .map_err(|error| self.unavailable(error))?;
        for parked in &save.park {
            self.park(transaction, parked)?;
        }
        for parked in &save.put_back {
            if let Some(number) = self.number_of(transaction, &parked.id)? {
                self.put(transaction, number, parked)?;
            }
        }
        for id in &save.unpark {
            self.unpark(transaction, id)?;
        }
        Ok(())
    }

    fn number_of(
        &self,
        transaction: &WriteTransaction,
        id: &str,
    ) -> Result<Option<u64>, StateError> {
        let numbers = self.table(transaction, NUMBERS)?;
        let found = numbers.get(id).map_err(|error| self.unavailable(error))?;
        Ok(found.map(|found| found.value()))
    }

    fn park(&self, transaction: &WriteTransaction, parked: &Parked) -> Result<(), StateError> {
        if self.number_of(transaction, &parked.id)?.is_some() {
            return Ok(());
        }
        let number = self.next_number(transaction)?;
        self.table(transaction, NUMBERS)?
            .insert(parked.id.as_str(), number)
            .map_err(|error| self.unavailable(error))?;
        self.put(transaction, number, parked)
    }

    /// Numbers are not given twice, also when the last row was removed.
    fn next_number(&self, transaction: &WriteTransaction) -> Result<u64, StateError> {
        let mut about = self.table(transaction, ABOUT)?;
        let last = about.get("number").map_err(|error| self.unavailable(error))?;
        let last = last.and_then(|last| last.value().parse::<u64>().ok()).unwrap_or(0);
        let text = (last + 1).to_string();
        about.insert("number", text.as_str()).map_err(|error| self.unavailable(error))?;
        Ok(last + 1)
    }

    fn put(
        &self,
        transaction: &WriteTransaction,
        number: u64,
        parked: &Parked,
    ) -> Result<(), StateError> {
        let header = to_json(&self.place, &ParkedHeader::of(parked))?;
        self.table(transaction, PARKED)?
            .insert(number, (header.as_str(), false))
            .map_err(|error| self.unavailable(error))?;
        self.table(transaction, BODIES)?
            .insert(number, parked.body.as_slice())
            .map_err(|error| self.unavailable(error))?;
        Ok(())
    }

    /// Notes that a row is to be tried again; 1 if it is there.
    fn mark(&self, transaction: &WriteTransaction, id: &str) -> Result<u64, StateError> {
        let Some(number) = self.number_of(transaction, id)? else { return Ok(0) };
        let mut parked = self.table(transaction, PARKED)?;
        let found = parked.get(number).map_err(|error| self.unavailable(error))?;
        let header = found.map(|found| found.value().0.to_owned()).unwrap_or_default();
        parked.insert(number, (header.as_str(), true)).map_err(|error| self.unavailable(error))?;
        Ok(1)
    }

    /// Removes a row; 1 if it was there.
    fn unpark(&self, transaction: &WriteTransaction, id: &str) -> Result<u64, StateError> {
        let mut numbers = self.table(transaction, NUMBERS)?;
        let found = numbers.remove(id).map_err(|error| self.unavailable(error))?;
        let Some(number) = found.map(|found| found.value()) else { return Ok(0) };
        self.table(transaction, PARKED)?.remove(number).map_err(|error| self.unavailable(error))?;
        self.table(transaction, BODIES)?.remove(number).map_err(|error| self.unavailable(error))?;
        Ok(1)
    }

    /// Calls `take` with each parked row that the filter admits, until it has enough.
    fn each_parked(
        &self,
        transaction: &redb::ReadTransaction,
        filter: &ParkedFilter,
        after: u64,
        mut take: impl FnMut(u64, ParkedHeader, bool) -> Result<bool, redb::Error>,
    ) -> Result<Result<(), StateError>, redb::Error> {
        let parked = match transaction.open_table(PARKED) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Ok(())),
            parked => parked?,
        };
        let (mut from, mut to) = (after.saturating_add(1), u64::MAX);
        if let Some(id) = &filter.id {
            let number = transaction.open_table(NUMBERS)?.get(id.as_str())?;
            let Some(number) = number.map(|number| number.value()) else { return Ok(Ok(())) };
            (from, to) = (from.max(number), number);
        }
        if from > to {
            return Ok(Ok(()));
        }
        for entry in parked.range(from..=to)? {
            let (number, row) = entry?;
            let (number, (header, to_retry)) = (number.value(), row.value());
            let what = format_args!("parked row {number}");
            let header = match from_json::<ParkedHeader>(&self.place, what, header.as_bytes()) {
                Ok(header) => header,
                Err(error) => return Ok(Err(error)),
            };
            if filter.admits(number, &header, to_retry) && !take(number, header, to_retry)? {
                break;
            }
        }
        Ok(Ok(()))
    }

    fn parked(
        &self,
        filter: &ParkedFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<ParkedEntry>, StateError> {
        let (mut entries, mut bytes) = (Vec::new(), 0_usize);
        if limit == 0 {
            return Ok(entries);
        }
        self.read(|transaction| {
            self.each_parked(transaction, filter, after, |number, header, to_retry| {
                let body = transaction.open_table(BODIES)?.get(number)?;
                let body = body.map(|body| body.value().to_vec()).unwrap_or_default();
                bytes = bytes.saturating_add(body.len());
                if bytes > PARKED_BYTES_MAX && !entries.is_empty() {
                    return Ok(false);
                }
                let parked = header.with_body(body);
                entries.push(ParkedEntry { number, to_retry, parked });
                Ok(entries.len() < limit)
            })
        })??;
        Ok(entries)
    }

    fn parked_count(&self, filter: &ParkedFilter) -> Result<u64, StateError> {
        let mut count = 0;
        self.read(|transaction| {
            if *filter == ParkedFilter::default() {
                match transaction.open_table(PARKED) {
                    Err(redb::TableError::TableDoesNotExist(_)) => {}
                    parked => count = parked?.len()?,
                }
                return Ok(Ok(()));
            }
            self.each_parked(transaction, filter, 0, |_, _, _| {
                count += 1;
                Ok(true)
            })
        })??;
        Ok(count)
    }

    fn lanes(&self) -> Result<Vec<LaneStatus>, StateError> {
        let found = self.read(|transaction| {
            let lanes = match transaction.open_table(LANES) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                lanes => lanes?,
            };
            let mut found = Vec::new();
            for entry in lanes.iter()? {
                let (key, record) = entry?;
                let (stream, epoch, lane) = key.value();
                let lane = LaneKey { stream: stream.into(), epoch, lane: lane.into() };
                found.push((lane, record.value().to_owned()));
            }
            Ok(found)
        })?;
        let (leases, now) = (self.leases(), Instant::now());
        let statuses = found.into_iter().map(|(lane, json)| {
            let what = format_args!("the record of lane {lane}");
            let record = from_json(&self.place, what, json.as_bytes())?;
            Ok(LaneStatus { owner: leases.owner(&lane, now).map(str::to_owned), lane, record })
        });
        statuses.collect()
    }
}

fn key_of(lane: &LaneKey) -> (&str, u64, &str) {
    (&lane.stream, lane.epoch, &lane.lane)
}

/// What it means that the file cannot be opened.
fn refusal(place: &str, holder: &str, error: &DatabaseError) -> StateError {
    let DatabaseError::DatabaseAlreadyOpen = error else {
        let needed = "a state file that is whole";
        let remedy = "restore it, or use another file: rows since then are delivered again";
        return StateError::unfit(place, error.to_string(), needed, remedy);
    };
    let mut text = String::new();
    let read =
        File::open(holder).and_then(|file| file.take(HOLDER_BYTES_MAX).read_to_string(&mut text));
    let by = match read {
        Ok(bytes) if bytes > 0 => binpulse_core::excerpt::excerpt(text.trim()),
        _ => "another process".to_owned(),
    };
    let found = format!("a file that is locked by {by}");
    let remedy = "stop the other relay; relays that share a queue need mysql:// or redis://";
    StateError::unfit(place, found, "a file that no other process has open", remedy)
}

fn write_holder(path: &Path) -> std::io::Result<()> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    write!(file, "process {} on {}", std::process::id(), host.trim())
}
