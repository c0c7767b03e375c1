//! The address of a server.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// Host name or IP address, and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// DNS name, or IPv4 or IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Text that is no address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an address of a server: {found:?}; expected host, host:port or [IPv6]:port")]
pub struct HostPortError {
    found: String,
}

impl HostPort {
    /// MySQL's port when none is named.
    pub const PORT_DEFAULT: u16 = 3306;

    /// The address `host`:`port`.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

/// An address that may move while sessions to it are open. Clones share it.
#[derive(Debug, Clone)]
pub struct SharedHost(Arc<Mutex<HostPort>>);

impl SharedHost {
    /// At first it is `host`.
    pub fn new(host: HostPort) -> Self {
        Self(Arc::new(Mutex::new(host)))
    }

    /// Where it is now.
    pub fn now(&self) -> HostPort {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From here on it is `host`. Whether that is another one.
    pub fn move_to(&self, host: &HostPort) -> bool {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = *now != *host;
        if is_other {
            now.clone_from(host);
        }
        is_other
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let error = || HostPortError { found: text.to_owned() };
        let trimmed = text.trim();
        let (host, port) = match trimmed.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(error)?;
                match rest.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if rest.is_empty() => (host, None),
                    None => return Err(error()),
                }
            }
            None => match trimmed.split_once(':') {
                // More than one colon without brackets: an IPv6 address without a port.
                Some((_, rest)) if rest.contains(':') => (trimmed, None),
                Some((host, port)) => (host, Some(port)),
                None => (trimmed, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(error)?,
            None => Self::PORT_DEFAULT,
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/' || c == '@') {
            return Err(error());
        }
        Ok(Self::new(host, port))
    }
}

#[cfg(test)]
mod tests {
    use super::HostPort;

    #[test]
    fn addresses_are_read_and_printed() {
        for (text, host, port) in [
            ("db", "db", 3306),
            ("db.internal:3307", "db.internal", 3307),
            ("[::1]:3307", "::1", 3307),
            ("[::1]", "::1", 3306),
            ("fe80::1", "fe80::1", 3306),
        ] {
            let parsed: HostPort = text.parse().expect(text);
            assert_eq!(parsed, HostPort::new(host, port), "{text}");
            assert_eq!(parsed.to_string().parse(), Ok(parsed.clone()), "{text}");
        }
        for text in
            ["", ":3306", "db:0", "db:70000", "db:x", "[::1", "[::1]x", "u@db", "mysql://db"]
        {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
