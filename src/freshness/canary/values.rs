//! What a canary's row holds: a value for every type, derived from the canary's number. Pure.
//!
//! The same function says what to write and what to expect, so every cell that comes back can be
//! checked. Numbers rotate through the smallest values, the largest, and ones that look random; and
//! through NULLs.

use crate::change::Cell;
use crate::freshness::Phase;
use crate::freshness::dialect::{Dialect, hex, literal};

/// Which of the optional columns a table has. The others are the same everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// `v_json`.
    pub json: bool,
    /// `v_vector`; never without `v_json`.
    pub vector: bool,
}

impl Shape {
    /// What `init` makes on such a server.
    pub fn of(dialect: Dialect) -> Self {
        Self { json: dialect.has_json(), vector: dialect.has_vector() }
    }

    /// The shape of a table with these many value columns.
    pub fn of_count(values: usize) -> Option<Self> {
        let shapes = [(false, false), (true, false), (true, true)];
        let shapes = shapes.map(|(json, vector)| Self { json, vector });
        shapes.into_iter().find(|shape| columns(*shape).count() == values)
    }
}

/// One column of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueColumn {
    /// Its name.
    pub name: &'static str,
    /// Its type in SQL.
    pub sql_type: &'static str,
    make: Make,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Make {
    Signed(u32),
    Unsigned(u32),
    Decimal,
    Float,
    Double,
    Bit,
    Year,
    Date,
    Time,
    Datetime,
    Timestamp,
    Text(usize),
    Padded(usize),
    Bytes(usize),
    Enum,
    Set,
    Point,
    Json,
    Vector,
}

const COLUMNS: [ValueColumn; 31] = {
    const fn column(name: &'static str, sql_type: &'static str, make: Make) -> ValueColumn {
        ValueColumn { name, sql_type, make }
    }
    [
        column("v_tinyint", "TINYINT", Make::Signed(8)),
        column("v_tinyint_u", "TINYINT UNSIGNED", Make::Unsigned(8)),
        column("v_smallint", "SMALLINT", Make::Signed(16)),
        column("v_smallint_u", "SMALLINT UNSIGNED", Make::Unsigned(16)),
        column("v_mediumint", "MEDIUMINT", Make::Signed(24)),
        column("v_mediumint_u", "MEDIUMINT UNSIGNED", Make::Unsigned(24)),
        column("v_int", "INT", Make::Signed(32)),
        column("v_int_u", "INT UNSIGNED", Make::Unsigned(32)),
        column("v_bigint", "BIGINT", Make::Signed(64)),
        column("v_bigint_u", "BIGINT UNSIGNED", Make::Unsigned(64)),
        column("v_decimal", "DECIMAL(65,30)", Make::Decimal),
        column("v_float", "FLOAT", Make::Float),
        column("v_double", "DOUBLE", Make::Double),
        column("v_bit", "BIT(64)", Make::Bit),
        column("v_year", "YEAR", Make::Year),
        column("v_date", "DATE", Make::Date),
        column("v_time", "TIME(6)", Make::Time),
        column("v_datetime", "DATETIME(6)", Make::Datetime),
        column("v_timestamp", "TIMESTAMP(6)", Make::Timestamp),
        column("v_char", "CHAR(40) CHARACTER SET utf8mb4", Make::Text(40)),
        column("v_varchar", "VARCHAR(200) CHARACTER SET utf8mb4", Make::Text(200)),
        column("v_text", "TEXT CHARACTER SET utf8mb4", Make::Text(400)),
        column("v_latin1", "VARCHAR(40) CHARACTER SET latin1", Make::Text(0)),
        column("v_binary", "BINARY(16)", Make::Padded(16)),
        column("v_varbinary", "VARBINARY(64)", Make::Bytes(64)),
        column("v_blob", "BLOB", Make::Bytes(300)),
        column("v_enum", "ENUM('quiet','outage','don''t know') CHARACTER SET utf8mb4", Make::Enum),
        column(
            "v_set",
            "SET('commit','receive','publish','deliver') CHARACTER SET utf8mb4",
            Make::Set,
        ),
        column("v_point", "POINT", Make::Point),
        column("v_json", "JSON", Make::Json),
        column("v_vector", "VECTOR(3)", Make::Vector),
    ]
};

