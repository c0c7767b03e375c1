//! What to run, as the environment or a test says it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::faults::Kind;

/// Kind of topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Order is kept per lane.
    Fifo,
    /// Many messages of a lane are under way at once.
    Standard,
}

/// What is streamed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// MySQL by GTID.
    Gtid,
    /// MySQL by file and position, `gtid_mode=OFF`.
    Position,
    /// MariaDB.
    Mariadb,
}

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Statements by themselves; also what is done instead of a kind that is left out.
    Single,
    /// Statements of many rows.
    Bulk,
    /// Transactions of several statements, with savepoints and rollbacks.
    Transaction,
    /// XA transactions.
    Xa,
    /// Changes of tables.
    Ddl,
}

impl Topic {
    const NAMES: &[(&str, Self)] = &[("fifo", Self::Fifo), ("standard", Self::Standard)];
}

/// What `SOAK_SERVER` takes: a source, and the server that it has to be; empty: the first of its make.
const SERVERS: &[(&str, (Source, &str))] = &[
    ("gtid", (Source::Gtid, "")),
    ("position", (Source::Position, "")),
    ("mariadb", (Source::Mariadb, "")),
    ("mysql-8.0", (Source::Gtid, "mysql-8.0")),
    ("mariadb-11.8", (Source::Mariadb, "mariadb-11.8")),
];

impl Work {
    pub(crate) const NAMES: &[(&str, Self)] = &[
        ("single", Self::Single),
        ("bulk", Self::Bulk),
        ("transaction", Self::Transaction),
        ("xa", Self::Xa),
        ("ddl", Self::Ddl),
    ];
}

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) topic: Topic,
    pub(crate) source: Source,
    /// The server that it has to be, as it is installed; empty: the first of its make.
    pub(crate) release: &'static str,
    /// Lanes of each table.
    pub(crate) lanes: u64,
    pub(crate) length: Duration,
    /// Faults by their numbers in the seed's order; nothing: as many as there is time for.
    pub(crate) faults: Option<Vec<u64>>,
    /// Kinds of faults that may come.
    pub(crate) kinds: Vec<Kind>,
    /// Rows that are written a second beside the sessions' work.
    pub(crate) rate: u64,
    /// Sessions that write, by number.
    pub(crate) sessions: Vec<u64>,
    pub(crate) work: Vec<Work>,
    /// A second server replicates from the first and takes over at times.
    pub(crate) has_standby: bool,
    /// At the end come the faults that nothing can be compared after.
    pub(crate) has_endings: bool,
    /// No faults, but one call that the topic answers with success and throws away: a loss that the
    /// comparison must find.
    pub(crate) is_sabotaged: bool,
}

/// Sessions unless told otherwise.
const SESSIONS: u64 = 3;

impl Plan {
    /// A plan with everything.
    pub(crate) fn new(seed: u64, length: Duration) -> Self {
        Self {
            seed,
            topic: Topic::Fifo,
            source: Source::Gtid,
            release: "",
            lanes: 1,
            length,
            faults: None,
            kinds: Kind::ALL.to_vec(),
            rate: 0,
            sessions: (0..SESSIONS).collect(),
            work: Work::NAMES.iter().map(|(_, work)| *work).collect(),
            has_standby: true,
            has_endings: true,
            is_sabotaged: false,
        }
    }

    /// Run `number` of several: another seed, and server, topic and lanes in turn, unless they are given.
    pub(crate) fn of_several(&self, number: u64) -> Self {
        let servers: Vec<_> =
            SERVERS.iter().filter(|(name, _)| *name != "position").map(|(_, it)| *it).collect();
        let at = usize::try_from(number).expect("few runs");
        let mut plan = Self { seed: self.seed + number, ..self.clone() };
        if text("SOAK_SERVER").is_none() {
            (plan.source, plan.release) = servers[at % servers.len()];
        }
        if text("SOAK_TOPIC").is_none() {
            plan.topic = Topic::NAMES[at / servers.len() % 2].1;
        }
        if text("SOAK_LANES").is_none() {
            plan.lanes = 1 + number % 3;
        }
        plan
    }

    /// The server and the topic, as the variables name them.
    pub(crate) fn place(&self) -> (&'static str, &'static str) {
        let server = name_of((self.source, self.release), SERVERS);
        (server, name_of(self.topic, Topic::NAMES))
    }

