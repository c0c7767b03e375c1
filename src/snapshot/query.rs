//! The SELECT of a chunk, as text. Pure.
//!
//! Where a chunk begins and ends is written with SQL literals of whole keys, which only the server
//! puts in order: collations are its own. A literal is made of what the server sent of the key, in the
//! column's type: text as `_charset x'...'` of the stored bytes, ENUM and SET and BIT as numbers, FLOAT
//! as the exact double. None holds a comma, and none can end early, so that a key is its literals with
//! commas between them; the checkpoint saves it like this.

use std::fmt::Write;

/// One column of the key that a table is read by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyColumn {
    /// In backticks.
    pub(super) name: String,
    pub(super) kind: KeyKind,
    /// `KEY (a DESC)`: the index has the largest first.
    pub(super) descending: bool,
}

/// How a key column's values are written, and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// Whole numbers, DECIMAL, BIT and SET as numbers.
    Number,
    /// FLOAT and DOUBLE: always with an exponent, or the server takes it for a DECIMAL.
    Float,
    /// Digits, letters and signs in apostrophes: temporal types, UUID, INET4, INET6.
    Quoted,
    /// Text in this character set.
    Text(&'static str),
    /// BINARY, VARBINARY.
    Bytes,
    /// ENUM with so many labels, by number. Servers search no range of an ENUM: a range becomes a list.
    Enum(usize),
}

/// A key that is none of this table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Another number of values.
    #[error("found {found} values, the key has {expected} columns")]
    Width {
        /// Values.
        found: usize,
        /// Columns of the key.
        expected: usize,
    },
    /// A value that the column can't have.
    #[error("column {} of the key: expected {expected}", column + 1)]
    Value {
        /// Ordinal in the key, from 0.
        column: usize,
        /// What it should be.
        expected: &'static str,
    },
}

impl KeyKind {
    /// Whether the server can have sent this for a value of the kind.
    pub(super) fn accepts(self, value: &[u8]) -> bool {
        let is_number = |also: &[u8]| {
            let rest = value.strip_prefix(b"-").unwrap_or(value);
            rest.first().is_some_and(u8::is_ascii_digit)
                && rest.iter().all(|byte| byte.is_ascii_digit() || also.contains(byte))
                && !rest.windows(2).any(|pair| pair == b"--")
        };
        match self {
            Self::Number => is_number(b"."),
            Self::Float => is_number(b".e+-"),
            Self::Quoted => {
                value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-:. ".contains(byte))
            }
            Self::Enum(count) => {
                let index = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                index.is_some_and(|index: usize| index <= count)
            }
            Self::Text(_) | Self::Bytes => true,
        }
    }

    /// Appends the literal of a value as the server sent it, which is one that is accepted.
    pub(super) fn write(self, value: &[u8], into: &mut String) {
        let plain = || value.iter().copied().map(char::from);
        match self {
            Self::Number | Self::Enum(_) => into.extend(plain()),
            Self::Float => {
                into.extend(plain());
                into.push_str(if value.contains(&b'e') { "" } else { "e0" });
            }
            Self::Quoted => {
                into.push('\'');
                into.extend(plain());
                into.push('\'');
            }
            Self::Text(charset) => hex(charset, value, into),
            Self::Bytes => hex("binary", value, into),
        }
    }

    /// Whether `text` is a literal of this kind as [`KeyKind::write`] makes it, and nothing else.
    fn is_literal(self, text: &str) -> bool {
        match self {
            Self::Number | Self::Enum(_) => self.accepts(text.as_bytes()),
            Self::Float => self.accepts(text.as_bytes()) && text.contains('e'),
            Self::Quoted => {
                let inside = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
                inside.is_some_and(|inside| self.accepts(inside.as_bytes()))
            }
            // What operators type is UTF-8, which the server converts.
            Self::Text(charset) => is_hex(charset, text) || is_hex("utf8mb4", text),
            Self::Bytes => is_hex("binary", text),
        }
    }

