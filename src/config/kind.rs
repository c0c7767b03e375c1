//! The kinds of value a setting can have: how each is read from text, and what is allowed.

use std::fmt;
use std::time::Duration;

use super::Value;

/// Kind and range of a setting's value.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text that is not empty.
    Text,
    /// Text of a limited form: the words that describe it, and the check.
    Form(&'static str, fn(&str) -> bool),
    /// A secret: from the environment or from a file, never a flag, never shown.
    Secret,
    /// A whole number within the range, both ends included.
    Integer(u64, u64),
    /// A number with a unit, `500ms`, `5s`, `2m`, `1h`; the range is in milliseconds.
    Duration(u64, u64),
    /// A size in bytes with an optional unit, `65536`, `64KiB`, `1MiB`; the range is in bytes.
    Bytes(u64, u64),
    /// `true` or `false`.
    Bool,
    /// One of the words.
    Choice(&'static [&'static str]),
    /// Any number of texts; in flags and environment separated by commas.
    List,
    /// Any number of SQL statements; in flags and environment separated by semicolons, which none of
    /// them may hold.
    Statements,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Form(form, _) => f.write_str(form),
            Self::Secret => f.write_str("a secret, by environment or file"),
            Self::Integer(min, u64::MAX) => write!(f, "a whole number from {min}"),
            Self::Integer(min, max) => write!(f, "a whole number from {min} to {max}"),
            Self::Duration(min, max) => {
                write!(f, "a duration from {} to {}", show_duration(*min), show_duration(*max))
            }
            Self::Bytes(min, max) => {
                write!(f, "a size from {} to {}", show_bytes(*min), show_bytes(*max))
            }
            Self::Bool => f.write_str("true or false"),
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Self::List => f.write_str("a list of one or more strings"),
            Self::Statements => f.write_str("a list of one or more name=SQL"),
        }
    }
}

impl Kind {
    /// Reads a value of this kind from text; `None` when it is not one, or out of range.
    pub fn parse(&self, text: &str) -> Option<Value> {
        let text = text.trim();
        match self {
            Self::Text | Self::Secret => (!text.is_empty()).then(|| Value::Text(text.to_owned())),
            Self::Form(_, holds) => {
                (!text.is_empty() && holds(text)).then(|| Value::Text(text.to_owned()))
            }
            Self::Integer(min, max) => {
                let number = text.replace('_', "").parse::<u64>().ok()?;
                (*min..=*max).contains(&number).then_some(Value::Integer(number))
            }
            Self::Duration(min, max) => {
                let millis = parse_duration_ms(text)?;
                (*min..=*max)
                    .contains(&millis)
                    .then(|| Value::Duration(Duration::from_millis(millis)))
            }
            Self::Bytes(min, max) => {
                let bytes = parse_bytes(text)?;
                (*min..=*max).contains(&bytes).then_some(Value::Integer(bytes))
            }
            Self::Bool => match text {
                "true" | "yes" | "on" | "1" => Some(Value::Bool(true)),
                "false" | "no" | "off" | "0" => Some(Value::Bool(false)),
                _ => None,
            },
            Self::Choice(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
            Self::List => items(text, ','),
            Self::Statements => items(text, ';'),
        }
    }

    /// Whether a value of this kind is a list.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::List | Self::Statements)
    }
}

fn items(text: &str, separator: char) -> Option<Value> {
    let items = text.split(separator).map(str::trim).filter(|item| !item.is_empty());
    let items: Vec<_> = items.map(str::to_owned).collect();
    (!items.is_empty()).then_some(Value::List(items))
}

fn split_unit(text: &str) -> (&str, &str) {
    let end =
        text.find(|c: char| !c.is_ascii_digit() && c != '_' && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// `number * scale`, where the number may have up to three decimals.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let number = number.replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    if fraction.len() > 3 {
        return None;
    }
    let part = fraction.parse::<u64>().ok()?.checked_mul(scale)?;
    whole.checked_add(part / 10_u64.pow(u32::try_from(fraction.len()).ok()?))
}

fn parse_duration_ms(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text);
    let scale = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    scaled(number, scale)
}

fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text);
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return None,
    };
    scaled(number, scale)
}

fn show_duration(millis: u64) -> String {
    match millis {
        0 => "0ms".to_owned(),
        ms if ms % 86_400_000 == 0 => format!("{}d", ms / 86_400_000),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

fn show_bytes(bytes: u64) -> String {
    match bytes {
        b if b > 0 && b % (1 << 30) == 0 => format!("{}GiB", b >> 30),
        b if b > 0 && b % (1 << 20) == 0 => format!("{}MiB", b >> 20),
        b if b > 0 && b % (1 << 10) == 0 => format!("{}KiB", b >> 10),
        b => b.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_with_their_units() {
        let duration = Kind::Duration(0, u64::MAX);
        for (text, ms) in [("500ms", 500), ("5s", 5_000), ("1.5s", 1_500), ("2m", 120_000)] {
            assert_eq!(
                duration.parse(text),
                Some(Value::Duration(Duration::from_millis(ms))),
                "{text}"
            );
        }
        let bytes = Kind::Bytes(0, u64::MAX);
        for (text, size) in
            [("65536", 65_536), ("64KiB", 65_536), ("1 MiB", 1 << 20), ("2kb", 2_000)]
        {
            assert_eq!(bytes.parse(text), Some(Value::Integer(size)), "{text}");
        }
    }

    #[test]
    fn statements_keep_their_commas() {
        let text = "a=INSERT INTO t VALUES (1, 2); b=INSERT INTO u VALUES (3);";
        let items = ["a=INSERT INTO t VALUES (1, 2)", "b=INSERT INTO u VALUES (3)"];
        let items = items.map(str::to_owned).to_vec();
        assert_eq!(Kind::Statements.parse(text), Some(Value::List(items)));
    }

    #[test]
    fn what_is_not_of_the_kind_is_refused() {
        for (kind, text) in [
            (Kind::Duration(0, u64::MAX), "5"),
            (Kind::Duration(0, u64::MAX), "five seconds"),
            (Kind::Duration(1_000, 60_000), "61s"),
            (Kind::Duration(0, u64::MAX), "99999999999999999999d"),
            (Kind::Bytes(1, 10), "0"),
            (Kind::Bytes(0, u64::MAX), "1.23456MiB"),
            (Kind::Integer(1, 9), "-1"),
            (Kind::Bool, "maybe"),
            (Kind::Choice(&["a", "b"]), "c"),
            (Kind::Text, "  "),
            (Kind::List, " , "),
            (Kind::Statements, " ; "),
        ] {
            assert_eq!(kind.parse(text), None, "{kind} from {text:?}");
        }
    }
}
