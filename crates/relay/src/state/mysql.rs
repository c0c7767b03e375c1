//! The store in MySQL or MariaDB: two tables, and the server's clock.

use std::future::Future;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Params, Row, TxOpts, Value};
use tokio::sync::{Mutex, MutexGuard};

use super::{
    Acquired, DEADLINE, LaneRecord, LaneStatus, Lease, PARKED_BYTES_MAX, Parked, ParkedEntry,
    ParkedFilter, Reason, Save, StateError, from_json, to_json,
};
use crate::lane::LaneKey;

/// The tables. Names are bytes, compared as such; lanes are percent-encoded.
const TABLES: [(&str, &str); 2] = [
    (
        "binpulse_relay_state",
        "CREATE TABLE IF NOT EXISTS binpulse_relay_state (\
         route VARBINARY(64) NOT NULL, stream VARBINARY(255) NOT NULL, epoch BIGINT UNSIGNED NOT NULL, \
         lane VARBINARY(1700) NOT NULL, fence BIGINT UNSIGNED NOT NULL DEFAULT 0, \
         owner VARBINARY(255) NOT NULL DEFAULT '', lease_until_us BIGINT NOT NULL DEFAULT 0, \
         record LONGBLOB NOT NULL, PRIMARY KEY (route, stream, epoch, lane)) ENGINE = InnoDB",
    ),
    (
        "binpulse_relay_parked",
        "CREATE TABLE IF NOT EXISTS binpulse_relay_parked (\
         number BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, route VARBINARY(64) NOT NULL, \
         id VARBINARY(255) NOT NULL, stream VARBINARY(255), epoch BIGINT UNSIGNED, \
         lane VARBINARY(1700), first_number BIGINT UNSIGNED NOT NULL, \
         last_number BIGINT UNSIGNED NOT NULL, row_keys LONGBLOB NOT NULL, reason VARBINARY(32) NOT NULL, \
         attempts INT UNSIGNED NOT NULL, parked_at_us BIGINT NOT NULL, \
         to_retry BOOLEAN NOT NULL DEFAULT FALSE, content_type VARBINARY(255) NOT NULL, \
         answer LONGBLOB NOT NULL, body LONGBLOB NOT NULL, UNIQUE KEY (route, id), \
         KEY (route, lane(255))) ENGINE = InnoDB",
    ),
];
/// The server's clock, microseconds since 1970 UTC, whatever the session's time zone is.
const NOW_US: &str = "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)";
/// A lane among the rows of a route.
const LANE: &str = "route = ? AND stream = ? AND epoch = ? AND lane = ?";
const COLUMNS: &str = "number, id, stream, epoch, lane, first_number, last_number, row_keys, reason, \
                       attempts, parked_at_us, to_retry, content_type, answer, body";
/// Rows that one statement writes or removes.
const ROWS_AT_ONCE_MAX: usize = 200;
/// Bytes of bodies that one statement writes; a larger row has one of its own.
const BYTES_AT_ONCE_MAX: usize = 2 << 20;
/// Attempts at a transaction that the server chose to end for another.
const DEADLOCK_ATTEMPTS_MAX: u32 = 5;
const ER_NO_SUCH_TABLE: u16 = 1146;
const ER_DEADLOCK: u16 = 1213;
const ER_LOCK_WAIT_TIMEOUT: u16 = 1205;

/// See the module.
#[derive(Debug)]
pub struct MysqlStore {
    place: String,
    route: String,
    opts: Opts,
    /// The connection between two calls, if it is whole.
    conn: Mutex<Option<Conn>>,
}

impl MysqlStore {
    pub(super) async fn open(url: &str, route: &str) -> Result<Self, StateError> {
        // Words about the address may quote its password.
        let opts = Opts::from_url(url).ok().filter(|opts| opts.db_name().is_some());
        let opts = opts.ok_or_else(|| {
            let needed = "mysql://USER:PASSWORD@HOST:PORT/DATABASE";
            StateError::unfit("mysql", "an address of another form", needed, "change relay.state")
        })?;
        let place = place_of(&opts);
        let builder =
            OptsBuilder::from_opts(opts).prefer_socket(false).client_found_rows(true).setup(vec![
                "SET SESSION sql_mode = 'STRICT_ALL_TABLES', autocommit = 1, time_zone = '+00:00', \
                         innodb_lock_wait_timeout = 5",
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            ]);
        let store =
            Self { place, route: route.to_owned(), opts: builder.into(), conn: Mutex::default() };
        store.make_tables().await?;
        Ok(store)
    }

