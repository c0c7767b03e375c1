//! Messages as the encoder makes them.

use std::sync::Arc;

use binpulse_core::change::{LogicalType, Table};
use binpulse_core::encode::testing::column;
use binpulse_core::encode::{
    Destination, EncodedBatch, FinalizeOptions, Finalizer, Lane, LaneId, Message, Origin, Replay,
};

/// All logical types, each with the name of its column.
pub(crate) const TYPES: [(&str, LogicalType); 17] = [
    ("integer", LogicalType::Integer),
    ("float", LogicalType::Float),
    ("double", LogicalType::Double),
    ("decimal", LogicalType::Decimal),
    ("bit", LogicalType::Bit),
    ("year", LogicalType::Year),
    ("date", LogicalType::Date),
    ("time", LogicalType::Time),
    ("datetime", LogicalType::Datetime),
    ("timestamp", LogicalType::Timestamp),
    ("text", LogicalType::Text),
    ("binary", LogicalType::Binary),
    ("enum", LogicalType::Enum),
    ("set", LogicalType::Set),
    ("json", LogicalType::Json),
    ("geometry", LogicalType::Geometry),
    ("vector", LogicalType::Vector),
];

/// A table with a column of each type, and an unsigned integer behind them; the first two are its key.
pub(crate) fn table() -> Arc<Table> {
    let mut columns: Vec<_> = TYPES.iter().map(|(name, of)| column(name, *of)).collect();
    let mut unsigned = column("unsigned \"é\"", LogicalType::Integer);
    unsigned.unsigned = true;
    columns.push(unsigned);
    for column in &mut columns {
        if matches!(column.logical_type, LogicalType::Enum | LogicalType::Set) {
            column.members = vec!["new".into(), "paid".into()];
        }
    }
    Arc::new(Table {
        database: "shop".into(),
        name: "orders".into(),
        columns,
        primary_key: vec![10, 0],
        named: true,
        fingerprint: 0xfeed_0000_0000_0001,
    })
}

pub(crate) fn lane() -> Lane {
    Lane { id: LaneId(0), key: Lane::key_of("shop", "orders", 1).into(), number: 1, count: 3 }
}

pub(crate) fn origin(replay: Option<&str>) -> Origin {
    Origin {
        stream: "prod".into(),
        server_uuid: String::from("abababab-abab-abab-abab-abababababab"),
        server_id: 7,
        epoch: 3,
        connector_version: "0.1.0",
        snapshot: false,
        replay: replay.map(|audience| Replay { audience: audience.into(), run: 1 }),
    }
}

/// The message of a batch.
pub(crate) fn finalized(batch: &EncodedBatch, zstd_level: i32, replay: Option<&str>) -> Message {
    let topic = Destination { arn: "arn".into(), fifo: false, message_bytes_max: 262_144 };
    Finalizer::new(FinalizeOptions { zstd_level }).expect("zstd starts").finalize(
        batch,
        &origin(replay),
        &topic,
    )
}

/// What SNS puts around a message unless its delivery is raw.
pub(crate) fn envelope(message: &Message) -> String {
    let attributes = message.attributes.iter().map(|attribute| {
        let form =
            serde_json::json!({"Type": attribute.data_type.as_str(), "Value": attribute.value});
        (attribute.name.to_string(), form)
    });
    serde_json::json!({
        "Type": "Notification",
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "TopicArn": "arn:aws:sns:eu-west-1:000000000000:changes",
        "Message": message.body,
        "Timestamp": "2026-11-20T20:12:00.123Z",
        "SignatureVersion": "1",
        "Signature": "x",
        "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/x.pem",
        "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?x",
        "MessageAttributes": attributes.collect::<serde_json::Map<_, _>>(),
    })
    .to_string()
}
