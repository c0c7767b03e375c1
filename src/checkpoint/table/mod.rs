//! A checkpoint in tables of the source database.
//!
//! One row a stream, and one a lane. Who opens the store takes the stream over: the row's owner
//! number rises, and each save is one transaction on the condition that the number is still the
//! saver's. So of two processes only the newer can advance, and the older learns that it is fenced.
//!
//! The tables are made by `binpulse init`. This part knows their columns, not how they were made.

mod owner;
mod rehearsal;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use owner::owner_name;

use super::{Checkpoint, Delta, Error, Place, Store};
use crate::change::Position;
use crate::mysql::{self, ConnectOptions, Row, Session, SharedHost, Value};

/// Number of the format that is written, and the highest that is read.
const FORMAT: u64 = 1;

/// Lanes in one statement: it stays far below the smallest `max_allowed_packet` in use.
const LANES_PER_STATEMENT: usize = 500;

/// Lanes in one answer while loading.
const LANES_PER_PAGE: usize = 10_000;

/// Bytes of a lane's hash that make its key: an index key must be short, lanes' names are not.
const HASH_BYTES: usize = 16;

/// Where the tables are, and how to get there.
#[derive(Debug, Clone)]
pub struct TableConfig {
    /// How to log in.
    pub connect: ConnectOptions,
    /// Where: the primary, which may move while the store is open.
    pub host: SharedHost,
    /// Quoted and qualified name of the checkpoints' table.
    pub table: String,
    /// Quoted and qualified name of the lanes' table.
    pub lane_table: String,
    /// The stream.
    pub stream: String,
    /// Names this process to who finds itself fenced: host, process, and a random part, so that no
    /// two have one name.
    pub owner_name: String,
    /// The fence of the lease on the stream, which becomes the owner's number; `None` without a lease:
    /// the number is the next one.
    pub fence: Option<u64>,
}

/// A checkpoint in the source database.
#[derive(Debug)]
pub struct TableStore {
    config: TableConfig,
    session: Option<Session>,
    place: owner::Place,
    owner: u64,
    /// What the tables hold, for the columns that a save writes whole.
    checkpoint: Option<Checkpoint>,
}

impl TableStore {
    /// Takes the stream over. The former owner, if it still runs, is fenced from here on.
    pub async fn open(config: TableConfig) -> Result<Self, Error> {
        let mut store = Self::unopened(config);
        match store.config.fence {
            Some(fence) => store.take_over_as(fence).await?,
            None => store.owner = store.take_over().await?,
        }
        store.checkpoint = store.read().await?;
        Ok(store)
    }

