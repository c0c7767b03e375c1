//! The last thing that is printed: what came of it, a column for each sender.

use std::fmt::Write as _;

use super::Outcome;

const NAME_WIDTH: usize = 36;
const WIDTH: usize = 24;

/// The table as lines of text.
pub(super) fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn Fn(&Outcome) -> String| {
        let values: String = outcomes
            .iter()
            .fold(String::new(), |text, outcome| format!("{text}{:>WIDTH$}", value(outcome)));
        // Writing to a String cannot fail.
        writeln!(text, "{name:<NAME_WIDTH$}{values}").unwrap_or_default();
    };
    line("", &|outcome| outcome.sender.clone());
    line("charges in the source", &|outcome| grouped(outcome.charges));
    line("requests", &|outcome| grouped(outcome.seen.requests));
    line("  answered with 500, or too late", &|outcome| grouped(outcome.seen.failed));
    line("ids", &|outcome| grouped(outcome.seen.ids));
    line("  seen more than once", &|outcome| grouped(outcome.seen.ids_again));
    line("charged", &|outcome| grouped(outcome.seen.charged));
    line("  charges made more than once", &|outcome| grouped(outcome.seen.twice));
    line("  charges never made", &|outcome| {
        grouped(outcome.charges.saturating_sub(outcome.seen.charges))
    });
    line("difference of the sums", &|outcome| difference(outcome.seen.cents, outcome.cents));
    line("kill -9", &|outcome| {
        let kills = outcome.kills.iter().map(|(name, kills)| format!("{kills} {name}"));
        kills.collect::<Vec<_>>().join(", ")
    });
    line("copies added by the queue", &|outcome| {
        outcome.copies.map_or_else(|| "no queue".to_owned(), grouped)
    });
    line("seconds", &|outcome| grouped(outcome.took.as_secs()));
    text
}

/// 1234567 as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What was charged less what was to be charged, in units of 100.
fn difference(charged: u64, wanted: u64) -> String {
    let cents = charged.abs_diff(wanted);
    let sign = match charged.cmp(&wanted) {
        std::cmp::Ordering::Less => "-",
        std::cmp::Ordering::Equal => "",
        std::cmp::Ordering::Greater => "+",
    };
    format!("{sign}{}.{:02}", grouped(cents / 100), cents % 100)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Seen;
    use super::*;

    fn outcome(charged: u64, cents: u64) -> Outcome {
        let seen = Seen { charges: 1_000, charged, cents, ..Seen::default() };
        Outcome {
            sender: "one".to_owned(),
            charges: 1_000,
            cents: 123_456,
            seen,
            kills: vec![("relay", 2), ("streamer", 1)],
            copies: Some(7),
            took: Duration::from_secs(61),
        }
    }

    #[test]
    fn a_table_has_a_column_for_each_and_says_what_is_wrong() {
        let outcomes = [outcome(1_000, 123_456), outcome(1_002, 1_123_455)];
        assert!(outcomes[0].is_right() && !outcomes[1].is_right());
        assert!(!outcome(1_000, 123_455).is_right());
        let text = table(&outcomes);
        let line = |name: &str| -> Vec<String> {
            let found = text.lines().find(|line| line.trim_start().starts_with(name));
            let rest = found.expect(name).trim_start().strip_prefix(name).expect(name);
            rest.split("  ").map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
        };
        assert_eq!(line("charged"), ["1,000", "1,002"]);
        assert_eq!(line("difference of the sums"), ["0.00", "+9,999.99"]);
        assert_eq!(line("kill -9"), ["2 relay, 1 streamer", "2 relay, 1 streamer"]);
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(difference(99, 200), "-1.01");
    }
}
