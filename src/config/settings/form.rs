//! Forms of text that settings of several sections share.

use crate::config::Kind;

pub(super) const STREAM_NAME: Kind =
    Kind::Form("1 to 64 letters, digits, dots, dashes and underscores", |text| {
        text.len() <= 64
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    });
pub(super) const SCHEMA_NAME: Kind =
    Kind::Form("1 to 64 letters, digits and underscores", |text| {
        text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    });
pub(super) const URL: Kind = Kind::Form("a URL that starts with http:// or https://", |text| {
    text.starts_with("http://") || text.starts_with("https://")
});
pub(super) const LISTEN: Kind = Kind::Form("an address and port such as 127.0.0.1:9187", |text| {
    text.parse::<std::net::SocketAddr>().is_ok()
});
