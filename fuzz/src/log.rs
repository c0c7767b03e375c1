//! Binary logs: split into events, put together from events.

/// Bytes of an event's header.
pub(crate) const HEADER: usize = 19;
/// Bytes of a checksum.
const CHECKSUM: usize = 4;

/// Type codes that inputs are wrapped in.
pub(crate) mod kind {
    pub(crate) const QUERY: u8 = 2;
    pub(crate) const FORMAT_DESCRIPTION: u8 = 15;
    pub(crate) const XID: u8 = 16;
    pub(crate) const TABLE_MAP: u8 = 19;
    pub(crate) const WRITE_ROWS: u8 = 30;
    pub(crate) const UPDATE_ROWS: u8 = 31;
    pub(crate) const DELETE_ROWS: u8 = 32;
    pub(crate) const GTID: u8 = 33;
    pub(crate) const PARTIAL_UPDATE_ROWS: u8 = 39;
    pub(crate) const TRANSACTION_PAYLOAD: u8 = 40;
}

/// A log of MySQL 9.7, for what stands in front of an input.
pub(crate) const MYSQL: &[u8] = include_bytes!("../../tests/fixtures/rows/mysql-9.7/binlog.000001");
/// The same of MariaDB.
pub(crate) const MARIADB: &[u8] =
    include_bytes!("../../tests/fixtures/rows/mariadb-10.11/binlog.000001");

/// Splits a file into raw events; what is left of a damaged file is the last.
pub(crate) fn split(file: &[u8]) -> Vec<&[u8]> {
    let mut rest = file.get(4..).unwrap_or_default();
    let mut events = Vec::new();
    while !rest.is_empty() {
        let length = rest.get(9..13).and_then(<[u8]>::first_chunk).map(|b| u32::from_le_bytes(*b));
        let length = usize::try_from(length.unwrap_or_default()).unwrap_or_default();
        let length = if length < HEADER { rest.len() } else { length.min(rest.len()) };
        let (event, behind) = rest.split_at(length);
        events.push(event);
        rest = behind;
    }
    events
}

/// An event's type; 0 where it is too short.
pub(crate) fn kind_of(event: &[u8]) -> u8 {
    event.get(4).copied().unwrap_or_default()
}

/// What stands between header and checksum.
pub(crate) fn body(event: &[u8]) -> &[u8] {
    event.get(HEADER..event.len().saturating_sub(CHECKSUM)).unwrap_or_default()
}

/// The event with its length and checksum put right; too short ones are filled up.
pub(crate) fn repaired(event: &[u8]) -> Vec<u8> {
    let mut repaired = event.to_vec();
    repaired.resize(repaired.len().max(HEADER + CHECKSUM), 0);
    let length = u32::try_from(repaired.len()).unwrap_or(u32::MAX);
    repaired[9..13].copy_from_slice(&length.to_le_bytes());
    let end = repaired.len() - CHECKSUM;
    let checksum = crc32fast::hash(&repaired[..end]);
    repaired[end..].copy_from_slice(&checksum.to_le_bytes());
    repaired
}

/// A whole event of this type.
pub(crate) fn event(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut event = vec![0x80, 0xd0, 0xb1, 0x6a, kind, 7, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0];
    event.extend_from_slice(body);
    event.extend_from_slice(&[0; CHECKSUM]);
    repaired(&event)
}

/// The same as it stands inside a payload: without a checksum.
pub(crate) fn inner_event(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut event = event(kind, body);
    event.truncate(event.len() - CHECKSUM);
    let length = u32::try_from(event.len()).unwrap_or(u32::MAX);
    event[9..13].copy_from_slice(&length.to_le_bytes());
    event
}

/// The format description of a log.
pub(crate) fn format_description(log: &[u8]) -> Vec<u8> {
    split(log).first().map(|event| event.to_vec()).unwrap_or_default()
}

/// What begins a transaction of rows: its GTID event and BEGIN.
pub(crate) fn beginning() -> [Vec<u8>; 2] {
    let events = split(MYSQL);
    let begin = events
        .iter()
        .position(|event| kind_of(event) == kind::QUERY && body(event).ends_with(b"BEGIN"));
    let begin = begin.expect("the log has a transaction");
    [events[begin - 1].to_vec(), events[begin].to_vec()]
}
