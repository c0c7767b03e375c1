//! The request for the stream.

use crate::binlog::Header;
use crate::change::{Position, ServerVersion};
use crate::source::command::{self, Annotations};
use crate::source::{Error, Flavor, Identity, Start};

/// Passing over the front of a file, for offsets that a request cannot hold.
#[derive(Debug, PartialEq)]
pub(super) struct Skip {
    /// End of the last event that was passed over.
    end: u64,
    until: u64,
}

impl Skip {
    /// Whether an event lies before the place. Lengths alone do not tell, as senders leave events
    /// out; the headers have the low 32 bits of each event's end, and no two events are 4 GiB apart.
    pub(super) fn passes_over(&mut self, event: &[u8]) -> bool {
        let low = Header::parse(event).map_or(0, |header| u64::from(header.end));
        let ahead = match low {
            // It does not say where it ends.
            0 => event.len() as u64,
            _ => low.wrapping_sub(self.end) & u64::from(u32::MAX),
        };
        let end = self.end.saturating_add(ahead);
        if end.saturating_sub(event.len() as u64) >= self.until {
            return false;
        }
        self.end = end;
        true
    }
}

/// The request for the stream, and what to pass over at its front.
pub(super) fn request(
    identity: &Identity,
    start: &Start,
) -> Result<(Vec<u8>, Option<Skip>), Error> {
    let id = identity.replica_server_id;
    let gtid_on = identity.gtid_mode.as_deref() == Some("ON");
    let misfit = |start| Err(Error::StartMisfit { found: describe(identity), start });
    match (start, identity.flavor) {
        (Start::Gtid(_) | Start::GtidFrom { .. }, Flavor::Maria) => {
            misfit("a set of MySQL's GTIDs")
        }
        (Start::Maria(_), Flavor::Mysql) => misfit("a GTID position of MariaDB's"),
        // It was on when the start was resolved: the next dial resolves another.
        (Start::Gtid(_) | Start::GtidFrom { .. }, Flavor::Mysql) if !gtid_on => {
            Err(Error::ModeChanged { found: describe(identity) })
        }
        (Start::Gtid(set), Flavor::Mysql) => Ok((command::dump_by_gtid(id, &set.encode()), None)),
        (Start::GtidFrom { set, from }, Flavor::Mysql) => {
            let request = command::dump_by_gtid_from(id, &from.file, from.offset, &set.encode());
            Ok((request, None))
        }
        (Start::Maria(_), Flavor::Maria) => {
            Ok((command::dump_by_position(id, "", 4, annotations(identity)), None))
        }
        (Start::Position(position), _) => Ok(request_position(identity, gtid_on, position)),
    }
}

/// MariaDB 11.4 and newer leave positions out inside transactions. Lengths then tell where an event
/// is, if all events come; older ones need not send the statements' text for that.
fn annotations(identity: &Identity) -> Annotations {
    let omits_positions = identity.flavor == Flavor::Maria
        && ServerVersion::read(&identity.version).numbers >= [11, 4, 0];
    if omits_positions { Annotations::Send } else { Annotations::Omit }
}

fn request_position(
    identity: &Identity,
    gtid_on: bool,
    position: &Position,
) -> (Vec<u8>, Option<Skip>) {
    let (id, annotations) = (identity.replica_server_id, annotations(identity));
    let Position { file, offset } = position;
    match u32::try_from(*offset) {
        Ok(offset) => (command::dump_by_position(id, file, offset, annotations), None),
        Err(_) if gtid_on => (command::dump_from_wide_position(id, file, *offset), None),
        // Without GTIDs no request holds such an offset: the file is read from its front.
        Err(_) => {
            let skip = Skip { end: 4, until: *offset };
            (command::dump_by_position(id, file, 4, annotations), Some(skip))
        }
    }
}

fn describe(identity: &Identity) -> String {
    match &identity.gtid_mode {
        Some(mode) => format!("the server is {} with gtid_mode={mode}", identity.flavor),
        None => format!("the server is {}", identity.flavor),
    }
}

#[cfg(test)]
mod tests {
    use super::{Skip, request};
    use crate::change::{GtidSet, MariaGtidSet, Position, Uuid};
    use crate::mysql::HostPort;
    use crate::source::{Error, Flavor, Identity, Start};

