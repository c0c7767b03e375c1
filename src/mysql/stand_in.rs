//! A server that keeps tables in memory and fails when it is told to, for tests of what must be right
//! whichever statement is the last. It runs the few statements that binpulse keeps its state with, and
//! refuses all others as a syntax error.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::server_side::{OK, greeting, packets, read, result_set};
use super::{ConnectOptions, HostPort, Secret, TlsConfig};

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cell {
    Null,
    Number(i128),
    Text(Vec<u8>),
}

impl Cell {
    /// As a server sends it; `None` is NULL.
    fn text(&self) -> Option<Vec<u8>> {
        match self {
            Self::Null => None,
            Self::Number(number) => Some(number.to_string().into_bytes()),
            Self::Text(bytes) => Some(bytes.clone()),
        }
    }
}

/// A table, its rows in the order of its key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    columns: Vec<String>,
    key: usize,
    pub(crate) rows: BTreeMap<Vec<Cell>, Vec<Cell>>,
}

/// Tables by the name that statements use.
pub(crate) type Tables = BTreeMap<String, Table>;

/// What happens at a statement instead of its running, or around it.
pub(crate) enum Effect {
    /// It is refused with this number.
    Refuse(u16),
    /// The connection breaks before it ran.
    BreakBefore,
    /// The connection breaks when it has run.
    BreakAfter,
    /// Somebody else changes the tables first.
    Meanwhile(Box<dyn FnOnce(&mut Tables) + Send>),
}

struct Fault {
    within: String,
    skip: usize,
    effect: Effect,
}

#[derive(Default)]
struct State {
    tables: Tables,
    faults: VecDeque<Fault>,
    statements: Vec<String>,
    sessions: usize,
}

/// A running server. Clones share it.
#[derive(Clone)]
pub(crate) struct StandIn {
    pub(crate) host: HostPort,
    state: Arc<Mutex<State>>,
}

impl StandIn {
    /// Starts one with these tables: name, columns, and how many of the first columns are the key.
    pub(crate) async fn start(tables: &[(&str, &[&str], usize)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let table = |(name, columns, key): &(&str, &[&str], usize)| {
            let columns = columns.iter().map(|column| (*column).to_owned()).collect();
            ((*name).to_owned(), Table { columns, key: *key, rows: BTreeMap::new() })
        };
        let tables = tables.iter().map(table).collect();
        let state = Arc::new(Mutex::new(State { tables, ..State::default() }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let session = Session { state: Arc::clone(&shared), own: None, repeats: Next::No };
                // What breaks is a connection that somebody gave up.
                tokio::spawn(async move { drop(session.serve(stream).await) });
            }
        });
        Self { host: HostPort::new("127.0.0.1", port), state }
    }

    /// How to log in to it.
    pub(crate) fn options(&self) -> ConnectOptions {
        ConnectOptions {
            host: self.host.clone(),
            user: "binpulse".to_owned(),
            password: Secret::new("secret"),
            tls: TlsConfig::default().load().expect("no files"),
            database: None,
            connect_timeout: Duration::from_secs(10),
            query_timeout: Duration::from_secs(10),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in the tables, as committed.
    pub(crate) fn tables(&self) -> Tables {
        self.state().tables.clone()
    }

    /// Changes the tables, as another session would.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Tables)) {
        change(&mut self.state().tables);
    }

    /// At the statement with this text within, after `skip` others of these: once.
    pub(crate) fn fault(&self, within: &str, skip: usize, effect: Effect) {
        self.state().faults.push_back(Fault { within: within.to_owned(), skip, effect });
    }

    /// Takes back what has not happened yet.
    pub(crate) fn repair(&self) {
        self.state().faults.clear();
    }

    /// The statements since the last call.
    pub(crate) fn take_statements(&self) -> Vec<String> {
        std::mem::take(&mut self.state().statements)
    }

    /// Logins so far.
    pub(crate) fn sessions(&self) -> usize {
        self.state().sessions
    }
}

/// Whether transactions see one state of the tables.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    No,
    Once,
}

struct Session {
    state: Arc<Mutex<State>>,
    /// The tables as this transaction sees them: from its snapshot, or its first change, on.
    own: Option<Transaction>,
    repeats: Next,
}

#[derive(Default)]
struct Transaction {
    seen: Option<Tables>,
    is_changed: bool,
}

/// An answer to a statement.
enum Answer {
    Done(u64),
    Rows(Vec<String>, Vec<Vec<Cell>>),
}

