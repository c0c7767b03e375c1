//! Lanes: what is published in order.

use std::fmt::Write;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// Longest message group id that SNS accepts, bytes.
const GROUP_ID_BYTES_MAX: usize = 128;
/// Begins the name of a lane of an outbox table.
const OUTBOX: &str = "outbox-";

/// A lane's number within this process: a key into tables, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub u32);

/// A lane: messages of one lane are published in order; on FIFO topics it is a message group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Number within this process.
    pub id: LaneId,
    /// Stable name, `database.table#number`; see [`Lane::key_of`].
    pub key: Arc<str>,
    /// Number among the table's lanes, from 0.
    pub number: u32,
    /// How many lanes the table has, at least 1.
    pub count: u32,
}

impl Lane {
    /// The stable name of a table's lane. Names are percent-encoded (all but ASCII letters, digits,
    /// `_`, `-` and `$`), so that no two lanes share a key and every key is printable ASCII.
    ///
    /// The key is stored in checkpoints and seen by consumers: its form is a contract.
    pub fn key_of(database: &str, table: &str, number: u32) -> String {
        let mut key = String::with_capacity(database.len() + table.len() + 4);
        percent_encode(database, &mut key);
        key.push('.');
        percent_encode(table, &mut key);
        key.push('#');
        key.push_str(itoa::Buffer::new().format(number));
        key
    }

    /// Database, table and number of the lane with this key; `None` for what is no key of a table's lane.
    pub fn table_of(key: &str) -> Option<(String, String, u32)> {
        let (names, number) = key.rsplit_once('#')?;
        let (database, table) = names.split_once('.')?;
        let (database, table) = (percent_decode(database)?, percent_decode(table)?);
        let number = number.parse().ok()?;
        // Only the form that `key_of` makes names a lane.
        (Self::key_of(&database, &table, number) == key).then_some((database, table, number))
    }

    /// The stable name of a lane of this service's own messages, such as `schema` or `canary`. A
    /// table's key has a dot, this has none.
    pub fn notice_key_of(name: &str) -> String {
        let mut key = String::from("!");
        percent_encode(name, &mut key);
        key
    }

    /// The stable name of the lane in which messages of an outbox table are published: they have no
    /// numbers, so that no consumer may miss one by them.
    pub fn outbox_key_of(key: &str) -> String {
        Self::notice_key_of(&format!("{OUTBOX}{key}"))
    }

    /// The key of the table's lane that such a name was made of.
    pub fn table_key_of_outbox(key: &str) -> Option<String> {
        percent_decode(key.strip_prefix('!')?)?.strip_prefix(OUTBOX).map(str::to_owned)
    }

    /// The name under which this lane's snapshot parts are numbered.
    pub fn snapshot_key(&self) -> String {
        Self::notice_key_of(&format!("snapshot-{}", self.key))
    }

    /// The message group of this lane on a FIFO topic: `stream/key`, or a SHA-256 in hexadecimal
    /// where that is longer than SNS allows. Always 1 to 128 bytes of printable ASCII.
    pub fn group_id(&self, stream: &str) -> String {
        let mut group = String::with_capacity(stream.len() + 1 + self.key.len());
        percent_encode_but(stream, b"_-$.", &mut group);
        group.push('/');
        group.push_str(&self.key);
        bounded(group)
    }

    /// The message group of rows that are published again. Not the lane's: who holds messages of the lane until
    /// these rows come would get no others of its group.
    pub fn replay_group_id(&self, stream: &str) -> String {
        bounded(self.group_id(stream) + "!replay")
    }
}

fn bounded(group: String) -> String {
    if group.len() <= GROUP_ID_BYTES_MAX {
        return group;
    }
    hex(&Sha256::digest(group.as_bytes()))
}

/// Appends `text` with everything percent-encoded but ASCII letters, digits, `_`, `-` and `$`.
fn percent_encode(text: &str, out: &mut String) {
    percent_encode_but(text, b"_-$", out);
}

/// The text that was percent-encoded, if it was.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// `text` as a part of a URL or of a form has it: all that RFC 3986 does not call unreserved is
/// percent-encoded, a space as `%20`.
pub fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    percent_encode_but(text, b"-_.~", &mut out);
    out
}

/// Appends `text` with everything percent-encoded but ASCII letters, digits and what `plain` has.
pub(crate) fn percent_encode_but(text: &str, plain: &[u8], out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            push_hex(byte, out);
        }
    }
}

/// `bytes` as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
    text
}

fn push_hex(byte: u8, out: &mut String) {
    write!(out, "{byte:02X}").expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(key: String) -> Lane {
        Lane { id: LaneId(0), key: key.into(), number: 0, count: 1 }
    }

    #[test]
    fn lanes_of_different_tables_never_share_a_key() {
        let keys =
            [("a.b", "c"), ("a", "b.c"), ("a", "b#1"), ("a%2E", "b"), ("ä", "b"), ("a", "b")]
                .map(|(database, table)| Lane::key_of(database, table, 1));
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "{keys:?}");
        assert_eq!(keys[5], "a.b#1");
        assert_eq!(keys[4], "%C3%A4.b#1");
    }

    #[test]
    fn a_group_is_what_sns_accepts_however_long_the_names_are() {
        let plain = lane(Lane::key_of("shop", "orders", 0)).group_id("prod");
        assert_eq!(plain, "prod/shop.orders#0");
        let long = lane(Lane::key_of(&"ü".repeat(64), &"t".repeat(64), 0)).group_id("prod");
        assert_eq!(long.len(), 64);
        assert!(long.bytes().all(|byte| byte.is_ascii_graphic()));
        let again = lane(Lane::key_of("shop", "orders", 0)).replay_group_id("prod");
        assert_eq!(again, "prod/shop.orders#0!replay");
        let table = "t".repeat(112);
        let longest = lane(Lane::key_of("shop", &table, 0));
        assert_eq!(longest.group_id("prod").len(), 124);
        assert_eq!(longest.replay_group_id("prod").len(), 64);
    }
}
