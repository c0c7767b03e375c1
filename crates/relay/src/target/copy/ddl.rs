//! Columns of the copy, from those of the source. Pure.
//!
//! Only columns of the key are NOT NULL: a value that a message left out for its size, and a column that
//! was added later, have no other place to stand in.

use binpulse_core::change::{Column, LogicalType};

use super::dialect::{Dialect, bits_of};

/// Longest name in PostgreSQL, bytes: longer ones it would cut, and two could become one.
pub(super) const POSTGRES_NAME_BYTES_MAX: usize = 63;
/// Longest text of a type that is taken from a message, but for ENUM and SET.
const TYPE_BYTES_MAX: usize = 80;

/// A column's definition; or what of it is not known.
pub(super) fn definition(
    dialect: Dialect,
    collations: &[(u16, String)],
    column: &Column,
    is_key: bool,
) -> Result<String, String> {
    let kind = if dialect.is_postgres() {
        postgres_type(column)?
    } else {
        mysql_type(dialect, collations, column)?
    };
    let null = if is_key { "NOT NULL" } else { "NULL" };
    Ok(format!("{} {kind} {null}", dialect.name(&column.name)))
}

fn unknown(column: &Column) -> String {
    let kind = binpulse_core::excerpt::excerpt(&column.mysql_type);
    format!("column `{}` of type `{kind}`, which can't be written as SQL", column.name)
}

/// The type as MySQL writes it. It comes from a message, so only what is a type is let through.
fn mysql_type(
    dialect: Dialect,
    collations: &[(u16, String)],
    column: &Column,
) -> Result<String, String> {
    let has_labels = matches!(column.logical_type, LogicalType::Enum | LogicalType::Set);
    let mut kind = if has_labels {
        labels(dialect, column)?
    } else {
        plain_type(column).ok_or_else(|| unknown(column))?.to_owned()
    };
    if has_labels || column.logical_type == LogicalType::Text {
        if let Some(name) = collation_of(collations, column) {
            kind.push_str(" COLLATE ");
            kind.push_str(name);
        } else if !column.charset.is_empty() {
            kind.push_str(" CHARACTER SET ");
            kind.push_str(column.charset);
        }
    }
    Ok(kind)
}

/// The column's collation, if the copy's server has it.
pub(super) fn collation_of<'c>(
    collations: &'c [(u16, String)],
    column: &Column,
) -> Option<&'c str> {
    let known = collations.iter().find(|(id, _)| *id == column.collation)?;
    Some(&known.1)
}

/// `enum('a','b')`.
pub(super) fn labels(dialect: Dialect, column: &Column) -> Result<String, String> {
    if column.members.is_empty() {
        return Err(format!("column `{}` without its labels", column.name));
    }
    let word = if column.logical_type == LogicalType::Enum { "enum" } else { "set" };
    let labels: Vec<_> = column.members.iter().map(|label| dialect.text(label)).collect();
    Ok(format!("{word}({})", labels.join(",")))
}

/// `int(10) unsigned`: words, and up to two numbers in parentheses.
fn plain_type(column: &Column) -> Option<&str> {
    let text = column.mysql_type.trim_end_matches(Column::SIGN_UNTOLD).trim();
    let (head, rest) = text.split_once('(').unwrap_or((text, ")"));
    let (numbers, tail) = rest.split_once(')')?;
    let is_words = |words: &str| {
        words.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b' ')
    };
    let is_numbers = numbers.split(',').count() <= 2
        && numbers.bytes().all(|byte| byte.is_ascii_digit() || byte == b',');
    let fits =
        text.len() <= TYPE_BYTES_MAX && head.starts_with(|first: char| first.is_ascii_lowercase());
    (fits && is_words(head) && is_words(tail) && is_numbers).then_some(text)
}

/// The type in PostgreSQL: see docs/consume/copy.md.
fn postgres_type(column: &Column) -> Result<String, String> {
    let text = plain_type(column);
    let arguments =
        text.and_then(|text| text.split_once('(')).and_then(|(_, rest)| rest.split_once(')'));
    let arguments = arguments.map(|(numbers, _)| numbers).filter(|numbers| !numbers.is_empty());
    let with = |name: &str| match arguments {
        Some(arguments) => format!("{name}({arguments})"),
        None => name.to_owned(),
    };
    let fraction = arguments.unwrap_or("0");
    Ok(match column.logical_type {
        LogicalType::Integer => {
            integer(text.ok_or_else(|| unknown(column))?, column.unsigned).to_owned()
        }
        LogicalType::Float => "real".to_owned(),
        LogicalType::Double => "double precision".to_owned(),
        LogicalType::Decimal => with("numeric"),
        LogicalType::Bit => format!("bit({})", bits_of(&column.mysql_type)),
        LogicalType::Year => "smallint".to_owned(),
        LogicalType::Date => "date".to_owned(),
        LogicalType::Time => format!("interval({fraction})"),
        LogicalType::Datetime => format!("timestamp({fraction})"),
        LogicalType::Timestamp => format!("timestamptz({fraction})"),
        LogicalType::Text | LogicalType::Enum | LogicalType::Set => "text".to_owned(),
        LogicalType::Binary | LogicalType::Geometry => "bytea".to_owned(),
        LogicalType::Json => "jsonb".to_owned(),
        LogicalType::Vector => "real[]".to_owned(),
    })
}

