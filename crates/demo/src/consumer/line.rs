//! What was received, as lines of JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::Op;
use crate::proto::value::Kind;
use crate::proto::{Canary, CanaryPhase, ChangeBatch, Image, Row, SchemaChange, TableSchema};

#[derive(Serialize)]
struct RowLine<'a> {
    kind: &'static str,
    op: &'static str,
    database: &'a str,
    table: &'a str,
    gtid: Option<&'a str>,
    sequence: u64,
    before: Option<Columns<'a>>,
    after: Option<Columns<'a>>,
}

/// An image as an object in the order of the table's columns. What is absent is left out.
struct Columns<'a> {
    schema: &'a TableSchema,
    image: &'a Image,
}

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (column, value) in self.schema.columns.iter().zip(&self.image.values) {
            if let Some(kind) = &value.kind {
                map.serialize_entry(&column.name, &Shown(kind))?;
            }
        }
        map.end()
    }
}

struct Shown<'a>(&'a Kind);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Kind::Null(_) => serializer.serialize_unit(),
            Kind::Integer(value) => serializer.serialize_i64(*value),
            Kind::Unsigned(value) => serializer.serialize_u64(*value),
            Kind::Float(value) => serializer.serialize_f32(*value),
            Kind::Double(value) => serializer.serialize_f64(*value),
            Kind::Text(value) => serializer.serialize_str(value),
            Kind::Bytes(value) | Kind::MalformedText(value) => {
                serializer.serialize_str(&STANDARD.encode(value))
            }
            Kind::Json(value) | Kind::JsonDiff(value) => {
                match serde_json::from_str::<serde_json::Value>(value) {
                    Ok(nested) => nested.serialize(serializer),
                    Err(_) => serializer.serialize_str(value),
                }
            }
            Kind::Vector(value) => value.elements.serialize(serializer),
            Kind::Omitted(value) => {
                serializer.serialize_str(&format!("({} bytes left out)", value.size_bytes))
            }
        }
    }
}

/// A row's line.
pub(super) fn row_line(
    batch: &ChangeBatch,
    schema: &TableSchema,
    row: &Row,
    sequence: u64,
    op: Op,
) -> String {
    let transaction = usize::try_from(row.transaction).ok();
    let transaction = transaction.and_then(|at| batch.transactions.get(at));
    let gtid = transaction.map(|found| found.gtid.as_str()).filter(|gtid| !gtid.is_empty());
    let columns = |image| Columns { schema, image };
    to_text(&RowLine {
        kind: "change",
        op: op.as_str(),
        database: &schema.database,
        table: &schema.table,
        gtid,
        sequence,
        before: row.before.as_ref().map(columns),
        after: row.after.as_ref().map(columns),
    })
}

#[derive(Serialize)]
struct CanaryLine<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
    number: u64,
    phase: &'static str,
    roundtrip_ms: f64,
}

/// A canary's line.
pub(super) fn canary_line(canary: &Canary, roundtrip_ms: f64) -> String {
    let phase = match CanaryPhase::try_from(canary.phase) {
        Ok(CanaryPhase::Insert) => "insert",
        Ok(CanaryPhase::Update) => "update",
        Ok(CanaryPhase::Delete) => "delete",
        Ok(CanaryPhase::Unspecified) | Err(_) => "unknown",
    };
    let path = canary.path.as_str();
    to_text(&CanaryLine { kind: "canary", path, number: canary.number, phase, roundtrip_ms })
}

#[derive(Serialize)]
struct SchemaLine<'a> {
    kind: &'static str,
    database: &'a str,
    statement: &'a str,
    gtid: &'a str,
}

/// A statement's line.
pub(super) fn schema_line(change: &SchemaChange) -> String {
    to_text(&SchemaLine {
        kind: "schema",
        database: &change.database,
        statement: &change.statement,
        gtid: &change.gtid,
    })
}

fn to_text(line: &impl Serialize) -> String {
    serde_json::to_string(line)
        .unwrap_or_else(|error| format!(r#"{{"kind":"error","error":"{error}"}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Column, Transaction, Value};

    #[test]
    fn a_row_is_shown_by_column_names_in_the_tables_order() {
        let column = |name: &str| Column { name: name.to_owned(), ..Column::default() };
        let schema = TableSchema {
            database: "shop".to_owned(),
            table: "t".to_owned(),
            columns: ["z", "a", "absent", "raw", "doc"].map(column).to_vec(),
            ..TableSchema::default()
        };
        let kinds = [
            Some(Kind::Integer(-1)),
            Some(Kind::Null(true)),
            None,
            Some(Kind::Bytes(vec![0, 255])),
            Some(Kind::Json(r#"{"k": [1]}"#.to_owned())),
        ];
        let values = kinds.into_iter().map(|kind| Value { kind }).collect();
        let row = Row { after: Some(Image { values }), ..Row::default() };
        let batch = ChangeBatch {
            transactions: vec![Transaction { gtid: "u:1".to_owned(), ..Transaction::default() }],
            ..ChangeBatch::default()
        };
        assert_eq!(
            row_line(&batch, &schema, &row, 7, Op::Insert),
            r#"{"kind":"change","op":"insert","database":"shop","table":"t","gtid":"u:1","sequence":7,"before":null,"after":{"z":-1,"a":null,"raw":"AP8=","doc":{"k":[1]}}}"#
        );
    }
}
