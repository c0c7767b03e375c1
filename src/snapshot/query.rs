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
    /// On a server of MariaDB.
    pub(super) maria: bool,
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
    /// Only rows that meet this condition. It is the operator's SQL, with times in UTC: see
    /// [`Reader::check_condition`](super::Reader::check_condition).
    pub condition: Option<&'a str>,
    /// Only rows with one of these keys, if there are any: whole keys, or their first columns. At most a
    /// thousand or so, for servers to search them in the index.
    pub keys: &'a [String],
    /// Most rows, at least one.
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
    #[cfg(feature = "testing")]
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
        if self.key.is_empty() {
            return String::new();
        }
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
/// that every server sees. With the lists of an ENUM they would see less.
fn side(columns: &[KeyColumn], parts: &[&str], side: Side) -> String {
    let mut text = String::new();
    if let ([first, _, ..], [part, ..]) = (columns, parts)
        && !matches!(first.kind, KeyKind::Enum(_))
    {
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

/// Of an ENUM a list of two: a search for one number would stop there, and read all rows that have it.
/// MySQL sees through a number that no label has, MariaDB through the same one twice.
fn equal(column: &KeyColumn, part: &str) -> String {
    let name = &column.name;
    match column.kind {
        KeyKind::Enum(_) if column.maria => format!("{name} IN ({part},-1)"),
        KeyKind::Enum(_) => format!("{name} IN ({part},{part})"),
        KeyKind::Number | KeyKind::Float | KeyKind::Quoted | KeyKind::Text(_) | KeyKind::Bytes => {
            format!("{name} = {part}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn query(key: Vec<KeyColumn>) -> Query {
        let names: Vec<_> = key.iter().map(|column| column.name.clone()).collect();
        let list = names.join(", ");
        Query { list: format!("{list}, x"), key_list: list, from: "t".to_owned(), key }
    }

    fn column(name: &str, kind: KeyKind, descending: bool) -> KeyColumn {
        KeyColumn { name: name.to_owned(), kind, descending, maria: false }
    }

    fn literal(kind: KeyKind, value: &[u8]) -> String {
        assert!(kind.accepts(value), "{kind:?} {value:?}");
        let mut text = String::new();
        kind.write(value, &mut text);
        text
    }

    #[test]
    fn a_chunk_is_asked_for_by_whole_keys() {
        let query = query(vec![
            column("a", KeyKind::Number, false),
            column("b", KeyKind::Text("gbk"), true),
            column("c", KeyKind::Enum(3), false),
        ]);
        let range = Range {
            after: Some("7,_gbk x'b0a1',2"),
            condition: Some("x > 1"),
            rows_max: 10,
            ..Range::default()
        };
        assert_eq!(
            query.rows("/* h */ ", &range).expect("a sound key"),
            "SELECT /* h */ a, b, c, x FROM t WHERE a >= 7 AND (a > 7 OR (a = 7 AND \
             (b < _gbk x'b0a1' OR (b = _gbk x'b0a1' AND c IN (3))))) AND (x > 1\n) \
             ORDER BY a, b DESC, c LIMIT 10"
        );
        let range = Range { upto: Some("7,_gbk x'',2"), after: None, ..range };
        assert_eq!(
            query.boundary("", &range).expect("a sound key"),
            "SELECT a, b, c FROM t WHERE a <= 7 AND (a < 7 OR (a = 7 AND \
             (b > _gbk x'' OR (b = _gbk x'' AND c IN (0,1,2))))) ORDER BY a, b DESC, c LIMIT 9, 1"
        );
        let keys = ["1,_gbk x'61',1".to_owned(), "2".to_owned()];
        let range = Range { keys: &keys, rows_max: 5, ..Range::default() };
        assert_eq!(
            query.rows("", &range).expect("sound keys"),
            "SELECT a, b, c, x FROM t WHERE ((a = 1 AND b = _gbk x'61' AND c IN (1,1)) OR (a = 2)) \
             ORDER BY a, b DESC, c LIMIT 5"
        );
    }

    #[test]
    fn values_become_literals_of_their_type() {
        for (kind, value, expected) in [
            (KeyKind::Number, "-12.50", "-12.50"),
            (KeyKind::Float, "0.10000000149011612", "0.10000000149011612e0"),
            (KeyKind::Float, "-1e-45", "-1e-45"),
            (KeyKind::Quoted, "-838:59:59.000000", "'-838:59:59.000000'"),
            (KeyKind::Text("utf16"), "\0a", "_utf16 x'0061'"),
            (KeyKind::Bytes, "", "_binary x''"),
            (KeyKind::Enum(2), "0", "0"),
        ] {
            assert_eq!(literal(kind, value.as_bytes()), expected, "{kind:?}");
        }
    }

    #[test]
    fn what_is_no_literal_is_refused_with_its_place() {
        for (kind, bad) in [
            (KeyKind::Number, &["", "-", "a", "1 OR 1", "--1", "0x1", "1e5", ".5", "1;"][..]),
            (KeyKind::Float, &["1", "e5", "1e5 ", "1e--5", "1e5#"]),
            (KeyKind::Quoted, &["2026", "'", "'a", "'a'b'", "'\\'", "'a' OR 'a"]),
            (KeyKind::Text("gbk"), &["'a'", "_gbk x'a'", "_gbk x'0g'", "_latin1 x'00'", "x'00'"]),
            (KeyKind::Bytes, &["x'00'", "_binary x'0'", "_binary x'00' OR 1"]),
            (KeyKind::Enum(2), &["3", "-1", "", "'a'"]),
        ] {
            let query = query(vec![column("a", KeyKind::Number, false), column("b", kind, false)]);
            for bad in bad {
                let refused = query.check(&format!("1,{bad}")).expect_err(bad);
                assert!(matches!(refused, BadKey::Value { column: 1, .. }), "{bad}: {refused}");
            }
            for short in ["1", "1,1,1"] {
                let refused = query.check(short).expect_err(short);
                assert!(matches!(refused, BadKey::Width { .. }), "{short}: {refused}");
            }
        }
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(quoted("a`b"), "`a``b`");
    }

    /// Evaluates a condition over a row of numbers; columns are `c0`, `c1` ...
    struct Evaluator<'a> {
        words: Vec<&'a str>,
        at: usize,
        row: &'a [i64],
    }

    fn holds(condition: &str, row: &[i64]) -> bool {
        let spaced = condition.replace('(', " ( ").replace(')', " ) ").replace(',', " ");
        let words = spaced.split_ascii_whitespace().collect();
        let mut evaluator = Evaluator { words, at: 0, row };
        let holds = evaluator.any();
        assert_eq!(evaluator.at, evaluator.words.len(), "{condition}");
        holds
    }

    impl<'a> Evaluator<'a> {
        fn peek(&self) -> &'a str {
            self.words.get(self.at).copied().unwrap_or_default()
        }

        fn next(&mut self) -> &'a str {
            self.at += 1;
            self.words[self.at - 1]
        }

        fn number(&mut self) -> i64 {
            self.next().parse().expect("a number")
        }

        fn any(&mut self) -> bool {
            let mut holds = self.all();
            while self.peek() == "OR" {
                self.next();
                holds |= self.all();
            }
            holds
        }

        fn all(&mut self) -> bool {
            let mut holds = self.one();
            while self.peek() == "AND" {
                self.next();
                holds &= self.one();
            }
            holds
        }

        fn one(&mut self) -> bool {
            match self.next() {
                "FALSE" => false,
                "(" => {
                    let holds = self.any();
                    assert_eq!(self.next(), ")");
                    holds
                }
                name => {
                    let value = self.row[name[1..].parse::<usize>().expect("a column")];
                    match self.next() {
                        ">" => value > self.number(),
                        ">=" => value >= self.number(),
                        "<" => value < self.number(),
                        "<=" => value <= self.number(),
                        "=" => value == self.number(),
                        _in => {
                            assert_eq!(self.next(), "(");
                            let mut holds = false;
                            while self.peek() != ")" {
                                holds |= value == self.number();
                            }
                            self.next();
                            holds
                        }
                    }
                }
            }
        }
    }

    /// Rows of a SELECT in the order of the key, as a server answers it.
    fn answer<'r>(sql: &str, rows: &'r [Vec<i64>]) -> Vec<&'r Vec<i64>> {
        let (front, limit) = sql.rsplit_once(" LIMIT ").expect("a limit");
        let (front, _) = front.split_once(" ORDER BY ").expect("an order");
        let condition = front.split_once(" WHERE ").map(|(_, condition)| condition);
        let found = rows.iter().filter(|row| condition.is_none_or(|text| holds(text, row)));
        let (skip, count) = match limit.split_once(", ") {
            Some((skip, count)) => (skip.parse().expect("a number"), count),
            None => (0, limit),
        };
        found.skip(skip).take(count.parse().expect("a number")).collect()
    }

    fn key_text(row: &[i64]) -> String {
        row.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
    }

    /// Columns of numbers and of ENUMs with four labels, in either direction.
    fn keys() -> impl Strategy<Value = Vec<KeyColumn>> {
        let kinds = proptest::collection::vec((any::<bool>(), any::<bool>()), 1..=7);
        kinds.prop_map(|kinds| {
            let all = kinds.into_iter().enumerate().map(|(at, (is_enum, descending))| {
                let kind = if is_enum { KeyKind::Enum(4) } else { KeyKind::Number };
                KeyColumn { maria: at % 2 == 0, ..column(&format!("c{at}"), kind, descending) }
            });
            all.collect()
        })
    }

    fn in_order(key: &[KeyColumn], a: &[i64], b: &[i64]) -> Ordering {
        let both = key.iter().zip(a.iter().zip(b));
        both.map(|(column, (a, b))| if column.descending { b.cmp(a) } else { a.cmp(b) })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    fn table() -> impl Strategy<Value = (Vec<KeyColumn>, Vec<Vec<i64>>)> {
        keys().prop_flat_map(|key| {
            let row = proptest::collection::vec(0..=4_i64, key.len());
            (Just(key), proptest::collection::btree_set(row, 0..40)).prop_map(|(key, rows)| {
                let mut rows: Vec<_> = rows.into_iter().collect();
                rows.sort_by(|a, b| in_order(&key, a, b));
                (key, rows)
            })
        })
    }

    proptest! {
        #[test]
        fn chunks_of_any_size_cover_each_row_once_and_in_order(
            (key, rows) in table(),
            rows_max in 1..8_u64,
            last in any::<proptest::sample::Index>(),
        ) {
            let query = query(key);
            // All of the table, and what lies up to one of its keys.
            let last = (!rows.is_empty()).then(|| last.index(rows.len()));
            for upto in [None, last] {
                let expected = rows.iter().take(upto.map_or(rows.len(), |last| last + 1));
                let upto = upto.map(|last| key_text(&rows[last]));
                let (mut after, mut seen) = (None::<String>, Vec::new());
                loop {
                    let range = Range {
                        after: after.as_deref(),
                        upto: upto.as_deref(),
                        rows_max,
                        ..Range::default()
                    };
                    let found = answer(&query.rows("", &range).expect("sound keys"), &rows);
                    let boundary = query.boundary("", &range).expect("sound keys");
                    let boundary = answer(&boundary, &rows);
                    let is_full = found.len() as u64 == rows_max;
                    prop_assert_eq!(boundary.first(), found.last().filter(|_| is_full));
                    seen.extend(found.iter().copied());
                    prop_assert!(seen.len() <= rows.len(), "rows come again");
                    match found.last() {
                        Some(row) if is_full => after = Some(key_text(row)),
                        _ => break,
                    }
                }
                prop_assert_eq!(seen, expected.collect::<Vec<_>>());
            }
        }

        #[test]
        fn keys_are_found_by_themselves((key, rows) in table(), wanted in any::<u64>()) {
            let query = query(key);
            let chosen: Vec<_> =
                rows.iter().enumerate().filter(|(at, _)| wanted >> (at % 64) & 1 == 1).collect();
            let texts: Vec<_> = chosen.iter().map(|(_, row)| key_text(row)).collect();
            prop_assume!(!texts.is_empty());
            let range = Range { keys: &texts, rows_max: 100, ..Range::default() };
            let found = answer(&query.rows("", &range).expect("sound keys"), &rows);
            prop_assert_eq!(found, chosen.iter().map(|(_, row)| *row).collect::<Vec<_>>());
        }

        #[test]
        fn no_value_ends_its_literal_early(value: Vec<u8>, number: f64) {
            let text = KeyKind::Text("utf8mb4");
            for kind in [text, KeyKind::Bytes] {
                let literal = literal(kind, &value);
                prop_assert!(kind.is_literal(&literal));
                prop_assert!(!literal.contains(','));
                let digits = literal.rsplit('\'').nth(1).expect("digits in apostrophes");
                prop_assert!(digits.chars().all(|digit| digit.is_ascii_hexdigit()));
            }
            prop_assume!(number.is_finite());
            for written in [format!("{number}"), format!("{number:e}")] {
                let literal = literal(KeyKind::Float, written.as_bytes());
                prop_assert!(KeyKind::Float.is_literal(&literal));
                let read: f64 = literal.parse().expect("a number");
                prop_assert_eq!(read.to_bits(), number.to_bits());
            }
        }

        #[test]
        fn whatever_is_taken_for_a_key_has_nothing_but_literals(text in "[-0-9a-z'x_ ,.()#;:e]{0,20}") {
            let kinds = [
                KeyKind::Number,
                KeyKind::Float,
                KeyKind::Quoted,
                KeyKind::Text("latin1"),
                KeyKind::Bytes,
                KeyKind::Enum(9),
            ];
            for kind in kinds {
                if query(vec![column("a", kind, false)]).check(&text).is_ok() {
                    let outside: BTreeSet<_> = text.split('\'').step_by(2).flat_map(str::chars).collect();
                    for forbidden in ['(', ')', '#', ';', ','] {
                        prop_assert!(!outside.contains(&forbidden), "{kind:?} {text}");
                    }
                }
            }
        }
    }
}
