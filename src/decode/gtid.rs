//! The events that announce a transaction: GTID (33), anonymous GTID (34), tagged GTID (42) and
//! MariaDB's GTID (162).

use super::Fault;
use super::bytes::Bytes;
use super::event::Event;
use super::xa::Xid;
use crate::binlog::kind;
use crate::change::{Gtid, MariaGtid, Tag, TransactionId, Uuid};

/// What a GTID event says of the transaction behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Announcement {
    pub(super) id: TransactionId,
    /// Commit on this server, microseconds since 1970; MySQL 8.0.1 and newer.
    pub(super) committed_at_us: Option<i64>,
    /// Commit on the first server.
    pub(super) original_committed_at_us: Option<i64>,
    /// Bytes of the whole transaction; MySQL 8.0.2 and newer.
    pub(super) length_bytes: Option<u64>,
    /// Whether a ROLLBACK may stand in it. MySQL: because it has statements too (releases before
    /// 5.7.19 say so of all). MariaDB: always. What has created or dropped a temporary table is logged
    /// even if it is rolled back, and its flags are those of any other transaction.
    pub(super) may_be_undone: bool,
    /// Whether the event itself opens the transaction, instead of a BEGIN behind it (MariaDB).
    pub(super) opens: bool,
    /// The XA transaction that the event itself starts, instead of an XA START behind it (MariaDB).
    pub(super) starts_xa: Option<Xid>,
    /// Its statement changes nothing: it has only begun, or has failed (MariaDB, ALTER in two phases).
    pub(super) statement_is_void: bool,
}

impl Announcement {
    fn new(id: TransactionId) -> Self {
        Self {
            id,
            committed_at_us: None,
            original_committed_at_us: None,
            length_bytes: None,
            may_be_undone: false,
            opens: false,
            starts_xa: None,
            statement_is_void: false,
        }
    }
}

/// MySQL: the transaction may have changes that were logged as statements (`FLAG_MAY_HAVE_SBR`).
const MAY_HAVE_STATEMENTS: u8 = 1;
/// Largest number of a GTID (`GNO_END` of the server's sources, exclusive).
const SEQUENCE_END: u64 = i64::MAX as u64;
/// `logical timestamps follow` marker of GTID events since 5.7.
const LOGICAL_TIMESTAMPS: u8 = 2;
/// Marks that a second number follows: on 7-byte times.
const HAS_ORIGINAL_TIME: u64 = 1 << 55;

/// Reads any of the four events.
pub(super) fn parse(event: &Event<'_>) -> Result<Announcement, Fault> {
    let bytes = Bytes::new(event.body());
    match event.header.event_type {
        kind::GTID_TAGGED => tagged(bytes),
        kind::MARIA_GTID => maria(bytes, event.header.server_id),
        other => plain(bytes, other == kind::ANONYMOUS_GTID),
    }
}

fn sequence(found: u64) -> Result<u64, Fault> {
    if (1..SEQUENCE_END).contains(&found) {
        Ok(found)
    } else {
        Err(Fault::Unexpected { what: "GTID number", found, expected: "1 to 2^63 - 2" })
    }
}

fn micros(found: u64) -> Result<i64, Fault> {
    i64::try_from(found).map_err(|_| Fault::Unexpected {
        what: "commit time",
        found,
        expected: "microseconds since 1970",
    })
}

/// 5.6: flags, UUID, number. 5.7: logical timestamps. 8.0: commit times, length, server versions.
fn plain(mut bytes: Bytes<'_>, anonymous: bool) -> Result<Announcement, Fault> {
    let flags = bytes.u8("GTID flags")?;
    let source = Uuid(bytes.array("GTID source")?);
    let number = bytes.u64("GTID number")?;
    let mut announcement = Announcement::new(if anonymous {
        TransactionId::Anonymous
    } else {
        TransactionId::Gtid(Gtid { source, tag: Tag::default(), sequence: sequence(number)? })
    });
    announcement.may_be_undone = flags & MAY_HAVE_STATEMENTS != 0;
    if bytes.left() == 0 || bytes.u8("logical timestamp type")? != LOGICAL_TIMESTAMPS {
        return Ok(announcement);
    }
    bytes.array::<16>("logical timestamps")?;
    if bytes.left() < 7 {
        return Ok(announcement);
    }
    let immediate = bytes.u56("immediate commit time")?;
    let original = if immediate & HAS_ORIGINAL_TIME == 0 {
        immediate
    } else {
        bytes.u56("original commit time")?
    };
    announcement.committed_at_us = Some(micros(immediate & !HAS_ORIGINAL_TIME)?);
    announcement.original_committed_at_us = Some(micros(original)?);
    if bytes.left() > 0 {
        announcement.length_bytes = Some(bytes.length_encoded("transaction length")?);
    }
    Ok(announcement)
}

