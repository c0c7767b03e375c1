//! A connection to a server: the protocol, transactions, and the stream of the log.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use binpulse::change::GtidSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use crate::answers;
use crate::log::{Change, FIRST};
use crate::machine::Link;
use crate::server::{Author, Broken, Committed, Key, Server, State, Written};
use crate::sql::{Expression, Scope, Statement, evaluate};
use crate::value::{Definition, Row, Type, Value};

const OK: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];
const END: [u8; 5] = [0xfe, 0, 0, 2, 0];
/// How long a statement waits for a row that another has changed.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const READ_ONLY: &str = "The MySQL server is running with the --read-only option";

/// An answer to a statement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Done(u64),
    Rows(usize, Vec<Row>),
    /// With the names of its columns.
    Named(Vec<&'static str>, Vec<Row>),
    Refused(u16, String),
}

/// One session.
pub(crate) struct Session {
    pub(crate) server: Arc<Server>,
    pub(crate) id: u32,
    life: u64,
    link: Link,
    stream: DuplexStream,
    sequence: u8,
    /// What the open transaction has written; `None`: each statement is its own.
    open: Option<Written>,
    /// What the open transaction reads, if that is as of its begin.
    view: Option<Committed>,
    variables: BTreeMap<String, String>,
}

/// The connection is over.
struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl From<Broken> for Gone {
    fn from(Broken: Broken) -> Self {
        Self
    }
}

/// Serves a connection until it is over.
pub(crate) async fn serve(server: Arc<Server>, link: Link, stream: DuplexStream) {
    let (id, life) = {
        let mut state = server.state();
        state.next_session += 1;
        (state.next_session, state.life)
    };
    let mut session = Session {
        server: Arc::clone(&server),
        id,
        life,
        link: link.clone(),
        stream,
        sequence: 0,
        open: None,
        view: None,
        variables: BTreeMap::new(),
    };
    tokio::select! {
        biased;
        () = link.broken() => {}
        () = ended(&server, id, life) => {}
        _gone = session.talk() => {}
    }
    session.roll_back();
    let mut state = server.state();
    state.named.retain(|_, holder| *holder != id);
    state.dumps.retain(|_, holder| *holder != id);
    state.readers.remove(&id);
    drop(state);
    server.changed.notify_waiters();
}

/// The server ends, or the session is killed.
async fn ended(server: &Server, id: u32, life: u64) {
    let _either = server.until(life, |state| state.killed.contains(&id)).await;
}

impl Session {
    async fn talk(&mut self) -> Result<(), Gone> {
        self.send(&greeting(self.id)).await?;
        self.receive().await?;
        self.send(&OK).await?;
        loop {
            let command = self.receive().await?;
            match command.split_first() {
                Some((3, sql)) => {
                    let sql = String::from_utf8_lossy(sql).into_owned();
                    let answer = self.run(&sql).await?;
                    self.answer(answer).await?;
                }
                Some((0x15, _)) => self.send(&OK).await?,
                Some((0x1e, asked)) => return self.dump(request(asked)).await,
                Some((0x12, asked)) => return self.dump(by_position(asked)).await,
                Some((1, _)) | None => return Err(Gone),
                Some(other) => panic!("no model of command {other:?}"),
            }
        }
    }

