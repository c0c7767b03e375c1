//! Faults on demand: rules that say which calls go wrong, and how.

use std::time::{Duration, Instant};

use super::entry::{Entry, Fault};

/// Which calls a rule strikes, among those of its operation.
#[derive(Debug, Clone)]
pub enum When {
    Always,
    /// Only this one, from 1.
    Nth(u64),
    /// The first so many.
    First(u64),
    /// Every so manieth.
    Every(u64),
    /// Each with this probability, from the endpoint's seed.
    Probability(f64),
    /// Those of which an entry's body contains this.
    BodyContains(String),
}

/// Which entries of a call.
#[derive(Debug, Clone)]
pub enum Pick {
    All,
    Index(usize),
    BodyContains(String),
    Probability(f64),
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Effect {
    /// The whole call is refused with this status, code and text.
    Refuse(u16, &'static str, &'static str),
    /// The whole call is refused with a status and a body that is no XML.
    Gibberish(u16),
    /// Calls beyond so many messages a second are refused as throttled.
    ThrottleAbove(f64),
    /// No answer, and nothing is accepted.
    Hang,
    /// The connection closes without an answer, and nothing is accepted.
    Reset,
    /// The answer comes later.
    Slow(Duration),
    /// Accepted, then never an answer.
    AcceptThenHang,
    /// Accepted, then the connection closes.
    AcceptThenReset,
    /// Accepted, then an answer that is no XML.
    AcceptThenGibberish,
    /// Answered with success, and thrown away.
    Swallow,
    /// These entries fail with this code and `SenderFault`.
    FailEntries(Pick, &'static str, bool),
    /// These entries are accepted, but the answer does not name them.
    LoseEntries(Pick),
}

impl Effect {
    pub const INTERNAL: Self = Self::Refuse(500, "InternalError", "We failed.");
    pub const THROTTLED: Self = Self::Refuse(429, "Throttled", "Rate exceeded");
    pub const KMS_THROTTLING: Self = Self::Refuse(400, "KMSThrottling", "KMS rate exceeded");
    pub const DENIED: Self = Self::Refuse(403, "AuthorizationError", "not authorized");
    pub const EXPIRED: Self = Self::Refuse(403, "ExpiredToken", "The security token is expired");
    pub const NOT_FOUND: Self = Self::Refuse(404, "NotFound", "Topic does not exist");
}

/// A rule; later ones are asked first.
#[derive(Debug, Clone)]
pub struct Rule {
    pub operation: &'static str,
    pub when: When,
    pub effect: Effect,
    seen: u64,
    tokens: f64,
    filled: Option<Instant>,
}

impl Rule {
    pub fn new(operation: &'static str, when: When, effect: Effect) -> Self {
        Self { operation, when, effect, seen: 0, tokens: 0.0, filled: None }
    }

    fn allows(&mut self, per_second: f64, messages: usize, now: Instant) -> bool {
        let elapsed = self.filled.map_or(1.0, |at| now.duration_since(at).as_secs_f64());
        self.filled = Some(now);
        self.tokens = (self.tokens + elapsed * per_second).min(per_second);
        let messages = messages as f64;
        let allowed = self.tokens >= messages;
        if allowed {
            self.tokens -= messages;
        }
        allowed
    }
}

/// What is done to one call.
#[derive(Debug, Default)]
pub struct Doom {
    pub delay: Option<Duration>,
    pub before: Option<Before>,
    pub after: Option<After>,
    pub is_swallowed: bool,
    /// Per entry: fails with code and `SenderFault`.
    pub failed: Vec<Option<(&'static str, bool)>>,
    /// Per entry: is left out of the answer.
    pub lost: Vec<bool>,
}

/// Instead of doing what was asked.
#[derive(Debug)]
pub enum Before {
    Refuse(Fault),
    Gibberish(u16),
    Hang,
    Reset,
}

/// After having done what was asked.
#[derive(Debug)]
pub enum After {
    Hang,
    Reset,
    Gibberish,
}

/// All rules, and the dice.
#[derive(Debug)]
pub struct Faults {
    pub rules: Vec<Rule>,
    state: u64,
}

impl Faults {
    pub fn new(seed: u64) -> Self {
        Self { rules: Vec::new(), state: seed }
    }

    /// What happens to a call with these entries. The first rule that speaks about a matter wins.
    pub fn judge(&mut self, operation: &str, entries: &[Entry], now: Instant) -> Doom {
        let mut doom = Doom {
            failed: vec![None; entries.len()],
            lost: vec![false; entries.len()],
            ..Doom::default()
        };
        let mut rules = std::mem::take(&mut self.rules);
        for rule in rules.iter_mut().rev().filter(|rule| rule.operation == operation) {
            rule.seen += 1;
            if self.strikes(&rule.when, rule.seen, entries) {
                self.apply(rule, entries, now, &mut doom);
            }
        }
        self.rules = rules;
        doom
    }

    fn strikes(&mut self, when: &When, seen: u64, entries: &[Entry]) -> bool {
        match when {
            When::Always => true,
            When::Nth(n) => seen == *n,
            When::First(n) => seen <= *n,
            When::Every(n) => seen.is_multiple_of(*n),
            When::Probability(p) => self.fraction() < *p,
            When::BodyContains(text) => entries.iter().any(|entry| entry.body.contains(text)),
        }
    }

    fn apply(&mut self, rule: &mut Rule, entries: &[Entry], now: Instant, doom: &mut Doom) {
        let effect = rule.effect.clone();
        let before = match effect {
            Effect::Refuse(status, code, text) => {
                Some(Before::Refuse(Fault::new(status, code, text)))
            }
            Effect::Gibberish(status) => Some(Before::Gibberish(status)),
            Effect::ThrottleAbove(limit) => (!rule.allows(limit, entries.len(), now))
                .then(|| Before::Refuse(Fault::new(429, "Throttled", "Rate exceeded"))),
            Effect::Hang => Some(Before::Hang),
            Effect::Reset => Some(Before::Reset),
            Effect::Slow(delay) => {
                doom.delay.get_or_insert(delay);
                None
            }
            Effect::Swallow => {
                doom.is_swallowed = true;
                None
            }
            Effect::AcceptThenHang => return doom.after = Some(After::Hang),
            Effect::AcceptThenReset => return doom.after = Some(After::Reset),
            Effect::AcceptThenGibberish => return doom.after = Some(After::Gibberish),
            Effect::FailEntries(pick, code, sender_fault) => {
                for (index, entry) in entries.iter().enumerate() {
                    if self.picks(&pick, index, entry) {
                        doom.failed[index].get_or_insert((code, sender_fault));
                    }
                }
                None
            }
            Effect::LoseEntries(pick) => {
                for (index, entry) in entries.iter().enumerate() {
                    doom.lost[index] |= self.picks(&pick, index, entry);
                }
                None
            }
        };
        if doom.before.is_none() {
            doom.before = before;
        }
    }

    fn picks(&mut self, pick: &Pick, index: usize, entry: &Entry) -> bool {
        match pick {
            Pick::All => true,
            Pick::Index(n) => *n == index,
            Pick::BodyContains(text) => entry.body.contains(text),
            Pick::Probability(p) => self.fraction() < *p,
        }
    }

    /// From 0 to 1 (SplitMix64).
    fn fraction(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
