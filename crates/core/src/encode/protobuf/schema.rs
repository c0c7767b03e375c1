//! A table's schema in the contract's form. Made once per schema, so prost does it.

use prost::Message;

use crate::change::{Column, LogicalType, Table};
use crate::encode::proto;

/// Appends the body of the contract's `TableSchema`.
pub(crate) fn put_schema(out: &mut Vec<u8>, table: &Table) {
    out.extend_from_slice(&schema(table).encode_to_vec());
}

fn schema(table: &Table) -> proto::TableSchema {
    proto::TableSchema {
        database: table.database.to_string(),
        table: table.name.to_string(),
        columns: table.columns.iter().map(column).collect(),
        primary_key: table
            .primary_key
            .iter()
            .filter_map(|ordinal| u32::try_from(*ordinal).ok())
            .collect(),
        fingerprint: table.fingerprint,
        columns_named: table.named,
    }
}

fn column(column: &Column) -> proto::Column {
    proto::Column {
        name: column.name.clone(),
        logical_type: logical_type(column.logical_type).into(),
        mysql_type: column.mysql_type.clone(),
        nullable: column.nullable,
        unsigned: column.unsigned,
        charset: column.charset.to_owned(),
        members: column.members.clone(),
        invisible: !column.visible,
        collation: column.collation.into(),
    }
}

fn logical_type(logical_type: LogicalType) -> proto::LogicalType {
    match logical_type {
        LogicalType::Integer => proto::LogicalType::Integer,
        LogicalType::Float => proto::LogicalType::Float,
        LogicalType::Double => proto::LogicalType::Double,
        LogicalType::Decimal => proto::LogicalType::Decimal,
        LogicalType::Bit => proto::LogicalType::Bit,
        LogicalType::Year => proto::LogicalType::Year,
        LogicalType::Date => proto::LogicalType::Date,
        LogicalType::Time => proto::LogicalType::Time,
        LogicalType::Datetime => proto::LogicalType::Datetime,
        LogicalType::Timestamp => proto::LogicalType::Timestamp,
        LogicalType::Text => proto::LogicalType::Text,
        LogicalType::Binary => proto::LogicalType::Binary,
        LogicalType::Enum => proto::LogicalType::Enum,
        LogicalType::Set => proto::LogicalType::Set,
        LogicalType::Json => proto::LogicalType::Json,
        LogicalType::Geometry => proto::LogicalType::Geometry,
        LogicalType::Vector => proto::LogicalType::Vector,
    }
}
