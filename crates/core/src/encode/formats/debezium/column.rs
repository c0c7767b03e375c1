//! How the values of a column are written.

use crate::change::{self, LogicalType};
use crate::encode::formats::options::{
    BigintUnsignedHandling, BinaryHandling, DebeziumOptions, DecimalHandling, TimePrecision,
};
use crate::encode::json::put_string;

/// A column as Debezium has it.
#[derive(Debug)]
pub(in super::super) struct Column {
    /// `"name":`.
    pub(super) key: Box<[u8]>,
    pub(super) form: Form,
    pub(super) nullable: bool,
    /// Labels of ENUM and SET, joined by commas.
    pub(super) allowed: Box<str>,
}

/// Form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A number that fits into so many bits, signed.
    Integer(u8),
    /// BIGINT UNSIGNED as a signed number.
    UnsignedLong,
    Float,
    Double,
    /// Base64 of the unscaled value.
    Decimal {
        scale: u8,
        precision: Option<u8>,
    },
    DecimalText,
    DecimalDouble,
    Boolean,
    /// BIT of so many bits.
    Bits(u8),
    Year,
    Date,
    Time,
    /// Milliseconds.
    Timestamp,
    /// Microseconds.
    MicroTimestamp,
    ConnectDate,
    ConnectTime,
    ConnectTimestamp,
    ZonedTimestamp,
    Text,
    Bytes(BinaryHandling),
    Enum,
    Set,
    Json,
    Geometry,
    Point,
    Vector,
}

impl Column {
    pub(in super::super) fn new(column: &change::Column, options: &DebeziumOptions) -> Self {
        let mut key = Vec::with_capacity(column.name.len() + 3);
        put_string(&mut key, column.name.as_bytes());
        key.push(b':');
        Self {
            key: key.into(),
            form: form(column, options),
            nullable: column.nullable,
            allowed: column.members.join(",").into(),
        }
    }
}

fn form(column: &change::Column, options: &DebeziumOptions) -> Form {
    let mysql_type = column.mysql_type.as_str();
    let precision = |form: Form, connect: Form| match options.time_precision_mode {
        TimePrecision::AdaptiveTimeMicroseconds => form,
        TimePrecision::Connect => connect,
    };
    match column.logical_type {
        LogicalType::Integer => integer(mysql_type, column.unsigned, options),
        LogicalType::Float => Form::Float,
        LogicalType::Double => Form::Double,
        LogicalType::Decimal => {
            let (precision, scale) = precision_and_scale(mysql_type);
            decimal(scale, precision, options)
        }
        LogicalType::Bit => match argument(mysql_type) {
            Some(1) => Form::Boolean,
            bits => Form::Bits(bits.unwrap_or(64)),
        },
        LogicalType::Year => Form::Year,
        LogicalType::Date => precision(Form::Date, Form::ConnectDate),
        LogicalType::Time => precision(Form::Time, Form::ConnectTime),
        LogicalType::Datetime if argument(mysql_type).is_some_and(|digits| digits > 3) => {
            precision(Form::MicroTimestamp, Form::ConnectTimestamp)
        }
        LogicalType::Datetime => precision(Form::Timestamp, Form::ConnectTimestamp),
        LogicalType::Timestamp => Form::ZonedTimestamp,
        LogicalType::Text => Form::Text,
        LogicalType::Binary => Form::Bytes(options.binary_handling_mode),
        LogicalType::Enum => Form::Enum,
        LogicalType::Set => Form::Set,
        LogicalType::Json => Form::Json,
        LogicalType::Geometry if mysql_type == "point" => Form::Point,
        LogicalType::Geometry => Form::Geometry,
        LogicalType::Vector => Form::Vector,
    }
}

/// One step wider than stored where the column is unsigned.
fn integer(mysql_type: &str, is_unsigned: bool, options: &DebeziumOptions) -> Form {
    let is = |name: &str| mysql_type.starts_with(name);
    if is("tinyint") || (is("smallint") && !is_unsigned) {
        Form::Integer(16)
    } else if is("smallint") || is("mediumint") || (is("int") && !is_unsigned) {
        Form::Integer(32)
    } else if !is_unsigned || is("int") {
        Form::Integer(64)
    } else {
        match options.bigint_unsigned_handling_mode {
            BigintUnsignedHandling::Long => Form::UnsignedLong,
            // Whatever the mode of decimals.
            BigintUnsignedHandling::Precise => Form::Decimal { scale: 0, precision: Some(20) },
        }
    }
}

fn decimal(scale: u8, precision: Option<u8>, options: &DebeziumOptions) -> Form {
    match options.decimal_handling_mode {
        DecimalHandling::Precise => Form::Decimal { scale, precision },
        DecimalHandling::String => Form::DecimalText,
        DecimalHandling::Double => Form::DecimalDouble,
    }
}

/// The number in `datetime(6)`.
fn argument(mysql_type: &str) -> Option<u8> {
    let (_, rest) = mysql_type.split_once('(')?;
    rest.split([')', ',']).next()?.trim().parse().ok()
}

/// Those of `decimal(12,2)`.
fn precision_and_scale(mysql_type: &str) -> (Option<u8>, u8) {
    let precision = argument(mysql_type);
    let scale = mysql_type.split_once(',').and_then(|(_, rest)| rest.split(')').next());
    (precision, scale.and_then(|scale| scale.trim().parse().ok()).unwrap_or(0))
}
