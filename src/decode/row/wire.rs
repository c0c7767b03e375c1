//! Column types as TABLE_MAP writes them.
//!
//! Source: `enum_field_types` and `Field::save_field_metadata` of the MySQL and MariaDB sources;
//! seen in binlogs of 5.6 to 9.7 and of MariaDB 10.11.

pub(in crate::decode) const TINY: u8 = 1;
pub(in crate::decode) const SHORT: u8 = 2;
pub(in crate::decode) const LONG: u8 = 3;
pub(in crate::decode) const FLOAT: u8 = 4;
pub(in crate::decode) const DOUBLE: u8 = 5;
/// TIMESTAMP of tables made before 5.6.
pub(in crate::decode) const TIMESTAMP: u8 = 7;
pub(in crate::decode) const LONGLONG: u8 = 8;
pub(in crate::decode) const INT24: u8 = 9;
pub(in crate::decode) const DATE: u8 = 10;
/// TIME of tables made before 5.6.
pub(in crate::decode) const TIME: u8 = 11;
/// DATETIME of tables made before 5.6.
pub(in crate::decode) const DATETIME: u8 = 12;
pub(in crate::decode) const YEAR: u8 = 13;
/// What DATE is called inside the server; same bytes.
pub(in crate::decode) const NEWDATE: u8 = 14;
pub(in crate::decode) const VARCHAR: u8 = 15;
pub(in crate::decode) const BIT: u8 = 16;
pub(in crate::decode) const TIMESTAMP2: u8 = 17;
pub(in crate::decode) const DATETIME2: u8 = 18;
pub(in crate::decode) const TIME2: u8 = 19;
/// MariaDB's `BLOB COMPRESSED`.
pub(in crate::decode) const BLOB_COMPRESSED: u8 = 140;
/// MariaDB's `VARCHAR COMPRESSED`.
pub(in crate::decode) const VARCHAR_COMPRESSED: u8 = 141;
/// MySQL 9.
pub(in crate::decode) const VECTOR: u8 = 242;
pub(in crate::decode) const JSON: u8 = 245;
pub(in crate::decode) const NEWDECIMAL: u8 = 246;
pub(in crate::decode) const ENUM: u8 = 247;
pub(in crate::decode) const SET: u8 = 248;
pub(in crate::decode) const TINY_BLOB: u8 = 249;
pub(in crate::decode) const MEDIUM_BLOB: u8 = 250;
pub(in crate::decode) const LONG_BLOB: u8 = 251;
/// All of the BLOB and TEXT family; the metadata tells the size.
pub(in crate::decode) const BLOB: u8 = 252;
pub(in crate::decode) const VAR_STRING: u8 = 253;
/// CHAR and BINARY; ENUM and SET too, see [`real_type`].
pub(in crate::decode) const STRING: u8 = 254;
pub(in crate::decode) const GEOMETRY: u8 = 255;

/// Number of metadata bytes that a column of this wire type has in TABLE_MAP; `None` for a type
/// that is not known.
pub(crate) fn meta_len(wire_type: u8) -> Option<usize> {
    match wire_type {
        TINY | SHORT | LONG | LONGLONG | INT24 | TIMESTAMP | DATE | TIME | DATETIME | YEAR
        | NEWDATE => Some(0),
        FLOAT | DOUBLE | TIMESTAMP2 | DATETIME2 | TIME2 | BLOB_COMPRESSED | VECTOR | JSON
        | TINY_BLOB | MEDIUM_BLOB | LONG_BLOB | BLOB | GEOMETRY => Some(1),
        VARCHAR | BIT | VARCHAR_COMPRESSED | NEWDECIMAL | ENUM | SET | VAR_STRING | STRING => {
            Some(2)
        }
        _ => None,
    }
}

/// The type behind the wire type: ENUM (247) and SET (248) hide in the metadata of STRING (254).
pub(crate) fn real_type(wire_type: u8, meta: [u8; 2]) -> u8 {
    match (wire_type, meta[0]) {
        (STRING, hidden @ (ENUM | SET)) => hidden,
        _ => wire_type,
    }
}

/// Declared length of a STRING column, bytes. CHAR can be longer than 255 bytes; the two bits that
/// do not fit the second metadata byte are kept, inverted, in bits 4 and 5 of the first.
pub(in crate::decode) fn string_len(meta: [u8; 2]) -> u16 {
    u16::from(!meta[0] & 0x30) << 4 | u16::from(meta[1])
}
