//! `[shadow]`: proof that another version, or other settings, publish the same.

use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[setting(
    "shadow.digests",
    Kind::Bool,
    Some("false"),
    "Keep digests of the newest rows of each lane, for `binpulse shadow compare`; costs a SHA-256 of each row",
)];
