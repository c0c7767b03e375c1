//! A live replica connection.

mod request;
mod setup;

use std::ops::Range;
use std::time::{Duration, Instant};

use self::request::{Skip, request};
use super::{Config, Error, Identity, Liveness, Start, Step};
use crate::binlog::{Checksum, Header, kind};
use crate::mysql::wire::{Channel, PACKET_BYTES_MAX, ServerError, Socket};
use crate::platform;

/// Types of events that come before any that shows where the stream is: the server sends them
/// before it searches its files.
const PREAMBLE: [u8; 6] = [
    kind::FORMAT_DESCRIPTION,
    kind::ROTATE,
    kind::PREVIOUS_GTIDS,
    kind::GTID_LIST,
    kind::START_ENCRYPTION,
    kind::BINLOG_CHECKPOINT,
];

/// A replica connection with its stream open.
///
/// The server's heartbeats are agreed on, so silence means trouble: [`Replica::next`] fails once no
/// byte has come for [`Config::silence`] while it waited. To drop it closes the connection.
#[derive(Debug)]
pub struct Replica {
    channel: Channel<Socket>,
    checksum: Checksum,
    identity: Identity,
    liveness: Liveness,
    heartbeat: Duration,
    silence: Duration,
    first_event: Duration,
    /// When the wait for the next byte began; survives a `next` that was given up, so that callers
    /// who poll cannot starve the deadline.
    waiting_since: Option<Instant>,
    /// Whether an event has shown that the server found the start.
    established: bool,
    /// The stream has ended, in one way or another.
    ended: bool,
    skip: Option<Skip>,
}

impl Replica {
    /// Connects to one of the hosts, logs in, agrees on checksums and heartbeats, registers, and
    /// asks for the stream. Each step has its own deadline.
    pub async fn connect(
        config: &Config,
        host: usize,
        start: &Start,
        liveness: &Liveness,
    ) -> Result<Self, Error> {
        let (mut channel, identity) = setup::open(config, config.host(host)?, start).await?;
        let (request, skip) = request(&identity, start)?;
        channel.allow(PACKET_BYTES_MAX);
        channel
            .command(&request)
            .await
            .map_err(|error| Error::of_channel(error, Step::FirstEvent))?;
        Ok(Self {
            channel,
            checksum: Checksum::new(),
            identity,
            liveness: liveness.clone(),
            heartbeat: config.heartbeat_period,
            silence: config.silence(),
            first_event: config.deadlines.first_event,
            waiting_since: None,
            established: false,
            ended: false,
            skip,
        })
    }

    /// Who is at the other end.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether a whole event has already arrived, so that [`Replica::next`] will not wait.
    pub fn buffered(&self) -> bool {
        self.channel.holds_packet()
    }