/// Field numbers of a tagged GTID event, which is a message of the server's serialization library
/// (MySQL internals, "MySQL serialization library"): version, length, last field that must be
/// understood, then pairs of field number and value.
mod field {
    pub(super) const FLAGS: u64 = 0;
    pub(super) const SOURCE: u64 = 1;
    pub(super) const NUMBER: u64 = 2;
    pub(super) const TAG: u64 = 3;
    pub(super) const LAST_COMMITTED: u64 = 4;
    pub(super) const SEQUENCE_NUMBER: u64 = 5;
    pub(super) const IMMEDIATE_COMMIT: u64 = 6;
    pub(super) const ORIGINAL_COMMIT: u64 = 7;
    pub(super) const LENGTH: u64 = 8;
    pub(super) const IMMEDIATE_VERSION: u64 = 9;
    pub(super) const ORIGINAL_VERSION: u64 = 10;
    pub(super) const COMMIT_GROUP_TICKET: u64 = 11;
}

fn tagged(bytes: Bytes<'_>) -> Result<Announcement, Fault> {
    let mut bytes = message(bytes)?;
    let (mut source, mut number, mut tag) = (None, None, Tag::default());
    let (mut immediate, mut original, mut length) = (None, None, None);
    let mut flags = 0;
    while bytes.left() > 0 {
        match bytes.serialized("field number")? {
            field::FLAGS => flags = bytes.serialized("GTID flags")?,
            field::SOURCE => {
                let mut uuid = Uuid::default();
                for byte in &mut uuid.0 {
                    let found = bytes.serialized("GTID source")?;
                    *byte = u8::try_from(found).map_err(|_| Fault::Unexpected {
                        what: "byte of a GTID source",
                        found,
                        expected: "at most 255",
                    })?;
                }
                source = Some(uuid);
            }
            field::NUMBER => number = Some(bytes.serialized_positive("GTID number")?),
            field::TAG => {
                let length = bytes.serialized("length of the GTID tag")?;
                let text = bytes.take_long(length, "GTID tag")?;
                tag = Tag::new(text).map_err(|_| Fault::Unexpected {
                    what: "GTID tag's length",
                    found: length,
                    expected: "a letter or underscore, then up to 31 letters, digits, underscores",
                })?;
            }
            field::LAST_COMMITTED | field::SEQUENCE_NUMBER => {
                bytes.serialized_positive("logical timestamp")?;
            }
            field::IMMEDIATE_COMMIT => {
                immediate = Some(micros(bytes.serialized("immediate commit time")?)?);
            }
            field::ORIGINAL_COMMIT => {
                original = Some(micros(bytes.serialized("original commit time")?)?);
            }
            field::LENGTH => length = Some(bytes.serialized("transaction length")?),
            field::IMMEDIATE_VERSION | field::ORIGINAL_VERSION | field::COMMIT_GROUP_TICKET => {
                bytes.serialized("server version or ticket")?;
            }
            // Fields come in rising order, and `message` saw that none of these has to be understood.
            _ => break,
        }
    }
    let (Some(source), Some(number)) = (source, number) else {
        return Err(Fault::Order {
            found: "a tagged GTID without source or number",
            expected: "both",
        });
    };
    Ok(Announcement {
        id: TransactionId::Gtid(Gtid { source, tag, sequence: sequence(number)? }),
        committed_at_us: immediate,
        original_committed_at_us: original.or(immediate),
        length_bytes: length,
        may_be_undone: flags & u64::from(MAY_HAVE_STATEMENTS) != 0,
        opens: false,
        starts_xa: None,
        statement_is_void: false,
    })
}