    /// The checkpoint as its owner last saved it, without becoming its owner. `None`: the stream never
    /// began.
    pub async fn peek(config: TableConfig) -> Result<Option<Checkpoint>, Error> {
        let mut store = Self::unopened(config);
        // Row and lanes are saved in one transaction, and are read in one.
        store.query("read", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
        store.query("read", "START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
        store.read().await
    }

    fn unopened(config: TableConfig) -> Self {
        let place = owner::Place::new(config.host.now());
        Self { config, session: None, place, owner: 0, checkpoint: None }
    }

    /// This owner's number.
    #[cfg(feature = "testing")]
    pub fn owner(&self) -> u64 {
        self.owner
    }

    async fn read(&mut self) -> Result<Option<Checkpoint>, Error> {
        let TableConfig { table, stream, .. } = self.config.clone();
        let sql = format!(
            "SELECT begun, format, server_uuid, epoch, gtid_set, resume_file, resume_offset, \
             resume_maria, settled_file, settled_offset, settled_maria, saved_at_us, version, \
             snapshot FROM {table} WHERE stream = ?"
        );
        let rows = self.exec("read", &sql, vec![stream.clone().into()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        if number(row, 0, "begun", &self.config)? == 0 {
            return Ok(None);
        }
        let found = number(row, 1, "format", &self.config)?;
        if found > FORMAT {
            return Err(Error::Format { place: table, found, known: FORMAT });
        }
        let text = |column| row.text(column).unwrap_or_default();
        let place = |first: usize, column| -> Result<Place, Error> {
            let offset = number(row, first + 1, column, &self.config)?;
            let maria = text(first + 2).parse();
            let maria = maria.map_err(|error: crate::change::GtidError| {
                self.malformed(column, &error.to_string())
            })?;
            Ok(Place { position: Position::new(text(first), offset), maria })
        };
        let gtid_set = text(4).parse();
        let gtid_set = gtid_set.map_err(|error: crate::change::GtidError| {
            self.malformed("gtid_set", &error.to_string())
        })?;
        let mut checkpoint = Checkpoint {
            stream,
            server_uuid: text(2),
            epoch: number(row, 3, "epoch", &self.config)?,
            gtid_set,
            resume: place(5, "resume")?,
            settled: place(8, "settled")?,
            heartbeat: None,
            lanes: BTreeMap::new(),
            annotations: self.read_annotations(row.text(13).as_deref())?,
            owner: self.owner,
            saved_at_us: row.signed(11).ok().flatten().unwrap_or(0),
            version: text(12),
        };
        checkpoint.lanes = self.read_lanes().await?;
        Ok(Some(checkpoint))
    }

    fn read_annotations(&self, text: Option<&str>) -> Result<BTreeMap<Arc<str>, Arc<str>>, Error> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(BTreeMap::new()) };
        serde_json::from_str(text).map_err(|error| self.malformed("snapshot", &error.to_string()))
    }

    async fn read_lanes(&mut self) -> Result<BTreeMap<Arc<str>, u64>, Error> {
        let TableConfig { lane_table, stream, .. } = self.config.clone();
        let sql = format!(
            "SELECT lane, next, lane_hash FROM {lane_table} WHERE stream = ? AND lane_hash > ? \
             ORDER BY lane_hash LIMIT {LANES_PER_PAGE}"
        );
        let mut lanes = BTreeMap::new();
        let mut after = Value::Bytes(Vec::new());
        loop {
            let rows = self.exec("read", &sql, vec![stream.clone().into(), after]).await?;
            for row in &rows {
                let lane = row.text(0).unwrap_or_default();
                lanes.insert(Arc::from(lane), number(row, 1, "next", &self.config)?);
            }
            match rows.last() {
                Some(last) if rows.len() == LANES_PER_PAGE => after = last.value(2).clone(),
                Some(_) | None => return Ok(lanes),
            }
        }
    }

    /// Writes `checkpoint`'s row and `lanes` in one transaction, if the stream is still ours.
    async fn write(
        &mut self,
        checkpoint: &Checkpoint,
        lanes: &BTreeMap<Arc<str>, u64>,
        is_new: bool,
    ) -> Result<(), Error> {
        let written = self.write_in_transaction(checkpoint, lanes, is_new).await;
        match &written {
            Ok(()) => self.place.home.clone_from(&self.place.at),
            // Whatever the session was in the middle of ends with it.
            Err(_) => self.session = None,
        }
        written
    }

    async fn write_in_transaction(
        &mut self,
        checkpoint: &Checkpoint,
        lanes: &BTreeMap<Arc<str>, u64>,
        is_new: bool,
    ) -> Result<(), Error> {
        let TableConfig { table, lane_table, stream, .. } = self.config.clone();
        self.query("save", "START TRANSACTION").await?;
        if self.place.is_elsewhere() {
            self.claim().await?;
        }
        // `saves` makes sure that the row changes, so that 0 rows means: not ours any more.
        let sql = format!(
            "UPDATE {table} SET saves = saves + 1, begun = 1, format = {FORMAT}, server_uuid = ?, \
             epoch = ?, gtid_set = ?, resume_file = ?, resume_offset = ?, resume_maria = ?, \
             settled_file = ?, settled_offset = ?, settled_maria = ?, saved_at_us = ?, version = ?, \
             snapshot = ? WHERE stream = ? AND owner = ? AND owner_name = ?"
        );
        let name = owner_name(&self.config);
        let annotations = serde_json::to_string(&checkpoint.annotations)
            .map_err(|error| self.malformed("snapshot", &error.to_string()))?;
        let Place { position: resume, maria: resume_maria } = &checkpoint.resume;
        let Place { position: settled, maria: settled_maria } = &checkpoint.settled;
        let values: Vec<Value> = vec![
            checkpoint.server_uuid.clone().into(),
            checkpoint.epoch.into(),
            checkpoint.gtid_set.to_string().into(),
            (*resume.file).to_owned().into(),
            resume.offset.into(),
            resume_maria.to_string().into(),
            (*settled.file).to_owned().into(),
            settled.offset.into(),
            settled_maria.to_string().into(),
            checkpoint.saved_at_us.into(),
            checkpoint.version.clone().into(),
            annotations.into(),
            stream.clone().into(),
            self.owner.into(),
            name.into(),
        ];
        self.exec("save", &sql, values).await?;
        if self.session.as_ref().map_or(0, Session::affected_rows) == 0 {
            return Err(self.fenced().await);
        }
        if is_new {
            let sql = format!("DELETE FROM {lane_table} WHERE stream = ?");
            self.exec("save", &sql, vec![stream.clone().into()]).await?;
        }
        let lanes: Vec<_> = lanes.iter().collect();
        for chunk in lanes.chunks(LANES_PER_STATEMENT) {
            let (sql, values) = upsert(&lane_table, &stream, chunk);
            self.exec("save", &sql, values).await?;
        }
        self.query("save", "COMMIT").await
    }

    async fn query(&mut self, action: &'static str, sql: &str) -> Result<(), Error> {
        let result = match self.session().await {
            Ok(session) => session.query(sql).await,
            Err(error) => Err(error),
        };
        result.map(drop).map_err(|error| self.failed(action, &error))
    }

    async fn exec(
        &mut self,
        action: &'static str,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, Error> {
        let result = match self.session().await {
            Ok(session) => session.exec(sql, values).await,
            Err(error) => Err(error),
        };
        result.map_err(|error| {
            let failed = self.failed(action, &error);
            if error.is_fatal() {
                self.session = None;
            }
            failed
        })
    }

    async fn session(&mut self) -> Result<&mut Session, mysql::Error> {
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let host = self.place.at.clone();
                let options = ConnectOptions { host, ..self.config.connect.clone() };
                let mut session = Session::connect(&options).await?;
                // So that a lock ends the statement on the server, and not only our patience.
                let setup = "SET SESSION lock_wait_timeout = 2, SESSION innodb_lock_wait_timeout = 2, \
                             SESSION autocommit = 1, NAMES utf8mb4";
                session.query(setup).await?;
                // Without locks on gaps: streams that share the tables would wait for one another's.
                session.query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
                if self.config.fence.is_some() {
                    // Whoever takes over finds this session by it. Without it, that one waits.
                    let name = owner::lock_name(&self.config.stream);
                    drop(session.query(&format!("DO GET_LOCK('{name}', 0)")).await);
                }
                session
            }
        };
        Ok(self.session.insert(session))
    }

