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

/// Names that are told one by one; the others are counted.
const NAMES_MAX: usize = 3;

/// The first names, and how many others there are.
pub fn few<S: AsRef<str>>(names: &[S]) -> String {
    let told: Vec<&str> = names.iter().take(NAMES_MAX).map(AsRef::as_ref).collect();
    let told = told.join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => told,
        1 => format!("{told} and 1 other"),
        more => format!("{told} and {more} others"),
    }
}

/// Begins with a capital and ends with a full stop.
pub(super) fn sentence(text: &str) -> String {
    ended(&capital(text))
}

/// The same, unless its first word is a name, which stays as it is written.
pub(super) fn begun(text: &str, is_name: impl Fn(&str) -> bool) -> String {
    let first = text.split([' ', ',', ':']).next().unwrap_or_default();
    let is_word = first.chars().all(|letter| letter.is_ascii_lowercase() || letter == '\'');
    let is_plain = is_word && !OURS.contains(&first) && !is_name(first);
    ended(&if is_plain { capital(text) } else { text.to_owned() })
}

pub(super) fn ended(text: &str) -> String {
    let is_ended = text.is_empty() || text.ends_with(['.', '!', '?']);
    if is_ended { text.to_owned() } else { format!("{text}.") }
}

/// What a sentence says beyond its headline.
pub(super) fn beyond(sentence: &str, headline: &str, is_name: impl Fn(&str) -> bool) -> String {
    let Some(rest) = sentence.strip_prefix(headline) else { return sentence.to_owned() };
    let rest = rest.trim_start_matches([',', ':', ';', '.', ' ']);
    begun(rest.strip_prefix("and ").unwrap_or(rest), is_name)
}

/// Names of programs, which are written small wherever they stand.
const OURS: [&str; 3] = ["binpulse", "mysqld", "mysqlbinlog"];

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_begins_with_a_capital_unless_it_begins_with_a_name() {
        let is_name = |word: &str| word == "search";
        for (text, told) in [
            ("dialling was refused", "Dialling was refused."),
            ("search has not echoed", "search has not echoed."),
            ("shop.orders, column 7", "shop.orders, column 7."),
            ("binpulse was suspended", "binpulse was suspended."),
            ("48 s behind", "48 s behind."),
            ("", ""),
        ] {
            assert_eq!(begun(text, is_name), told);
        }
        assert_eq!(beyond("Late, and the lag grows.", "Late", is_name), "The lag grows.");
    }

    #[test]
    fn many_names_are_counted() {
        assert_eq!(few(&["a", "b", "c"]), "a, b, c");
        assert_eq!(few(&["a", "b", "c", "d"]), "a, b, c and 1 other");
        assert_eq!(few(&["a"; 100]), "a, a, a and 97 others");
    }
}