/// Opens the envelope; returns its fields.
fn message(whole: Bytes<'_>) -> Result<Bytes<'_>, Fault> {
    let mut bytes = whole;
    let version = bytes.serialized("serialization version")?;
    if version != 1 {
        return Err(Fault::Unexpected {
            what: "serialization version",
            found: version,
            expected: "1",
        });
    }
    let length = bytes.serialized("message length")?;
    let last_needed = bytes.serialized("last field that must be understood")?;
    // The library stores the number plus one, so that 0 can say that every field may be ignored.
    if last_needed > field::COMMIT_GROUP_TICKET + 1 {
        return Err(Fault::Unexpected {
            what: "last field that must be understood",
            found: last_needed,
            expected: "at most 12",
        });
    }
    let front = bytes.at() as u64;
    let fields = length.checked_sub(front).ok_or(Fault::Unexpected {
        what: "message length",
        found: length,
        expected: "at least its own envelope",
    })?;
    Ok(Bytes::new(bytes.take_long(fields, "message")?))
}

/// MariaDB: no terminating COMMIT, a single statement.
const MARIA_STANDALONE: u8 = 1;
/// MariaDB: a commit id follows.
const MARIA_GROUP_COMMIT: u8 = 2;
/// MariaDB: XA PREPARE; the XA identifier follows.
const MARIA_PREPARED_XA: u8 = 64;
/// MariaDB: XA COMMIT or ROLLBACK; the XA identifier follows.
const MARIA_COMPLETED_XA: u8 = 128;

/// MariaDB: the statement of an ALTER in two phases as it begins (`FL_START_ALTER_E1`).
const MARIA_START_ALTER: u8 = 2;
/// MariaDB: the same statement, which has failed (`FL_ROLLBACK_ALTER_E1`). Success has a bit too.
const MARIA_ROLLBACK_ALTER: u8 = 8;

/// `Gtid_log_event` in MariaDB's sources; knowledge base, "GTID_EVENT".
fn maria(mut bytes: Bytes<'_>, server: u32) -> Result<Announcement, Fault> {
    let sequence = bytes.u64("GTID number")?;
    let domain = bytes.u32("GTID domain")?;
    let flags = bytes.u8("GTID flags")?;
    if flags & MARIA_GROUP_COMMIT != 0 {
        bytes.u64("commit id")?;
    }
    let mut announcement =
        Announcement::new(TransactionId::Maria(MariaGtid { domain, server, sequence }));
    if flags & (MARIA_PREPARED_XA | MARIA_COMPLETED_XA) != 0 {
        let format = bytes.u32("XA format number")?;
        let global = usize::from(bytes.u8("length of the XA global part")?);
        let branch = usize::from(bytes.u8("length of the XA branch part")?);
        let xid = Xid::new(
            i64::from(format),
            bytes.take(global, "XA global part")?,
            bytes.take(branch, "XA branch part")?,
        )?;
        announcement.starts_xa = (flags & MARIA_PREPARED_XA != 0).then_some(xid);
    }
    // Padded with zeros where there is no such byte.
    let extra = if bytes.left() > 0 { bytes.u8("extra GTID flags")? } else { 0 };
    announcement.statement_is_void = extra & (MARIA_START_ALTER | MARIA_ROLLBACK_ALTER) != 0;
    let other = MARIA_STANDALONE | MARIA_PREPARED_XA | MARIA_COMPLETED_XA;
    announcement.opens = flags & other == 0;
    announcement.may_be_undone = true;
    Ok(announcement)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the serialization library writes it.
    fn put(bytes: &mut Vec<u8>, number: u64) {
        let following = (1..8_u32).find(|n| number >> (7 * n) == 0).map_or(8, |n| n - 1);
        if following == 8 {
            bytes.push(0xff);
            bytes.extend(number.to_le_bytes());
        } else {
            let marked = number << (following + 1) | ((1 << following) - 1);
            bytes.extend(&marked.to_le_bytes()[..=following as usize]);
        }
    }

    /// What a tagged GTID event says.
    #[derive(Debug, Clone)]
    struct Said {
        flags: u64,
        source: [u8; 16],
        number: u64,
        tag: Option<String>,
        times: (u64, Option<u64>),
        length: u64,
    }

    fn said() -> impl Strategy<Value = Said> {
        let times = (0..1_u64 << 50, proptest::option::of(0..1_u64 << 50));
        let tag = proptest::option::of("[a-z_][a-z0-9_]{0,31}");
        (0..8_u64, any::<[u8; 16]>(), 1..SEQUENCE_END, tag, times, any::<u64>()).prop_map(
            |(flags, source, number, tag, times, length)| Said {
                flags,
                source,
                number,
                tag,
                times,
                length,
            },
        )
    }

    /// The event's body: the fields, then `added`, of which fields up to `needed` must be understood.
    fn body(said: &Said, added: &[(u64, u64)], needed: u64) -> Vec<u8> {
        let mut fields = Vec::new();
        let pair = |fields: &mut Vec<u8>, field: u64, value: u64| {
            put(fields, field);
            put(fields, value);
        };
        pair(&mut fields, field::FLAGS, said.flags);
        put(&mut fields, field::SOURCE);
        for byte in said.source {
            put(&mut fields, byte.into());
        }
        pair(&mut fields, field::NUMBER, said.number << 1);
        if let Some(tag) = &said.tag {
            pair(&mut fields, field::TAG, tag.len() as u64);
            fields.extend(tag.bytes());
        }
        pair(&mut fields, field::LAST_COMMITTED, 6 << 1);
        pair(&mut fields, field::SEQUENCE_NUMBER, 7 << 1);
        pair(&mut fields, field::IMMEDIATE_COMMIT, said.times.0);
        if let Some(original) = said.times.1 {
            pair(&mut fields, field::ORIGINAL_COMMIT, original);
        }
        pair(&mut fields, field::LENGTH, said.length);
        pair(&mut fields, field::IMMEDIATE_VERSION, 90_700);
        for (field, value) in added {
            pair(&mut fields, *field, *value);
        }
        // The length counts the envelope, of which it is part itself.
        let mut envelope = Vec::new();
        for length_bytes in 1..=9 {
            envelope.clear();
            put(&mut envelope, 1);
            let mut rest = Vec::new();
            put(&mut rest, needed);
            let length = envelope.len() + length_bytes + rest.len() + fields.len();
            put(&mut envelope, length as u64);
            envelope.extend(rest);
            if envelope.len() + fields.len() == length {
                break;
            }
        }
        envelope.extend(fields);
        envelope
    }

    /// Body of a GTID event as 5.6, 5.7 and 8.0 write it, with `said.times` from 8.0 on.
    fn plain_body(said: &Said, release: u32) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(said.flags).expect("small")];
        bytes.extend(said.source);
        bytes.extend(said.number.to_le_bytes());
        if release >= 57 {
            bytes.push(LOGICAL_TIMESTAMPS);
            bytes.extend([7; 16]);
        }
        if release >= 80 {
            let (immediate, original) = said.times;
            let mark = if original.is_some() { HAS_ORIGINAL_TIME } else { 0 };
            bytes.extend(&(immediate | mark).to_le_bytes()[..7]);
            if let Some(original) = original {
                bytes.extend(&original.to_le_bytes()[..7]);
            }
            bytes.push(254);
            bytes.extend(said.length.to_le_bytes());
            bytes.extend(80_031_u32.to_le_bytes());
        }
        bytes
    }

    proptest! {
        #[test]
        fn an_untagged_event_says_what_its_release_writes(
            said in said(),
            release in proptest::sample::select(vec![56_u32, 57, 80]),
            is_anonymous: bool,
        ) {
            let found = plain(Bytes::new(&plain_body(&said, release)), is_anonymous);
            let gtid = Gtid {
                source: Uuid(said.source),
                tag: Tag::default(),
                sequence: said.number,
            };
            let id = if is_anonymous {
                TransactionId::Anonymous
            } else {
                TransactionId::Gtid(gtid)
            };
            let micros = |us: u64| i64::try_from(us).ok().filter(|_| release >= 80);
            prop_assert_eq!(found.expect("well formed"), Announcement {
                committed_at_us: micros(said.times.0),
                original_committed_at_us: micros(said.times.1.unwrap_or(said.times.0)),
                length_bytes: Some(said.length).filter(|_| release >= 80),
                may_be_undone: said.flags & 1 == 1,
                ..Announcement::new(id)
            });
        }
    }

    proptest! {
        #[test]
        fn a_tagged_event_says_what_was_put_into_it(
            said in said(),
            later in proptest::collection::vec(any::<u64>(), 0..3),
        ) {
            // Fields that a later server adds, and that may be ignored.
            let added: Vec<_> = (12..).zip(later).collect();
            let found = tagged(Bytes::new(&body(&said, &added, 12))).expect("well formed");
            let tag = Tag::new(said.tag.unwrap_or_default().as_bytes()).expect("a tag");
            let gtid = Gtid { source: Uuid(said.source), tag, sequence: said.number };
            let micros = |us| i64::try_from(us).ok();
            prop_assert_eq!(found, Announcement {
                committed_at_us: micros(said.times.0),
                original_committed_at_us: micros(said.times.1.unwrap_or(said.times.0)),
                length_bytes: Some(said.length),
                may_be_undone: said.flags & 1 == 1,
                ..Announcement::new(TransactionId::Gtid(gtid))
            });
        }

        #[test]
        fn a_field_that_must_be_understood_and_is_not_known_is_refused(
            said in said(),
            needed in 13..u64::MAX,
        ) {
            let found = tagged(Bytes::new(&body(&said, &[(12, 0)], needed)));
            let refused = matches!(found, Err(Fault::Unexpected { found, .. }) if found == needed);
            prop_assert!(refused, "{:?}", found);
        }

        #[test]
        fn a_number_beyond_the_server_s_own_limit_is_refused(number in SEQUENCE_END..u64::MAX) {
            prop_assert!(sequence(number).is_err());
            prop_assert!(sequence(0).is_err() && sequence(SEQUENCE_END - 1).is_ok());
        }

        #[test]
        fn a_tagged_event_that_is_cut_short_is_refused(
            said in said(),
            end in any::<proptest::sample::Index>(),
        ) {
            let whole = body(&said, &[], 12);
            prop_assert!(tagged(Bytes::new(&whole[..end.index(whole.len())])).is_err());
        }
    }
}