    /// What is expected of a value, for messages.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Enum(_) => "the number of one of the ENUM's labels",
            Self::Float => "a number with an exponent",
            Self::Quoted => "a value in apostrophes",
            Self::Text(_) => "text of the column's character set in hexadecimal digits",
            Self::Bytes => "bytes in hexadecimal digits",
        }
    }
}

fn hex(charset: &str, value: &[u8], into: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    into.push('_');
    into.push_str(charset);
    into.push_str(" x'");
    into.reserve(value.len() * 2 + 1);
    for byte in value {
        for nibble in [byte >> 4, byte & 15] {
            into.push(char::from(DIGITS[usize::from(nibble)]));
        }
    }
    into.push('\'');
}

fn is_hex(charset: &str, text: &str) -> bool {
    let inside = text
        .strip_prefix('_')
        .and_then(|rest| rest.strip_prefix(charset))
        .and_then(|rest| rest.strip_prefix(" x'"))
        .and_then(|rest| rest.strip_suffix('\''));
    inside.is_some_and(|digits| {
        digits.len() % 2 == 0 && digits.chars().all(|digit| digit.is_ascii_hexdigit())
    })
}

/// A name in backticks.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The part of a table that a SELECT reads.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range<'a> {
    /// Only what comes behind this key, in the key's order.
    pub after: Option<&'a str>,
    /// Only what comes up to this key, itself included.
    pub upto: Option<&'a str>,
    /// Only rows that meet this condition. It is the operator's SQL: see
    /// [`Reader::check_condition`](super::Reader::check_condition).
    pub condition: Option<&'a str>,
    /// Only rows with one of these keys, if there are any: whole keys, or their first columns. At most a
    /// thousand or so, for servers to search them in the index.
    pub keys: &'a [String],
    /// Most rows.
    pub rows_max: u64,
    /// Bytes of rows that are wanted. Up to four times as many are taken before the chunk ends early,
    /// and one row of any size.
    pub bytes_max: usize,
}

/// What all SELECTs of a table have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    /// What is selected of a row.
    pub(super) list: String,
    /// What is selected of a row's key.
    pub(super) key_list: String,
    /// The table and the index.
    pub(super) from: String,
    pub(super) key: Vec<KeyColumn>,
}

impl Query {
    /// Rows of a range. `hint` stands behind SELECT.
    pub(super) fn rows(&self, hint: &str, range: &Range<'_>) -> Result<String, BadKey> {
        let filter = self.filter(range)?;
        let (order, limit) = (self.order(), range.rows_max);
        let (list, from) = (&self.list, &self.from);
        Ok(format!("SELECT {hint}{list} FROM {from}{filter}{order} LIMIT {limit}"))
    }

    /// The key of the last of the `rows_max` rows of the range, whatever its condition says of them.
    pub(super) fn boundary(&self, hint: &str, range: &Range<'_>) -> Result<String, BadKey> {
        let filter = self.filter(&Range { condition: None, ..*range })?;
        let (order, skip) = (self.order(), range.rows_max.saturating_sub(1));
        let (list, from) = (&self.key_list, &self.from);
        Ok(format!("SELECT {hint}{list} FROM {from}{filter}{order} LIMIT {skip}, 1"))
    }

    /// A key that was saved or typed, checked.
    pub(super) fn check(&self, key: &str) -> Result<(), BadKey> {
        self.parts(key).map(drop)
    }

