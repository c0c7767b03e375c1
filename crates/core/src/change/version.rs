//! Family and version of a server.

/// What a server calls itself, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerVersion {
    /// MariaDB; else MySQL, or what is built from it.
    pub is_mariadb: bool,
    /// Major, minor and patch number; 0 for what is not there.
    pub numbers: [u16; 3],
}

impl ServerVersion {
    /// Reads what `@@version`, the greeting or a format description says: `9.7.4`, `5.7.22-log`,
    /// `5.5.5-10.11.18-MariaDB-0+deb12u1`.
    pub fn read(text: &str) -> Self {
        let is_mariadb = text.to_ascii_lowercase().contains("mariadb");
        // MariaDB's prefix for old replicas.
        let text = if is_mariadb { text.strip_prefix("5.5.5-").unwrap_or(text) } else { text };
        let mut numbers = [0_u16; 3];
        let parts = text.split(|character: char| !character.is_ascii_digit());
        for (number, digits) in numbers.iter_mut().zip(parts) {
            *number = digits.bytes().fold(0, |sum, digit| {
                sum.saturating_mul(10).saturating_add(u16::from(digit - b'0'))
            });
        }
        Self { is_mariadb, numbers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_servers_print_them() {
        for (text, is_mariadb, numbers) in [
            ("9.7.4", false, [9, 7, 4]),
            ("9.7.4-0", false, [9, 7, 4]),
            ("5.6.24-log", false, [5, 6, 24]),
            ("8.0.31-0ubuntu0.22.04.1", false, [8, 0, 31]),
            ("10.11.18-MariaDB-log", true, [10, 11, 18]),
            ("5.5.5-10.11.18-MariaDB-0+deb12u1", true, [10, 11, 18]),
            ("5.5.62-mariadb", true, [5, 5, 62]),
            ("5.5.5-log", false, [5, 5, 5]),
            ("", false, [0, 0, 0]),
            ("8", false, [8, 0, 0]),
            ("unknown", false, [0, 0, 0]),
            ("99999999.1", false, [u16::MAX, 1, 0]),
        ] {
            assert_eq!(ServerVersion::read(text), ServerVersion { is_mariadb, numbers }, "{text}");
        }
    }
}
