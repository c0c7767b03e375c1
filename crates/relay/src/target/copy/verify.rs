//! Digests of a chunk, compared with the copy's rows at the same place of the lane.
//!
//! The copy's rows are read as text and become the cells that the stream had of them. What a server can't
//! give back as it came (zero dates in PostgreSQL, say) makes a chunk differ.

use std::collections::HashSet;

use binpulse_client::proto;
use binpulse_core::change::{Cell, Column, LogicalType, Table};
use binpulse_core::encode::RowsDigest;
use serde::{Deserialize, Serialize};

use super::dialect::Dialect;
use super::keys::{Key, PAGE_ROWS, after_printed, bound, printed_columns};
use super::pending::{KEYS_AT_ONCE_MAX, any_of};
use super::session::{Failure, Session, Text};
use super::tables::CopyTable;

/// Most keys that are left out of a chunk: above, the statement would be too large.
const LEFT_OUT_MAX: usize = 10_000;

/// Bytes of a key that are shown.
const BYTES_SHOWN_MAX: usize = 64;

/// What became of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The copy has the same rows.
    Equal,
    /// It has others.
    Differs,
    /// It can't be told: the copy orders keys otherwise, or does not know which rows are of the lane.
    Passed,
}

/// A digest that was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// `database.table`.
    pub table: String,
    /// Id of the run of `verify`.
    pub run: String,
    /// Above this key, column by column; empty: from the first.
    pub after: Vec<String>,
    /// Up to this key; empty: to the last.
    pub upto: Vec<String>,
    /// What came of it.
    pub verdict: Verdict,
    /// Rows of the source.
    pub rows: u64,
    /// Rows of the copy, as far as they were counted: it ends with the first beyond those of the source.
    pub rows_here: u64,
}

/// A bound as the copy's server printed such values, for people.
fn shown(image: Option<&proto::Image>) -> Vec<String> {
    use proto::value::Kind;
    let values = image.into_iter().flat_map(|image| &image.values);
    values
        .map(|value| match &value.kind {
            Some(Kind::Integer(value)) => value.to_string(),
            Some(Kind::Unsigned(value)) => value.to_string(),
            Some(Kind::Text(text)) => binpulse_core::excerpt::excerpt(text),
            Some(Kind::Bytes(bytes)) => {
                let first = bytes.iter().take(BYTES_SHOWN_MAX);
                first.fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
            }
            _ => "?".to_owned(),
        })
        .collect()
}

/// What is told of a digest without a comparison.
pub(super) fn passed(
    copy: &CopyTable,
    part: &proto::SnapshotPart,
    digest: &proto::ChunkDigest,
) -> Compared {
    Compared {
        table: CopyTable::shown(&copy.source),
        run: part.snapshot.clone(),
        after: shown(part.key_after.as_ref()),
        upto: shown(part.key_upto.as_ref()),
        verdict: Verdict::Passed,
        rows: digest.rows,
        rows_here: 0,
    }
}

/// Compares the rows of the range without those whose keys are `left_out`.
pub(super) async fn compare(
    session: &mut Session,
    copy: &CopyTable,
    part: &proto::SnapshotPart,
    left_out: &HashSet<Key>,
    digest: &proto::ChunkDigest,
) -> Result<Compared, Failure> {
    let passed = passed(copy, part, digest);
    if left_out.len() > LEFT_OUT_MAX {
        return Ok(passed);
    }
    let Some(here) = digest_here(session, copy, part, left_out, digest.rows).await? else {
        return Ok(passed);
    };
    let verdict = if here.message() == *digest { Verdict::Equal } else { Verdict::Differs };
    Ok(Compared { verdict, rows_here: here.rows, ..passed })
}

/// The digest of the copy's rows, or of one more than `rows_max` of them; `None` if one of them has a
/// value that is none of its column's type.
async fn digest_here(
    session: &mut Session,
    copy: &CopyTable,
    part: &proto::SnapshotPart,
    left_out: &HashSet<Key>,
    rows_max: u64,
) -> Result<Option<RowsDigest>, Failure> {
    let (table, dialect) = (&copy.source, session.dialect);
    let columns: Vec<&Column> =
        table.primary_key.iter().filter_map(|ordinal| table.columns.get(*ordinal)).collect();
    let names: Vec<_> = columns.iter().map(|column| dialect.name(&column.name)).collect();
    let upto = bound(dialect, &columns, part.key_upto.as_ref(), false)?;
    let mut after = bound(dialect, &columns, part.key_after.as_ref(), true)?;
    let mut wanted = printed_columns(dialect, &columns);
    wanted.extend(table.columns.iter().map(|column| selected(dialect, column)));
    let select = format!("SELECT {} FROM {} WHERE ", wanted.join(", "), copy.name);
    let order = format!(" ORDER BY {} LIMIT {PAGE_ROWS}", names.join(", "));
    let others = without(dialect, table, left_out);
    let (mut digest, mut space) = (RowsDigest::default(), Vec::new());
    loop {
        let range = [&after, &upto].map(|bound| bound.as_deref().unwrap_or(b"TRUE"));
        let range = [&range.join(&b" AND "[..]), &others[..]].concat();
        let rows = session.rows(&[select.as_bytes(), &range, order.as_bytes()].concat()).await?;
        let Some(last) = rows.last() else { return Ok(Some(digest)) };
        let is_last = rows.len() < PAGE_ROWS;
        let next = after_printed(dialect, &columns, last);
        for mut row in rows {
            let values = row.get_mut(columns.len()..).unwrap_or_default();
            for (column, value) in table.columns.iter().zip(values.iter_mut()) {
                as_streamed(dialect, column, value);
            }
            let cells = table.columns.iter().zip(values.iter());
            let cells: Option<Vec<_>> =
                cells.map(|(column, value)| cell(dialect, column, value)).collect();
            let Some(cells) = cells else { return Ok(None) };
            digest.add_cells(cells.into_iter(), &mut space);
            if digest.rows > rows_max {
                return Ok(Some(digest));
            }
        }
        if is_last {
            return Ok(Some(digest));
        }
        after = Some(next);
    }
}