impl Session {
    async fn serve(mut self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.write_all(&packets(0, [greeting("8.4.3")])).await?;
        read(&mut stream).await?;
        stream.write_all(&packets(2, [OK])).await?;
        self.state.lock().unwrap_or_else(PoisonError::into_inner).sessions += 1;
        loop {
            let command = read(&mut stream).await?;
            let Some((3, sql)) = command.split_first() else { return Ok(()) };
            let sql = String::from_utf8_lossy(sql).into_owned();
            let Some(answer) = self.run(&sql) else { return Ok(()) };
            let payloads = match answer {
                Ok(Answer::Done(affected)) => vec![done(affected)],
                Ok(Answer::Rows(names, rows)) => {
                    result_set(&names, rows.iter().map(|row| row.iter().map(Cell::text)))
                }
                Err(code) => {
                    let text = format!("#HY000error {code} at {sql:.60}");
                    vec![[&[0xff][..], &code.to_le_bytes(), text.as_bytes()].concat()]
                }
            };
            stream.write_all(&packets(1, payloads)).await?;
        }
    }

    /// Runs a statement; `None`: the connection breaks.
    fn run(&mut self, sql: &str) -> Option<Result<Answer, u16>> {
        let shared = Arc::clone(&self.state);
        let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
        state.statements.push(sql.to_owned());
        let is_about = |fault: &Fault| sql.contains(&fault.within);
        let mut breaks = false;
        if let Some(at) = state.faults.iter().position(is_about) {
            if state.faults[at].skip > 0 {
                state.faults[at].skip -= 1;
            } else {
                match state.faults.remove(at).expect("it was found").effect {
                    Effect::Refuse(code) => return Some(Err(code)),
                    Effect::BreakBefore => return None,
                    Effect::BreakAfter => breaks = true,
                    Effect::Meanwhile(change) => change(&mut state.tables),
                }
            }
        }
        let answer = self.execute(sql, &mut state.tables);
        (!breaks).then_some(answer)
    }

    fn execute(&mut self, sql: &str, shared: &mut Tables) -> Result<Answer, u16> {
        let tokens = tokens(sql);
        let mut input = Input(&tokens);
        match input.word().as_str() {
            "SET" => {
                if sql.contains("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ") {
                    self.repeats = Next::Once;
                }
                Ok(Answer::Done(0))
            }
            "START" => {
                let repeats = std::mem::replace(&mut self.repeats, Next::No) == Next::Once;
                let sees_one_state = repeats && sql.contains("CONSISTENT SNAPSHOT");
                let seen = sees_one_state.then(|| shared.clone());
                self.own = Some(Transaction { seen, is_changed: false });
                Ok(Answer::Done(0))
            }
            "COMMIT" => {
                if let Some(Transaction { seen: Some(tables), is_changed: true }) = self.own.take()
                {
                    *shared = tables;
                }
                Ok(Answer::Done(0))
            }
            "ROLLBACK" => {
                self.own = None;
                Ok(Answer::Done(0))
            }
            "EXPLAIN" => {
                let mut copy = shared.clone();
                change_or_select(&tokens[1..], &mut copy)?;
                Ok(Answer::Rows(vec!["id".to_owned()], vec![vec![Cell::Number(1)]]))
            }
            verb => {
                let changes = verb != "SELECT" || sql.ends_with("FOR UPDATE");
                match &mut self.own {
                    Some(own) => {
                        own.is_changed |= changes;
                        if changes && own.seen.is_none() {
                            own.seen = Some(shared.clone());
                        }
                        change_or_select(&tokens, own.seen.as_mut().unwrap_or(shared))
                    }
                    None => change_or_select(&tokens, shared),
                }
            }
        }
    }
}

const SYNTAX: u16 = 1064;

fn change_or_select(tokens: &[Token], tables: &mut Tables) -> Result<Answer, u16> {
    let mut input = Input(tokens);
    match input.word().as_str() {
        "SELECT" => select(&mut input, tables),
        "INSERT" => insert(&mut input, tables),
        "UPDATE" => update(&mut input, tables),
        "DELETE" => {
            input.expect("FROM")?;
            let table = input.table(tables)?;
            let found = input.conditions(table)?;
            table.rows.retain(|_, row| !holds(&found, row));
            Ok(Answer::Done(0))
        }
        _ => Err(SYNTAX),
    }
}

