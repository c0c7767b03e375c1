//! How names and values are written in SQL. Pure.

use binpulse_core::change::{Cell, Column, LogicalType};

/// Whose SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Mysql,
    Mariadb,
    Postgres,
}

/// What became of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    Written,
    /// The image does not carry the column.
    Absent,
    /// The message left the value out for its size.
    Omitted,
}

impl Dialect {
    pub(super) fn is_postgres(self) -> bool {
        self == Self::Postgres
    }

    /// A quoted name.
    pub(super) fn put_name(self, out: &mut Vec<u8>, name: &str) {
        let quote = if self.is_postgres() { b'"' } else { b'`' };
        out.push(quote);
        for byte in name.bytes() {
            if byte == quote {
                out.push(quote);
            }
            out.push(byte);
        }
        out.push(quote);
    }

    pub(super) fn name(self, name: &str) -> String {
        let mut out = Vec::with_capacity(name.len() + 2);
        self.put_name(&mut out, name);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// A string literal.
    pub(super) fn put_text(self, out: &mut Vec<u8>, text: &[u8]) {
        out.push(b'\'');
        for byte in text {
            match byte {
                b'\'' => out.extend_from_slice(b"''"),
                b'\\' if !self.is_postgres() => out.extend_from_slice(b"\\\\"),
                0 if !self.is_postgres() => out.extend_from_slice(b"\\0"),
                byte => out.push(*byte),
            }
        }
        out.push(b'\'');
    }

    pub(super) fn text(self, text: &str) -> String {
        let mut out = Vec::with_capacity(text.len() + 2);
        self.put_text(&mut out, text.as_bytes());
        String::from_utf8_lossy(&out).into_owned()
    }

    /// A literal of bytes.
    pub(super) fn put_bytes(self, out: &mut Vec<u8>, bytes: &[u8]) {
        if self.is_postgres() {
            out.extend_from_slice(b"'\\x");
            put_hex(out, bytes);
        } else if bytes.is_ascii() {
            out.extend_from_slice(b"_binary");
            self.put_text(out, bytes);
        } else {
            // Bytes that are no text would break what shows statements, such as the list of processes.
            out.extend_from_slice(b"x'");
            put_hex(out, bytes);
        }
    }

    /// The way back, of what the server printed.
    pub(super) fn read_bytes(self, printed: &[u8]) -> Vec<u8> {
        let Some(digits) = printed.strip_prefix(b"\\x").filter(|_| self.is_postgres()) else {
            return printed.to_vec();
        };
        let half = |digit: u8| match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => 0,
        };
        let pairs = digits.chunks_exact(2).filter_map(|pair| match pair {
            [high, low] => Some(half(*high) << 4 | half(*low)),
            _ => None,
        });
        pairs.collect()
    }

    /// What the server printed of a column, as a literal to compare that column with.
    pub(super) fn put_printed(self, out: &mut Vec<u8>, column: &Column, printed: &[u8]) {
        let kind = column.logical_type;
        if self.is_postgres() || kind != LogicalType::Binary && kind != LogicalType::Bit {
            self.put_text(out, printed);
        } else if kind == LogicalType::Binary {
            self.put_bytes(out, printed);
        } else {
            out.extend_from_slice(printed);
        }
    }

    /// A cell; or what of it the copy can't hold.
    pub(super) fn put_cell(
        self,
        out: &mut Vec<u8>,
        column: &Column,
        cell: Cell<'_>,
    ) -> Result<Put, &'static str> {
        match cell {
            Cell::Absent => return Ok(Put::Absent),
            Cell::Omitted { .. } => return Ok(Put::Omitted),
            Cell::Null => out.extend_from_slice(b"NULL"),
            Cell::Int(value) => put_number(out, value),
            Cell::UInt(value) if self.is_postgres() => put_unsigned(out, column, value),
            Cell::UInt(value) => put_number(out, value),
            Cell::Float(value) if self.is_postgres() => {
                put_number(out, format_args!("'{value:e}'"));
            }
            // Its exact value: shorter digits would be read as a double first.
            Cell::Float(value) => put_number(out, format_args!("{:e}", f64::from(value))),
            Cell::Double(value) if self.is_postgres() => {
                put_number(out, format_args!("'{value:e}'"));
            }
            Cell::Double(value) => put_number(out, format_args!("{value:e}")),
            Cell::Text(text) | Cell::Json(text) if self.is_postgres() => {
                self.put_postgres_text(out, column, text)?;
            }
            Cell::Text(text) | Cell::Json(text) => self.put_text(out, text),
            Cell::Malformed(_) if self.is_postgres() => {
                return Err("text that is not valid in its character set");
            }
            Cell::Malformed(bytes) if column.charset.is_empty() => self.put_bytes(out, bytes),
            Cell::Malformed(bytes) => {
                out.push(b'_');
                out.extend_from_slice(column.charset.as_bytes());
                out.extend_from_slice(b" x'");
                put_hex(out, bytes);
            }
            Cell::Vector(elements) if self.is_postgres() => put_vector(out, elements),
            Cell::Bytes(bytes) | Cell::Vector(bytes) => self.put_bytes(out, bytes),
            Cell::JsonDiff(_) => return Err("a partial JSON update without its row"),
        }
        Ok(Put::Written)
    }

    fn put_postgres_text(
        self,
        out: &mut Vec<u8>,
        column: &Column,
        text: &[u8],
    ) -> Result<(), &'static str> {
        if text.contains(&0) {
            return Err("text with a NUL character, which PostgreSQL does not take");
        }
        let is_day = matches!(
            column.logical_type,
            LogicalType::Date | LogicalType::Datetime | LogicalType::Timestamp
        );
        if is_day && is_no_day(text) {
            out.extend_from_slice(b"NULL");
        } else if column.logical_type == LogicalType::Timestamp {
            self.put_text(out, text);
            out.pop();
            out.extend_from_slice(b"+00'");
        } else {
            self.put_text(out, text);
        }
        Ok(())
    }
}

