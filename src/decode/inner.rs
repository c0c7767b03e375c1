//! Events inside events: compressed transactions, and rows that were held back.

use super::event::Event;
use super::observe::From;
use super::steps::More;
use super::{Decoder, Fault};
use crate::binlog::kind;
use crate::change::Position;

impl Decoder {
    /// Reads the next event of the payload; whether there was one more, and what comes with it.
    pub(super) fn inflate_next(&mut self, payload: &[u8]) -> Result<Option<More>, Fault> {
        let mut inner = std::mem::take(&mut self.inner);
        let next = self.inflate_into(payload, &mut inner);
        self.inner = inner;
        self.from_inner = true;
        next
    }

    fn inflate_into(&mut self, payload: &[u8], inner: &mut Vec<u8>) -> Result<Option<More>, Fault> {
        self.event_type = kind::TRANSACTION_PAYLOAD;
        let limit = self.config.expanded_bytes_max;
        let Some(header) = self.inflater.next(payload, limit, inner)? else { return Ok(None) };
        self.event_type = header.event_type;
        let more = self.observe(&Event { header, bytes: inner }, From::Payload)?;
        let is_last = matches!(more, More::Held) || !self.in_transaction();
        if is_last {
            // No commit comes out before the whole payload was seen to be sound.
            self.event_type = kind::TRANSACTION_PAYLOAD;
            self.inflater.finish(payload)?;
        }
        Ok(Some(more))
    }

    /// Reads the next held event of the XA transaction that commits; `false` behind the last, when
    /// its commit is due.
    pub(super) fn replay_next(&mut self) -> Result<bool, Fault> {
        let Some((spool, at)) = &mut self.replay else { return Ok(false) };
        let mut inner = std::mem::take(&mut self.inner);
        let read = spool.read(at, &mut inner);
        let observed = match read {
            Ok(Some(position)) => self.replay_event(&inner, position).map(|()| true),
            Ok(None) => Ok(false),
            Err(fault) => Err(fault.into()),
        };
        self.inner = inner;
        self.from_inner = true;
        if matches!(observed, Ok(false)) {
            if let Some((spool, _)) = self.replay.take() {
                self.put_back(spool);
            }
            self.commit();
        }
        observed
    }

    fn replay_event(&mut self, bytes: &[u8], position: Position) -> Result<(), Fault> {
        let header = super::event::header(bytes)?;
        self.event_type = header.event_type;
        self.rows_at = position;
        self.observe(&Event { header, bytes }, From::Held).map(|_| ())
    }
}
