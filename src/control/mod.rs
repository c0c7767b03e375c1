//! What an operator holds back: rows of tables that are numbered and not sent, until they are released.
//! Those of a paused table are always sent then; those of a suppressed one only if that is asked for. A
//! table whose rate is limited is held back by itself, while more rows come, and sent at its rate.
//!
//! ```text
//! POST /control -> ControlRegistry -> Order -> the loop (packer: rows are numbered, and left out)
//!                   ^                 |
//!                   +---- status -----+-> checkpoint: the controls, and each lane's range
//! ```
//!
//! * A control is in force and saved before anything else happens to the stream. A restart, or another
//!   process that takes the stream over, finds it in the checkpoint.
//! * Of each lane the checkpoint has the first number that is held back, saved together with the lane's next
//!   number: what lies between was not sent, however the process ended.
//! * Consumers are told by `suppressed` messages, before the range is left behind.
//!
//! Pure, but for the registry's lock. It does not know lanes one by one: the packer does.

mod entry;
mod order;
mod registry;
mod saved;
mod send_rate;
mod words;

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::change::NameCase;
use crate::filter::Pattern;
use crate::pack::{HeldTables, RateLimit};
use crate::telemetry::status::ControlKind;

pub use order::{FilterChange, Order, ReadingStopped};
pub use registry::{ControlRegistry, PAUSE_MAX, Taken};
pub use saved::{Saved, Unreadable, control_entry, control_name, lane_entry, lane_name};
pub use send_rate::SendRate;

/// Most controls at a time.
pub const CONTROLS_MAX: usize = 64;
/// Rows a second that a rate can be: of fewer, one event of the log would last for minutes.
pub const RATE: RangeInclusive<u64> = 10..=10_000_000;
/// Longest pattern, bytes.
const PATTERN_BYTES_MAX: usize = 400;
/// Longest reason, bytes.
const REASON_BYTES_MAX: usize = 500;
/// Longest name of who asks, bytes.
const BY_BYTES_MAX: usize = 200;
/// What stands for every table.
const ALL: &str = "all";

/// What an operator asks for; the JSON that `POST /control` takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Rows of these tables are not sent from here on.
    Suppress {
        /// Pattern of `database.table`, or `all`.
        pattern: String,
        /// Why.
        reason: String,
        /// Who asks.
        by: String,
    },
    /// Rows of these tables wait, and are sent when the pause ends. Of tables that are paused already: until
    /// when, why and by whom.
    Pause {
        /// Pattern of `database.table`, or `all`.
        pattern: String,
        /// After so many seconds it ends by itself.
        #[serde(default = "pause_seconds")]
        seconds: u64,
        /// Why.
        reason: String,
        /// Who asks.
        by: String,
    },
    /// Of these tables together so many rows a second are sent: what comes faster waits. Of tables whose
    /// rate is limited already: the rate, why and by whom.
    Rate {
        /// Pattern of `database.table`, or `all`.
        pattern: String,
        /// Rows a second.
        rows_per_second: u64,
        /// Why.
        reason: String,
        /// Who asks.
        by: String,
    },
    /// Ends the control with this pattern.
    Release {
        /// The pattern, as it was given.
        pattern: String,
        /// The rows that were held back are sent first. Those of a pause or a rate are in any case.
        #[serde(default)]
        send: bool,
        /// The rows that were held back are not sent, also those of a pause or a rate.
        #[serde(default)]
        give_up: bool,
        /// Who asks.
        by: String,
    },
}

impl Command {
    /// The pattern, and who asks.
    fn asked(&self) -> (&str, &str) {
        match self {
            Self::Suppress { pattern, by, .. }
            | Self::Pause { pattern, by, .. }
            | Self::Rate { pattern, by, .. }
            | Self::Release { pattern, by, .. } => (pattern, by),
        }
    }
}

/// How long a pause lasts of which nothing else is said: an hour.
pub const fn pause_seconds() -> u64 {
    3600
}