/// Digits, and the quote that ends them.
fn put_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' + half - 10 };
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    out.push(b'\'');
}

fn put_number(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    use std::io::Write as _;
    // Writing to memory does not fail.
    write!(out, "{number}").unwrap_or_default();
}

/// An unsigned value in PostgreSQL: a number, the bits of BIT, or what ENUM and SET have without labels.
fn put_unsigned(out: &mut Vec<u8>, column: &Column, value: u64) {
    let kind = column.logical_type;
    if kind == LogicalType::Bit {
        let width = bits_of(&column.mysql_type);
        put_number(out, format_args!("B'{value:0width$b}'"));
    } else if kind == LogicalType::Enum || kind == LogicalType::Set {
        put_number(out, format_args!("'{value}'"));
    } else {
        put_number(out, value);
    }
}

/// Width of `bit(n)`.
pub(super) fn bits_of(mysql_type: &str) -> usize {
    let digits = mysql_type.trim_start_matches("bit(").trim_end_matches(')');
    digits.parse().unwrap_or(1).clamp(1, 64)
}

fn put_vector(out: &mut Vec<u8>, elements: &[u8]) {
    out.extend_from_slice(b"'{");
    for (index, element) in elements.chunks_exact(4).enumerate() {
        let element = element.try_into().map_or(0.0, f32::from_le_bytes);
        put_number(out, format_args!("{}{element:e}", if index == 0 { "" } else { "," }));
    }
    out.extend_from_slice(b"}'");
}

/// Whether a date is one that only MySQL has: `0000-00-00`, `2026-00-10`, `2026-11-00`.
fn is_no_day(text: &[u8]) -> bool {
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
    part(0..4) == b"0000" || part(5..7) == b"00" || part(8..10) == b"00"
}

#[cfg(test)]
mod tests {
    use binpulse_core::encode::testing::column;

    use super::*;

    fn put(dialect: Dialect, logical_type: LogicalType, cell: Cell<'_>) -> String {
        let mut out = Vec::new();
        let mut column = column("c", logical_type);
        if logical_type == LogicalType::Bit {
            "bit(5)".clone_into(&mut column.mysql_type);
        }
        match dialect.put_cell(&mut out, &column, cell) {
            Ok(_) => String::from_utf8_lossy(&out).into_owned(),
            Err(found) => found.to_owned(),
        }
    }

    #[test]
    fn literals_mean_the_value_and_nothing_else() {
        use Dialect::{Mysql, Postgres};
        use LogicalType as L;
        let nasty = Cell::Text(b"a'b\\c\0");
        assert_eq!(put(Mysql, L::Text, nasty), "'a''b\\\\c\\0'");
        assert!(put(Postgres, L::Text, nasty).contains("NUL"));
        assert_eq!(put(Postgres, L::Text, Cell::Text(b"a'b\\c")), "'a''b\\c'");
        assert_eq!(put(Mysql, L::Binary, Cell::Bytes(b"\xff'")), "x'ff27'");
        assert_eq!(put(Postgres, L::Binary, Cell::Bytes(b"\xff'")), "'\\xff27'");
        assert_eq!(put(Mysql, L::Double, Cell::Double(-0.0)), "-0e0");
        assert_eq!(put(Mysql, L::Float, Cell::Float(0.1)), "1.0000000149011612e-1");
        assert_eq!(put(Postgres, L::Float, Cell::Float(0.1)), "'1e-1'");
        assert_eq!(put(Postgres, L::Bit, Cell::UInt(5)), "B'00101'");
        assert_eq!(put(Postgres, L::Date, Cell::Text(b"2026-11-00")), "NULL");
        assert_eq!(put(Mysql, L::Date, Cell::Text(b"2026-11-00")), "'2026-11-00'");
        let instant = Cell::Text(b"2026-11-20 19:12:00.5");
        assert_eq!(put(Postgres, L::Timestamp, instant), "'2026-11-20 19:12:00.5+00'");
        let vector = [0.5_f32.to_le_bytes(), (-1.0_f32).to_le_bytes()].concat();
        assert_eq!(put(Postgres, L::Vector, Cell::Vector(&vector)), "'{5e-1,-1e0}'");
        assert_eq!(Mysql.name("a`b"), "`a``b`");
        assert_eq!(Postgres.name("a\"b"), "\"a\"\"b\"");
    }
}