const ENUM: [&str; 3] = ["quiet", "outage", "don't know"];
const SET: [&str; 4] = ["commit", "receive", "publish", "deliver"];

/// The value columns of a table of this shape, in their order.
pub fn columns(shape: Shape) -> impl Iterator<Item = &'static ValueColumn> {
    COLUMNS.iter().filter(move |column| {
        (shape.json || column.make != Make::Json) && (shape.vector || column.make != Make::Vector)
    })
}

/// A value that is written, and expected back.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// Signed integers and years.
    Int(i64),
    /// Unsigned integers and bits.
    UInt(u64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// DECIMAL and temporals, as text.
    Literal(String),
    /// Character data.
    Text(String),
    /// A label, or labels, and what they are without metadata: an index or a mask.
    Labels(String, u64),
    /// Binary data.
    Bytes(Vec<u8>),
    /// A point of a plane.
    Point(f64, f64),
    /// A document, as MySQL prints it.
    Json(String),
    /// A vector.
    Vector(Vec<f32>),
}

impl Value {
    /// As SQL.
    pub fn sql(&self) -> String {
        let blob = |bytes: &[u8]| match bytes {
            [] => "''".to_owned(),
            bytes => format!("x'{}'", hex(bytes)),
        };
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Int(value) => value.to_string(),
            Self::UInt(value) => value.to_string(),
            // All are multiples of an eighth, so three digits are exact.
            Self::Float(value) => format!("{value:.3}"),
            Self::Double(value) => format!("{value:.3}"),
            Self::Literal(text) => format!("'{text}'"),
            Self::Text(text) | Self::Labels(text, _) | Self::Json(text) => literal(text),
            Self::Bytes(bytes) => blob(bytes),
            Self::Point(x, y) => format!("ST_GeomFromText('POINT({x:.3} {y:.3})')"),
            Self::Vector(values) => {
                let words: Vec<_> = values.iter().map(|value| format!("{value:.3}")).collect();
                format!("STRING_TO_VECTOR('[{}]')", words.join(","))
            }
        }
    }

    /// Whether `cell` is this value. A cell that is absent says nothing, and so does not disagree.
    pub fn agrees(&self, cell: Cell<'_>) -> bool {
        match (self, cell) {
            (_, Cell::Absent) | (Self::Null, Cell::Null) => true,
            (Self::Int(value), Cell::Int(seen)) => *value == seen,
            (Self::UInt(value), Cell::UInt(seen)) => *value == seen,
            (Self::Float(value), Cell::Float(seen)) => value.to_bits() == seen.to_bits(),
            (Self::Double(value), Cell::Double(seen)) => value.to_bits() == seen.to_bits(),
            (Self::Literal(text) | Self::Text(text) | Self::Labels(text, _), Cell::Text(seen))
            // MariaDB's JSON is a text, and its binlog calls that a BLOB (10.11).
            | (Self::Json(text), Cell::Json(seen) | Cell::Text(seen) | Cell::Bytes(seen)) => {
                text.as_bytes() == seen
            }
            (Self::Labels(_, number), Cell::UInt(seen)) => *number == seen,
            (Self::Bytes(bytes), Cell::Bytes(seen)) => bytes == seen,
            (Self::Point(x, y), Cell::Bytes(seen)) => point(*x, *y) == seen,
            (Self::Vector(values), Cell::Vector(seen)) => {
                values.iter().flat_map(|value| value.to_le_bytes()).eq(seen.iter().copied())
            }
            _ => false,
        }
    }
}

/// The values of canary `number` after `phase`, in the order of [`columns`]; after a delete those
/// that the row had before.
pub fn expected(shape: Shape, number: u64, phase: Phase) -> Vec<Value> {
    let step = match phase {
        Phase::Insert => number.wrapping_mul(2),
        Phase::Update | Phase::Delete => number.wrapping_mul(2).wrapping_add(1),
    };
    let made = columns(shape).zip(0_u64..).map(|(column, index)| {
        let random = mix(step ^ index << 48);
        match step % 4 {
            0 => column.make.edge(false),
            1 => column.make.edge(true),
            // Every other column, and with the next such canary the others.
            3 if (index ^ step >> 2) & 1 == 0 => Value::Null,
            _ => column.make.derived(random),
        }
    });
    made.collect()
}

