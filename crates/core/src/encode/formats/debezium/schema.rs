//! Schemas as Kafka Connect's JSON converter writes them. Made once for each table.

use std::io::Write as _;

use super::column::{Column, Form};
use crate::change::Table;
use crate::encode::formats::options::BinaryHandling;
use crate::encode::json::put_string;

/// What stands between the table's schema and that of the source, and behind it.
const SOURCE_FIELDS: &str = concat!(
    r#"{"type":"struct","fields":[{"type":"string","optional":false,"field":"version"},"#,
    r#"{"type":"string","optional":false,"field":"connector"},"#,
    r#"{"type":"string","optional":false,"field":"name"},"#,
    r#"{"type":"int64","optional":false,"field":"ts_ms"},"#,
    r#"{"type":"string","optional":true,"name":"io.debezium.data.Enum","version":1,"parameters":"#,
    r#"{"allowed":"true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"},"#,
    r#""default":"false","field":"snapshot"},"#,
    r#"{"type":"string","optional":false,"field":"db"},"#,
    r#"{"type":"string","optional":true,"field":"sequence"},"#,
    r#"{"type":"int64","optional":true,"field":"ts_us"},"#,
    r#"{"type":"int64","optional":true,"field":"ts_ns"},"#,
    r#"{"type":"string","optional":true,"field":"table"},"#,
    r#"{"type":"int64","optional":false,"field":"server_id"},"#,
    r#"{"type":"string","optional":true,"field":"gtid"},"#,
    r#"{"type":"string","optional":false,"field":"file"},"#,
    r#"{"type":"int64","optional":false,"field":"pos"},"#,
    r#"{"type":"int32","optional":false,"field":"row"},"#,
    r#"{"type":"int64","optional":true,"field":"thread"},"#,
    r#"{"type":"string","optional":true,"field":"query"}],"optional":false,"name":"io.debezium.connector."#,
);
const BEHIND_SOURCE: &str = concat!(
    r#","version":1,"field":"source"},"#,
    r#"{"type":"struct","fields":[{"type":"string","optional":false,"field":"id"},"#,
    r#"{"type":"int64","optional":false,"field":"total_order"},"#,
    r#"{"type":"int64","optional":false,"field":"data_collection_order"}],"#,
    r#""optional":true,"name":"event.block","version":1,"field":"transaction"},"#,
    r#"{"type":"string","optional":false,"field":"op"},"#,
    r#"{"type":"int64","optional":true,"field":"ts_ms"},"#,
    r#"{"type":"int64","optional":true,"field":"ts_us"},"#,
    r#"{"type":"int64","optional":true,"field":"ts_ns"}],"optional":false,"name":"#,
);

/// Appends the schema of `source`.
pub(super) fn put_source(out: &mut Vec<u8>, connector: &str) {
    out.extend_from_slice(SOURCE_FIELDS.as_bytes());
    out.extend_from_slice(connector.as_bytes());
    out.extend_from_slice(b".Source\"");
}

