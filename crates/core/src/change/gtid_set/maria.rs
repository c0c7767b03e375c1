//! MariaDB's GTID positions.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::text::error_at;
use crate::change::{GtidError, MariaGtid};

/// A MariaDB GTID position: the last transaction of each domain, `0-1-100,1-2-50`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MariaGtidSet {
    domains: BTreeMap<u32, MariaGtid>,
}

impl MariaGtidSet {
    /// The position before everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it names no domain.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// The last transaction of each domain, by domain.
    pub fn iter(&self) -> impl Iterator<Item = &MariaGtid> {
        self.domains.values()
    }

    /// Last transaction of a domain.
    pub fn last(&self, domain: u32) -> Option<MariaGtid> {
        self.domains.get(&domain).copied()
    }

    /// Advances the transaction's domain to it. The last one wins even when its number is smaller,
    /// as it may be without `gtid_strict_mode`.
    pub fn advance(&mut self, gtid: MariaGtid) {
        self.domains.insert(gtid.domain, gtid);
    }

    /// Whether the position is at or past the transaction, judged by its number.
    pub fn contains(&self, gtid: &MariaGtid) -> bool {
        self.last(gtid.domain).is_some_and(|last| gtid.sequence <= last.sequence)
    }
}

impl fmt::Display for MariaGtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, gtid) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{gtid}")?;
        }
        Ok(())
    }
}

impl FromStr for MariaGtidSet {
    type Err = GtidError;

    /// Accepts a position such as `@@gtid_current_pos`, or a list with several servers of one
    /// domain such as `@@gtid_binlog_state`, of which the highest number of each domain stays.
    fn from_str(text: &str) -> Result<Self, GtidError> {
        let mut set = Self::new();
        let mut at = 0;
        for member in text.split(',') {
            if !member.trim().is_empty() {
                let gtid = parse_gtid(member.trim())
                    .ok_or_else(|| error_at(text, at, "domain-server-number"))?;
                if !set.contains(&gtid) {
                    set.advance(gtid);
                }
            }
            at += member.len() + 1;
        }
        Ok(set)
    }
}

fn parse_gtid(text: &str) -> Option<MariaGtid> {
    if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return None;
    }
    let mut words = text.split('-');
    let domain = words.next()?.parse().ok()?;
    let server = words.next()?.parse().ok()?;
    let sequence = words.next()?.parse().ok()?;
    words.next().is_none().then_some(MariaGtid { domain, server, sequence })
}