fn integer(text: &str, unsigned: bool) -> &'static str {
    match (text.split([' ', '(']).next().unwrap_or_default(), unsigned) {
        ("tinyint", _) | ("smallint", false) => "smallint",
        ("smallint", true) | ("mediumint", _) | ("int", false) => "integer",
        ("bigint", true) => "numeric(20)",
        _ => "bigint",
    }
}

/// Whether keys with this column lie in the same order in the copy. `here` is what the copy's column has
/// as its type and collation.
pub(super) fn sorts_as_source(
    dialect: Dialect,
    collations: &[(u16, String)],
    column: &Column,
    here: (&str, &str),
) -> bool {
    match column.logical_type {
        LogicalType::Integer
        | LogicalType::Decimal
        | LogicalType::Bit
        | LogicalType::Year
        | LogicalType::Date
        | LogicalType::Time
        | LogicalType::Datetime
        | LogicalType::Timestamp
        | LogicalType::Binary => true,
        LogicalType::Text => {
            !dialect.is_postgres() && collation_of(collations, column) == Some(here.1)
        }
        LogicalType::Enum | LogicalType::Set => {
            !dialect.is_postgres() && labels(dialect, column).is_ok_and(|labels| labels == here.0)
        }
        // What is printed of these is not always the same number.
        LogicalType::Float
        | LogicalType::Double
        | LogicalType::Json
        | LogicalType::Geometry
        | LogicalType::Vector => false,
    }
}

#[cfg(test)]
mod tests {
    use binpulse_core::encode::testing::column;

    use super::*;

    fn of(dialect: Dialect, logical_type: LogicalType, text: &str, unsigned: bool) -> String {
        let mut column = column("c", logical_type);
        text.clone_into(&mut column.mysql_type);
        column.unsigned = unsigned;
        definition(dialect, &[], &column, false).unwrap_or_else(|error| error)
    }

    #[test]
    fn types_are_those_of_the_table_in_the_documents() {
        use Dialect::{Mysql, Postgres};
        use LogicalType as L;
        assert_eq!(
            of(Mysql, L::Integer, "int(10) unsigned zerofill", true),
            "`c` int(10) unsigned zerofill NULL"
        );
        assert_eq!(
            of(Mysql, L::Integer, "bigint/* sign not in the binlog */", false),
            "`c` bigint NULL"
        );
        for (kind, text, unsigned, expected) in [
            (L::Integer, "bigint unsigned", true, "numeric(20)"),
            (L::Integer, "int unsigned", true, "bigint"),
            (L::Integer, "int(11)", false, "integer"),
            (L::Integer, "mediumint unsigned", true, "integer"),
            (L::Integer, "tinyint(1)", false, "smallint"),
            (L::Decimal, "decimal(65,30) unsigned", true, "numeric(65,30)"),
            (L::Time, "time(3)", false, "interval(3)"),
            (L::Datetime, "datetime", false, "timestamp(0)"),
            (L::Timestamp, "timestamp(6)", false, "timestamptz(6)"),
            (L::Bit, "bit(64)", false, "bit(64)"),
            (L::Vector, "vector(3)", false, "real[]"),
        ] {
            assert_eq!(of(Postgres, kind, text, unsigned), format!("\"c\" {expected} NULL"));
        }
    }

    #[test]
    fn what_is_no_type_never_becomes_sql() {
        for text in [
            "int, drop int",
            "int); DROP TABLE x; --",
            "int(1,2,3)",
            "int(1",
            "int `x`",
            "",
            "int/**/",
            "(1)",
            "varchar(10) comment 'x'",
            "INT",
            &"i".repeat(81),
        ] {
            let found = of(Dialect::Mysql, LogicalType::Integer, text, false);
            assert!(found.contains("can't be written as SQL"), "{text}: {found}");
        }
    }
}