impl Make {
    /// The smallest or the largest value of the type.
    fn edge(self, high: bool) -> Value {
        let pick = |low: &str, top: &str| (if high { top } else { low }).to_owned();
        match self {
            Self::Signed(bits) if high => Value::Int(i64::MAX >> (64 - bits)),
            Self::Signed(bits) => Value::Int(i64::MIN >> (64 - bits)),
            Self::Unsigned(bits) => Value::UInt(if high { u64::MAX >> (64 - bits) } else { 0 }),
            Self::Decimal => {
                let digits = format!("{}.{}", "9".repeat(35), "9".repeat(30));
                Value::Literal(if high { digits } else { format!("-{digits}") })
            }
            Self::Float => Value::Float(if high { 8_191.875 } else { -8_191.875 }),
            Self::Double => Value::Double(if high { 1.0e12 + 0.125 } else { -1.0e12 - 0.125 }),
            Self::Bit => Value::UInt(if high { u64::MAX } else { 0 }),
            Self::Year => Value::Int(if high { 2155 } else { 1901 }),
            Self::Date => Value::Literal(pick("1000-01-01", "9999-12-31")),
            Self::Time => Value::Literal(pick("-838:59:59.000000", "838:59:59.000000")),
            Self::Datetime => {
                Value::Literal(pick("1000-01-01 00:00:00.000000", "9999-12-31 23:59:59.999999"))
            }
            Self::Timestamp => {
                Value::Literal(pick("1970-01-01 00:00:01.000000", "2038-01-19 03:14:07.999999"))
            }
            Self::Text(characters) if high && characters > 0 => {
                Value::Text("\u{1f426}".repeat(characters))
            }
            Self::Text(_) if high => Value::Text("\u{ff}".repeat(40)),
            Self::Text(_) => Value::Text(String::new()),
            Self::Padded(length) => Value::Bytes(vec![if high { 0xff } else { 0 }; length]),
            Self::Bytes(length) => Value::Bytes(if high { vec![0xff; length] } else { Vec::new() }),
            Self::Enum if high => Value::Labels(ENUM[2].to_owned(), 3),
            Self::Enum => Value::Labels(ENUM[0].to_owned(), 1),
            Self::Set if high => Value::Labels(SET.join(","), 15),
            Self::Set => Value::Labels(String::new(), 0),
            Self::Point if high => Value::Point(180.0, 90.0),
            Self::Point => Value::Point(-180.0, -90.0),
            Self::Json => Value::Json(pick(
                "{}",
                r#"[null, true, -9223372036854775808, 18446744073709551615, "☃\"\\"]"#,
            )),
            Self::Vector if high => Value::Vector(vec![8_191.875; 3]),
            Self::Vector => Value::Vector(vec![0.0; 3]),
        }
    }

