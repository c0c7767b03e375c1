//! A table with a column of every type, random rows of it, and how each server shows them.

use binpulse_client::proto::{self, LogicalType as L, value::Kind};
use mysql_async::Value as Param;

use crate::dice::Dice;

/// A value, as a message has it and as SQL has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Val {
    Null,
    Int(i64),
    UInt(u64),
    Float(f32),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    Json(String),
    Point(f64, f64),
    Vector(Vec<f32>),
}

impl Val {
    pub(crate) fn proto(&self) -> proto::Value {
        let kind = match self.clone() {
            Self::Null => Kind::Null(true),
            Self::Int(value) => Kind::Integer(value),
            Self::UInt(value) => Kind::Unsigned(value),
            Self::Float(value) => Kind::Float(value),
            Self::Double(value) => Kind::Double(value),
            Self::Text(text) => Kind::Text(text),
            Self::Bytes(bytes) => Kind::Bytes(bytes),
            Self::Json(text) => Kind::Json(text),
            // No SRID, little-endian, a point.
            Self::Point(x, y) => Kind::Bytes(
                [&[0, 0, 0, 0, 1, 1, 0, 0, 0][..], &x.to_le_bytes(), &y.to_le_bytes()].concat(),
            ),
            Self::Vector(elements) => Kind::Vector(proto::Vector { elements }),
        };
        proto::Value { kind: Some(kind) }
    }

    pub(crate) fn param(&self) -> Param {
        match self.clone() {
            Self::Null => Param::NULL,
            Self::Int(value) => value.into(),
            Self::UInt(value) => value.into(),
            Self::Float(value) => value.into(),
            Self::Double(value) => value.into(),
            Self::Text(text) | Self::Json(text) => text.into(),
            Self::Bytes(bytes) => bytes.into(),
            Self::Point(x, y) => format!("POINT({x} {y})").into(),
            Self::Vector(elements) => format!("{elements:?}").into(),
        }
    }
}

/// A column of the zoo.
#[derive(Clone)]
pub(crate) struct Kin {
    pub(crate) name: &'static str,
    /// As DDL has it.
    pub(crate) sql: &'static str,
    pub(crate) logical: L,
    pub(crate) value: fn(&mut Dice) -> Val,
}

fn kin(name: &'static str, sql: &'static str, logical: L, value: fn(&mut Dice) -> Val) -> Kin {
    Kin { name, sql, logical, value }
}

fn signed(dice: &mut Dice, bits: u32) -> Val {
    let edge = 1_i64 << (bits - 1);
    let any = i64::from_le_bytes(dice.next().to_le_bytes()) >> (64 - bits);
    let (least, most) = (if bits == 64 { i64::MIN } else { -edge }, edge.wrapping_sub(1));
    Val::Int(*dice.pick(&[0, -1, 1, least, most, any]))
}

fn unsigned(dice: &mut Dice, bits: u32) -> Val {
    let any = dice.next() >> (64 - bits);
    Val::UInt(*dice.pick(&[0, 1, u64::MAX >> (64 - bits), any]))
}

fn text(dice: &mut Dice, of: &[&str]) -> Val {
    Val::Text((*dice.pick(of)).to_owned())
}

fn day(dice: &mut Dice) -> String {
    let (year, month, day) = (dice.between(1000, 9999), dice.between(1, 12), dice.between(1, 28));
    let any = format!("{year:04}-{month:02}-{day:02}");
    let days = ["0000-00-00", "2026-11-00", "1000-01-01", "9999-12-31", &any, &any];
    (*dice.pick(&days)).to_owned()
}