fn select(input: &mut Input<'_>, tables: &mut Tables) -> Result<Answer, u16> {
    let names = input.list()?;
    input.expect("FROM")?;
    let table = input.table(tables)?;
    let columns = names.iter().map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?;
    let found = input.conditions(table)?;
    let mut limit = usize::MAX;
    if input.has("ORDER") {
        input.expect("BY")?;
        let by = table.column(&input.word())?;
        // The only order that is kept: of the key's last column, for one value of the others.
        if by + 1 != table.key {
            return Err(SYNTAX);
        }
    }
    if input.has("LIMIT") {
        limit = input.word().parse().map_err(|_| SYNTAX)?;
    }
    let rows = table.rows.values().filter(|row| holds(&found, row)).take(limit);
    let rows = rows.map(|row| columns.iter().map(|at| row[*at].clone()).collect()).collect();
    Ok(Answer::Rows(names, rows))
}

fn insert(input: &mut Input<'_>, tables: &mut Tables) -> Result<Answer, u16> {
    input.expect("INTO")?;
    let table = input.table(tables)?;
    if input.has("SELECT") {
        // Of itself, as it is tried without being run.
        return Ok(Answer::Done(0));
    }
    input.expect("(")?;
    let names = input.list()?;
    input.expect(")")?;
    input.expect("VALUES")?;
    let columns = names.iter().map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?;
    let mut rows = Vec::new();
    loop {
        input.expect("(")?;
        let mut row = vec![Cell::Null; table.columns.len()];
        for (index, at) in columns.iter().enumerate() {
            if index > 0 {
                input.expect(",")?;
            }
            row[*at] = input.literal()?;
        }
        input.expect(")")?;
        rows.push(row);
        if !input.has(",") {
            break;
        }
    }
    let mut changes = Vec::new();
    if input.has("ON") {
        for word in ["DUPLICATE", "KEY", "UPDATE"] {
            input.expect(word)?;
        }
        changes = input.assignments(table)?;
    }
    for row in rows {
        // A column without a value would need a default.
        if row.contains(&Cell::Null) {
            return Err(1364);
        }
        let key = row[..table.key].to_vec();
        match table.rows.get_mut(&key) {
            Some(_) if changes.is_empty() => return Err(1062),
            Some(there) => assign(&changes, there, &row),
            None => drop(table.rows.insert(key, row)),
        }
    }
    Ok(Answer::Done(1))
}

fn update(input: &mut Input<'_>, tables: &mut Tables) -> Result<Answer, u16> {
    let table = input.table(tables)?;
    input.expect("SET")?;
    let changes = input.assignments(table)?;
    let found = input.conditions(table)?;
    let mut affected = 0;
    for row in table.rows.values_mut().filter(|row| holds(&found, row)) {
        let before = row.clone();
        assign(&changes, row, &before);
        affected += u64::from(*row != before);
    }
    Ok(Answer::Done(affected))
}

/// A value to give to a column.
enum Expression {
    Literal(Cell),
    /// Of the row that was to be inserted.
    Inserted(usize),
    /// The column's own, and so much.
    Plus(usize, i128),
}

fn assign(changes: &[(usize, Expression)], row: &mut [Cell], inserted: &[Cell]) {
    for (at, expression) in changes {
        row[*at] = match expression {
            Expression::Literal(cell) => cell.clone(),
            Expression::Inserted(of) => inserted[*of].clone(),
            Expression::Plus(of, more) => match &row[*of] {
                Cell::Number(number) => Cell::Number(number + more),
                other @ (Cell::Null | Cell::Text(_)) => other.clone(),
            },
        };
    }
}

/// Column, whether it must be more, and than what.
type Condition = (usize, bool, Cell);

fn holds(conditions: &[Condition], row: &[Cell]) -> bool {
    conditions
        .iter()
        .all(|(at, more, than)| if *more { row[*at] > *than } else { row[*at] == *than })
}

impl Table {
    fn column(&self, name: &str) -> Result<usize, u16> {
        self.columns.iter().position(|column| column == name).ok_or(1054)
    }

    /// A column of the only row whose key begins like that.
    pub(crate) fn cell(&self, key: &str, column: &str) -> Option<Cell> {
        let column = self.column(column).expect("a column");
        let key = Cell::Text(key.as_bytes().to_vec());
        self.rows.values().find(|row| row[0] == key).map(|row| row[column].clone())
    }