    async fn receive(&mut self) -> Result<Vec<u8>, Gone> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).await?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], 0]);
        let mut payload = vec![0; usize::try_from(length).expect("32 bits")];
        self.stream.read_exact(&mut payload).await?;
        self.sequence = head[3].wrapping_add(1);
        let pause = self.link.delay() + self.slowness();
        tokio::time::sleep(pause).await;
        self.answers().await?;
        Ok(payload)
    }

    fn slowness(&self) -> Duration {
        Duration::from_millis(self.server.state().ailments.slow_ms)
    }

    /// Waits as long as the server, or the way to it, hangs.
    async fn answers(&self) -> Result<(), Gone> {
        self.link.passes().await;
        Ok(self.server.until(self.life, |state| !state.ailments.hung).await?)
    }

    async fn send(&mut self, payload: &[u8]) -> Result<(), Gone> {
        let length = u32::try_from(payload.len()).expect("short").to_le_bytes();
        let head = [length[0], length[1], length[2], self.sequence];
        self.sequence = self.sequence.wrapping_add(1);
        self.stream.write_all(&[&head[..], payload].concat()).await?;
        Ok(())
    }

    async fn answer(&mut self, answer: Answer) -> Result<(), Gone> {
        self.answers().await?;
        let (names, rows) = match answer {
            Answer::Done(affected) => {
                let affected = u8::try_from(affected).expect("few rows");
                return self.send(&[0, affected, 0, 2, 0, 0, 0]).await;
            }
            Answer::Refused(code, words) => {
                let code = code.to_le_bytes();
                return self
                    .send(&[&[0xff], &code[..], b"#HY000", words.as_bytes()].concat())
                    .await;
            }
            Answer::Rows(width, rows) => (vec!["c"; width], rows),
            Answer::Named(names, rows) => (names, rows),
        };
        self.send(&[u8::try_from(names.len()).expect("few columns")]).await?;
        for name in names {
            let mut definition = b"\x03def\0\0\0".to_vec();
            put_text(Some(name.as_bytes().to_vec()), &mut definition);
            definition.push(0);
            self.send(&definition).await?;
        }
        self.send(&END).await?;
        for row in rows {
            let mut payload = Vec::new();
            for value in row {
                put_text(value.shown(), &mut payload);
            }
            self.send(&payload).await?;
        }
        self.send(&END).await
    }

    fn roll_back(&mut self) {
        self.open = None;
        self.view = None;
        let id = self.id;
        let mut state = self.server.state();
        // What is being committed is in the log, and keeps its locks until it is.
        if !state.waits.contains_key(&id) {
            state.locks.retain(|_, holder| *holder != id);
        }
        drop(state);
        self.server.changed.notify_waiters();
    }

    async fn run(&mut self, sql: &str) -> Result<Answer, Gone> {
        let first = sql.split([' ', '\n']).next().unwrap_or_default();
        match first {
            "START" => {
                self.open = Some(Written::new());
                let is_as_of_begin = sql.contains("WITH CONSISTENT SNAPSHOT");
                self.view = is_as_of_begin.then(|| self.server.state().rows.clone());
                return Ok(Answer::Done(0));
            }
            "ROLLBACK" => {
                self.roll_back();
                return Ok(Answer::Done(0));
            }
            "COMMIT" => {
                let written = self.open.take().unwrap_or_default();
                self.view = None;
                if !written.is_empty() && self.server.state().is_read_only() {
                    self.roll_back();
                    return Ok(Answer::Refused(1290, READ_ONLY.to_owned()));
                }
                return self.commit(written).await.map(|()| Answer::Done(0));
            }
            "SET" => {
                for part in sql.trim_start_matches("SET ").split(", ") {
                    if let Some((name, value)) = part.split_once(" = ") {
                        let value = value.trim_matches('\'').to_owned();
                        self.variables.insert(name.to_owned(), value);
                    }
                }
                return Ok(Answer::Done(0));
            }
            _ => {}
        }
        if let Some(answer) = answers::by_text(self, sql) {
            return Ok(answer);
        }
        let Some(statement) = crate::sql::parse(sql) else {
            panic!("the model of the server does not know this statement: {sql}");
        };
        let until = Instant::now() + LOCK_WAIT;
        loop {
            match self.execute(&statement, sql) {
                Ok(answer) => {
                    if self.open.is_none() {
                        self.roll_back();
                    }
                    return Ok(answer);
                }
                Err(Blocked::Locked) => {
                    if Instant::now() >= until {
                        let words = "Lock wait timeout exceeded; try restarting transaction";
                        return Ok(Answer::Refused(1205, words.to_owned()));
                    }
                    self.server.wait(Duration::from_millis(50)).await;
                    self.server.until(self.life, |_| true).await?;
                }
                Err(Blocked::Commits(answer, written)) => {
                    self.commit(written).await?;
                    return Ok(answer);
                }
            }
        }
    }

    /// Commits in a task of its own: who hangs up does not undo it.
    async fn commit(&mut self, written: Written) -> Result<(), Gone> {
        let changes = self.changes(written);
        if changes.is_empty() {
            self.roll_back();
            return Ok(());
        }
        let (server, id) = (Arc::clone(&self.server), self.id);
        let author = Author { session: id, process: self.link.process() };
        server.state().waits.insert(id, "starting");
        let committing = server.commit(changes, Some(author));
        let committing = tokio::spawn(async move {
            let ended = committing.await;
            let mut state = server.state();
            state.waits.remove(&id);
            state.locks.retain(|_, holder| *holder != id);
            drop(state);
            server.changed.notify_waiters();
            ended
        });
        Ok(committing.await.map_err(|_| Gone)??)
    }

    fn changes(&self, written: Written) -> Vec<Change> {
        let state = self.server.state();
        let change = |(key, after): (Key, Option<Row>)| {
            let table = self.server.schema.iter().find(|table| table.id == key.0)?;
            let before = state.rows.get(&key).cloned();
            (before != after).then(|| Change { table: Arc::clone(table), before, after })
        };
        written.into_iter().filter_map(change).collect()
    }

    fn execute(&mut self, statement: &Statement, sql: &str) -> Result<Answer, Blocked> {
        let server = Arc::clone(&self.server);
        let mut state = server.state();
        let mut written = self.open.clone().unwrap_or_default();
        let affected = match statement {
            Statement::Select { what, from, wanted, locks } => {
                let rows = match from {
                    None => vec![(None, Vec::new())],
                    Some(name) => {
                        let table = self.table(name);
                        let view = self.view.as_ref().filter(|_| !locks);
                        let found = self.matching(&state, view, &written, &table, wanted, sql);
                        // A row that is being inserted is there for who locks what he reads.
                        let is_written =
                            |(key, holder): (&Key, &u32)| key.0 == table.id && *holder != self.id;
                        if *locks && found.is_empty() && state.locks.iter().any(is_written) {
                            return Err(Blocked::Locked);
                        }
                        if *locks {
                            self.lock(&mut state, found.iter().map(|(key, _)| key))?;
                        }
                        found.into_iter().map(|(_, row)| (Some(Arc::clone(&table)), row)).collect()
                    }
                };
                let values = |(table, row): &(Option<Arc<Definition>>, Row)| {
                    let scope = Rows {
                        session: self,
                        state: &state,
                        table: table.as_deref(),
                        row,
                        new: None,
                    };
                    let value = |it| evaluate(it, &scope).unwrap_or_else(|| unknown(sql));
                    what.iter().map(value).collect::<Row>()
                };
                let counts =
                    matches!(what.as_slice(), [Expression::Call(name, _)] if name == "COUNT");
                if counts {
                    return Ok(Answer::Rows(1, vec![vec![Value::Int(rows.len() as i128)]]));
                }
                return Ok(Answer::Rows(what.len(), rows.iter().map(values).collect()));
            }
            Statement::Insert { into, columns, rows, else_set } => {
                let new = (columns.as_slice(), rows.as_slice(), else_set.as_slice());
                match self.insert(&mut state, &mut written, self.table(into), new, sql)? {
                    Some(affected) => affected,
                    None => return Ok(Answer::Refused(1062, "Duplicate entry".to_owned())),
                }
            }
            Statement::Update { table, set, wanted } => {
                let table = self.table(table);
                let found = self.matching(&state, None, &written, &table, wanted, sql);
                self.lock(&mut state, found.iter().map(|(key, _)| key))?;
                let mut affected = 0;
                for (key, row) in found {
                    let after = self.assigned(&state, &table, &row, None, set, sql);
                    affected += u64::from(after != row);
                    written.insert(key, Some(after));
                }
                affected
            }
            Statement::Delete { table, wanted } => {
                let table = self.table(table);
                let found = self.matching(&state, None, &written, &table, wanted, sql);
                self.lock(&mut state, found.iter().map(|(key, _)| key))?;
                let affected = found.len() as u64;
                written.extend(found.into_iter().map(|(key, _)| (key, None)));
                affected
            }
        };
        if state.is_read_only() {
            return Ok(Answer::Refused(1290, READ_ONLY.to_owned()));
        }
        drop(state);
        match &mut self.open {
            Some(open) => {
                *open = written;
                Ok(Answer::Done(affected))
            }
            None => Err(Blocked::Commits(Answer::Done(affected), written)),
        }
    }

    /// Rows that were changed; `None`: one of them is there.
    fn insert(
        &self,
        state: &mut State,
        written: &mut Written,
        table: Arc<Definition>,
        (columns, rows, else_set): New<'_>,
        sql: &str,
    ) -> Result<Option<u64>, Blocked> {
        let mut affected = 0;
        for new in rows {
            let mut row = vec![Value::Null; table.columns.len()];
            for (name, expression) in columns.iter().zip(new) {
                let Some(at) = table.column(name) else { continue };
                if table.columns[at].1 == Type::Absent {
                    continue;
                }
                let scope = Rows { session: self, state, table: Some(&table), row: &[], new: None };
                row[at] = evaluate(expression, &scope).unwrap_or_else(|| unknown(sql));
            }
            let key = (table.id, table.key_of(&row));
            self.lock(state, [&key])?;
            let there = find(&state.rows, written, &key);
            let after = match &there {
                None => row.clone(),
                Some(_) if else_set.is_empty() => {
                    return Ok(None);
                }
                Some(there) => self.assigned(state, &table, there, Some(&row), else_set, sql),
            };
            if there.as_ref() != Some(&after) {
                affected += if there.is_some() { 2 } else { 1 };
                written.insert(key, Some(after));
            }
        }
        Ok(Some(affected))
    }

    fn table(&self, (schema, name): &(String, String)) -> Arc<Definition> {
        let table = self.server.table(schema, name);
        table.unwrap_or_else(|| panic!("there is no table {schema}.{name}"))
    }

    fn lock<'a>(
        &self,
        state: &mut State,
        keys: impl IntoIterator<Item = &'a Key>,
    ) -> Result<(), Blocked> {
        for key in keys {
            if *state.locks.entry(key.clone()).or_insert(self.id) != self.id {
                return Err(Blocked::Locked);
            }
        }
        Ok(())
    }

    fn matching(
        &self,
        state: &State,
        view: Option<&Committed>,
        written: &Written,
        table: &Arc<Definition>,
        wanted: &[Expression],
        sql: &str,
    ) -> Vec<(Key, Row)> {
        let rows = view.unwrap_or(&state.rows);
        let from = (table.id, Vec::new());
        let of_table = |key: &&Key| key.0 == table.id;
        let mut keys: Vec<&Key> =
            rows.range(from.clone()..).map(|(key, _)| key).take_while(of_table).collect();
        keys.extend(written.range(from..).map(|(key, _)| key).take_while(of_table));
        keys.sort();
        keys.dedup();
        let mut found = Vec::new();
        for key in keys {
            let Some(row) = find(rows, written, key) else { continue };
            let scope = Rows { session: self, state, table: Some(table), row: &row, new: None };
            let holds = |it| evaluate(it, &scope).unwrap_or_else(|| unknown(sql)).int() != 0;
            if wanted.iter().all(holds) {
                found.push((key.clone(), row));
            }
        }
        found
    }

    fn assigned(
        &self,
        state: &State,
        table: &Definition,
        row: &Row,
        new: Option<&Row>,
        set: &[(String, Expression)],
        sql: &str,
    ) -> Row {
        // Assignments run from left to right.
        let mut after = row.clone();
        for (column, expression) in set {
            let at = table.column(column);
            let Some(at) = at.filter(|at| table.columns[*at].1 != Type::Absent) else { continue };
            let scope = Rows {
                session: self,
                state,
                table: Some(table),
                row: &after,
                new: new.map(Vec::as_slice),
            };
            let value = evaluate(expression, &scope).unwrap_or_else(|| unknown(sql));
            after[at] = value;
        }
        after
    }

    /// Sends the log, from where the replica has it, for as long as the connection lasts.
    async fn dump(
        &mut self,
        (file, offset, had): (String, u64, Option<GtidSet>),
    ) -> Result<(), Gone> {
        if self.server.state().ailments.dump_refused {
            return Err(Gone);
        }
        let server = Arc::clone(&self.server);
        let period = self.variables.get("@source_heartbeat_period").and_then(|it| it.parse().ok());
        let period = Duration::from_nanos(period.unwrap_or(30_000_000_000));
        let replica = self.variables.get("@replica_uuid").cloned().unwrap_or_default();
        let cursor = {
            let mut state = server.state();
            if let Some(former) = state.dumps.insert(replica, self.id) {
                state.killed.insert(former);
            }
            begin(&state, &file, offset, had.as_ref())
        };
        server.changed.notify_waiters();
        let had = had.unwrap_or_default();
        let mut at = match cursor {
            Ok(at) => at,
            Err(words) => {
                return self.answer(Answer::Refused(1236, words)).await;
            }
        };
        loop {
            let idle_since = Instant::now();
            let packets = loop {
                self.answers().await?;
                let waits = {
                    let mut state = server.state();
                    let events = next(&mut state, &mut at, &had);
                    state.readers.insert(self.id, at.file);
                    match events {
                        Some(events) => break events,
                        None => idle_since.elapsed(),
                    }
                };
                if waits >= period {
                    let state = server.state();
                    break match state.log.files.iter().find(|file| file.number == at.file) {
                        Some(file) if !state.ailments.dump_stuck => {
                            vec![state.log.heartbeat(file, at.offset)]
                        }
                        _ => Vec::new(),
                    };
                }
                server.wait(period.saturating_sub(waits)).await;
            };
            for event in packets {
                self.send(&[&[0], &event[..]].concat()).await?;
            }
        }
    }
}

