//! One value of ours against one of theirs. Each rule says how `mysqlbinlog` prints a type, and why
//! that is the same value.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::lines::{members, unquoted};
use super::pseudo::{Cell, Column};
use super::text::{charset, quoted, stored};

/// What comparing gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    /// They do not print the value itself: why.
    Unprinted(&'static str),
    Differs(String),
}

/// Compares a value; `ours` is JSON as written.
pub(super) fn compare(server: &str, column: &Column, cell: &Cell, ours: &str) -> Verdict {
    let theirs = cell.text.as_slice();
    // They print SQL's NULL without quotes, and JSON's null in quotes.
    if theirs == b"NULL" || ours == "null" {
        return verdict(ours == "null" && theirs == b"NULL", theirs, ours);
    }
    if ours == r#"{"$json":null}"# {
        return verdict(theirs == b"'null'", theirs, ours);
    }
    let kind = cell.kind.split(['(', ' ']).next().unwrap_or_default();
    let definition = String::from_utf8_lossy(&column.definition);
    let text = String::from_utf8_lossy(theirs);
    match kind {
        // A negative number is followed by the same bits read as unsigned, in parentheses: the tool
        // does not ask the metadata. The column's definition says which of the two it is.
        "INT" | "TINYINT" | "SHORTINT" | "MEDIUMINT" | "LONGINT" => {
            let (signed, unsigned) = text.split_once(' ').unwrap_or((&text, &text));
            let unsigned = unsigned.trim_matches(['(', ')']);
            let is_unsigned = definition.contains("UNSIGNED");
            verdict(ours == if is_unsigned { unsigned } else { signed }, theirs, ours)
        }
        // They add 1900 to the year zero too.
        "YEAR" => verdict(if text == "1900" { ours == "0" } else { ours == text }, theirs, ours),
        // `%-20g`: six digits. Ours has all that a single has, so it is rounded to six.
        "FLOAT" => {
            let single: f32 = ours.parse().expect("a number");
            let theirs_6: f64 = text.trim().parse().expect("a number");
            let six = |number: f64| format!("{number:.5e}");
            verdict(six(single.into()) == six(theirs_6), theirs, ours)
        }
        // `%.20g`: more digits than a double has; both must read as the same bits.
        "DOUBLE" => {
            let bits = |text: &str| text.parse::<f64>().expect("a number").to_bits();
            verdict(bits(ours) == bits(&text), theirs, ours)
        }
        "DECIMAL" => verdict(unquoted(ours) == text, theirs, ours),
        // All bits, the highest first.
        "BIT" => {
            let bits = text.trim_start_matches("b'").trim_end_matches('\'');
            let number = u64::from_str_radix(bits, 2).expect("bits");
            verdict(ours == number.to_string(), theirs, ours)
        }
        // With colons between the parts.
        "DATE" => verdict(format!("'{}'", unquoted(ours).replace('-', ":")) == text, theirs, ours),
        "TIME" | "DATETIME" => verdict(format!("'{}'", unquoted(ours)) == text, theirs, ours),
        // Seconds since 1970, and the fraction; the zero timestamp is second 0.
        "TIMESTAMP" => verdict(unquoted(ours) == timestamp(&text), theirs, ours),
        // The index, without its label; 0 is the empty label of an invalid value.
        "ENUM" => {
            let index: usize = text.parse().expect("an index");
            let labels = labels(column);
            if labels.is_empty() {
                return verdict(ours == text, theirs, ours);
            }
            let expected = index.checked_sub(1).map_or(Vec::new(), |at| labels[at].clone());
            verdict(stored(&charset_of(column), &unquoted(ours)) == expected, theirs, ours)
        }
        "SET" => set(column, &text, ours),
        "JSON" => json(server, theirs, ours),
        // `%.5e` for each element.
        "VECTOR" => {
            let numbers = ours.trim_matches(['[', ']']).split(',');
            let printed: Vec<_> = numbers
                .map(|number| c_exponent(number.parse::<f32>().expect("a number").into()))
                .collect();
            verdict(format!("[{}]", printed.join(",")) == text, theirs, ours)
        }
        "STRING" | "VARSTRING" | "GEOMETRY" => bytes(server, column, cell, ours),
        blob if blob.contains("BLOB") => bytes(server, column, cell, ours),
        other => Verdict::Differs(format!("no rule for {other}: {text}")),
    }
}

fn verdict(same: bool, theirs: &[u8], ours: &str) -> Verdict {
    if same {
        return Verdict::Same;
    }
    Verdict::Differs(format!("ours {ours}, theirs {}", String::from_utf8_lossy(theirs)))
}

