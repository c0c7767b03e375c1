//! The filters in force, and those before them: each with the place in the log from which on it holds.
//!
//! A row's number depends on which rows before it were published. So whoever reads a part of the log again
//! (a restart, a replay) must filter it as it was filtered the first time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Config, Pattern};
use crate::change::{GtidSet, MariaGtidSet, Position, Transaction, TransactionId};

/// Most versions that are kept.
pub(super) const VERSIONS_MAX: usize = 100;
/// Begins the names of their entries in a checkpoint; the number follows.
const ENTRY: &str = "filter:";

/// A place between two transactions, in the ways that servers name it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Since {
    /// The server that `position` speaks of.
    pub server: String,
    /// MySQL transactions before it.
    pub gtids: GtidSet,
    /// MariaDB's transactions before it.
    pub maria: MariaGtidSet,
    /// File and offset.
    pub position: Position,
}

impl Since {
    /// Whether a transaction lies before it that begins when this server's log was read up to `reached`. It may
    /// start before that, as one of XA does: its statements before its end are no transaction yet.
    pub fn is_after(
        &self,
        transaction: &Transaction,
        (server, reached): (&str, &Position),
    ) -> bool {
        match &transaction.id {
            TransactionId::Gtid(gtid) => self.gtids.contains(gtid),
            // Where a dump began by GTID, offsets before its first transaction say nothing.
            TransactionId::Maria(gtid) => self.maria.contains(gtid),
            TransactionId::Anonymous => {
                let is_here = !self.position.file.is_empty() && self.server == server;
                is_here && !reached.has_reached(&self.position)
            }
        }
    }

    /// Whether all that lies before it lies before `other` too.
    pub fn is_at_or_before(&self, other: &Self) -> bool {
        if !self.is_named() {
            // Sets of GTIDs only grow, and where there are any, offsets say nothing after a redial.
            let is_front = self.position.file.is_empty();
            let is_reached = || other.position.has_reached(&self.position);
            return is_front || other.is_named() || self.server == other.server && is_reached();
        }
        self.gtids.is_subset_of(&other.gtids)
            && self.maria.iter().all(|gtid| other.maria.contains(gtid))
    }

    /// Whether transactions tell where it is, on any server.
    fn is_named(&self) -> bool {
        !self.gtids.is_empty() || !self.maria.is_empty()
    }
}

/// Filters, and from where on they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// From 0: the filters that the stream began with.
    pub number: u64,
    /// When they came into force, microseconds since 1970 UTC; of the first, when the epoch began.
    pub at_us: i64,
    /// From where on they hold; of the first, the place before everything.
    pub since: Since,
    /// Up to here rows of tables that only the filters before want are numbered, and not sent: another process
    /// may have sent them, and a number is given once.
    pub numbered_until: Option<Since>,
    /// Next row number there, of each lane of a table that they treat otherwise than those before.
    pub lanes: BTreeMap<Arc<str>, u64>,
    lists: Lists,
}

/// The patterns of filters, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Lists {
    tables: Vec<String>,
    exclude: Vec<String>,
    drop_columns: Vec<String>,
    hash_columns: Vec<String>,
}

/// A version as a checkpoint keeps it.
#[derive(Serialize, Deserialize)]
struct Entry {
    at_us: i64,
    since: Place,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    numbered_until: Option<Place>,
    lanes: BTreeMap<Arc<str>, u64>,
    #[serde(flatten)]
    lists: Lists,
}

/// A place as a checkpoint keeps it.
#[derive(Serialize, Deserialize)]
struct Place {
    server: String,
    gtid_set: String,
    maria: String,
    file: String,
    offset: u64,
}

impl Place {
    fn of(since: &Since) -> Self {
        Self {
            server: since.server.clone(),
            gtid_set: since.gtids.to_string(),
            maria: since.maria.to_string(),
            file: since.position.file.to_string(),
            offset: since.position.offset,
        }
    }

    fn read(self) -> Result<Since, String> {
        Ok(Since {
            server: self.server,
            gtids: self.gtid_set.parse().map_err(|_| "gtid_set is no set of GTIDs".to_owned())?,
            maria: self.maria.parse().map_err(|_| "maria is no GTID position".to_owned())?,
            position: Position::new(self.file, self.offset),
        })
    }
}

/// A checkpoint's text that names no filters. It must not be passed over: rows would be numbered, or let
/// out, that were filtered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the checkpoint's entry `{entry}` does not say which filters were in force: {what}; start the \
     version of binpulse that wrote it, or restore the checkpoint"
)]
pub struct UnreadableVersion {
    /// Its name.
    pub entry: String,
    /// What is wrong.
    pub what: String,
}