/// Columns, rows, and what is set where a row is there.
type New<'a> = (&'a [String], &'a [Vec<Expression>], &'a [(String, Expression)]);

/// Why a statement does not end at once.
enum Blocked {
    Locked,
    Commits(Answer, Written),
}

fn unknown(sql: &str) -> Value {
    panic!("the model of the server can't evaluate this statement: {sql}")
}

fn find(rows: &Committed, written: &Written, key: &Key) -> Option<Row> {
    match written.get(key) {
        Some(own) => own.clone(),
        None => rows.get(key).cloned(),
    }
}

struct Rows<'a> {
    session: &'a Session,
    state: &'a State,
    table: Option<&'a Definition>,
    row: &'a [Value],
    new: Option<&'a [Value]>,
}

impl Scope for Rows<'_> {
    fn column(&self, name: &str) -> Option<Value> {
        self.row.get(self.table?.column(name)?).cloned()
    }

    fn inserted(&self, name: &str) -> Option<Value> {
        self.new?.get(self.table?.column(name)?).cloned()
    }

    fn variable(&self, name: &str) -> Option<Value> {
        answers::variable(&self.session.server, self.state, name)
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Option<Value> {
        answers::call(self.session, self.state, name, arguments)
    }

    fn now_us(&self) -> i64 {
        self.session.server.now_us()
    }
}