    /// Makes the tables that are missing. Whoever may not is told what to run.
    async fn make_tables(&self) -> Result<(), StateError> {
        self.timed(|| async {
            let mut session = self.session().await?;
            let conn = &mut session.conn;
            for (name, create) in TABLES {
                match conn.query_drop(format!("SELECT 1 FROM {name} LIMIT 0")).await {
                    Err(mysql_async::Error::Server(error)) if error.code == ER_NO_SUCH_TABLE => {}
                    other => {
                        other?;
                        continue;
                    }
                }
                if let Err(error) = conn.query_drop(create).await {
                    let mysql_async::Error::Server(error) = error else { return Err(error.into()) };
                    let found = format!("no table {name}, and `{}`", error.message);
                    let needed = "the table, or the privilege to make it";
                    let remedy = format!("run: {create}");
                    return Err(StateError::unfit(&self.place, found, needed, &remedy).into());
                }
            }
            session.keep();
            Ok(())
        })
        .await
    }

    /// The connection, or a new one, for one call after the other.
    async fn session(&self) -> Result<Session<'_>, Failure> {
        let mut kept = self.conn.lock().await;
        let conn = match kept.take() {
            Some(conn) => conn,
            None => Conn::new(self.opts.clone()).await?,
        };
        Ok(Session { kept, conn })
    }

    /// What came within the deadline; what the server ended for another transaction is tried again.
    async fn timed<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        work: impl Fn() -> F,
    ) -> Result<T, StateError> {
        let attempts = async {
            let mut attempt = 1;
            loop {
                match work().await {
                    Err(Failure::Sql(mysql_async::Error::Server(error)))
                        if [ER_DEADLOCK, ER_LOCK_WAIT_TIMEOUT].contains(&error.code)
                            && attempt < DEADLOCK_ATTEMPTS_MAX =>
                    {
                        attempt += 1;
                    }
                    done => return done,
                }
            }
        };
        // On the heap: what waits for a server is large.
        match tokio::time::timeout(DEADLINE, Box::pin(attempts)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(Failure::State(error))) => Err(error),
            Ok(Err(Failure::Sql(error))) => Err(StateError::unavailable(&self.place, error)),
            Err(_) => {
                let message = format!("no answer within {} s", DEADLINE.as_secs());
                Err(StateError::unavailable(&self.place, message))
            }
        }
    }

    fn lane_params(&self, lane: &LaneKey) -> Vec<Value> {
        vec![
            self.route.as_str().into(),
            lane.stream.as_bytes().into(),
            lane.epoch.into(),
            lane.lane.as_bytes().into(),
        ]
    }

    pub(super) async fn acquire(
        &self,
        lane: &LaneKey,
        owner: &str,
        ttl: Duration,
    ) -> Result<Acquired, StateError> {
        let lane_params = self.lane_params(lane);
        let insert = "INSERT IGNORE INTO binpulse_relay_state (route, stream, epoch, lane, record) \
                      VALUES (?, ?, ?, ?, '')";
        let update = format!(
            "UPDATE binpulse_relay_state SET fence = fence + 1, owner = ?, \
             lease_until_us = {NOW_US} + ? WHERE {LANE} \
             AND (owner = '' OR owner = ? OR lease_until_us <= {NOW_US})"
        );
        let select = format!("SELECT fence, owner, record FROM binpulse_relay_state WHERE {LANE}");
        let mut update_params: Vec<Value> = vec![owner.into(), micros(ttl).into()];
        update_params.extend(lane_params.iter().cloned());
        update_params.push(owner.into());
        let found = self
            .timed(|| async {
                let mut session = self.session().await?;
                let conn = &mut session.conn;
                // Outside the transaction: two that insert the same row and then want to change it would
                // wait for one another.
                let there: Option<Row> = conn.exec_first(&select, lane_params.clone()).await?;
                if there.is_none() {
                    conn.exec_drop(insert, lane_params.clone()).await?;
                }
                let mut transaction = conn.start_transaction(TxOpts::default()).await?;
                transaction.exec_drop(&update, update_params.clone()).await?;
                let taken = transaction.affected_rows() > 0;
                let row: Option<(u64, Vec<u8>, Vec<u8>)> =
                    transaction.exec_first(&select, lane_params.clone()).await?;
                transaction.commit().await?;
                session.keep();
                Ok(row.map(|row| (taken, row)))
            })
            .await?;
        match found {
            Some((true, (fence, _, record))) => {
                Ok(Acquired::Leased { fence, record: self.record(lane, &record)? })
            }
            Some((false, (_, owner, _))) => {
                Ok(Acquired::Held { owner: String::from_utf8_lossy(&owner).into_owned() })
            }
            None => Err(StateError::unavailable(&self.place, "the lane's row was removed")),
        }
    }

    fn record(&self, lane: &LaneKey, json: &[u8]) -> Result<LaneRecord, StateError> {
        if json.is_empty() {
            return Ok(LaneRecord::default());
        }
        from_json(&self.place, format_args!("the record of lane {lane}"), json)
    }

    pub(super) async fn renew(
        &self,
        leases: &[Lease],
        ttl: Duration,
    ) -> Result<Vec<LaneKey>, StateError> {
        let update = format!(
            "UPDATE binpulse_relay_state SET lease_until_us = {NOW_US} + ? \
             WHERE {LANE} AND fence = ? AND owner <> ''"
        );
        let leases: Vec<_> = leases.iter().map(|lease| self.lease_params(lease)).collect();
        self.timed(|| async {
            let mut session = self.session().await?;
            let conn = &mut session.conn;
            let mut lost = Vec::new();
            for (lane, params) in &leases {
                let mut all: Vec<Value> = vec![micros(ttl).into()];
                all.extend(params.iter().cloned());
                conn.exec_drop(&update, all).await?;
                if conn.affected_rows() == 0 {
                    lost.push(lane.clone());
                }
            }
            session.keep();
            Ok(lost)
        })
        .await
    }

    pub(super) async fn release(&self, leases: &[Lease]) -> Result<(), StateError> {
        let update = format!(
            "UPDATE binpulse_relay_state SET owner = '', lease_until_us = 0 WHERE {LANE} AND fence = ?"
        );
        let leases: Vec<_> = leases.iter().map(|lease| self.lease_params(lease).1).collect();
        self.timed(|| async {
            let mut session = self.session().await?;
            let conn = &mut session.conn;
            for params in &leases {
                conn.exec_drop(&update, params.clone()).await?;
            }
            session.keep();
            Ok(())
        })
        .await
    }

    /// The lane, and what names its lease in a condition.
    fn lease_params(&self, lease: &Lease) -> (LaneKey, Vec<Value>) {
        let mut params = self.lane_params(&lease.lane);
        params.push(lease.fence.into());
        (lease.lane.clone(), params)
    }

    pub(super) async fn save(&self, saves: &[Save]) -> Result<Vec<LaneKey>, StateError> {
        if saves.is_empty() {
            return Ok(Vec::new());
        }
        // In one order, whoever saves.
        let mut saves: Vec<&Save> = saves.iter().collect();
        saves.sort_by(|one, other| one.lane.cmp(&other.lane));
        let records: Result<Vec<_>, _> =
            saves.iter().map(|save| to_json(&self.place, &save.record)).collect();
        let records = records?;
        self.timed(|| async {
            let mut session = self.session().await?;
            let conn = &mut session.conn;
            let mut transaction = conn.start_transaction(TxOpts::default()).await?;
            let mut lost = Vec::new();
            let mut held = Vec::new();
            for (save, record) in saves.iter().zip(&records) {
                let params = self.lane_params(&save.lane);
                let update = format!(
                    "UPDATE binpulse_relay_state SET record = ? WHERE {LANE} AND fence = ? AND owner <> ''"
                );
                let mut all: Vec<Value> = vec![record.as_bytes().into()];
                all.extend(params);
                all.push(save.fence.into());
                transaction.exec_drop(update, all).await?;
                if transaction.affected_rows() == 0 {
                    lost.push(save.lane.clone());
                } else {
                    held.push(*save);
                }
            }
            let park: Vec<_> = held.iter().flat_map(|save| &save.park).collect();
            self.insert_parked(&mut transaction, &park).await?;
            for parked in held.iter().flat_map(|save| &save.put_back) {
                self.put_back(&mut transaction, parked).await?;
            }
            let unpark: Vec<_> = held.iter().flat_map(|save| save.unpark.iter().cloned()).collect();
            self.for_ids(&mut transaction, "DELETE FROM binpulse_relay_parked", &unpark).await?;
            transaction.commit().await?;
            session.keep();
            Ok(lost)
        })
        .await
    }

    pub(super) async fn park(&self, parked: &[Parked]) -> Result<(), StateError> {
        let parked: Vec<_> = parked.iter().collect();
        self.timed(|| async {
            let mut session = self.session().await?;
            let conn = &mut session.conn;
            let mut transaction = conn.start_transaction(TxOpts::default()).await?;
            self.insert_parked(&mut transaction, &parked).await?;
            transaction.commit().await?;
            session.keep();
            Ok(())
        })
        .await
    }

    async fn insert_parked(
        &self,
        conn: &mut impl Queryable,
        parked: &[&Parked],
    ) -> Result<(), Failure> {
        let mut rest = parked;
        while !rest.is_empty() {
            let mut bytes = 0_usize;
            let fits = rest.iter().take(ROWS_AT_ONCE_MAX).take_while(|parked| {
                bytes = bytes.saturating_add(parked.body.len());
                bytes <= BYTES_AT_ONCE_MAX
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            let mut insert = "INSERT INTO binpulse_relay_parked (route, id, stream, epoch, lane, \
                              first_number, last_number, row_keys, reason, attempts, parked_at_us, \
                              content_type, answer, body) VALUES "
                .to_owned();
            let mut params = Vec::with_capacity(now.len() * 14);
            for (index, parked) in now.iter().enumerate() {
                insert.push_str(if index == 0 { "" } else { ", " });
                insert.push_str("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
                params.push(self.route.as_str().into());
                params.extend(parked_params(parked));
            }
            // Not IGNORE, which would also pass over values that do not fit.
            insert.push_str(" ON DUPLICATE KEY UPDATE id = VALUES(id)");
            conn.exec_drop(insert, Params::Positional(params)).await?;
            rest = later;
        }
        Ok(())
    }

    async fn put_back(&self, conn: &mut impl Queryable, parked: &Parked) -> Result<(), Failure> {
        let update = "UPDATE binpulse_relay_parked SET id = ?, stream = ?, epoch = ?, lane = ?, \
                      first_number = ?, last_number = ?, row_keys = ?, reason = ?, attempts = ?, \
                      parked_at_us = ?, content_type = ?, answer = ?, body = ?, to_retry = FALSE \
                      WHERE route = ? AND id = ?";
        let mut params = parked_params(parked);
        params.push(self.route.as_str().into());
        params.push(parked.id.as_str().into());
        conn.exec_drop(update, Params::Positional(params)).await?;
        Ok(())
    }

    /// Runs a statement for parked rows by their ids; how many were there.
    async fn for_ids(
        &self,
        conn: &mut impl Queryable,
        statement: &str,
        ids: &[String],
    ) -> Result<u64, Failure> {
        let mut found = 0;
        for ids in ids.chunks(ROWS_AT_ONCE_MAX) {
            let places = vec!["?"; ids.len()].join(", ");
            let mut params: Vec<Value> = vec![self.route.as_str().into()];
            params.extend(ids.iter().map(|id| Value::from(id.as_str())));
            let statement = format!("{statement} WHERE route = ? AND id IN ({places})");
            let result = conn.exec_iter(statement, Params::Positional(params)).await?;
            found += result.affected_rows();
        }
        Ok(found)
    }

    pub(super) async fn parked(
        &self,
        filter: &ParkedFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<ParkedEntry>, StateError> {
        let (condition, mut params) = self.condition(filter);
        params.push(after.into());
        let sizes = format!(
            "SELECT number, LENGTH(body) FROM binpulse_relay_parked WHERE {condition} AND number > ? \
             ORDER BY number LIMIT {limit}"
        );
        let rows: Vec<Row> = self
            .timed(|| async {
                let mut session = self.session().await?;
                let conn = &mut session.conn;
                let sizes: Vec<(u64, u64)> = conn.exec(&sizes, params.clone()).await?;
                let mut bytes = 0_u64;
                let fits = sizes.iter().take_while(|(_, size)| {
                    bytes = bytes.saturating_add(*size);
                    bytes <= PARKED_BYTES_MAX as u64
                });
                let count = fits.count().max(1);
                let Some((last, _)) = sizes.get(count - 1).or(sizes.last()) else {
                    session.keep();
                    return Ok(Vec::new());
                };
                let select = format!(
                    "SELECT {COLUMNS} FROM binpulse_relay_parked \
                     WHERE {condition} AND number > ? AND number <= ? ORDER BY number LIMIT {limit}"
                );
                let mut params = params.clone();
                params.push((*last).into());
                let rows = conn.exec(select, params).await?;
                session.keep();
                Ok(rows)
            })
            .await?;
        rows.into_iter().map(|row| self.entry(row)).collect()
    }

    fn entry(&self, row: Row) -> Result<ParkedEntry, StateError> {
        read_entry(row).ok_or_else(|| {
            let found = "a row of binpulse_relay_parked that cannot be read";
            let remedy = "repair or remove it, or give relay.name a new value";
            StateError::unfit(&self.place, found, "rows that a relay of this version wrote", remedy)
        })
    }

    /// A condition for the filter, and its values.
    fn condition(&self, filter: &ParkedFilter) -> (String, Vec<Value>) {
        let mut condition = "route = ?".to_owned();
        let mut params: Vec<Value> = vec![self.route.as_str().into()];
        if let Some(id) = &filter.id {
            condition.push_str(" AND id = ?");
            params.push(id.as_str().into());
        }
        if let Some(lane) = &filter.lane {
            condition.push_str(" AND stream = ? AND epoch = ? AND lane = ?");
            params.extend(self.lane_params(lane).into_iter().skip(1));
        }
        if !filter.keys.is_empty() {
            let is_in: Vec<_> = filter.keys.iter().map(|_| "FIND_IN_SET(?, row_keys)").collect();
            condition.push_str(" AND (");
            condition.push_str(&is_in.join(" OR "));
            condition.push(')');
            params.extend(filter.keys.iter().map(|key| Value::from(key.as_str())));
        }
        if let Some(before) = filter.before {
            condition.push_str(" AND number < ?");
            params.push(before.into());
        }
        if let Some(reason) = filter.reason {
            condition.push_str(" AND reason = ?");
            params.push(reason.as_str().into());
        }
        if let Some(to_retry) = filter.to_retry {
            condition.push_str(if to_retry { " AND to_retry" } else { " AND NOT to_retry" });
        }
        (condition, params)
    }

    pub(super) async fn parked_count(&self, filter: &ParkedFilter) -> Result<u64, StateError> {
        let (condition, params) = self.condition(filter);
        let select = format!("SELECT COUNT(*) FROM binpulse_relay_parked WHERE {condition}");
        let count: Option<u64> = self
            .timed(|| async {
                let mut session = self.session().await?;
                let count = session.conn.exec_first(&select, params.clone()).await?;
                session.keep();
                Ok(count)
            })
            .await?;
        Ok(count.unwrap_or(0))
    }

    async fn with_ids(&self, statement: &str, ids: &[String]) -> Result<u64, StateError> {
        self.timed(|| async {
            let mut session = self.session().await?;
            let found = self.for_ids(&mut session.conn, statement, ids).await?;
            session.keep();
            Ok(found)
        })
        .await
    }

    pub(super) async fn retry(&self, ids: &[String]) -> Result<u64, StateError> {
        let update = "UPDATE binpulse_relay_parked SET to_retry = TRUE";
        self.with_ids(update, ids).await
    }

    pub(super) async fn unpark(&self, ids: &[String]) -> Result<u64, StateError> {
        let delete = "DELETE FROM binpulse_relay_parked";
        self.with_ids(delete, ids).await
    }

    pub(super) async fn lanes(&self) -> Result<Vec<LaneStatus>, StateError> {
        let select = format!(
            "SELECT stream, epoch, lane, IF(owner <> '' AND lease_until_us > {NOW_US}, owner, NULL), \
             record FROM binpulse_relay_state WHERE route = ? AND record <> '' \
             ORDER BY stream, epoch, lane"
        );
        let rows: Vec<FoundLane> = self
            .timed(|| async {
                let mut session = self.session().await?;
                let rows = session.conn.exec(&select, (&self.route,)).await?;
                session.keep();
                Ok(rows)
            })
            .await?;
        let statuses = rows.into_iter().map(|(stream, epoch, lane, owner, record)| {
            let lane = LaneKey { stream: text(&stream).into(), epoch, lane: text(&lane).into() };
            let record = self.record(&lane, &record)?;
            Ok(LaneStatus { owner: owner.map(|owner| text(&owner)), lane, record })
        });
        statuses.collect()
    }
}

/// The connection during a call. Dropped without [`Session::keep`] it is closed, and nothing of what
/// went wrong is left on the next.
struct Session<'s> {
    kept: MutexGuard<'s, Option<Conn>>,
    conn: Conn,
}

impl Session<'_> {
    fn keep(mut self) {
        *self.kept = Some(self.conn);
    }
}

/// Stream, epoch, lane, owner and record.
type FoundLane = (Vec<u8>, u64, Vec<u8>, Option<Vec<u8>>, Vec<u8>);

/// Why a call did not do what it should.
enum Failure {
    Sql(mysql_async::Error),
    State(StateError),
}

impl From<mysql_async::Error> for Failure {
    fn from(error: mysql_async::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// Where it is, without user and password.
fn place_of(opts: &Opts) -> String {
    let database = opts.db_name().unwrap_or_default();
    format!("mysql://{}:{}/{database}", opts.ip_or_hostname(), opts.tcp_port())
}

fn micros(ttl: Duration) -> i64 {
    // A thousand years: the sum with the clock still fits.
    i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX).min(31_557_600_000_000_000)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The values of a parked row behind its route.
fn parked_params(parked: &Parked) -> Vec<Value> {
    let lane = parked.lane.as_ref();
    vec![
        parked.id.as_str().into(),
        lane.map(|lane| lane.stream.as_bytes()).into(),
        lane.map(|lane| lane.epoch).into(),
        lane.map(|lane| lane.lane.as_bytes()).into(),
        parked.first.into(),
        parked.last.into(),
        parked.keys.join(",").into(),
        parked.reason.as_str().into(),
        parked.attempts.into(),
        parked.parked_at_us.into(),
        parked.content_type.as_str().into(),
        parked.answer.as_str().into(),
        parked.body.as_slice().into(),
    ]
}

/// The way back, of [`COLUMNS`].
fn read_entry(mut row: Row) -> Option<ParkedEntry> {
    fn take<T: mysql_async::prelude::FromValue>(row: &mut Row, index: usize) -> Option<T> {
        row.take_opt(index)?.ok()
    }
    let bytes = |row: &mut Row, index| take::<Vec<u8>>(row, index).map(|bytes| text(&bytes));
    let stream: Option<Vec<u8>> = take(&mut row, 2)?;
    let epoch: Option<u64> = take(&mut row, 3)?;
    let lane: Option<Vec<u8>> = take(&mut row, 4)?;
    let lane = match (stream, epoch, lane) {
        (Some(stream), Some(epoch), Some(lane)) => {
            Some(LaneKey { stream: text(&stream).into(), epoch, lane: text(&lane).into() })
        }
        _ => None,
    };
    let keys = bytes(&mut row, 7)?;
    Some(ParkedEntry {
        number: take(&mut row, 0)?,
        to_retry: take(&mut row, 11)?,
        parked: Parked {
            id: bytes(&mut row, 1)?,
            lane,
            first: take(&mut row, 5)?,
            last: take(&mut row, 6)?,
            keys: keys.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect(),
            body: take(&mut row, 14)?,
            content_type: bytes(&mut row, 12)?,
            reason: Reason::read(&bytes(&mut row, 8)?)?,
            attempts: take(&mut row, 9)?,
            answer: bytes(&mut row, 13)?,
            parked_at_us: take(&mut row, 10)?,
        },
    })
}
