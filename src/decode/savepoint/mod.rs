//! Savepoints of a transaction, by the rules of the server that wrote the log.
//!
//! Servers compare the names of savepoints like other identifiers that are not files: without case,
//! and all but MariaDB 11.5 and newer without accents too. A name is quoted as the session's
//! `sql_mode` and `sql_quote_show_create` say.

mod weights;

use weights::Run;

/// How a server compares identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collation {
    /// `utf8mb3_general_ci`.
    GeneralCi,
    /// `utf8mb3_general1400_as_ci` of MariaDB 11.5 and newer.
    General1400AsCi,
}

/// A name as it is compared.
#[derive(Debug, PartialEq, Eq)]
struct Name(Vec<u32>);

/// The savepoints that are set, and how many bytes of the transaction were held at each.
#[derive(Debug, Default)]
pub(super) struct Savepoints {
    set: Vec<(Name, u64)>,
}

impl Savepoints {
    /// SAVEPOINT of this name, as in the statement. One of the same name is deleted.
    pub(super) fn set(&mut self, name: &[u8], collation: Collation, held_bytes: u64) {
        let name = Name::of(name, collation);
        self.set.retain(|(known, _)| *known != name);
        self.set.push((name, held_bytes));
    }

    /// ROLLBACK TO the savepoint of this name: how many bytes were held when it was set. Those set
    /// later are deleted. `None` if there is none of this name.
    pub(super) fn roll_back_to(&mut self, name: &[u8], collation: Collation) -> Option<u64> {
        let at_name = |name: Name| self.set.iter().position(|(known, _)| *known == name);
        let at = at_name(Name::of(name, collation));
        // MySQL 5.6 and 5.7 do not double a quote in the name here.
        let at = at.or_else(|| at_name(Name::new(verbatim(name), collation)))?;
        self.set.truncate(at + 1);
        self.set.last().map(|(_, held_bytes)| *held_bytes)
    }

    /// Forgets all, and keeps the space.
    pub(super) fn clear(&mut self) {
        self.set.clear();
    }
}

impl Name {
    /// Of a name as in a statement.
    fn of(text: &[u8], collation: Collation) -> Self {
        Self::new(&unquoted(text), collation)
    }

    fn new(name: &[u8], collation: Collation) -> Self {
        match std::str::from_utf8(name) {
            Ok(name) => Self(name.chars().map(|point| collation.weight(point)).collect()),
            // Servers before 5.6 log the statement in the client's character set.
            Err(_) => Self(name.iter().map(|byte| byte.to_ascii_uppercase().into()).collect()),
        }
    }
}

/// What stands between the first and the last quote.
fn verbatim(text: &[u8]) -> &[u8] {
    match text.trim_ascii() {
        [first @ (b'`' | b'"'), inside @ .., last] if first == last => inside,
        whole => whole,
    }
}

/// The name without its quotes, and without what follows it.
fn unquoted(text: &[u8]) -> Vec<u8> {
    let (quote, text) = match text.split_first() {
        Some((quote @ (b'`' | b'"'), inside)) => (*quote, inside),
        _ => {
            let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b';' | b'/');
            return text.split(ends).next().unwrap_or_default().to_vec();
        }
    };
    let mut name = Vec::with_capacity(text.len());
    let mut bytes = text.iter().peekable();
    while let Some(byte) = bytes.next() {
        // A quote in the name is doubled.
        if *byte == quote && bytes.next_if_eq(&&quote).is_none() {
            break;
        }
        name.push(*byte);
    }
    name
}

impl Collation {
    fn weight(self, point: char) -> u32 {
        let runs: &[Run] = match self {
            Self::GeneralCi => &weights::GENERAL_CI,
            Self::General1400AsCi => &weights::GENERAL1400_AS_CI,
        };
        let point = u32::from(point);
        let weight = |(first, last, step, weight, increment): &Run| {
            let within = (u32::from(*first)..=u32::from(*last)).contains(&point);
            let ahead = point.checked_sub(u32::from(*first)).filter(|_| within)?;
            let step = u32::from(*step);
            let steps = ahead.checked_div(step).filter(|steps| steps * step == ahead)?;
            Some(u32::from(*weight) + steps * u32::from(*increment))
        };
        runs.iter().find_map(weight).unwrap_or(point)
    }
}