    fn identity(flavor: Flavor, gtid_mode: Option<&str>) -> Identity {
        Identity {
            host: HostPort::new("db", 3306),
            flavor,
            version: String::new(),
            server_id: 1,
            server_uuid: None,
            gtid_mode: gtid_mode.map(str::to_owned),
            connection_id: 9,
            replica_server_id: 7,
            replica_uuid: Uuid::default(),
            secured: false,
        }
    }

    #[test]
    fn a_start_that_the_server_cannot_serve_is_refused_before_it_is_asked() {
        let mysql = identity(Flavor::Mysql, Some("OFF"));
        let maria = identity(Flavor::Maria, None);
        let gtid = Start::Gtid(GtidSet::new());
        for (server, start) in [(&maria, &gtid), (&mysql, &Start::Maria(MariaGtidSet::new()))] {
            assert!(matches!(request(server, start), Err(Error::StartMisfit { .. })));
        }
        assert!(matches!(request(&mysql, &gtid), Err(Error::ModeChanged { .. })));
        assert!(request(&identity(Flavor::Mysql, Some("ON")), &gtid).is_ok());
    }

    #[test]
    fn a_set_can_be_asked_for_from_a_place_on() {
        let set: GtidSet = "00bbe985-e52d-11f1-91a9-02fc00000001:1-5".parse().expect("a set");
        let start = Start::GtidFrom { set: set.clone(), from: Position::new("b.000001", 5 << 32) };
        let mysql = identity(Flavor::Mysql, Some("ON"));
        let (payload, skip) = request(&mysql, &start).expect("a request");
        let expected = [
            &[0x1e, 4, 0, 7, 0, 0, 0, 8, 0, 0, 0][..],
            b"b.000001",
            &(5_u64 << 32).to_le_bytes(),
            &u32::try_from(set.encode().len()).expect("short").to_le_bytes(),
            &set.encode(),
        ];
        assert_eq!(payload, expected.concat());
        assert_eq!(skip, None);
    }

    #[test]
    fn wide_offsets_without_gtids_are_reached_from_the_files_front() {
        let start = Start::Position(Position::new("b.000001", 5 << 32));
        let (payload, skip) = request(&identity(Flavor::Maria, None), &start).expect("a request");
        assert_eq!(payload[..5], [0x12, 4, 0, 0, 0]);
        assert_eq!(skip, Some(Skip { end: 4, until: 5 << 32 }));
        let (_, skip) = request(&identity(Flavor::Mysql, Some("ON")), &start).expect("a request");
        assert_eq!(skip, None);
    }

    #[test]
    fn the_place_is_found_although_positions_wrap_and_events_are_left_out() {
        const STRIDE: u64 = 1 << 30;
        let until = (4 << 32) + 3 * STRIDE + 100;
        let mut skip = Skip { end: 4, until };
        let mut start = 4;
        let mut passed = 0;
        loop {
            // An event of 100 bytes, then a gap as of events that are not sent
            let mut event = crate::binlog::tests::event(30, &[0; 81], 0, false);
            let low = u32::try_from((start + 100) & u64::from(u32::MAX)).expect("32 bits");
            event[13..17].copy_from_slice(&low.to_le_bytes());
            if !skip.passes_over(&event) {
                break;
            }
            passed += 1;
            start += STRIDE;
        }
        assert_eq!(start, 4 + 20 * STRIDE);
        assert_eq!(passed, 20);
    }

    #[test]
    fn the_place_is_found_where_events_do_not_say_their_end() {
        let mut skip = Skip { end: 4, until: 4 + 3 * 100 };
        let mut event = crate::binlog::tests::event(30, &[0; 81], 0, false);
        event[13..17].copy_from_slice(&[0; 4]);
        let passed = (0..10).take_while(|_| skip.passes_over(&event)).count();
        assert_eq!(passed, 3);
    }

    #[test]
    fn statement_texts_are_asked_for_where_positions_are_left_out() {
        let flags = |flavor, version: &str| {
            let identity = Identity { version: version.to_owned(), ..identity(flavor, None) };
            let start = Start::Position(Position::new("b.000001", 4));
            request(&identity, &start).expect("a request").0[5]
        };
        assert_eq!(flags(Flavor::Maria, "11.8.6-MariaDB-deb13u1-log"), 2);
        assert_eq!(flags(Flavor::Maria, "10.11.18-MariaDB"), 0);
        assert_eq!(flags(Flavor::Mysql, "12.0.1"), 0);
    }
}
