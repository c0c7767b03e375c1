//! `[filter]`: which tables and columns are published, and which only as hashes.

use super::{Setting, setting};
use crate::config::{Kind, Takes};

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "filter.tables",
        Kind::List,
        Some("*.*"),
        "Tables to publish, as database.table patterns with * and ?. The server's own databases, such as mysql, only if a pattern names them",
    )
    .takes(Takes::Reload),
    setting("filter.exclude", Kind::List, None, "Tables to leave out, as database.table patterns")
        .takes(Takes::Reload),
    setting(
        "filter.drop_columns",
        Kind::List,
        None,
        "Columns never to publish, as database.table.column patterns",
    )
    .takes(Takes::Reload),
    setting(
        "filter.hash_columns",
        Kind::List,
        None,
        "Columns to publish as HMAC-SHA-256 of their value, as database.table.column patterns",
    )
    .takes(Takes::Reload),
    setting(
        "filter.strict",
        Kind::Bool,
        Some("false"),
        "Refuse to start, or to reload, while one of these patterns matches no table or column of the source",
    )
    .takes(Takes::Reload),
    setting("filter.hash_key", Kind::Secret, None, "Key of those hashes").takes(Takes::Restart),
];