    fn failed(&self, action: &'static str, error: &mysql::Error) -> Error {
        Error::Database {
            action,
            table: self.config.table.clone(),
            code: error.code().unwrap_or(0),
            passes: error.passes(),
            message: error.to_string(),
        }
    }

    fn malformed(&self, column: &'static str, found: &str) -> Error {
        malformed(&self.config, column, found)
    }
}

impl Store for TableStore {
    async fn load(&mut self) -> Result<Option<Checkpoint>, Error> {
        Ok(self.checkpoint.clone())
    }

    async fn begin(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let mut checkpoint = checkpoint.clone();
        checkpoint.owner = self.owner;
        let lanes = checkpoint.lanes.clone();
        self.go_along();
        self.write(&checkpoint, &lanes, true).await?;
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    async fn save(&mut self, delta: &Delta) -> Result<(), Error> {
        let Some(checkpoint) = &self.checkpoint else {
            return Err(Error::NotBegun { place: self.config.table.clone() });
        };
        // Without the lanes, which may be many: the row has no column for them.
        let mut next = Checkpoint {
            stream: checkpoint.stream.clone(),
            server_uuid: checkpoint.server_uuid.clone(),
            epoch: checkpoint.epoch,
            gtid_set: checkpoint.gtid_set.clone(),
            version: checkpoint.version.clone(),
            annotations: checkpoint.annotations.clone(),
            ..Checkpoint::default()
        };
        next.apply(delta);
        self.go_along();
        if self.place.is_elsewhere() {
            let mut lanes = self.checkpoint.as_ref().map(|it| it.lanes.clone()).unwrap_or_default();
            lanes.extend(delta.lanes.iter().map(|(lane, next)| (Arc::clone(lane), *next)));
            self.write(&next, &lanes, true).await?;
        } else {
            self.write(&next, &delta.lanes, false).await?;
        }
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.apply(delta);
        }
        Ok(())
    }
}

/// The statement that puts these lanes, and its values.
fn upsert(table: &str, stream: &str, lanes: &[(&Arc<str>, &u64)]) -> (String, Vec<Value>) {
    let mut sql = format!("INSERT INTO {table} (stream, lane_hash, lane, next) VALUES ");
    let mut values = Vec::with_capacity(lanes.len() * 4);
    for (index, (lane, next)) in lanes.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        write!(sql, "{separator}(?, ?, ?, ?)").expect("a String takes any text");
        let hash = Sha256::digest(lane.as_bytes()).into_iter().take(HASH_BYTES).collect();
        values.extend([
            stream.to_owned().into(),
            Value::Bytes(hash),
            lane.to_string().into(),
            (**next).into(),
        ]);
    }
    sql.push_str(" ON DUPLICATE KEY UPDATE next = VALUES(next)");
    (sql, values)
}

fn number(
    row: &Row,
    column: usize,
    name: &'static str,
    config: &TableConfig,
) -> Result<u64, Error> {
    match row.unsigned(column) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(malformed(config, name, "NULL")),
        Err(error) => Err(malformed(config, name, &error.to_string())),
    }
}

fn malformed(config: &TableConfig, column: &'static str, found: &str) -> Error {
    let (table, stream) = (config.table.clone(), config.stream.clone());
    Error::Malformed { table, stream, column, found: found.to_owned() }
}
