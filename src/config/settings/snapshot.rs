//! `[snapshot]`: the rows that are already in the tables, read in chunks beside the stream.

use super::unit::{HOUR, KIB, MIB};
use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "snapshot.on_start",
        Kind::Choice(&["none", "all"]),
        Some("none"),
        "A stream without a checkpoint: no snapshot, or one of all tables that the filters publish",
    ),
    setting(
        "snapshot.chunk_bytes",
        Kind::Bytes(64 * KIB, 64 * MIB),
        Some("4MiB"),
        "Size of the chunks that snapshots read",
    ),
    setting(
        "snapshot.chunk_time",
        Kind::Duration(10, 900),
        Some("500ms"),
        "Longest time that reading a chunk may take: the transaction is ended then, and the next chunk is smaller",
    ),
    setting(
        "snapshot.keyless",
        Kind::Choice(&["refuse", "lock"]),
        Some("refuse"),
        "Tables without a key: refused by name, or read all at once under LOCK TABLES ... READ, which holds writers up for about a second at most",
    ),
    setting(
        "snapshot.keyless_rows",
        Kind::Integer(1, 10_000_000),
        Some("100000"),
        "Most rows of a table that is read under a lock; a larger one is refused",
    ),
    setting(
        "snapshot.rows_per_second",
        Kind::Integer(1, u64::MAX),
        None,
        "Most rows a second that snapshots read; no limit when not set",
    ),
    setting(
        "snapshot.max_threads_running",
        Kind::Integer(1, 100_000),
        Some("25"),
        "Snapshots wait while Threads_running of the server that they read is above it (pt-online-schema-change has the same default)",
    ),
    setting(
        "snapshot.lag_hosts",
        Kind::List,
        None,
        "Replicas as host:port whose lag slows snapshots down; source.user needs REPLICATION CLIENT there",
    ),
    setting(
        "snapshot.max_replica_lag",
        Kind::Duration(1_000, HOUR),
        Some("5s"),
        "Snapshots wait while a replica of snapshot.lag_hosts is further behind, or can't be asked",
    ),
    setting(
        "snapshot.host",
        Kind::Text,
        None,
        "Server that snapshots read from as host:port, such as a replica of the source; the one that is streamed from when not set",
    ),
    setting(
        "snapshot.touched_keys",
        Kind::Integer(1_000, 10_000_000),
        Some("250000"),
        "Keys that the stream may change while a chunk is read; beyond it the chunk is read again, smaller",
    ),
];