/// Behind the key. `is_mysql`: whether the server has JSON as a type of its own.
pub(crate) fn zoo(is_mysql: bool, vector: bool) -> Vec<Kin> {
    let mut kin = vec![
        kin("t", "tinyint", L::Integer, |dice| signed(dice, 8)),
        kin("tu", "tinyint unsigned", L::Integer, |dice| unsigned(dice, 8)),
        kin("su", "smallint unsigned", L::Integer, |dice| unsigned(dice, 16)),
        kin("m", "mediumint", L::Integer, |dice| signed(dice, 24)),
        kin("mu", "mediumint unsigned", L::Integer, |dice| unsigned(dice, 24)),
        kin("iu", "int unsigned", L::Integer, |dice| unsigned(dice, 32)),
        kin("b", "bigint", L::Integer, |dice| signed(dice, 64)),
        kin("bu", "bigint unsigned", L::Integer, |dice| unsigned(dice, 64)),
        kin("f", "float", L::Float, |dice| {
            let any = f32::from_bits(u32::try_from(dice.below(0x7f7f_ffff)).expect("small"));
            Val::Float(*dice.pick(&[0.0, 0.1, -1.5, f32::MAX, f32::MIN_POSITIVE, any]))
        }),
        kin("d", "double", L::Double, |dice| {
            let any = f64::from_bits(dice.below(0x7fef_ffff_ffff_ffff));
            Val::Double(*dice.pick(&[0.0, 0.1, -1.5e-300, f64::MAX, 1e16, any]))
        }),
        kin("dec", "decimal(20,5)", L::Decimal, |dice| {
            text(dice, &["0.00000", "-999999999999999.99999", "12.50000", "-0.00001"])
        }),
        kin("bit5", "bit(5)", L::Bit, |dice| unsigned(dice, 5)),
        kin("bit64", "bit(64)", L::Bit, |dice| unsigned(dice, 64)),
        kin("y", "year", L::Year, |dice| Val::Int(*dice.pick(&[0, 1901, 2155, 2026]))),
    ];
    kin.extend(texts_and_more());
    if is_mysql {
        kin.push(self::kin("doc", "json", L::Json, |dice| {
            let docs = [
                r#"{"a": 1}"#,
                r#"{"a": 1.1, "bb": [true, null, "it's \\ \" 京"]}"#,
                "null",
                "[]",
                "\"text\"",
                "18446744073709551615",
                r#"{"": {"nested": [{"deep": -0.5}]}}"#,
            ];
            Val::Json((*dice.pick(&docs)).to_owned())
        }));
    }
    if vector {
        kin.push(self::kin("vec3", "vector(3)", L::Vector, |dice| {
            Val::Vector(dice.pick(&[vec![0.5, -1.0, 3.25], vec![0.0, 1e-20, 65504.0]]).clone())
        }));
    }
    kin
}

fn texts_and_more() -> Vec<Kin> {
    vec![
        kin("day", "date", L::Date, |dice| Val::Text(day(dice))),
        kin("hour", "time(3)", L::Time, |dice| {
            text(
                dice,
                &[
                    "-838:59:59.000",
                    "838:59:59.000",
                    "00:00:00.000",
                    "-00:00:00.125",
                    "12:34:56.120",
                ],
            )
        }),
        kin("at", "datetime(6)", L::Datetime, |dice| {
            let day = day(dice);
            let hour = *dice.pick(&["00:00:00.000000", "23:59:59.999999", "12:00:00.500000"]);
            Val::Text(format!(
                "{day} {}",
                if day.contains("00-00") { "00:00:00.000000" } else { hour }
            ))
        }),
        kin("stamp", "timestamp(3)", L::Timestamp, |dice| {
            text(
                dice,
                &[
                    "0000-00-00 00:00:00.000",
                    "1970-01-01 00:00:01.000",
                    "2038-01-19 03:14:07.999",
                    "2026-10-25 00:30:00.120",
                ],
            )
        }),
        kin("name4", "varchar(40)", L::Text, |dice| {
            text(
                dice,
                &[
                    "",
                    "a",
                    "it's",
                    "back\\slash",
                    "\"q\" `b`",
                    "京都 😀",
                    "line\nbreak\ttab\u{1a}",
                    "%_;-- x",
                    "trailing  ",
                ],
            )
        }),
        kin("bin", "varbinary(20)", L::Binary, |dice| {
            let any = dice.next().to_le_bytes().to_vec();
            Val::Bytes(dice.pick(&[vec![], vec![0, 39, 92, 255], b"'; --".to_vec(), any]).clone())
        }),
        kin("long_one", "longblob", L::Binary, |dice| {
            Val::Bytes(vec![
                u8::try_from(dice.below(256)).expect("a byte");
                usize::try_from(dice.below(3000)).expect("small")
            ])
        }),
        kin("e", "enum('a','b','c''x')", L::Enum, |dice| text(dice, &["a", "b", "c'x"])),
        kin("s", "set('x','y','z')", L::Set, |dice| text(dice, &["", "x", "x,z", "x,y,z"])),
        kin("spot", "point", L::Geometry, |dice| {
            Val::Point(f64::from(u32::try_from(dice.below(1000)).expect("small")) / 8.0, -7.25)
        }),
    ]
}

