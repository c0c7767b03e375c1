//! `[stream]`: which stream this is.

use super::form::STREAM_NAME;
use super::{Setting, setting};

pub(super) const SETTINGS: &[Setting] = &[setting(
    "stream.name",
    STREAM_NAME,
    Some("main"),
    "Name of this stream: part of every message's identity; one streamer per name",
)];