    fn parts<'k>(&self, key: &'k str) -> Result<Vec<&'k str>, BadKey> {
        let parts = self.leading_parts(key)?;
        if parts.len() < self.key.len() {
            return Err(BadKey::Width { found: parts.len(), expected: self.key.len() });
        }
        Ok(parts)
    }

    fn leading_parts<'k>(&self, key: &'k str) -> Result<Vec<&'k str>, BadKey> {
        let parts: Vec<_> = key.split(',').collect();
        if parts.len() > self.key.len() {
            return Err(BadKey::Width { found: parts.len(), expected: self.key.len() });
        }
        for (column, (part, known)) in parts.iter().zip(&self.key).enumerate() {
            if !known.kind.is_literal(part) {
                return Err(BadKey::Value { column, expected: known.kind.expected() });
            }
        }
        Ok(parts)
    }

    fn filter(&self, range: &Range<'_>) -> Result<String, BadKey> {
        let mut filters = Vec::new();
        if let Some(after) = range.after {
            filters.push(side(
                &self.key,
                &self.parts(after)?,
                Side { forward: true, itself: false },
            ));
        }
        if let Some(upto) = range.upto {
            filters.push(side(
                &self.key,
                &self.parts(upto)?,
                Side { forward: false, itself: true },
            ));
        }
        if !range.keys.is_empty() {
            let keys: Vec<_> =
                range.keys.iter().map(|key| self.is(key)).collect::<Result<_, _>>()?;
            filters.push(format!("({})", keys.join(" OR ")));
        }
        filters.extend(range.condition.map(|condition| format!("({condition}\n)")));
        let all = filters.join(" AND ");
        Ok(if all.is_empty() { all } else { format!(" WHERE {all}") })
    }

    fn is(&self, key: &str) -> Result<String, BadKey> {
        let parts = self.leading_parts(key)?;
        let parts = self.key.iter().zip(parts).map(|(column, part)| equal(column, part));
        Ok(format!("({})", parts.collect::<Vec<_>>().join(" AND ")))
    }

    fn order(&self) -> String {
        let columns = self.key.iter().map(|column| {
            format!("{}{}", column.name, if column.descending { " DESC" } else { "" })
        });
        format!(" ORDER BY {}", columns.collect::<Vec<_>>().join(", "))
    }
}

/// A side of a key, in the key's order.
#[derive(Debug, Clone, Copy)]
struct Side {
    /// Behind it, or in front of it.
    forward: bool,
    /// With the key itself.
    itself: bool,
}

/// What lies on a side of a whole key. The first column alone is compared once more in front: a range
/// that every server sees.
fn side(columns: &[KeyColumn], parts: &[&str], side: Side) -> String {
    let mut text = String::new();
    if let ([first, _, ..], [part, ..]) = (columns, parts) {
        compare(first, part, Side { itself: true, ..side }, &mut text);
        text.push_str(" AND ");
    }
    chain(columns, parts, side, &mut text);
    text
}

/// `(a > x OR (a = x AND (b > y OR ...)))`
fn chain(columns: &[KeyColumn], parts: &[&str], side: Side, into: &mut String) {
    let (Some((column, columns)), Some((part, parts))) =
        (columns.split_first(), parts.split_first())
    else {
        return;
    };
    if columns.is_empty() {
        return compare(column, part, side, into);
    }
    into.push('(');
    compare(column, part, Side { itself: false, ..side }, into);
    into.push_str(" OR (");
    into.push_str(&equal(column, part));
    into.push_str(" AND ");
    chain(columns, parts, side, into);
    into.push_str("))");
}

fn compare(column: &KeyColumn, part: &str, side: Side, into: &mut String) {
    let is_larger = side.forward != column.descending;
    let name = &column.name;
    if let KeyKind::Enum(count) = column.kind {
        let at: usize = part.parse().unwrap_or_default();
        let beyond = usize::from(!side.itself);
        let numbers = if is_larger { at + beyond..count + 1 } else { 0..at + 1 - beyond };
        return among(name, numbers, into);
    }
    let sign = match (is_larger, side.itself) {
        (true, false) => ">",
        (true, true) => ">=",
        (false, false) => "<",
        (false, true) => "<=",
    };
    write!(into, "{name} {sign} {part}").expect("a String takes any text");
}

/// The number 0 is that of invalid values.
fn among(name: &str, numbers: std::ops::Range<usize>, into: &mut String) {
    if numbers.is_empty() {
        return into.push_str("FALSE");
    }
    write!(into, "{name} IN (").expect("a String takes any text");
    for number in numbers.clone() {
        let comma = if number == numbers.start { "" } else { "," };
        write!(into, "{comma}{number}").expect("a String takes any text");
    }
    into.push(')');
}

fn equal(column: &KeyColumn, part: &str) -> String {
    format!("{} = {part}", column.name)
}