/// What stands in front of a payload, up to the source's schema and behind it.
pub(super) fn of(table: &Table, columns: &[Column], prefix: &str) -> [Box<[u8]>; 2] {
    let name = |kind: &str| {
        let mut name = Vec::new();
        let topic = format!("{prefix}.{}.{}", table.database, table.name);
        put_string(&mut name, format!("{}.{kind}", sanitized(&topic)).as_bytes());
        name
    };
    let mut first = br#"{"schema":{"type":"struct","fields":["#.to_vec();
    for field in ["before", "after"] {
        first.extend_from_slice(br#"{"type":"struct","fields":["#);
        put_fields(&mut first, columns);
        first.extend_from_slice(br#"],"optional":true,"name":"#);
        first.extend_from_slice(&name("Value"));
        write!(first, r#","field":"{field}"}},"#).expect("writing to a Vec cannot fail");
    }
    let mut second = BEHIND_SOURCE.as_bytes().to_vec();
    second.extend_from_slice(&name("Envelope"));
    second.extend_from_slice(br#","version":2},"payload":"#);
    [first.into(), second.into()]
}

/// The name of a topic, from which those of schemas are made: what Kafka does not take is `_`, for each
/// of Java's characters.
fn sanitized(topic: &str) -> String {
    let is_taken = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    topic
        .chars()
        .flat_map(|c| {
            let times = if is_taken(c) { 1 } else { c.len_utf16() };
            std::iter::repeat_n(if is_taken(c) { c } else { '_' }, times)
        })
        .collect()
}

fn put_fields(out: &mut Vec<u8>, columns: &[Column]) {
    for (number, column) in columns.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        put_field(out, column);
    }
}

fn put_field(out: &mut Vec<u8>, column: &Column) {
    let Schema { front, name, parameters, doc } = schema(column);
    write!(out, r#"{{{front},"optional":{}"#, column.nullable)
        .expect("writing to a Vec cannot fail");
    if !name.is_empty() {
        write!(out, r#","name":"{name}","version":1"#).expect("writing to a Vec cannot fail");
    }
    if !doc.is_empty() {
        write!(out, r#","doc":"{doc}""#).expect("writing to a Vec cannot fail");
    }
    out.extend_from_slice(&parameters);
    out.extend_from_slice(br#","field":"#);
    // Its key without the colon.
    out.extend_from_slice(column.key.strip_suffix(b":").unwrap_or_default());
    out.push(b'}');
}

/// The schema of a value.
#[derive(Default)]
struct Schema {
    front: &'static str,
    name: &'static str,
    parameters: Vec<u8>,
    doc: &'static str,
}

fn schema(column: &Column) -> Schema {
    const INT32: &str = r#""type":"int32""#;
    const INT64: &str = r#""type":"int64""#;
    const BYTES: &str = r#""type":"bytes""#;
    const STRING: &str = r#""type":"string""#;
    const GEOMETRY: &str = concat!(
        r#""type":"struct","fields":[{"type":"bytes","optional":false,"field":"wkb"},"#,
        r#"{"type":"int32","optional":true,"field":"srid"}]"#
    );
    const POINT: &str = concat!(
        r#""type":"struct","fields":[{"type":"double","optional":false,"field":"x"},"#,
        r#"{"type":"double","optional":false,"field":"y"},"#,
        r#"{"type":"bytes","optional":true,"field":"wkb"},{"type":"int32","optional":true,"field":"srid"}]"#
    );
    const VECTOR: &str = r#""type":"array","items":{"type":"float","optional":false}"#;
    let plain = |front| Schema { front, ..Schema::default() };
    let named = |front, name| Schema { front, name, ..Schema::default() };
    match column.form {
        Form::Integer(16) => plain(r#""type":"int16""#),
        Form::Integer(32) => plain(INT32),
        Form::Integer(_) | Form::UnsignedLong => plain(INT64),
        Form::Float => plain(r#""type":"float""#),
        Form::Double | Form::DecimalDouble => plain(r#""type":"double""#),
        Form::Decimal { scale, precision } => decimal(BYTES, scale, precision),
        Form::Boolean => plain(r#""type":"boolean""#),
        Form::Bits(bits) => {
            let parameters = format!(r#","parameters":{{"length":"{bits}"}}"#).into_bytes();
            Schema { parameters, ..named(BYTES, "io.debezium.data.Bits") }
        }
        Form::Year => named(INT32, "io.debezium.time.Year"),
        Form::Date => named(INT32, "io.debezium.time.Date"),
        Form::Time => named(INT64, "io.debezium.time.MicroTime"),
        Form::Timestamp => named(INT64, "io.debezium.time.Timestamp"),
        Form::MicroTimestamp => named(INT64, "io.debezium.time.MicroTimestamp"),
        Form::ConnectDate => named(INT32, "org.apache.kafka.connect.data.Date"),
        Form::ConnectTime => named(INT32, "org.apache.kafka.connect.data.Time"),
        Form::ConnectTimestamp => named(INT64, "org.apache.kafka.connect.data.Timestamp"),
        Form::ZonedTimestamp => named(STRING, "io.debezium.time.ZonedTimestamp"),
        Form::Bytes(BinaryHandling::Bytes) => plain(BYTES),
        Form::DecimalText | Form::Text | Form::Bytes(_) => plain(STRING),
        Form::Enum => labelled(STRING, "io.debezium.data.Enum", &column.allowed),
        Form::Set => labelled(STRING, "io.debezium.data.EnumSet", &column.allowed),
        Form::Json => named(STRING, "io.debezium.data.Json"),
        Form::Geometry => {
            Schema { doc: "Geometry", ..named(GEOMETRY, "io.debezium.data.geometry.Geometry") }
        }
        Form::Point => {
            Schema { doc: "Geometry (POINT)", ..named(POINT, "io.debezium.data.geometry.Point") }
        }
        Form::Vector => named(VECTOR, "io.debezium.data.FloatVector"),
    }
}

fn decimal(front: &'static str, scale: u8, precision: Option<u8>) -> Schema {
    let precision = precision
        .map(|precision| format!(r#","connect.decimal.precision":"{precision}""#))
        .unwrap_or_default();
    let parameters = format!(r#","parameters":{{"scale":"{scale}"{precision}}}"#).into_bytes();
    Schema { front, name: "org.apache.kafka.connect.data.Decimal", parameters, doc: "" }
}

fn labelled(front: &'static str, name: &'static str, allowed: &str) -> Schema {
    let mut parameters = br#","parameters":{"allowed":"#.to_vec();
    put_string(&mut parameters, allowed.as_bytes());
    parameters.push(b'}');
    Schema { front, name, parameters, doc: "" }
}