/// Tables that are held back, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// When it was asked for, microseconds since 1970 UTC. No two have the same: it names the control.
    pub at_us: i64,
    /// What becomes of the rows.
    pub kind: ControlKind,
    /// The tables.
    pub pattern: String,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub by: String,
    /// It ends as soon as the rows that were held back are sent. Of a rate: rows are held back, and sent at
    /// it, until none is left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_sending: bool,
    /// When it ends by itself, microseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_us: Option<i64>,
    /// Of a rate: rows a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_per_second: Option<u64>,
}

impl Control {
    /// Whether rows of its tables are held back.
    pub fn holds(&self) -> bool {
        self.kind != ControlKind::Rate || self.is_sending
    }

    /// Whether its rows are sent in the end, unless they are given up.
    pub fn keeps_rows(&self) -> bool {
        self.kind != ControlKind::Suppress
    }

    /// The tables.
    pub fn tables(&self) -> Option<Pattern> {
        pattern(&self.pattern)
    }
}

/// The pattern of `database.table` that is meant; `None`: none is.
pub fn pattern(text: &str) -> Option<Pattern> {
    Pattern::parse(if text == ALL { "*.*" } else { text }, 2)
}

/// The tables that these controls hold back.
pub fn tables<'a>(controls: impl IntoIterator<Item = &'a Control>, case: NameCase) -> HeldTables {
    let controls = controls.into_iter().filter(|it| it.holds());
    tables_of(controls.filter_map(Control::tables).collect(), case)
}

/// The tables that this control holds back and no other of these does: rows of them go when it ends.
pub fn tables_alone<'a>(
    own: &'a Control,
    controls: impl IntoIterator<Item = &'a Control>,
    case: NameCase,
) -> HeldTables {
    let others = tables(controls.into_iter().filter(|it| it.at_us != own.at_us), case);
    let own = tables([own], case);
    HeldTables::new(move |database, table| own.has(database, table) && !others.has(database, table))
}

/// The tables of which the rate is limited, and that are not held back for it.
pub fn rates(controls: &[Control], case: NameCase) -> Vec<RateLimit> {
    let limits = controls.iter().filter(|it| !it.holds());
    let rate = |it: &Control| {
        let tables = tables_of(vec![it.tables()?], case);
        Some(RateLimit { id: it.at_us, rows_per_second: it.rows_per_second?, tables })
    };
    limits.filter_map(rate).collect()
}

fn tables_of(patterns: Vec<Pattern>, case: NameCase) -> HeldTables {
    if patterns.is_empty() {
        return HeldTables::default();
    }
    HeldTables::new(move |database, table| {
        patterns.iter().any(|pattern| pattern.matches(&[database, table], case))
    })
}