impl Version {
    /// These filters, from there on.
    pub fn new(number: u64, config: &Config, since: Since, at_us: i64) -> Self {
        let (lanes, lists) = (BTreeMap::new(), Lists::of(config));
        Self { number, at_us, since, numbered_until: None, lanes, lists }
    }

    /// Whether they are these filters.
    pub fn is_of(&self, config: &Config) -> bool {
        self.lists == Lists::of(config)
    }

    /// Its entry in a checkpoint.
    pub fn entry(&self) -> (Arc<str>, Arc<str>) {
        let entry = Entry {
            at_us: self.at_us,
            since: Place::of(&self.since),
            numbered_until: self.numbered_until.as_ref().map(Place::of),
            lanes: self.lanes.clone(),
            lists: self.lists.clone(),
        };
        (name(self.number), serde_json::to_string(&entry).unwrap_or_default().into())
    }

    fn read(number: &str, text: &str) -> Result<Self, String> {
        let number = number.parse().map_err(|_| "its number is none".to_owned())?;
        let entry: Entry = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let Entry { at_us, since, numbered_until, lanes, lists } = entry;
        let (since, numbered_until) = (since.read()?, numbered_until.map(Place::read).transpose()?);
        lists.applied(&Config::default()).ok_or("one of its patterns is none")?;
        Ok(Self { number, at_us, since, numbered_until, lanes, lists })
    }
}

impl Lists {
    fn of(config: &Config) -> Self {
        let texts = |list: &[Pattern]| list.iter().map(|it| it.as_str().to_owned()).collect();
        Self {
            tables: texts(&config.tables),
            exclude: texts(&config.exclude),
            drop_columns: texts(&config.drop_columns),
            hash_columns: texts(&config.hash_columns),
        }
    }

    /// These filters with everything else as in `now`. What `now` hides stays hidden: it is not to leave any
    /// more. Without a key no hash is made, which could be guessed: such columns are dropped.
    fn applied(&self, now: &Config) -> Option<Config> {
        let read = |texts: &[String], parts| {
            texts.iter().map(|text| Pattern::parse(text, parts)).collect::<Option<Vec<_>>>()
        };
        let mut config = Config {
            tables: read(&self.tables, 2)?,
            exclude: read(&self.exclude, 2)?,
            drop_columns: read(&self.drop_columns, 3)?,
            hash_columns: read(&self.hash_columns, 3)?,
            ..now.clone()
        };
        add(&mut config.drop_columns, &now.drop_columns);
        add(&mut config.hash_columns, &now.hash_columns);
        if config.hash_key.is_empty() {
            config.drop_columns.append(&mut config.hash_columns);
        }
        Some(config)
    }
}

fn add(list: &mut Vec<Pattern>, more: &[Pattern]) {
    for pattern in more {
        if !list.contains(pattern) {
            list.push(pattern.clone());
        }
    }
}

/// All that are known, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Versions(Vec<Version>);

impl Versions {
    /// Reads the entries of a checkpoint; those of others are passed over.
    pub fn read(entries: &BTreeMap<Arc<str>, Arc<str>>) -> Result<Self, UnreadableVersion> {
        let mut versions = Vec::new();
        for (name, text) in entries {
            let Some(number) = name.strip_prefix(ENTRY) else { continue };
            let version = Version::read(number, text)
                .map_err(|what| UnreadableVersion { entry: name.to_string(), what })?;
            versions.push(version);
        }
        versions.sort_by_key(|version| version.number);
        Ok(Self(versions))
    }

    /// The newest one.
    pub fn newest(&self) -> Option<&Version> {
        self.0.last()
    }

    /// Before this time, microseconds since 1970 UTC, it is not known which filters were in force.
    pub fn known_since_us(&self) -> Option<i64> {
        self.0.first().filter(|oldest| oldest.number > 0).map(|oldest| oldest.at_us)
    }

    /// Adds the newest one. The entry of the one that is forgotten for it.
    pub fn push(&mut self, version: Version) -> Option<Arc<str>> {
        self.0.push(version);
        (self.0.len() > VERSIONS_MAX).then(|| name(self.0.remove(0).number))
    }