    /// A plan from variables. A value that is not understood is an error.
    pub(crate) fn from_environment(seed: u64, length: Duration) -> Result<Self, String> {
        let whole = Self::new(seed, length);
        let server = named("SOAK_SERVER", SERVERS)?;
        let (source, release) = server.unwrap_or((whole.source, whole.release));
        Ok(Self {
            seed: number("SOAK_SEED")?.unwrap_or(seed),
            topic: named("SOAK_TOPIC", Topic::NAMES)?.unwrap_or(whole.topic),
            source,
            release,
            lanes: number("SOAK_LANES")?.unwrap_or(whole.lanes),
            faults: list("SOAK_FAULTS", |word| word.parse().ok())?,
            kinds: kinds()?.unwrap_or(whole.kinds),
            rate: number("SOAK_RATE")?.unwrap_or(whole.rate),
            sessions: list("SOAK_SESSIONS", |word| word.parse().ok())?.unwrap_or(whole.sessions),
            work: list("SOAK_WORK", |word| find(word, Work::NAMES))?.unwrap_or(whole.work),
            has_standby: number("SOAK_STANDBY")? != Some(0_u64),
            has_endings: number("SOAK_ENDINGS")? != Some(0_u64),
            ..whole
        })
    }
}

/// How to run it again.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = |numbers: &[u64]| {
            let words: Vec<_> = numbers.iter().map(u64::to_string).collect();
            if words.is_empty() { "none".to_owned() } else { words.join(",") }
        };
        let work: Vec<_> = self.work.iter().map(|work| name_of(*work, Work::NAMES)).collect();
        write!(
            f,
            "make soak SOAK_SEED={} SOAK_SECONDS={} SOAK_TOPIC={} SOAK_SERVER={} SOAK_LANES={} \
             SOAK_STANDBY={}",
            self.seed,
            self.length.as_secs(),
            name_of(self.topic, Topic::NAMES),
            name_of((self.source, self.release), SERVERS),
            self.lanes,
            u8::from(self.has_standby),
        )?;
        if let Some(faults) = &self.faults {
            write!(f, " SOAK_FAULTS={}", numbers(faults))?;
        }
        if self.kinds.len() < Kind::ALL.len() {
            let names: Vec<_> = self.kinds.iter().map(|kind| kind.name()).collect();
            write!(f, " SOAK_KINDS='{}'", names.join(";"))?;
        }
        if self.rate > 0 {
            write!(f, " SOAK_RATE={}", self.rate)?;
        }
        if !self.has_endings {
            write!(f, " SOAK_ENDINGS=0")?;
        }
        if self.sessions != (0..SESSIONS).collect::<Vec<_>>() {
            write!(f, " SOAK_SESSIONS={}", numbers(&self.sessions))?;
        }
        if work.len() < Work::NAMES.len() {
            write!(f, " SOAK_WORK={}", work.join(","))?;
        }
        Ok(())
    }
}

fn text(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|text| !text.is_empty())
}

/// The number in a variable; nothing if it is not set.
pub(crate) fn number<N: FromStr>(variable: &str) -> Result<Option<N>, String> {
    let read = |text: String| {
        text.parse().map_err(|_| format!("{variable}: found `{text}`, expected a number"))
    };
    text(variable).map(read).transpose()
}

/// Kinds of faults by their names, or by what they happen to, such as `source`.
fn kinds() -> Result<Option<Vec<Kind>>, String> {
    let Some(text) = text("SOAK_KINDS") else { return Ok(None) };
    let mut chosen = Vec::new();
    for word in text.split(';') {
        let is_meant = |name: &str| {
            name == word || name.split_once(':').is_some_and(|(place, _)| place == word)
        };
        let before = chosen.len();
        chosen.extend(Kind::ALL.iter().filter(|kind| is_meant(kind.name())));
        if chosen.len() == before {
            return Err(format!("SOAK_KINDS: `{word}` is not understood"));
        }
    }
    Ok(Some(chosen))
}

fn find<T: Copy>(word: &str, names: &[(&str, T)]) -> Option<T> {
    names.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
}

fn name_of<T: PartialEq + Copy>(value: T, names: &[(&'static str, T)]) -> &'static str {
    names.iter().find(|(_, other)| *other == value).map_or("", |(name, _)| name)
}

fn named<T: Copy>(variable: &str, names: &[(&str, T)]) -> Result<Option<T>, String> {
    let expected = || names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let read = |text: String| {
        find(&text, names)
            .ok_or_else(|| format!("{variable}: found `{text}`, expected one of {}", expected()))
    };
    text(variable).map(read).transpose()
}

fn list<T>(variable: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<Vec<T>>, String> {
    let Some(text) = text(variable) else { return Ok(None) };
    let words = text.split(',').filter(|word| !matches!(*word, "" | "none"));
    let failed = |word| format!("{variable}: `{word}` is not understood");
    words.map(|word| read(word).ok_or_else(|| failed(word))).collect::<Result<_, _>>().map(Some)
}
