//! Messages as the encoder makes them.

use binpulse_core::encode::{
    Destination, EncodedBatch, FinalizeOptions, Finalizer, Lane, LaneId, Message, Origin, Replay,
};

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