    /// The filters of each part of the log, with everything else as in `now`, and from where on they hold.
    pub fn configs(&self, now: &Config) -> VecDeque<(Since, Config)> {
        let mut parts = VecDeque::<(Since, Config)>::new();
        let mut open: Option<&Since> = None;
        for version in &self.0 {
            let Some(config) = version.lists.applied(now) else { continue };
            if open.take().is_some_and(|until| !until.is_at_or_before(&version.since)) {
                // It begins before the rows of those before are all numbered.
                parts.pop_back();
            }
            let before = parts.back().map(|(_, before)| Arc::new(before.clone()));
            if let (Some(until), Some(before)) = (&version.numbered_until, before) {
                let numbers = Config { before: Some(before), ..config.clone() };
                parts.push_back((version.since.clone(), numbers));
                parts.push_back((until.clone(), config));
                open = Some(until);
            } else {
                parts.push_back((version.since.clone(), config));
            }
        }
        parts
    }

    /// Forgets the lanes and the places of another epoch: the filters in force hold from its begin.
    pub fn begin_epoch(entries: &mut BTreeMap<Arc<str>, Arc<str>>) {
        entries.retain(|name, _| !name.starts_with(ENTRY));
    }
}

fn name(number: u64) -> Arc<str> {
    format!("{ENTRY}{number}").into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::change::{Gtid, MariaGtid, Tag, Uuid};

    const SERVER: &str = "00bbe985-e52d-11f1-91a9-02fc00000001";

    fn gtid(sequence: u64) -> Gtid {
        Gtid { source: Uuid([1; 16]), tag: Tag::default(), sequence }
    }

    fn maria(sequence: u64) -> MariaGtid {
        MariaGtid { domain: 0, server: 1, sequence }
    }

    fn transaction(id: TransactionId, offset: u64) -> Transaction {
        Transaction {
            id,
            start: Position::new("binlog.000002", offset),
            committed_at_us: 0,
            original_committed_at_us: 0,
            server_id: 1,
            length_bytes: None,
        }
    }

    /// The place behind the first `count` transactions, each 100 bytes long.
    fn behind(count: u64, kind: u8) -> Since {
        let mut since = Since {
            server: SERVER.to_owned(),
            position: Position::new("binlog.000002", 4 + count * 100),
            ..Since::default()
        };
        for sequence in 1..=count {
            match kind {
                0 => drop(since.gtids.insert(gtid(sequence))),
                1 => since.maria.advance(maria(sequence)),
                _ => {}
            }
        }
        since
    }

    fn id(kind: u8, sequence: u64) -> TransactionId {
        match kind {
            0 => TransactionId::Gtid(gtid(sequence)),
            1 => TransactionId::Maria(maria(sequence)),
            _ => TransactionId::Anonymous,
        }
    }

    fn config(tables: &[&str], drop: &[&str], hash: &[&str], key: &str) -> Config {
        let all = |texts: &[&str], parts| {
            texts.iter().map(|text| Pattern::parse(text, parts).expect("a pattern")).collect()
        };
        Config {
            tables: all(tables, 2),
            drop_columns: all(drop, 3),
            hash_columns: all(hash, 3),
            hash_key: key.as_bytes().to_vec(),
            ..Config::default()
        }
    }

    proptest! {
        /// Of a log of `all` transactions exactly the first `count` lie before the place behind them, on the
        /// server itself, and where transactions have names on any other.
        #[test]
        fn a_place_divides_the_log(kind in 0_u8..3, count in 0_u64..9, all in 0_u64..9, other in 0_u64..9) {
            let since = behind(count, kind);
            for number in 0..all {
                let next = transaction(id(kind, number + 1), 4 + number * 100);
                let reached = |server| (server, &next.start);
                prop_assert_eq!(since.is_after(&next, reached(SERVER)), number < count);
                let is_named = kind < 2;
                prop_assert_eq!(since.is_after(&next, reached("another")), number < count && is_named);
            }
            prop_assert_eq!(since.is_at_or_before(&behind(other, kind)), count <= other);
            prop_assert!(Since::default().is_at_or_before(&since));
        }

        #[test]
        fn a_version_is_read_as_it_was_saved(kind in 0_u8..3, count in 0_u64..9, number in 0_u64..200) {
            let of = config(&["shop.*", r"a\.b.c"], &["shop.t.x"], &["*.t.y"], "k");
            let mut version = Version::new(number, &of, behind(count, kind), 7);
            version.lanes.insert("shop.t#0".into(), 5);
            version.numbered_until = (number % 2 == 0).then(|| behind(count + 1, kind));
            let (name, text) = version.entry();
            let others = [("control:1".into(), "{}".into()), (name, text)];
            let read = Versions::read(&others.into()).expect("as it was written");
            prop_assert_eq!(read.newest(), Some(&version));
            prop_assert!(version.is_of(&of) && !version.is_of(&config(&["shop.*"], &[], &[], "")));
            prop_assert_eq!(read.known_since_us(), (number > 0).then_some(7));
        }
    }

    #[test]
    fn what_is_hidden_now_stays_hidden_in_what_is_read_again() {
        let before = config(&["shop.*"], &["a.b.one"], &["a.b.two"], "key");
        let now = config(&["crm.*"], &["a.b.three"], &["a.b.four"], "key");
        let mut versions = Versions::default();
        versions.push(Version::new(0, &before, Since::default(), 0));
        let texts =
            |list: &[Pattern]| list.iter().map(|it| it.as_str().to_owned()).collect::<Vec<_>>();
        let of = |now: &Config| versions.configs(now).pop_front().expect("one").1;
        let found = of(&now);
        assert_eq!(texts(&found.tables), ["shop.*"]);
        assert_eq!(texts(&found.drop_columns), ["a.b.one", "a.b.three"]);
        assert_eq!(texts(&found.hash_columns), ["a.b.two", "a.b.four"]);
        // Nobody can make the hashes of before any more.
        let found = of(&config(&["crm.*"], &[], &[], ""));
        assert_eq!(texts(&found.drop_columns), ["a.b.one", "a.b.two"]);
        assert!(found.hash_columns.is_empty());
    }

    #[test]
    fn rows_of_tables_that_are_not_wanted_any_more_are_numbered_up_to_a_place() {
        let of = |tables: &[&str]| config(tables, &[], &[], "");
        let mut versions = Versions::default();
        versions.push(Version::new(0, &of(&["d.a", "d.b"]), Since::default(), 0));
        let add = |versions: &mut Versions, tables: &[&str], since, until| {
            let number = versions.newest().map_or(0, |it| it.number) + 1;
            let mut version = Version::new(number, &of(tables), behind(since, 0), 0);
            version.numbered_until = Some(behind(until, 0));
            versions.push(version);
        };
        // Whether a table is published, numbered, or neither, in each part.
        let parts = |versions: &Versions, table: &str| -> Vec<String> {
            let told = |(since, config): (Since, Config)| {
                let (sent, before) = (config.wants("d", table), config.before.as_ref());
                let numbered = before.is_some_and(|it| it.wants_or_numbers("d", table));
                let what = if sent {
                    "sent"
                } else if numbered {
                    "numbered"
                } else {
                    "no"
                };
                format!("{} {what}", since.gtids.count())
            };
            versions.configs(&Config::default()).into_iter().map(told).collect()
        };
        add(&mut versions, &["d.a", "d.c"], 2, 5);
        assert_eq!(parts(&versions, "a"), ["0 sent", "2 sent", "5 sent"]);
        assert_eq!(parts(&versions, "b"), ["0 sent", "2 numbered", "5 no"]);
        assert_eq!(parts(&versions, "c"), ["0 no", "2 sent", "5 sent"]);
        // Again before all rows of `b` are numbered: both go on.
        let mut early = versions.clone();
        add(&mut early, &["d.c"], 4, 7);
        assert_eq!(parts(&early, "a"), ["0 sent", "2 sent", "4 numbered", "7 no"]);
        assert_eq!(parts(&early, "b"), ["0 sent", "2 numbered", "4 numbered", "7 no"]);
        add(&mut versions, &["d.c"], 6, 7);
        assert_eq!(parts(&versions, "b"), ["0 sent", "2 numbered", "5 no", "6 no", "7 no"]);
    }

    #[test]
    fn entries_that_name_no_filters_are_refused_and_the_oldest_is_forgotten() {
        let good = Version::new(3, &config(&["a.*"], &[], &[], ""), behind(2, 0), 1).entry();
        for (name, text) in [
            ("filter:x", &*good.1),
            ("filter:3", "{"),
            ("filter:3", "{}"),
            ("filter:3", &good.1.replace("a.*", "a")),
            ("filter:3", &good.1.replace("gtid_set\":\"", "gtid_set\":\"?")),
        ] {
            let read = Versions::read(&[(name.into(), text.into())].into());
            assert!(read.is_err_and(|error| error.to_string().contains(name)), "{name} {text}");
        }
        let mut versions = Versions::default();
        let of = |number| Version::new(number, &Config::default(), Since::default(), 9);
        for number in 0..VERSIONS_MAX as u64 {
            assert_eq!((versions.push(of(number)), versions.known_since_us()), (None, None));
        }
        assert_eq!(versions.push(of(100)).as_deref(), Some("filter:0"));
        assert_eq!(versions.known_since_us(), Some(9));
    }
}
