//! A column's type as MySQL writes it, as far as the binlog tells.

use std::fmt::Write;

use super::{ColumnPlan, WireColumn, real_type, wire};
use crate::change::LogicalType;

pub(super) fn write(column: &WireColumn<'_>, plan: &ColumnPlan) -> String {
    let [meta, meta_next] = column.meta;
    let binary = plan.logical_type() == LogicalType::Binary;
    let declared = u16::from_le_bytes(column.meta);
    let unsigned =
        |name: &str| if column.unsigned { format!("{name} unsigned") } else { name.into() };
    match real_type(column.wire_type, column.meta) {
        wire::TINY => unsigned("tinyint"),
        wire::SHORT => unsigned("smallint"),
        wire::INT24 => unsigned("mediumint"),
        wire::LONG => unsigned("int"),
        wire::LONGLONG => unsigned("bigint"),
        wire::FLOAT => unsigned("float"),
        wire::DOUBLE => unsigned("double"),
        wire::NEWDECIMAL => unsigned(&format!("decimal({meta},{meta_next})")),
        wire::BIT => format!("bit({})", u16::from(meta_next) * 8 + u16::from(meta)),
        wire::YEAR => "year".into(),
        wire::DATE | wire::NEWDATE => "date".into(),
        wire::TIME => "time".into(),
        wire::TIME2 => with_fraction("time", meta),
        wire::DATETIME => "datetime".into(),
        wire::DATETIME2 => with_fraction("datetime", meta),
        wire::TIMESTAMP => "timestamp".into(),
        wire::TIMESTAMP2 => with_fraction("timestamp", meta),
        wire::VARCHAR | wire::VAR_STRING => string("var", binary, declared, plan),
        // One byte of the declared length is the compression header's.
        wire::VARCHAR_COMPRESSED => {
            string("var", binary, declared.saturating_sub(1), plan) + " compressed"
        }
        wire::STRING => string("", binary, wire::string_len(column.meta), plan),
        wire::BLOB_COMPRESSED => blob(meta, binary) + " compressed",
        wire::ENUM => members("enum", plan),
        wire::SET => members("set", plan),
        wire::JSON => "json".into(),
        wire::GEOMETRY => "geometry".into(),
        wire::VECTOR => "vector".into(),
        _ => blob(meta, binary),
    }
}

fn with_fraction(name: &str, digits: u8) -> String {
    if digits == 0 { name.into() } else { format!("{name}({digits})") }
}

/// Lengths are declared in characters, the binlog has bytes.
fn string(prefix: &str, binary: bool, bytes: u16, plan: &ColumnPlan) -> String {
    if binary {
        return format!("{prefix}binary({bytes})");
    }
    let len_max = plan.charset().map_or(1, |charset| u16::from(charset.len_max()));
    format!("{prefix}char({})", bytes / len_max)
}

fn blob(len_bytes: u8, binary: bool) -> String {
    let size = match len_bytes {
        1 => "tiny",
        3 => "medium",
        4 => "long",
        _ => "",
    };
    format!("{size}{}", if binary { "blob" } else { "text" })
}

fn members(name: &str, plan: &ColumnPlan) -> String {
    let mut text = String::from(name);
    for (index, member) in plan.members().iter().enumerate() {
        let separator = if index == 0 { '(' } else { ',' };
        // Writing to a String cannot fail.
        write!(text, "{separator}'{}'", member.replace('\'', "''")).unwrap_or_default();
    }
    if !plan.members().is_empty() {
        text.push(')');
    }
    text
}