    /// A value that looks random.
    fn derived(self, random: u64) -> Value {
        let below = |limit: u64| random % limit;
        let clock = || {
            let (hour, minute, second) = (random % 24, random / 24 % 60, random / 1440 % 60);
            let fraction = random / 86_400 % 1_000_000;
            format!("{hour:02}:{minute:02}:{second:02}.{fraction:06}")
        };
        let day = |first: u64, years: u64| {
            let (year, month) = (first + random / 7 % years, 1 + random / 11 % 12);
            format!("{year:04}-{month:02}-{:02}", 1 + random / 13 % 28)
        };
        // An eighth is exact in either kind of number.
        let eighths = |limit: u32| f64::from(u32::try_from(below(limit.into())).unwrap_or(0)) / 8.0;
        #[expect(clippy::cast_possible_truncation, reason = "20 bits fit the 24 of a float")]
        let narrow = || eighths(1 << 20) as f32;
        match self {
            Self::Signed(bits) => Value::Int(random.cast_signed() >> (64 - bits)),
            Self::Unsigned(bits) => Value::UInt(random >> (64 - bits)),
            Self::Decimal => {
                let sign = if random & 1 == 0 { "" } else { "-" };
                Value::Literal(format!("{sign}{}.{:030}", 1 + random / 2, random))
            }
            Self::Float => Value::Float(-narrow()),
            Self::Double => Value::Double(eighths(1 << 31)),
            Self::Bit => Value::UInt(random),
            Self::Year => Value::Int(1901 + i64::try_from(below(255)).unwrap_or(0)),
            Self::Date => Value::Literal(day(1000, 9000)),
            Self::Time => Value::Literal(format!("-{}", clock())),
            Self::Datetime => Value::Literal(format!("{} {}", day(1000, 9000), clock())),
            Self::Timestamp => Value::Literal(format!("{} {}", day(1971, 60), clock())),
            // The euro sign is where MySQL's latin1 differs from ISO's.
            Self::Text(0) => Value::Text(format!("naïve € {random:x}")),
            Self::Text(_) => Value::Text(format!("'{random:x}' \"\\☃\u{1f426}")),
            Self::Padded(length) => {
                // Zeros at the end, which the binlog leaves out.
                let mut bytes = random.to_be_bytes().to_vec();
                bytes.resize(length, 0);
                Value::Bytes(bytes)
            }
            Self::Bytes(_) => Value::Bytes(random.to_be_bytes().into()),
            Self::Enum => {
                let index = usize::try_from(below(3)).unwrap_or(0);
                Value::Labels(ENUM[index].to_owned(), index as u64 + 1)
            }
            Self::Set => {
                let labels = SET.iter().enumerate().filter(|(bit, _)| random >> bit & 1 == 1);
                let labels: Vec<_> = labels.map(|(_, label)| *label).collect();
                Value::Labels(labels.join(","), random & 15)
            }
            Self::Point => Value::Point(eighths(1000), -eighths(500)),
            Self::Json => Value::Json(format!(
                r#"{{"n": {random}, "s": "☃ {random:x}", "deep": [1, null, {{"x": -5, "list": []}}]}}"#
            )),
            Self::Vector => Value::Vector(vec![narrow(), -narrow(), 0.125]),
        }
    }
}

/// As MySQL stores a point: SRID 0, little-endian WKB.
fn point(x: f64, y: f64) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 1, 1, 0, 0, 0];
    bytes.extend_from_slice(&x.to_le_bytes());
    bytes.extend_from_slice(&y.to_le_bytes());
    bytes
}

/// SplitMix64's last step: spreads a counter over all 64 bits.
fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Shape = Shape { json: true, vector: true };

    #[test]
    fn an_update_changes_every_column_and_four_numbers_cover_edges_and_nulls() {
        let mut nulls = [false; COLUMNS.len()];
        for number in 0..8 {
            let before = expected(ALL, number, Phase::Insert);
            let after = expected(ALL, number, Phase::Update);
            assert_eq!(before.len(), COLUMNS.len());
            assert_eq!(after, expected(ALL, number, Phase::Delete));
            for (index, (before, after)) in before.iter().zip(&after).enumerate() {
                // A label of three may be drawn twice.
                let may_repeat = matches!(COLUMNS[index].make, Make::Enum | Make::Set);
                assert!(before != after || may_repeat, "{} of {number}", COLUMNS[index].name);
                nulls[index] |= *after == Value::Null;
            }
        }
        assert_eq!(nulls, [true; COLUMNS.len()]);
    }

    #[test]
    fn cells_agree_with_their_own_value_only() {
        let json = Value::Json("{}".into());
        assert!(json.agrees(Cell::Json(b"{}")) && json.agrees(Cell::Text(b"{}")));
        assert!(Value::Labels("a".into(), 1).agrees(Cell::UInt(1)));
        assert!(Value::Null.agrees(Cell::Absent) && !Value::Null.agrees(Cell::Text(b"")));
        assert!(!Value::Int(-1).agrees(Cell::Int(16_777_215)));
        assert!(!Value::Bytes(vec![1, 0]).agrees(Cell::Bytes(&[1])));
        assert!(Value::Vector(vec![1.0]).agrees(Cell::Vector(&[0, 0, 0x80, 0x3f])));
        assert!(!Value::Text("a".into()).agrees(Cell::Malformed(b"a")));
    }

    #[test]
    fn the_number_of_columns_names_the_shape() {
        for (count, shape) in [(29, (false, false)), (30, (true, false)), (31, (true, true))] {
            let (json, vector) = shape;
            assert_eq!(Shape::of_count(count), Some(Shape { json, vector }));
        }
        assert_eq!(Shape::of_count(28), None);
    }
}