/// Where a dump is.
struct Cursor {
    file: u64,
    /// Groups of the file that were passed.
    groups: usize,
    offset: u64,
    /// The file's head was sent.
    is_open: bool,
}

/// File and offset of COM_BINLOG_DUMP.
fn by_position(asked: &[u8]) -> (String, u64, Option<GtidSet>) {
    let offset = u32::from_le_bytes(asked[..4].try_into().expect("four"));
    (String::from_utf8_lossy(&asked[10..]).into_owned(), u64::from(offset), None)
}

/// File, offset and set of COM_BINLOG_DUMP_GTID.
fn request(asked: &[u8]) -> (String, u64, Option<GtidSet>) {
    let number = |at: usize| u32::from_le_bytes(asked[at..at + 4].try_into().expect("four"));
    let name = usize::try_from(number(6)).expect("short");
    let file = String::from_utf8_lossy(&asked[10..10 + name]).into_owned();
    let behind = 10 + name;
    let offset = u64::from_le_bytes(asked[behind..behind + 8].try_into().expect("eight"));
    let set = GtidSet::decode(&asked[behind + 12..]).expect("a set");
    (file, offset, Some(set))
}

/// Whether the server can send what is behind this set.
fn known(state: &State, had: &GtidSet) -> Result<(), String> {
    let own = |set: &GtidSet| {
        let mut own = GtidSet::new();
        for (source, tag, range) in set.iter().filter(|(source, ..)| *source == state.uuid) {
            own.insert_range(source, tag, range.clone());
        }
        own
    };
    if !own(had).is_subset_of(&own(&state.logged)) {
        return Err("Slave has more GTIDs than the master has, using the master's SERVER_UUID. \
                    This may indicate that the end of the binary log was truncated"
            .to_owned());
    }
    if !state.purged.is_subset_of(had) {
        return Err("Cannot replicate because the source purged required binary logs. Replicate \
                    the missing transactions from elsewhere, or provision a new replica from backup"
            .to_owned());
    }
    Ok(())
}