/// ` AND NOT (...)` of these keys.
fn without(dialect: Dialect, table: &Table, left_out: &HashSet<Key>) -> Vec<u8> {
    let keys: Vec<_> = left_out.iter().map(|key| key.condition.as_slice()).collect();
    let mut sql = Vec::new();
    for keys in keys.chunks(KEYS_AT_ONCE_MAX) {
        sql.extend_from_slice(b" AND NOT ");
        any_of(dialect, table, keys.iter().copied(), &mut sql);
    }
    sql
}

/// What is selected so that a value comes whole: MySQL prints FLOAT with six digits, and BIT as bytes.
fn selected(dialect: Dialect, column: &Column) -> String {
    let name = dialect.name(&column.name);
    if dialect.is_postgres() {
        return name;
    }
    match (column.logical_type, column.mysql_type.as_str()) {
        (LogicalType::Float | LogicalType::Double, _) => format!("{name} * 1e0"),
        (LogicalType::Bit, _) => format!("{name} + 0"),
        (_, "uuid" | "inet6") => format!("CAST({name} AS BINARY(16))"),
        (_, "inet4") => format!("CAST({name} AS BINARY(4))"),
        _ => name,
    }
}

/// Digits behind the point of `time(3)`, `datetime(6)`.
fn fraction_digits(column: &Column) -> usize {
    let digits = column.mysql_type.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    digits.and_then(|(digits, _)| digits.parse().ok()).unwrap_or(0)
}

/// Makes what PostgreSQL printed what the stream has: bytes, and fractions with all their digits.
fn as_streamed(dialect: Dialect, column: &Column, value: &mut Text) {
    let Some(value) = value.as_mut().filter(|_| dialect.is_postgres()) else { return };
    match column.logical_type {
        LogicalType::Binary | LogicalType::Geometry => *value = dialect.read_bytes(value),
        LogicalType::Time | LogicalType::Datetime | LogicalType::Timestamp => {
            if column.logical_type == LogicalType::Timestamp && value.ends_with(b"+00") {
                value.truncate(value.len().saturating_sub(3));
            }
            let wanted = fraction_digits(column).min(6);
            let point = value.iter().position(|byte| *byte == b'.');
            if wanted > 0 {
                let digits = point.map_or(0, |point| value.len() - point - 1);
                if point.is_none() {
                    value.push(b'.');
                }
                value.extend(std::iter::repeat_n(b'0', wanted.saturating_sub(digits)));
            }
        }
        LogicalType::Vector => {
            let text = String::from_utf8_lossy(value).into_owned();
            let elements = text.trim_matches(['{', '}']).split(',');
            let elements = elements.filter_map(|element| element.parse::<f32>().ok());
            *value = elements.flat_map(f32::to_le_bytes).collect();
        }
        LogicalType::Integer
        | LogicalType::Float
        | LogicalType::Double
        | LogicalType::Decimal
        | LogicalType::Bit
        | LogicalType::Year
        | LogicalType::Date
        | LogicalType::Text
        | LogicalType::Enum
        | LogicalType::Set
        | LogicalType::Json => {}
    }
}

/// The cell that the stream has of a value; `None`: it is none of the column's type.
fn cell<'v>(dialect: Dialect, column: &Column, value: &'v Text) -> Option<Cell<'v>> {
    let Some(value) = value.as_deref() else { return Some(Cell::Null) };
    let number = || std::str::from_utf8(value).ok();
    Some(match column.logical_type {
        LogicalType::Integer if column.unsigned => Cell::UInt(number()?.parse().ok()?),
        LogicalType::Integer | LogicalType::Year => Cell::Int(number()?.parse().ok()?),
        LogicalType::Float if dialect.is_postgres() => Cell::Float(number()?.parse().ok()?),
        LogicalType::Float => {
            #[expect(clippy::cast_possible_truncation, reason = "it is a float, exactly")]
            let float = number()?.parse::<f64>().ok()? as f32;
            Cell::Float(float)
        }
        LogicalType::Double => Cell::Double(number()?.parse().ok()?),
        LogicalType::Bit if dialect.is_postgres() => {
            Cell::UInt(u64::from_str_radix(number()?, 2).ok()?)
        }
        LogicalType::Bit => Cell::UInt(number()?.parse().ok()?),
        LogicalType::Binary | LogicalType::Geometry => Cell::Bytes(value),
        LogicalType::Json => Cell::Json(value),
        LogicalType::Vector => Cell::Vector(value),
        LogicalType::Decimal
        | LogicalType::Date
        | LogicalType::Time
        | LogicalType::Datetime
        | LogicalType::Timestamp
        | LogicalType::Text
        | LogicalType::Enum
        | LogicalType::Set => Cell::Text(value),
    })
}