    /// The next event: header, body, and a checksum if the format description says so; length and
    /// checksum are verified. Borrowed from the read buffer.
    ///
    /// `None` when the server ended the stream in order (it does so when it shuts down, and on
    /// KILL QUERY): dial again. After an error or `None` the stream gives `None`.
    ///
    /// Cancel safe: dropping the future loses no byte.
    pub async fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        match self.advance().await {
            Ok(Some(range)) => Ok(Some(self.channel.bytes(range))),
            Ok(None) => {
                self.finish();
                Ok(None)
            }
            Err(error) => {
                self.finish();
                Err(error)
            }
        }
    }

    /// The next event if it has arrived already. `None` if [`Replica::next`] has to be asked: to wait
    /// for it, or because the stream ends here.
    ///
    /// Most events come many to a read. Each that is taken without the machinery of a future saves
    /// about a tenth of what a single-row transaction costs.
    #[inline]
    pub fn next_buffered(&mut self) -> Result<Option<&[u8]>, Error> {
        match self.arrived() {
            Ok(Arrived::Event(range)) => Ok(Some(self.channel.bytes(range))),
            Ok(Arrived::Nothing) => Ok(None),
            Ok(Arrived::End) => {
                self.finish();
                Ok(None)
            }
            Err(error) => {
                self.finish();
                Err(error)
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<Range<usize>>, Error> {
        loop {
            match self.arrived()? {
                Arrived::Event(range) => return Ok(Some(range)),
                Arrived::Nothing => self.fill().await?,
                Arrived::End => return Ok(None),
            }
        }
    }

    /// Takes packets that are there, up to the first that is an event for us.
    fn arrived(&mut self) -> Result<Arrived, Error> {
        while !self.ended {
            let step = self.step();
            let Some(payload) =
                self.channel.buffered().map_err(|error| Error::of_channel(error, step))?
            else {
                return Ok(Arrived::Nothing);
            };
            match self.channel.bytes(payload.clone()).split_first() {
                Some((0x00, _)) => {
                    if let Some(event) = self.accept(payload)? {
                        return Ok(Arrived::Event(event));
                    }
                }
                Some((0xff, rest)) => return Err(Error::refused(ServerError::parse(rest), step)),
                Some((0xfe, rest)) if rest.len() < 8 => return Ok(Arrived::End),
                other => return Err(no_event(step, other)),
            }
        }
        Ok(Arrived::End)
    }

    /// Checks the event behind the mark; its range, or `None` if it is to be passed over.
    fn accept(&mut self, payload: Range<usize>) -> Result<Option<Range<usize>>, Error> {
        let range = payload.start + 1..payload.end;
        let event = self.channel.bytes(range.clone());
        self.checksum.verify(event)?;
        let event_type = event.get(4).copied().unwrap_or_default();
        if !self.established && !PREAMBLE.contains(&event_type) {
            self.established = true;
        }
        if !self.liveness.is_connected() {
            self.liveness.set_connected(true);
        }
        let Some(skip) = &mut self.skip else { return Ok(Some(range)) };
        if Header::parse(event).is_some_and(|header| header.is_artificial()) {
            return Ok(Some(range));
        }
        if skip.passes_over(event) {
            return Ok((event_type == kind::FORMAT_DESCRIPTION).then_some(range));
        }
        self.skip = None;
        Ok(Some(range))
    }

    /// Reads once, or finds that the server has been silent for too long. Bytes that are there are
    /// taken before the clock is looked at: whoever was frozen himself must not blame the server.
    async fn fill(&mut self) -> Result<(), Error> {
        let step = self.step();
        let limit = if self.established { self.silence } else { self.first_event };
        let since = *self.waiting_since.get_or_insert_with(platform::now);
        let left = limit.saturating_sub(platform::since(since));
        let read = {
            let _armed = self.liveness.arm();
            tokio::time::timeout(left, self.channel.fill()).await
        };
        match read {
            Ok(Ok(count)) => {
                self.waiting_since = None;
                self.liveness.received(count, platform::now());
                Ok(())
            }
            Ok(Err(error)) => Err(Error::of_channel(error, step)),
            Err(_) if self.established => {
                Err(Error::Silent { after: limit, heartbeat: self.heartbeat })
            }
            Err(_) => Err(Error::TimedOut { step, after: limit }),
        }
    }

    fn step(&self) -> Step {
        if self.established { Step::Stream } else { Step::FirstEvent }
    }

    fn finish(&mut self) {
        self.ended = true;
        self.liveness.set_connected(false);
    }
}

/// What lies in the read buffer.
enum Arrived {
    Event(Range<usize>),
    /// Not a whole packet.
    Nothing,
    /// The stream has ended.
    End,
}

#[cold]
fn no_event(step: Step, packet: Option<(&u8, &[u8])>) -> Error {
    let found = match packet {
        Some((mark, rest)) => format!("a packet of {} bytes marked {mark:#04x}", rest.len() + 1),
        None => "an empty packet".to_owned(),
    };
    Error::Protocol { step, found, expected: "an event" }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.liveness.set_connected(false);
    }
}

#[cfg(test)]
pub(crate) mod tests;