#[cfg(test)]
mod tests {
    use Collation::{General1400AsCi, GeneralCi};

    use super::*;

    fn are_same(one: &str, other: &str, collation: Collation) -> bool {
        Name::of(one.as_bytes(), collation) == Name::of(other.as_bytes(), collation)
    }

    /// What MySQL 5.6 to 9.7, MariaDB 10.11, and MariaDB 11.8 made of `SAVEPOINT a; ROLLBACK TO b`.
    #[test]
    fn names_are_compared_as_servers_do() {
        for (one, other, general, as_ci) in [
            ("sp", "SP", true, true),
            ("é", "É", true, true),
            ("é", "e", true, false),
            ("ß", "s", true, false),
            ("ß", "ss", false, false),
            ("İ", "i", true, false),
            ("i", "ı", true, true),
            ("ſ", "s", true, true),
            ("ǅ", "ǆ", true, true),
            ("α", "ά", true, false),
            ("ς", "σ", true, true),
            ("я", "Я", true, true),
            ("ё", "е", true, false),
            ("Ａ", "ａ", true, true),
            ("Æ", "æ", true, true),
            ("\u{b5}", "\u{3bc}", true, true),
            ("Ⅷ", "ⅷ", true, true),
            ("\u{212a}", "k", false, false),
            ("\u{2126}", "ω", false, false),
            ("Ａ", "a", false, false),
            ("ø", "o", false, false),
            ("æ", "ae", false, false),
            ("a", "ab", false, false),
            ("`a `", "`a`", false, false),
            ("`a\t`", "`a`", false, false),
        ] {
            assert_eq!(are_same(one, other, GeneralCi), general, "{one} {other}");
            assert_eq!(are_same(one, other, General1400AsCi), as_ci, "{one} {other}");
        }
    }

    #[test]
    fn quotes_are_no_part_of_a_name() {
        for (one, other) in [
            ("`a`", "a"),
            ("\"a\"", "`A`"),
            ("`a``b`", "\"a`b\""),
            ("\"a\"\"b\"", "`a\"b`"),
            ("a;", "`a`"),
            ("a /* x */", "a"),
        ] {
            assert!(are_same(one, other, GeneralCi), "{one} {other}");
        }
        assert!(!are_same("`a``b`", "`ab`", GeneralCi));
        assert!(!are_same("`a`", "``a``", GeneralCi));
    }

    #[test]
    fn a_quote_that_a_server_did_not_double_is_part_of_the_name() {
        let mut savepoints = Savepoints::default();
        savepoints.set(b"\"a\"\"b`c\"", GeneralCi, 7);
        assert_eq!(savepoints.roll_back_to(b"`A\"B`C`", GeneralCi), Some(7));
        assert_eq!(savepoints.roll_back_to(b"`a\"b``c`", GeneralCi), Some(7));
        assert_eq!(savepoints.roll_back_to(b"`a\"b`", GeneralCi), None);
        assert_eq!(savepoints.roll_back_to(b"`", GeneralCi), None);
        assert_eq!(savepoints.roll_back_to(b"", GeneralCi), None);
    }

    #[test]
    fn names_in_another_character_set_are_compared_too() {
        let mut savepoints = Savepoints::default();
        savepoints.set(b"caf\xe9", GeneralCi, 7);
        assert_eq!(savepoints.roll_back_to(b"CAF\xe9", GeneralCi), Some(7));
        assert_eq!(savepoints.roll_back_to(b"cafe", GeneralCi), None);
    }

    #[test]
    fn a_savepoint_of_the_same_name_replaces_the_older_one() {
        let mut savepoints = Savepoints::default();
        savepoints.set(b"`s`", GeneralCi, 10);
        savepoints.set(b"`t`", GeneralCi, 20);
        savepoints.set(b"`S`", GeneralCi, 30);
        assert_eq!(savepoints.roll_back_to(b"`s`", GeneralCi), Some(30));
        assert_eq!(savepoints.roll_back_to(b"`t`", GeneralCi), Some(20));
        assert_eq!(savepoints.roll_back_to(b"`s`", GeneralCi), None, "it was set after t");
        assert_eq!(savepoints.roll_back_to(b"`T`", GeneralCi), Some(20));
    }
}
