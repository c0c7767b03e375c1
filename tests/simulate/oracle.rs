//! What must hold, whatever happens. Everything that becomes durable, is committed or is published
//! passes here; what is wrong is kept with the moment, and ends the run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use binpulse::change::{Gtid, GtidSet};
use binpulse_client::rows::Image;
use binpulse_client::{Content, decode, proto};
use tokio::time::Instant;

use crate::log::{Change, Group};
use crate::machine::Process;
use crate::operator::is_of;
use crate::server::{Author, Server, Witness};
use crate::sns::Subscriber;
use crate::value::Value;

/// The table that filters exclude at times, and what its lanes begin with.
pub(crate) const FILTERED: &str = "shop.items";
const FILTERED_LANES: &str = "shop.items#";

fn is_filtered(words: &str) -> bool {
    words.starts_with("items ")
}

/// A published row's place: epoch, lane, number.
type Place = (u64, String, u64);

/// A row change in words, the same from the log as from a message.
type Words = String;

#[derive(Default)]
struct Seen {
    /// Every user's row change that became durable on a server: where in the order of its log.
    logged_places: BTreeMap<(u32, Words), u64>,
    logged_rows: u64,
    /// Those of them that are to be published, and are not yet.
    pending: BTreeMap<Words, Gtid>,
    /// When their transaction was committed, as its client was told.
    waiting: BTreeMap<Words, Instant>,
    published: BTreeMap<Place, Words>,
    places: BTreeMap<Words, Place>,
    /// Highest number first published, by FIFO group: what comes later must be higher.
    fronts: BTreeMap<(u64, String), u64>,
    /// Owner's number of the newest save, and the process that made it.
    saver: Option<(i128, String)>,
    saved: u64,
    /// The newest fence of the lease that each process took; the newest that has published.
    fences: BTreeMap<u64, i128>,
    published_fence: i128,
    /// Patterns of tables that an operator holds back, or held.
    held: BTreeSet<String>,
    /// Changes that need not be published: the source did not send them, or has them no more, or they came
    /// while the filters changed.
    lost: BTreeSet<Words>,
    /// Changes that must not be published: the filters exclude them.
    excluded: BTreeMap<Words, Gtid>,
    /// Whether the filters let [`FILTERED`] pass; `None`: that changes just now.
    passes: Option<bool>,
    /// Transactions that streams were sent, and that went with a server.
    forked: GtidSet,
    /// Filters were changed.
    has_filters: bool,
    /// Epochs up to this one are over: an operator began another.
    epoch_over: u64,
    /// What was done to the run, and what came of it: how often.
    counts: BTreeMap<&'static str, u64>,
    /// Heartbeats in the order of the logs: number, and users' transactions before it.
    heartbeats: BTreeMap<(u32, i128), u64>,
    user_groups: BTreeMap<u32, u64>,
    messages: u64,
    repeats: u64,
    wrong: Option<String>,
    /// Of all that was told: two runs of a seed have the same.
    digest: u64,
}

impl Seen {
    /// It was published, or need not be.
    fn is_done(&self, words: &Words) -> bool {
        self.places.contains_key(words) || self.lost.contains(words)
    }

    /// It is durable: what is to become of it.
    fn is_logged(&mut self, words: Words, gtid: Gtid) {
        if self.is_done(&words) || self.excluded.contains_key(&words) {
            return;
        }
        match self.passes {
            Some(false) if is_filtered(&words) => drop(self.excluded.insert(words, gtid)),
            None if is_filtered(&words) => drop(self.lost.insert(words)),
            Some(_) | None => drop(self.pending.insert(words, gtid)),
        }
    }

    fn is_lost(&mut self, words: &Words) {
        self.pending.remove(words);
        self.waiting.remove(words);
        self.lost.insert(words.clone());
    }

    /// It may wait: an operator wants it so.
    fn is_held(&self, words: &Words) -> bool {
        let table = words.split(' ').next().unwrap_or_default();
        self.held.iter().any(|pattern| is_of(pattern, table))
    }
}

/// The oracle.
pub(crate) struct Oracle {
    start: Instant,
    fifo: bool,
    /// Processes publish only under a lease.
    leased: bool,
    seen: Mutex<Seen>,
    trace: bool,
}

impl Oracle {
    pub(crate) fn new(fifo: bool, leased: bool, trace: bool) -> Arc<Self> {
        let seen = Seen { passes: Some(true), ..Seen::default() };
        Arc::new(Self { start: Instant::now(), fifo, leased, seen: Mutex::new(seen), trace })
    }