fn begin(state: &State, file: &str, offset: u64, had: Option<&GtidSet>) -> Result<Cursor, String> {
    if let Some(had) = had {
        known(state, had)?;
    }
    if !file.is_empty() {
        let Some(found) = state.log.files.iter().find(|it| it.name() == file) else {
            return Err("Could not find first log file name in binary log index file".to_owned());
        };
        if offset > found.end {
            return Err(
                "Client requested source to start replication from impossible position".to_owned()
            );
        }
        let groups = found.groups.iter().take_while(|group| group.start < offset).count();
        return Ok(Cursor { file: found.number, groups, offset, is_open: false });
    }
    // The newest file whose predecessors the replica has whole.
    let mut first = state.log.files.front().map_or(1, |file| file.number);
    for file in &state.log.files {
        if had.is_some_and(|had| file.before.is_subset_of(had)) {
            first = file.number;
        }
    }
    Ok(Cursor { file: first, groups: 0, offset: FIRST, is_open: false })
}

/// The next events, if any are durable.
fn next(state: &mut State, at: &mut Cursor, had: &GtidSet) -> Option<Vec<Vec<u8>>> {
    if state.ailments.dump_stuck {
        return None;
    }
    loop {
        let index = state.log.files.iter().position(|file| file.number == at.file)?;
        let file = &state.log.files[index];
        if !at.is_open {
            at.is_open = true;
            return Some(state.log.head(file, at.offset));
        }
        let Some(group) = file.groups.get(at.groups) else {
            let next = state.log.files.get(index + 1)?;
            let tail = state.log.tail(file, next);
            *at = Cursor { file: next.number, groups: 0, offset: FIRST, is_open: false };
            return Some(vec![tail]);
        };
        if group.ordinal > state.synced {
            return None;
        }
        at.groups += 1;
        let bytes: usize = group.events.iter().map(Vec::len).sum();
        at.offset = group.start + bytes as u64;
        if !had.contains(&group.gtid) && !state.ailments.dump_loses {
            let group = Arc::clone(group);
            state.sent.insert(group.gtid);
            return Some(group.events.clone());
        }
    }
}

fn greeting(id: u32) -> Vec<u8> {
    [
        &b"\x0a8.4.3\0"[..],
        &id.to_le_bytes(),
        b"abcdefgh\0",
        &[0xff, 0xf7, 0xff, 2, 0, 0xff, 0xdf, 21],
        &[0; 10],
        b"ijklmnopqrst\0mysql_native_password\0",
    ]
    .concat()
}

fn put_text(text: Option<Vec<u8>>, into: &mut Vec<u8>) {
    match text {
        None => into.push(0xfb),
        Some(text) => {
            crate::value::put_length(text.len(), into);
            into.extend(text);
        }
    }
}
