//! Whether a row that came out is one of its table.

use binpulse::change::{Cell, Change, Column, Image, LogicalType, Op, Table};

/// Panics unless every cell is a value of its column's type.
pub(crate) fn check(table: &Table, change: &Change<'_>) {
    let images = (change.before.is_some(), change.after.is_some());
    let expected = match change.op {
        Op::Insert | Op::Read => (false, true),
        Op::Update => (true, true),
        Op::Delete => (true, false),
    };
    assert_eq!(images, expected, "{:?} has the images that it must have", change.op);
    for image in [change.before, change.after].into_iter().flatten() {
        check_image(table, &image);
    }
}

fn check_image(table: &Table, image: &Image<'_>) {
    assert_eq!(image.cells().len(), table.columns.len(), "an image has a cell for each column");
    for (column, cell) in table.columns.iter().zip(image.cells()) {
        assert!(
            is_of_type(column, &cell),
            "{} {:?} got {cell:?}",
            column.mysql_type,
            column.logical_type
        );
    }
}

#[allow(clippy::match_same_arms, reason = "by type, as the contract has them")]
fn is_of_type(column: &Column, cell: &Cell<'_>) -> bool {
    use LogicalType as T;
    let matches = |text: &[u8], form| is_form(text, form);
    match (column.logical_type, *cell) {
        (_, Cell::Absent | Cell::Null) => true,
        (_, Cell::Omitted { .. }) => false,
        (T::Integer, Cell::Int(value)) => !column.unsigned && in_signed_range(column, value),
        (T::Integer, Cell::UInt(value)) => column.unsigned && in_unsigned_range(column, value),
        (T::Float, Cell::Float(_)) | (T::Double, Cell::Double(_)) => true,
        (T::Decimal, Cell::Text(text)) => is_decimal(text),
        (T::Bit, Cell::UInt(value)) => is_of_bits(&column.mysql_type, value),
        (T::Year, Cell::Int(value)) => value == 0 || (1901..=2155).contains(&value),
        (T::Date, Cell::Text(text)) => matches(text, "0000-00-00"),
        (T::Datetime | T::Timestamp, Cell::Text(text)) => {
            let (whole, fraction) = text.split_at_checked(19).unwrap_or((text, b"?"));
            matches(whole, "0000-00-00 00:00:00") && is_fraction(fraction)
        }
        (T::Time, Cell::Text(text)) => is_time(text),
        (T::Text, Cell::Text(text)) => std::str::from_utf8(text).is_ok(),
        (T::Enum | T::Set, Cell::Text(text)) => std::str::from_utf8(text).is_ok(),
        (T::Text | T::Enum | T::Set, Cell::Malformed(_)) => true,
        (T::Enum | T::Set, Cell::UInt(_)) => true,
        (T::Binary | T::Geometry, Cell::Bytes(_)) => true,
        (T::Json, Cell::Json(text) | Cell::JsonDiff(text)) => is_json(text),
        (T::Vector, Cell::Vector(bytes)) => bytes.len() % 4 == 0,
        _ => false,
    }
}

fn in_signed_range(column: &Column, value: i64) -> bool {
    let bits = integer_bits(&column.mysql_type);
    bits == 64 || (-(1_i64 << (bits - 1))..1_i64 << (bits - 1)).contains(&value)
}

fn in_unsigned_range(column: &Column, value: u64) -> bool {
    let bits = integer_bits(&column.mysql_type);
    bits == 64 || value < 1 << bits
}

fn integer_bits(mysql_type: &str) -> u32 {
    match mysql_type.split([' ', '(']).next().unwrap_or_default() {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" => 32,
        "bigint" => 64,
        other => panic!("{other} is no integer"),
    }
}

/// `bit(n)`.
fn is_of_bits(mysql_type: &str, value: u64) -> bool {
    let digits = mysql_type.trim_start_matches("bit(").trim_end_matches(')');
    let bits: u32 = digits.parse().expect("a width");
    (1..=64).contains(&bits) && (bits == 64 || value < 1 << bits)
}

/// Whether there is a digit wherever the form has `0`, and what the form has elsewhere.
fn is_form(text: &[u8], form: &str) -> bool {
    text.len() == form.len()
        && text.iter().zip(form.bytes()).all(|(found, wanted)| match wanted {
            b'0' => found.is_ascii_digit(),
            other => *found == other,
        })
}

fn is_fraction(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b'.', digits @ ..] => (1..=6).contains(&digits.len()) && are_digits(digits),
        _ => false,
    }
}

/// `-838:59:59.123456`; MySQL's own fields hold up to 1023 hours.
fn is_time(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let colon = text.iter().position(|byte| *byte == b':').unwrap_or_default();
    let (hours, rest) = text.split_at(colon);
    let (clock, fraction) = rest.split_at_checked(6).unwrap_or((rest, b"?"));
    (2..=4).contains(&hours.len())
        && are_digits(hours)
        && is_form(clock, ":00:00")
        && is_fraction(fraction)
}

fn is_decimal(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = parts.next().unwrap_or_default();
    let fraction = parts.next();
    !whole.is_empty()
        && are_digits(whole)
        && fraction.is_none_or(|digits| !digits.is_empty() && are_digits(digits))
        && whole.len() + fraction.map_or(0, <[u8]>::len) <= 66
        && (whole.len() == 1 || whole[0] != b'0')
}

fn are_digits(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
}

/// A JSON text, by another reader than ours. Its own limit of depth is above MySQL's of 100.
fn is_json(text: &[u8]) -> bool {
    match serde_json::from_slice::<serde_json::Value>(text) {
        Ok(_) => true,
        // Numbers that MySQL can hold and a double can't, as DECIMALs of 65 digits.
        Err(error) => error.to_string().starts_with("number out of range"),
    }
}