    /// Changes a column of the rows whose key begins like that.
    pub(crate) fn put(&mut self, key: &str, column: &str, cell: &Cell) {
        let column = self.column(column).expect("a column");
        let key = Cell::Text(key.as_bytes().to_vec());
        for row in self.rows.values_mut().filter(|row| row[0] == key) {
            row[column] = cell.clone();
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(Vec<u8>),
}

fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '`' | '-');
        if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else if let Some(hex) = rest.strip_prefix("x'") {
            let (digits, behind) = hex.split_once('\'').expect("closed");
            let pairs = digits.as_bytes().chunks(2);
            let byte = |pair: &[u8]| {
                let digits = std::str::from_utf8(pair).expect("ASCII");
                u8::from_str_radix(digits, 16).expect("hexadecimal digits")
            };
            tokens.push(Token::Text(pairs.map(byte).collect()));
            rest = behind;
        } else if let Some(quoted) = rest.strip_prefix('\'') {
            let (text, behind) = quoted.split_once('\'').expect("closed");
            tokens.push(Token::Text(text.as_bytes().to_vec()));
            rest = behind;
        } else {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len()).max(1);
            let (word, behind) = rest.split_at(end);
            // An introducer of a text that follows.
            if word != "_utf8mb4" {
                tokens.push(Token::Word(word.to_owned()));
            }
            rest = behind;
        }
    }
    tokens
}

struct Input<'a>(&'a [Token]);

impl Input<'_> {
    fn word(&mut self) -> String {
        match self.0.split_first() {
            Some((Token::Word(word), rest)) => {
                self.0 = rest;
                word.clone()
            }
            Some((Token::Text(_), _)) | None => String::new(),
        }
    }

    fn has(&mut self, word: &str) -> bool {
        let has = self.0.first() == Some(&Token::Word(word.to_owned()));
        if has {
            self.0 = &self.0[1..];
        }
        has
    }

    fn expect(&mut self, word: &str) -> Result<(), u16> {
        if self.has(word) { Ok(()) } else { Err(SYNTAX) }
    }

    fn list(&mut self) -> Result<Vec<String>, u16> {
        let mut names = Vec::new();
        loop {
            match self.word() {
                name if name.is_empty() => return Err(SYNTAX),
                name => names.push(name),
            }
            if !self.has(",") {
                return Ok(names);
            }
        }
    }

    fn table<'t>(&mut self, tables: &'t mut Tables) -> Result<&'t mut Table, u16> {
        tables.get_mut(&self.word()).ok_or(1146)
    }

    fn literal(&mut self) -> Result<Cell, u16> {
        match self.0.split_first() {
            Some((Token::Text(text), rest)) => {
                self.0 = rest;
                Ok(Cell::Text(text.clone()))
            }
            Some((Token::Word(word), rest)) => {
                self.0 = rest;
                word.parse().map(Cell::Number).map_err(|_| SYNTAX)
            }
            None => Err(SYNTAX),
        }
    }

    fn conditions(&mut self, table: &Table) -> Result<Vec<Condition>, u16> {
        let mut conditions = Vec::new();
        if !self.has("WHERE") {
            return Ok(conditions);
        }
        loop {
            let column = table.column(&self.word())?;
            let more = self.has(">");
            if !more {
                self.expect("=")?;
            }
            conditions.push((column, more, self.literal()?));
            if !self.has("AND") {
                return Ok(conditions);
            }
        }
    }

    fn assignments(&mut self, table: &Table) -> Result<Vec<(usize, Expression)>, u16> {
        let mut assignments = Vec::new();
        loop {
            let column = table.column(&self.word())?;
            self.expect("=")?;
            let expression = if self.has("VALUES") {
                self.expect("(")?;
                let of = table.column(&self.word())?;
                self.expect(")")?;
                Expression::Inserted(of)
            } else if let Some(Ok(of)) = self.peek().map(|word| table.column(word)) {
                self.word();
                self.expect("+")?;
                Expression::Plus(of, self.word().parse().map_err(|_| SYNTAX)?)
            } else {
                Expression::Literal(self.literal()?)
            };
            assignments.push((column, expression));
            if !self.has(",") {
                return Ok(assignments);
            }
        }
    }

    fn peek(&self) -> Option<&str> {
        match self.0.first() {
            Some(Token::Word(word)) => Some(word),
            Some(Token::Text(_)) | None => None,
        }
    }
}

fn done(affected: u64) -> Vec<u8> {
    let mut ok = OK;
    ok[1] = u8::try_from(affected).expect("few rows");
    ok.to_vec()
}
