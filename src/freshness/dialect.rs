//! What differs from server to server in SQL, and how values are written in it. Pure.

use std::fmt::Write;

use crate::change::ServerVersion;

/// What kind of server the SQL is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// MariaDB, else MySQL.
    pub is_mariadb: bool,
    /// Its version.
    pub version: (u16, u16, u16),
}

impl Dialect {
    /// Reads what `@@version` says: `9.7.4`, `10.11.18-MariaDB-log`, `5.7.22-log`.
    pub fn of_version(text: &str) -> Self {
        let ServerVersion { is_mariadb, numbers: [major, minor, patch] } =
            ServerVersion::read(text);
        Self { is_mariadb, version: (major, minor, patch) }
    }

    /// Whether there is a JSON type; MariaDB's is a text with a check.
    pub fn has_json(self) -> bool {
        self.version >= if self.is_mariadb { (10, 2, 7) } else { (5, 7, 8) }
    }

    /// Whether there is MySQL's VECTOR type.
    pub fn has_vector(self) -> bool {
        !self.is_mariadb && self.version >= (9, 0, 0)
    }

    /// Whether servers have a UUID.
    pub fn has_server_uuid(self) -> bool {
        !self.is_mariadb && self.version >= (5, 6, 0)
    }

    /// Whether `CREATE USER IF NOT EXISTS` is known.
    pub(super) fn has_create_user_if_not_exists(self) -> bool {
        self.version >= if self.is_mariadb { (10, 1, 3) } else { (5, 7, 6) }
    }
}

/// A text as a literal that no `sql_mode` reads differently.
pub fn literal(text: &str) -> String {
    let hex = hex(text.as_bytes());
    if hex.is_empty() { "''".to_owned() } else { format!("_utf8mb4 x'{hex}'") }
}

/// Bytes in hexadecimal digits.
pub(in crate::freshness) fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(digits, "{byte:02x}").expect("a String takes any text");
    }
    digits
}