/// Checks a command by itself, and against the controls that are in force. What is wrong, in words.
pub fn check(command: &Command, controls: &[Control]) -> Result<(), String> {
    let (given, by) = command.asked();
    let shown: String = given.chars().filter(|it| !it.is_control()).take(80).collect();
    if given.len() > PATTERN_BYTES_MAX || pattern(given).is_none() {
        return Err(format!(
            "pattern: found {shown:?}, expected `database.table` with `*` and `?`, or `all`"
        ));
    }
    text("by", by, BY_BYTES_MAX)?;
    let known = controls.iter().find(|control| control.pattern == *given);
    if let Command::Rate { rows_per_second, .. } = command
        && !RATE.contains(rows_per_second)
    {
        let (least, most) = (RATE.start(), RATE.end());
        return Err(format!(
            "rows_per_second: found {rows_per_second}, expected {least} to {most}"
        ));
    }
    match (command, known) {
        (Command::Pause { reason, .. }, Some(known))
            if known.kind == ControlKind::Pause && !known.is_sending =>
        {
            text("reason", reason, REASON_BYTES_MAX)
        }
        (Command::Rate { reason, .. }, Some(known)) if known.kind == ControlKind::Rate => {
            text("reason", reason, REASON_BYTES_MAX)
        }
        (Command::Suppress { .. } | Command::Pause { .. } | Command::Rate { .. }, Some(known)) => {
            Err(format!(
                "{shown} has a control already ({}, by {}: {}); release it first",
                known.kind.as_str(),
                known.by,
                known.reason
            ))
        }
        (
            Command::Suppress { reason, .. }
            | Command::Pause { reason, .. }
            | Command::Rate { reason, .. },
            None,
        ) => {
            text("reason", reason, REASON_BYTES_MAX)?;
            if controls.len() >= CONTROLS_MAX {
                return Err(format!(
                    "there are {CONTROLS_MAX} controls already: release some, or use one pattern \
                     for more tables"
                ));
            }
            Ok(())
        }
        (Command::Release { .. }, None) => {
            let known: Vec<_> = controls.iter().map(|it| it.pattern.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(format!("no control has the pattern {shown}; in force: {known}"))
        }
        (Command::Release { send: true, give_up: true, .. }, Some(_)) => {
            Err("the rows are either sent or given up: both are asked for".to_owned())
        }
        (Command::Release { send, give_up, .. }, Some(known))
            if known.is_sending
                && known.kind != ControlKind::Rate
                && (*send || known.keeps_rows() && !*give_up) =>
        {
            Err(format!("the rows of {shown} are being sent already: see `binpulse controls`"))
        }
        (Command::Release { .. }, Some(_)) => Ok(()),
    }
}

fn text(name: &str, text: &str, bytes_max: usize) -> Result<(), String> {
    let is_text = !text.trim().is_empty() && !text.chars().any(char::is_control);
    if is_text && text.len() <= bytes_max {
        return Ok(());
    }
    Err(format!("{name}: expected a text of 1 to {bytes_max} bytes without control characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(pattern: &str) -> Control {
        Control {
            at_us: 1,
            kind: ControlKind::Suppress,
            pattern: pattern.to_owned(),
            reason: "bad prices".to_owned(),
            by: "ada".to_owned(),
            is_sending: false,
            until_us: None,
            rows_per_second: None,
        }
    }

    fn suppress(pattern: &str) -> Command {
        let (reason, by) = ("bad prices".to_owned(), "ada".to_owned());
        Command::Suppress { pattern: pattern.to_owned(), reason, by }
    }

    fn release(pattern: &str, send: bool) -> Command {
        let (pattern, by) = (pattern.to_owned(), "ada".to_owned());
        Command::Release { pattern, send, give_up: false, by }
    }

    fn pause(pattern: &str) -> Command {
        let (reason, by) = ("a move".to_owned(), "ada".to_owned());
        Command::Pause { pattern: pattern.to_owned(), seconds: 60, reason, by }
    }

    #[test]
    fn a_pause_is_made_longer_and_its_rows_are_only_given_up_on_demand() {
        let known = Control { kind: ControlKind::Pause, ..control("shop.*") };
        assert_eq!(check(&pause("shop.*"), std::slice::from_ref(&known)), Ok(()));
        assert!(check(&suppress("shop.*"), std::slice::from_ref(&known)).is_err());
        assert!(check(&pause("crm.notes"), &[control("crm.notes")]).is_err());
        let sending = [Control { is_sending: true, ..known }];
        let given_up = Command::Release {
            pattern: "shop.*".to_owned(),
            send: false,
            give_up: true,
            by: "ada".to_owned(),
        };
        assert!(check(&pause("shop.*"), &sending).is_err());
        assert!(check(&release("shop.*", false), &sending).is_err());
        assert_eq!(check(&given_up, &sending), Ok(()));
        let json = r#"{"command":"pause","pattern":"a.b","reason":"x","by":"y"}"#;
        let read: Command = serde_json::from_str(json).expect("as documented");
        assert!(matches!(read, Command::Pause { seconds: 3600, .. }));
    }

    #[test]
    fn a_rate_is_changed_and_released_and_holds_nothing_back_by_itself() {
        let known =
            Control { kind: ControlKind::Rate, rows_per_second: Some(500), ..control("shop.*") };
        let rate = |pattern: &str, rows_per_second| {
            let (reason, by) = ("a mass update".to_owned(), "ada".to_owned());
            Command::Rate { pattern: pattern.to_owned(), rows_per_second, reason, by }
        };
        for rows_per_second in [10, 500, 10_000_000] {
            assert_eq!(
                check(&rate("shop.*", rows_per_second), std::slice::from_ref(&known)),
                Ok(())
            );
            assert_eq!(check(&rate("a.b", rows_per_second), &[]), Ok(()));
        }
        for wrong in [0, 9, 10_000_001] {
            let refused = check(&rate("a.b", wrong), &[]);
            assert!(refused.is_err_and(|why| why.contains("expected 10 to 10000000")), "{wrong}");
        }
        assert!(check(&pause("shop.*"), std::slice::from_ref(&known)).is_err());
        assert!(check(&rate("crm.notes", 500), &[control("crm.notes")]).is_err());
        let limits = rates(&[known.clone(), control("crm.notes")], NameCase::Sensitive);
        assert!(limits.len() == 1 && limits[0].tables.has("shop", "orders"));
        assert!(!tables([&known], NameCase::Sensitive).has("shop", "orders"));
        // While more come, it does, and a release sends them at once.
        let sending = Control { is_sending: true, ..known };
        assert!(rates(std::slice::from_ref(&sending), NameCase::Sensitive).is_empty());
        assert!(tables([&sending], NameCase::Sensitive).has("shop", "orders"));
        for send in [false, true] {
            assert_eq!(check(&release("shop.*", send), std::slice::from_ref(&sending)), Ok(()));
        }
        let json =
            r#"{"command":"rate","pattern":"a.b","rows_per_second":500,"reason":"x","by":"y"}"#;
        let read: Command = serde_json::from_str(json).expect("as documented");
        assert!(matches!(read, Command::Rate { rows_per_second: 500, .. }));
    }

    #[test]
    fn commands_that_make_no_sense_are_refused_with_what_does() {
        let known = [control("shop.*"), Control { is_sending: true, ..control("crm.notes") }];
        let refused = |command: &Command| check(command, &known).err().unwrap_or_default();
        for wrong in ["", "shop", "a.b.c", "shop.", &"x".repeat(500)] {
            assert!(refused(&suppress(wrong)).starts_with("pattern: found"), "{wrong}");
        }
        assert!(refused(&suppress("shop.*")).contains("already (suppress, by ada: bad prices)"));
        assert!(refused(&release("shop.orders", false)).ends_with("in force: shop.*, crm.notes"));
        assert!(refused(&release("crm.notes", true)).contains("being sent already"));
        for (reason, by) in
            [("", "ada"), ("  ", "ada"), ("a\nb", "ada"), ("why", ""), ("why", "\u{7}")]
        {
            let (reason, by) = (reason.to_owned(), by.to_owned());
            let command = Command::Suppress { pattern: "a.b".to_owned(), reason, by };
            assert!(refused(&command).contains("expected a text"), "{command:?}");
        }
        for right in [suppress("all"), suppress("shop.orders"), release("shop.*", true)] {
            assert_eq!(check(&right, &known), Ok(()));
        }
        // Sending can be given up.
        assert_eq!(check(&release("crm.notes", false), &known), Ok(()));
        let many: Vec<_> = (0..CONTROLS_MAX).map(|it| control(&format!("a.t{it}"))).collect();
        assert!(check(&suppress("b.c"), &many).is_err_and(|why| why.contains("64 controls")));
    }

    #[test]
    fn tables_are_compared_as_the_server_does() {
        let held = tables(&[control("shop.Or*")], NameCase::Sensitive);
        assert!(held.has("shop", "Orders") && !held.has("shop", "orders"));
        let held = tables(&[control("shop.Or*"), control("crm.notes")], NameCase::Insensitive);
        assert!(held.has("shop", "orders") && held.has("crm", "notes") && !held.has("crm", "x"));
        assert!(tables(&[control("all")], NameCase::Sensitive).has("any", "table"));
        assert!(!tables(&[], NameCase::Sensitive).has("any", "table"));
    }
}