/// Kin of the key: a number, and text whose collation ignores case.
pub(crate) fn key() -> [Kin; 2] {
    [
        kin("id", "int", L::Integer, |dice| {
            Val::Int(i64::try_from(dice.below(8)).expect("small") - 2)
        }),
        kin("code", "varchar(20)", L::Text, |dice| {
            text(dice, &["alpha", "Alpha", "b'eta", "B'ETA", "γ\\"])
        }),
    ]
}

/// Whose name and type the message has.
pub(crate) fn column(kin: &Kin) -> proto::Column {
    let members = kin.sql.split_once("('").filter(|(word, _)| *word == "enum" || *word == "set");
    let members = members.map_or(Vec::new(), |(_, list)| {
        let list = list.trim_end_matches("')").split("','");
        list.map(|label| label.replace("''", "'")).collect()
    });
    let is_text = matches!(kin.logical, L::Text | L::Enum | L::Set);
    proto::Column {
        name: kin.name.to_owned(),
        logical_type: kin.logical.into(),
        mysql_type: kin.sql.to_owned(),
        nullable: true,
        unsigned: kin.sql.ends_with("unsigned"),
        charset: if is_text { "utf8mb4" } else { "" }.to_owned(),
        // utf8mb4_general_ci, which every server has.
        collation: if is_text { 45 } else { 0 },
        members,
        invisible: false,
    }
}

/// A place for the value in a statement of MySQL or MariaDB.
pub(crate) fn placeholder(kin: &Kin, is_mysql: bool) -> &'static str {
    match kin.logical {
        L::Geometry => "ST_GeomFromText(?)",
        L::Vector if is_mysql => "STRING_TO_VECTOR(?)",
        L::Vector => "VEC_FromText(?)",
        _ => "?",
    }
}

/// The column as text in MySQL and MariaDB.
pub(crate) fn shown_by_mysql(kin: &Kin) -> String {
    let name = kin.name;
    match kin.logical {
        L::Binary | L::Geometry | L::Vector => format!("HEX(`{name}`)"),
        L::Bit | L::Year => format!("`{name}`+0"),
        L::Float => format!("`{name}`+0e0"),
        _ => format!("CAST(`{name}` AS CHAR)"),
    }
}

/// The same in PostgreSQL.
pub(crate) fn shown_by_postgres(kin: &Kin) -> String {
    let name = kin.name;
    match kin.logical {
        L::Binary | L::Geometry => format!("upper(encode(\"{name}\", 'hex'))"),
        L::Bit => format!("\"{name}\"::bit(64)::text"),
        L::Float => format!("\"{name}\"::float8::text"),
        _ => format!("\"{name}\"::text"),
    }
}

/// One form for what two servers print differently of the same value.
pub(crate) fn same_form(kin: &Kin, printed: Option<String>) -> Option<String> {
    let printed = printed?;
    Some(match kin.logical {
        L::Float | L::Double => {
            let number: f64 = printed.parse().expect("a number");
            format!("{:e}", number + 0.0)
        }
        L::Date | L::Datetime | L::Timestamp => {
            let is_day = !printed.starts_with("0000")
                && printed.get(5..7) != Some("00")
                && printed.get(8..10) != Some("00");
            if !is_day {
                return None;
            }
            let printed = printed.trim_end_matches("+00");
            if printed.contains('.') {
                printed.trim_end_matches('0').trim_end_matches('.').to_owned()
            } else {
                printed.to_owned()
            }
        }
        L::Time => {
            let printed = if printed.contains('.') {
                printed.trim_end_matches('0').trim_end_matches('.')
            } else {
                &printed
            };
            if printed == "-00:00:00" { "00:00:00".to_owned() } else { printed.to_owned() }
        }
        L::Bit if printed.len() == 64 => {
            // PostgreSQL fills on the right.
            let width =
                kin.sql.trim_start_matches("bit(").trim_end_matches(')').parse().expect("a width");
            u64::from_str_radix(&printed[..width], 2).expect("bits").to_string()
        }
        _ => printed,
    })
}