    /// The settings let [`FILTERED`] pass from here on, or exclude it. What is not published yet may go either
    /// way, and what is not `saved` is read again by a process that starts with them.
    pub(crate) fn filters_change(&self, saved: &GtidSet) {
        let mut seen = self.seen();
        let excluded = std::mem::take(&mut seen.excluded);
        let (kept, open) = excluded.into_iter().partition(|(_, gtid)| saved.contains(gtid));
        let open: BTreeMap<_, _> = open;
        seen.excluded = kept;
        seen.lost.extend(open.into_keys());
        seen.passes = None;
        seen.has_filters = true;
        let unread = seen.pending.keys().filter(|words| is_filtered(words));
        let unread: Vec<_> = unread.cloned().collect();
        for words in &unread {
            seen.is_lost(words);
        }
    }

    /// These filters are in force: what is written now comes behind the place from which they hold.
    pub(crate) fn filters_hold(&self, passes: bool) {
        self.tell(|| format!("the filters let {FILTERED} pass: {passes}"));
        self.count("changes of filters");
        self.seen().passes = Some(passes);
    }

    /// Whether it is known what becomes of [`FILTERED`].
    pub(crate) fn filters_are_known(&self) -> bool {
        self.seen().passes.is_some()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn elapsed(&self) -> std::time::Duration {
        self.start.elapsed()
    }

    fn at(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    pub(crate) fn tell(&self, words: impl FnOnce() -> String) {
        let (at, words) = (self.at(), words());
        let mut seen = self.seen();
        for byte in at.to_bits().to_le_bytes().iter().chain(words.as_bytes()) {
            seen.digest = (seen.digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
        drop(seen);
        if self.trace {
            eprintln!("{at:10.3} {words}");
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.seen().digest
    }

    pub(crate) fn is_wrong(&self, words: String) {
        let at = self.at();
        self.tell(|| format!("WRONG: {words}"));
        self.seen().wrong.get_or_insert(format!("after {at:.3} s: {words}"));
    }

    pub(crate) fn wrong(&self) -> Option<String> {
        self.seen().wrong.clone()
    }

    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        let seen = self.seen();
        (seen.published.len() as u64, seen.repeats, seen.saved)
    }

    /// Something was done.
    pub(crate) fn count(&self, what: &'static str) {
        *self.seen().counts.entry(what).or_default() += 1;
    }

    /// How often what was done.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.seen().counts.clone()
    }

    /// What was not published so far never will be.
    pub(crate) fn forgive(&self) {
        self.forgive_where(|_| true);
    }

    fn forgive_where(&self, is_lost: impl Fn(&Gtid) -> bool) {
        let mut seen = self.seen();
        let lost = seen.pending.iter().filter(|(_, gtid)| is_lost(gtid));
        let lost: Vec<_> = lost.map(|(words, _)| words.clone()).collect();
        for words in &lost {
            seen.is_lost(words);
        }
    }

    /// An operator begins a new epoch, at the oldest log of a server that has purged these.
    pub(crate) fn begins_again(&self, epoch: u64, purged: &GtidSet) {
        self.forgive_where(|gtid| purged.contains(gtid));
        let mut seen = self.seen();
        let newest = seen.published.last_key_value().map_or(0, |((epoch, ..), _)| *epoch);
        seen.epoch_over = newest.max(epoch);
        // What was held back is forgotten with the checkpoint, and how the log was filtered.
        seen.held.clear();
        let excluded = std::mem::take(&mut seen.excluded);
        seen.lost.extend(excluded.into_keys());
    }

    /// A server is a copy of another now, without what is under way there.
    pub(crate) fn copied(&self, server: u32, of: u32, under_way: &[Arc<Group>]) {
        let mut seen = self.seen();
        seen.logged_places.retain(|(on, _), _| *on != server);
        let there = seen.logged_places.iter().filter(|((on, _), _)| *on == of);
        let there: Vec<_> = there.map(|((_, words), at)| ((server, words.clone()), *at)).collect();
        seen.logged_places.extend(there);
        let beats = seen.heartbeats.range((of, 0)..(of + 1, 0));
        let beats: Vec<_> = beats.map(|((_, n), count)| ((server, *n), *count)).collect();
        seen.heartbeats.retain(|(on, _), _| *on != server);
        seen.heartbeats.extend(beats);
        let mut groups = seen.user_groups.get(&of).copied().unwrap_or_default();
        for group in under_way {
            let users = group.changes.iter().filter(|change| change.table.schema == "shop");
            let logged: Vec<_> = users.map(|change| (server, words_of(change))).collect();
            // It may not be durable there yet.
            let removed = logged.iter().filter(|row| seen.logged_places.remove(row).is_some());
            groups -= u64::from(removed.count() > 0);
            for change in group.changes.iter().filter(|it| it.table.name == "heartbeat") {
                let number = change.after.as_ref().map(|after| after[1].int());
                seen.heartbeats.retain(|key, _| Some(key.1) != number || key.0 != server);
            }
        }
        seen.user_groups.insert(server, groups);
    }

    /// A server has taken the place of another, which has these transactions alone: they are lost.
    pub(crate) fn failed_over(&self, lacking: &[Arc<Group>], old: &Server, new: &Server) {
        let sent = old.state().sent.clone();
        let words: Vec<_> = lacking.iter().map(|group| group.gtid).collect();
        self.tell(|| format!("{} lacks {words:?}", new.name));
        let mut seen = self.seen();
        for group in lacking {
            if sent.contains(&group.gtid) {
                seen.forked.insert(group.gtid);
            }
            for change in group.changes.iter().filter(|change| change.table.schema == "shop") {
                seen.is_lost(&words_of(change));
            }
        }
        // Who saved last is what the table says now.
        seen.saver = None;
        if !lacking.is_empty() {
            *seen.counts.entry("failovers with loss").or_default() += 1;
        }
    }

    /// Whether a stream was sent what the servers have no more.
    pub(crate) fn is_forked(&self) -> bool {
        !self.seen().forked.is_empty()
    }

    /// Whether no table was held back since all were let go.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.seen().held.is_empty()
    }

    /// A change that is to be published, and is not yet.
    pub(crate) fn missing(&self) -> Option<Words> {
        self.seen().pending.keys().next().cloned()
    }

    /// How long the oldest change waits that was committed and is not published.
    pub(crate) fn oldest_waiting(&self) -> Option<(f64, Words)> {
        let seen = self.seen();
        let waiting = seen.waiting.iter().filter(|(words, _)| !seen.is_held(words));
        let oldest = waiting.min_by_key(|(_, at)| **at);
        oldest.map(|(words, at)| (at.elapsed().as_secs_f64(), words.clone()))
    }

    /// An operator holds these tables back.
    pub(crate) fn held(&self, pattern: &str) {
        self.seen().held.insert(pattern.to_owned());
    }

    /// And lets them go.
    pub(crate) fn nothing_is_held(&self) {
        self.seen().held.clear();
    }

    /// When all is over: nothing is missing, and the numbers of each lane have no gap.
    pub(crate) fn finish(&self, server: u32) {
        if let Some(first) = self.missing() {
            let missing = self.seen().pending.len();
            self.is_wrong(format!("{missing} changes were never published, such as {first}"));
        }
        let seen = self.seen();
        let mut lanes: BTreeMap<(u64, &str), Vec<(u64, u64)>> = BTreeMap::new();
        let mut wrong = Vec::new();
        for ((epoch, lane, number), words) in &seen.published {
            if *epoch <= seen.epoch_over {
                continue;
            }
            let Some(order) = seen.logged_places.get(&(server, words.clone())) else {
                wrong.push(format!("{words} was published and is in no log"));
                continue;
            };
            lanes.entry((*epoch, lane)).or_default().push((*number, *order));
        }
        for ((_, lane), rows) in lanes {
            // Rows that a process may have sent before its filters changed keep their numbers.
            let has_gaps = seen.has_filters && lane.starts_with(FILTERED_LANES);
            for (expected, (number, _)) in (1..).zip(&rows) {
                if *number != expected && !has_gaps {
                    wrong.push(format!("lane {lane} has {number} where {expected} is next"));
                    break;
                }
            }
            if !rows.is_sorted_by_key(|(_, order)| *order) {
                wrong.push(format!("lane {lane} is not in the log's order"));
            }
        }
        drop(seen);
        for words in wrong {
            self.is_wrong(words);
        }
    }

    /// What a process says of itself.
    pub(crate) fn shown(&self, process: &Process, server: u32, status: &serde_json::Value) {
        let verdict = &status["verdict"];
        // A process that has stood still says how old its verdict is, until it evaluates again.
        if verdict["evaluated_age_seconds"].as_f64().is_none_or(|age| age > STALE) {
            return;
        }
        let state = verdict["state"].as_str().unwrap_or_default();
        if let Some((age, words)) = self.oldest_waiting()
            && (state == "quiet" && age > QUIET_MAX || state == "live" && age > LIVE_MAX)
        {
            self.is_wrong(format!(
                "process {} says {state}, and {words} has waited for {age:.1} s",
                process.number
            ));
        }
        let certificate = &verdict["certificate"];
        if certificate["complete"].as_bool() != Some(true) {
            return;
        }
        let number = |key: &str| i128::from(certificate[key].as_u64().unwrap_or_default());
        let seen = self.seen();
        let before = |key: &str| seen.heartbeats.get(&(server, number(key)));
        let (Some(from), Some(to)) = (before("from_heartbeat"), before("to_heartbeat")) else {
            return;
        };
        let (there, told) = (i128::from(to - from), number("user"));
        let most = if seen.has_filters { told + number("filtered") } else { told };
        drop(seen);
        if !(told..=most).contains(&there) {
            self.is_wrong(format!(
                "{certificate}: process {} certifies {told} users' transactions between heartbeats {} and {}, and \
                 there are {there}",
                process.number,
                number("from_heartbeat"),
                number("to_heartbeat")
            ));
        }
    }

    fn saved(&self, change: &Change, author: Option<Author>) {
        let Some(after) = &change.after else { return };
        let value = |name: &str| {
            change.table.column(name).map_or(Value::Null, |column| after[column].clone())
        };
        let (owner, name) = (value("owner").int(), value("owner_name").as_text());
        let set: GtidSet = value("gtid_set").as_text().parse().unwrap_or_default();
        let before = change.before.as_ref();
        let is_save = before.is_some_and(|before| {
            let saves = change.table.column("saves").expect("a column");
            before[saves] != after[saves]
        });
        let mut seen = self.seen();
        seen.saved += u64::from(is_save);
        let stale = seen
            .saver
            .as_ref()
            .is_some_and(|(newest, saver)| owner < *newest || owner == *newest && *saver != name);
        if stale {
            let newest = seen.saver.clone();
            drop(seen);
            return self
                .is_wrong(format!("owner {owner} ({name}, {author:?}) saved behind {newest:?}"));
        }
        seen.saver = Some((owner, name));
        drop(seen);
        self.holds(&set);
    }

    /// A saved checkpoint names these as delivered.
    pub(crate) fn holds(&self, set: &GtidSet) {
        let seen = self.seen();
        let mut pending = seen.pending.iter();
        let lost = pending.find(|(words, gtid)| set.contains(gtid) && !seen.is_held(words));
        let lost = lost.map(|(words, gtid)| (words.clone(), *gtid));
        drop(seen);
        if let Some((words, gtid)) = lost {
            self.is_wrong(format!("the checkpoint has {gtid}, and {words} was never published"));
        }
    }

    fn row(&self, place: Place, words: Words) {
        let mut seen = self.seen();
        if let Some(before) = seen.published.get(&place).cloned() {
            seen.repeats += 1;
            if before != words {
                drop(seen);
                self.is_wrong(format!("{place:?} was {before} and is {words}"));
            }
            return;
        }
        if let Some(other) = seen.places.get(&words).filter(|other| other.0 == place.0) {
            let other = other.clone();
            drop(seen);
            return self.is_wrong(format!("{words} has number {other:?} and {place:?}"));
        }
        let is_durable = seen.pending.contains_key(&words) || seen.is_done(&words);
        if !(is_durable || seen.excluded.contains_key(&words)) {
            drop(seen);
            return self.is_wrong(format!("{words} was published and is durable nowhere"));
        }
        if seen.excluded.contains_key(&words) {
            drop(seen);
            return self.is_wrong(format!("{words} is excluded by the filters, and was published"));
        }
        let (epoch, lane, number) = place.clone();
        let has_gaps = seen.has_filters && lane.starts_with(FILTERED_LANES);
        let front = seen.fronts.entry((epoch, lane)).or_default();
        let is_next = if has_gaps { number > *front } else { number == *front + 1 };
        let skipped = self.fifo && !is_next;
        let expected = *front + 1;
        *front = number.max(*front);
        seen.published.insert(place.clone(), words.clone());
        seen.pending.remove(&words);
        seen.waiting.remove(&words);
        seen.places.insert(words, place.clone());
        drop(seen);
        if skipped {
            self.is_wrong(format!("a FIFO topic took {place:?} where {expected} is next"));
        }
    }
}

/// Age of a verdict that counts no more, seconds.
const STALE: f64 = 3.0;
/// How long a change may have waited when a process says `quiet`, seconds.
const QUIET_MAX: f64 = 20.0;
/// The same for `live`: the lag of which `catching_up` and `lagging` begin to tell, 30 s, and the age of a
/// verdict that still counts.
const LIVE_MAX: f64 = 30.0 + STALE;

fn words_of(change: &Change) -> Words {
    let image = |row: &Option<Vec<Value>>| match row {
        None => "-".to_owned(),
        Some(row) => row.iter().map(Value::as_text).collect::<Vec<_>>().join("/"),
    };
    format!("{} {} -> {}", change.table.name, image(&change.before), image(&change.after))
}

fn image_words(image: Option<Image<'_>>) -> String {
    let Some(image) = image else { return "-".to_owned() };
    let cell = |value: &binpulse_client::Value<'_>| match (value.as_u64(), value.as_str()) {
        (Some(number), _) => number.to_string(),
        (None, text) => text.unwrap_or("?").to_owned(),
    };
    image.iter().map(|(_, value)| cell(&value)).collect::<Vec<_>>().join("/")
}

impl Witness for Oracle {
    fn logged(&self, server: &Server, group: &Arc<Group>) {
        let mut seen = self.seen();
        for change in &group.changes {
            match (change.table.schema, change.table.name) {
                ("shop", _) => {
                    let words = words_of(change);
                    seen.logged_rows += 1;
                    let place = seen.logged_rows;
                    seen.logged_places.insert((server.id, words.clone()), place);
                    seen.is_logged(words, group.gtid);
                }
                ("binpulse", "heartbeat") => {
                    let Some(after) = &change.after else { continue };
                    let count = seen.user_groups.get(&server.id).copied().unwrap_or_default();
                    seen.heartbeats.insert((server.id, after[1].int()), count);
                }
                _ => {}
            }
        }
        if group.changes.iter().any(|change| change.table.schema == "shop") {
            *seen.user_groups.entry(server.id).or_default() += 1;
        }
    }

