//! Random values of every type, as SQL.

use std::fmt::Write;

use crate::dice::Dice;

/// A column that can be written.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    /// `int`, `varchar`.
    pub(super) data_type: String,
    /// `int unsigned`, `enum('a','b')`.
    pub(super) full_type: String,
    pub(super) nullable: bool,
    /// Most characters or bytes, for character and binary types.
    pub(super) length: u64,
}

const WORDS: [&str; 8] =
    ["", "a", "Ünïcödé", "it's", "日本語", "line\nbreak", "🦀 crab", "trailing  "];
const LATIN: [&str; 4] = ["", "café", "plain", "ÄÖÜ"];

/// A value for this column.
pub(super) fn value(column: &Column, dice: &mut Dice) -> String {
    if column.nullable && dice.one_in(10) {
        return "NULL".to_owned();
    }
    let unsigned = column.full_type.contains("unsigned");
    let integer = |dice: &mut Dice, bits: u32| {
        let any = dice.next() >> (64 - bits);
        if unsigned { any.to_string() } else { (i128::from(any) - (1 << (bits - 1))).to_string() }
    };
    match column.data_type.as_str() {
        "tinyint" => integer(dice, 8),
        "smallint" => integer(dice, 16),
        "mediumint" => integer(dice, 24),
        "int" => {
            let bits = if dice.one_in(4) { 32 } else { 12 };
            integer(dice, bits)
        }
        "bigint" => integer(dice, 64),
        "decimal" => format!("{}.{:06}", integer(dice, 40), dice.below(1_000_000)),
        "float" => format!("{}e-3", integer(dice, 20)),
        "double" => format!("{}e{}", integer(dice, 50), dice.below(40)),
        "bit" => dice.below(1 << 13).to_string(),
        "year" => dice.between(1901, 2155).to_string(),
        "date" => format!("'{}'", date(dice)),
        "time" => {
            let sign = if dice.one_in(2) { "-" } else { "" };
            format!("'{sign}{}:{}'", dice.below(838), rest_of_time(dice))
        }
        "datetime" => format!("'{} {}:{}'", date(dice), dice.below(24), rest_of_time(dice)),
        "timestamp" => {
            let seconds = dice.between(1, 2_000_000_000);
            format!("FROM_UNIXTIME({seconds}.{:06})", dice.below(1_000_000))
        }
        "enum" => format!("'{}'", dice.pick(&["red", "green", "blue"])),
        "set" => format!("'{}'", dice.pick(&["", "a", "a,c", "b,c,d", "a,b,c,d"])),
        "json" => json(dice),
        "vector" => {
            let elements: Vec<_> = (0..5).map(|_| format!("{}e-2", dice.below(9_999))).collect();
            format!("STRING_TO_VECTOR('[{}]')", elements.join(","))
        }
        "point" => format!("ST_GeomFromText('POINT({} {})')", dice.below(90), dice.below(180)),
        "binary" | "varbinary" | "blob" => {
            let most = if dice.one_in(50) { 9_000 } else { 40 };
            let length = dice.below(column.length.min(most) + 1);
            let mut text = String::from("X'");
            for _ in 0..length {
                write!(text, "{:02x}", dice.below(256)).expect("writing to a String cannot fail");
            }
            text + "'"
        }
        "text" if column.full_type == "text" && column.name == "l" => {
            format!("'{}'", dice.pick(&LATIN))
        }
        _ => text(column, dice),
    }
}

fn text(column: &Column, dice: &mut Dice) -> String {
    let mut text = dice.pick(&WORDS).replace('\'', "''");
    if dice.one_in(3) {
        write!(text, "{:x}", dice.next()).expect("writing to a String cannot fail");
    }
    if column.length > 1_000 && dice.one_in(100) {
        text = text.repeat(2_000);
    }
    format!("LEFT('{text}', {})", column.length.min(100_000))
}

fn date(dice: &mut Dice) -> String {
    format!("{:04}-{:02}-{:02}", dice.between(1000, 9999), dice.between(1, 12), dice.between(1, 28))
}

fn rest_of_time(dice: &mut Dice) -> String {
    format!("{:02}:{:02}.{:06}", dice.below(60), dice.below(60), dice.below(1_000_000))
}

fn json(dice: &mut Dice) -> String {
    let inner = match dice.below(4) {
        0 => dice.next().to_string(),
        1 => format!(r#""{}""#, dice.pick(&["x", "größe", "🦀"])),
        2 => "[1, null, true, {\"deep\": []}]".to_owned(),
        _ => format!("{}.5", dice.below(1_000)),
    };
    format!(r#"'{{"k": {inner}, "n": {}}}'"#, dice.below(100))
}