/// `%.5e` of C, whose exponent has a sign and two digits.
fn c_exponent(number: f64) -> String {
    let text = format!("{number:.5e}");
    let (digits, exponent) = text.split_once('e').expect("an exponent");
    let exponent: i32 = exponent.parse().expect("a number");
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn timestamp(text: &str) -> String {
    let (seconds, fraction) = text.split_once('.').map_or((text, None), |(a, b)| (a, Some(b)));
    let seconds: i64 = seconds.parse().expect("seconds");
    let moment = if seconds == 0 {
        "0000-00-00 00:00:00".to_owned()
    } else {
        let moment = chrono::DateTime::from_timestamp(seconds, 0).expect("a time");
        moment.format("%Y-%m-%d %H:%M:%S").to_string()
    };
    fraction.map_or(moment.clone(), |fraction| format!("{moment}.{fraction}"))
}

/// Labels in the definition, as stored.
fn labels(column: &Column) -> Vec<Vec<u8>> {
    let mut labels = Vec::new();
    let mut label: Option<Vec<u8>> = None;
    let mut bytes = column.definition.iter().copied();
    while let Some(byte) = bytes.next() {
        match (&mut label, byte) {
            (Some(label), b'\\') => label.extend(bytes.next().map(|letter| match letter {
                b'0' => 0,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 8,
                other => other,
            })),
            (Some(_), b'\'') => labels.extend(label.take()),
            (Some(label), byte) => label.push(byte),
            (None, b'\'') => label = Some(Vec::new()),
            (None, b')') => break,
            (None, _) => {}
        }
    }
    labels
}

/// The column's character set; told of every text and every ENUM and SET that we name.
fn charset_of(column: &Column) -> String {
    charset(column).unwrap_or_else(|| panic!("{} has no character set", column.name))
}

/// The mask's bytes as stored, the lowest first, each from its highest bit on.
fn set(column: &Column, text: &str, ours: &str) -> Verdict {
    let bits = text.trim_start_matches("b'").trim_end_matches('\'').as_bytes();
    let byte = |bits: &[u8]| bits.iter().fold(0_u64, |byte, bit| byte * 2 + u64::from(bit - b'0'));
    let mask = bits.chunks(8).rev().fold(0_u64, |mask, bits| mask << 8 | byte(bits));
    let labels = labels(column);
    if labels.is_empty() {
        return verdict(ours == mask.to_string(), text.as_bytes(), ours);
    }
    let chosen = labels.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1);
    let expected: Vec<_> = chosen.map(|(_, label)| label.as_slice()).collect();
    let charset = charset_of(column);
    let found = unquoted(ours);
    let found: Vec<_> = found
        .split(',')
        .filter(|label| !label.is_empty())
        .map(|label| stored(&charset, label))
        .collect();
    verdict(found == expected, text.as_bytes(), ours)
}

/// A document in quotes; a document that is a string, without its own quotes.
fn json(server: &str, theirs: &[u8], ours: &str) -> Verdict {
    // Partial updates are printed as the function that makes them; the next image before of the row
    // shows what came of it, and is compared.
    if theirs.starts_with(b"JSON_") || theirs.starts_with(b"@") {
        return Verdict::Unprinted("a partial JSON update is printed as a function");
    }
    let text = if ours.starts_with('"') { unquoted(ours) } else { ours.to_owned() };
    verdict(quoted(server, text.as_bytes()) == theirs, theirs, ours)
}

/// Text and bytes: as stored, in quotes.
fn bytes(server: &str, column: &Column, cell: &Cell, ours: &str) -> Verdict {
    let decoded = |text: &str| STANDARD.decode(unquoted(text)).expect("base64");
    let definition = String::from_utf8_lossy(&column.definition);
    let stored = if ours.starts_with('{') {
        // Not valid in its character set, or, without metadata, not text at all.
        let malformed = members(ours);
        assert_eq!(malformed[0].0, "$malformed", "{ours}");
        decoded(&malformed[0].1)
    } else if let Some(charset) = compressed(column, cell) {
        let bytes = match charset {
            "binary" => decoded(ours),
            charset => stored(charset, &unquoted(ours)),
        };
        // The stored form is printed: a zero byte before a value that is too short to compress.
        match bytes.is_empty() {
            true => bytes,
            false if cell.text.starts_with(b"'\\x00") => [&[0], bytes.as_slice()].concat(),
            false => {
                return Verdict::Unprinted("a COMPRESSED value is printed as it is compressed");
            }
        }
    } else if let Some(charset) = charset(column) {
        stored(&charset, &unquoted(ours))
    } else if column.told || cell.kind == "GEOMETRY" {
        let mut bytes = decoded(ours);
        // The log has no trailing zeros of BINARY(n), ours has them.
        if let Some(length) = definition.strip_prefix("BINARY(") {
            let length = length.split(')').next().and_then(|text| text.parse().ok());
            assert_eq!(Some(bytes.len()), length, "{}", column.name);
            while bytes.last() == Some(&0) {
                bytes.pop();
            }
        }
        bytes
    } else {
        // Of a server that tells no character sets: valid UTF-8 is taken for text.
        unquoted(ours).into_bytes()
    };
    verdict(quoted(server, &stored) == cell.text, &cell.text, ours)
}

/// Character sets of COMPRESSED columns, which MariaDB's tool prints the values of, but not the
/// definitions: from the workloads.
fn compressed(column: &Column, cell: &Cell) -> Option<&'static str> {
    let is_compressed = cell.kind.contains("COMPRESSED");
    is_compressed.then_some(match column.name.as_str() {
        "tc" => "latin1",
        "bc" => "binary",
        _ => "utf8mb4",
    })
}