    fn committed(&self, server: &Server, group: &Arc<Group>, author: Option<Author>) {
        self.tell(|| {
            let tables: Vec<_> = group.changes.iter().map(|change| change.table.name).collect();
            format!("{} commits {} of {tables:?}", server.name, group.gtid)
        });
        let is_own = group.gtid.source == server.state().uuid;
        for change in &group.changes {
            if change.table.schema == "shop" {
                let (mut seen, words) = (self.seen(), words_of(change));
                if seen.pending.contains_key(&words) {
                    seen.waiting.entry(words).or_insert_with(Instant::now);
                }
            }
            if change.table.name == "checkpoint" && is_own {
                self.saved(change, author);
            }
            if let ("lease", Some(after), Some(author)) = (change.table.name, &change.after, author)
            {
                let fence = after[1].int();
                let before = change.before.as_ref().map_or(0, |before| before[1].int());
                if fence > before {
                    self.seen().fences.insert(author.process, fence);
                    self.count(if before == 0 { "first leases" } else { "takeovers" });
                }
            }
        }
    }
}

impl Subscriber for Oracle {
    fn called(&self, process: &Process) {
        let mut seen = self.seen();
        let fence = seen.fences.get(&process.number).copied().unwrap_or_default();
        let newest = seen.published_fence.max(fence);
        seen.published_fence = newest;
        drop(seen);
        if self.leased && fence < newest {
            let number = process.number;
            self.is_wrong(format!(
                "process {number} begins to publish under fence {fence}, behind one of {newest}"
            ));
        }
    }

    fn taken(&self, entry: &BTreeMap<String, String>) {
        self.seen().messages += 1;
        let content = match decode(&entry["Message"]) {
            Ok(content) => content,
            Err(error) => return self.is_wrong(format!("a message can't be read: {error}")),
        };
        let Content::Rows(batch) = content else {
            return self.tell(|| format!("SNS takes {}", kind(&content)));
        };
        let epoch = batch.source.as_ref().map_or(0, |source| source.epoch);
        let table = batch.table.as_ref().map_or("", |table| table.table.as_str());
        self.tell(|| {
            let (first, rows) = (batch.sequence_first, batch.rows.len());
            format!("SNS takes {rows} rows of {} from {first}", batch.lane)
        });
        for row in batch.rows() {
            let words =
                format!("{table} {} -> {}", image_words(row.before()), image_words(row.after()));
            self.row((epoch, batch.lane.clone(), row.number()), words);
        }
    }
}

fn kind(content: &Content) -> &'static str {
    match content {
        Content::Canary(proto::Canary { .. }) => "a canary",
        _ => "another message",
    }
}
