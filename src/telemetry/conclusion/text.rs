//! Sentences and durations, for people.

use std::time::Duration;

/// A duration in the units that a person would use.
pub fn duration(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default().as_secs();
    match whole {
        0..60 => format!("{:.1} s", seconds.max(0.0)),
        60..3_600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {:02} min", whole / 3_600, whole / 60 % 60),
        _ => format!("{} d {:02} h", whole / 86_400, whole / 3_600 % 24),
    }
}

/// Begins with a capital and ends with a full stop.
pub(super) fn sentence(text: &str) -> String {
    ended(&capital(text))
}

pub(super) fn ended(text: &str) -> String {
    let is_ended = text.is_empty() || text.ends_with(['.', '!', '?']);
    if is_ended { text.to_owned() } else { format!("{text}.") }
}

/// What a sentence says beyond its headline.
pub(super) fn beyond(sentence: &str, headline: &str) -> String {
    let Some(rest) = sentence.strip_prefix(headline) else { return sentence.to_owned() };
    let rest = rest.trim_start_matches([',', ':', ';', '.', ' ']);
    let first = rest.split(' ').next().unwrap_or_default();
    // Any other word may be a name, which stays as it is written.
    ended(&if PLAIN.contains(&first) { capital(rest) } else { rest.to_owned() })
}

/// Words that may begin with a capital.
const PLAIN: [&str; 17] = [
    "a",
    "an",
    "another",
    "between",
    "binary",
    "by",
    "every",
    "it",
    "its",
    "messages",
    "neither",
    "no",
    "nothing",
    "permission",
    "the",
    "waiting",
    "we",
];

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}
