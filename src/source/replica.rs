//! A live replica connection.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::checksum::{self, Checksum, FORMAT_DESCRIPTION, ROTATE};
use super::identity::{Flavor, derive_replica_uuid, derive_server_id};
use super::wire::{self, Channel, Login, ServerError, Socket};
use super::{Config, Error, Identity, Liveness, Start, Step};
use crate::change::Position;

/// Types of events that come before any that shows where the stream is: the server sends them
/// before it searches its files. Format description, rotate, previous GTIDs, MariaDB's list of
/// GTIDs, start of encryption, binlog checkpoint.
const PREAMBLE: [u8; 6] = [FORMAT_DESCRIPTION, ROTATE, 35, 163, 164, 161];

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

/// Passing over the front of a file, for offsets that a request cannot hold.
#[derive(Debug, PartialEq)]
struct Skip {
    /// End of the last event that was passed over.
    end: u64,
    until: u64,
}

impl Skip {
    /// Whether an event lies before the place. Lengths alone do not tell, as senders leave events
    /// out; the headers have the low 32 bits of each event's end, and no two events are 4 GiB apart.
    fn passes_over(&mut self, event: &[u8]) -> bool {
        let low = u64::from(checksum::next_position(event));
        let ahead = low.wrapping_sub(self.end) & u64::from(u32::MAX);
        let end = self.end.saturating_add(ahead);
        if end.saturating_sub(event.len() as u64) >= self.until {
            return false;
        }
        self.end = end;
        true
    }
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
        let host = config.host(host)?;
        let deadlines = config.deadlines;
        let socket = within(deadlines.connect, Step::Connect, wire::connect(host)).await?;
        let mut channel = Channel::new(socket);
        let login = Login {
            host,
            user: &config.user,
            password: &config.password,
            tls: &config.tls,
            deadline: deadlines.login,
        };
        let greeting = login.perform(&mut channel).await?;

        let mut setup = SetUp { channel: &mut channel, deadline: deadlines.query };
        let identity = setup.identify(config, host, &greeting).await?;
        setup.prepare(config, &identity, start).await?;
        setup.register(config, &identity).await?;

        let (request, skip) = request(&identity, start)?;
        channel.command(&request).await.map_err(|error| error.at(Step::FirstEvent))?;
        Ok(Self {
            channel,
            checksum: Checksum::new(),
            identity,
            liveness: liveness.clone(),
            heartbeat: config.heartbeat_period,
            silence: config.silence(),
            first_event: deadlines.first_event,
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

    async fn advance(&mut self) -> Result<Option<Range<usize>>, Error> {
        while !self.ended {
            let step = self.step();
            let Some(payload) = self.channel.buffered().map_err(|error| error.at(step))? else {
                self.fill().await?;
                continue;
            };
            match self.channel.bytes(payload.clone()).split_first() {
                Some((0x00, _)) => {
                    if let Some(event) = self.accept(payload)? {
                        return Ok(Some(event));
                    }
                }
                Some((0xff, rest)) => return Err(ServerError::parse(rest).at(step)),
                Some((0xfe, rest)) if rest.len() < 8 => return Ok(None),
                other => {
                    let found = match other {
                        Some((mark, rest)) => {
                            format!("a packet of {} bytes marked {mark:#04x}", rest.len() + 1)
                        }
                        None => "an empty packet".to_owned(),
                    };
                    return Err(Error::Protocol { step, found, expected: "an event" });
                }
            }
        }
        Ok(None)
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
        if checksum::is_artificial(event) {
            return Ok(Some(range));
        }
        if skip.passes_over(event) {
            return Ok((event_type == FORMAT_DESCRIPTION).then_some(range));
        }
        self.skip = None;
        Ok(Some(range))
    }

    /// Reads once, or finds that the server has been silent for too long. Bytes that are there are
    /// taken before the clock is looked at: whoever was frozen himself must not blame the server.
    async fn fill(&mut self) -> Result<(), Error> {
        let step = self.step();
        let limit = if self.established { self.silence } else { self.first_event };
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let left = limit.saturating_sub(since.elapsed());
        let read = {
            let _armed = self.liveness.arm();
            tokio::time::timeout(left, self.channel.fill()).await
        };
        match read {
            Ok(Ok(count)) => {
                self.waiting_since = None;
                self.liveness.received(count, Instant::now());
                Ok(())
            }
            Ok(Err(error)) => Err(error.at(step)),
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

impl Drop for Replica {
    fn drop(&mut self) {
        self.liveness.set_connected(false);
    }
}

async fn within<T>(
    after: Duration,
    step: Step,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(after, work).await.map_err(|_| Error::TimedOut { step, after })?
}

/// The statements between login and stream.
struct SetUp<'a> {
    channel: &'a mut Channel<Socket>,
    deadline: Duration,
}

impl SetUp<'_> {
    async fn query(&mut self, sql: &str) -> Result<Vec<Option<String>>, Error> {
        let row = wire::query(self.channel, sql, Step::SetUp);
        Ok(within(self.deadline, Step::SetUp, row).await?.unwrap_or_default())
    }

    async fn identify(
        &mut self,
        config: &Config,
        host: &crate::mysql::HostPort,
        greeting: &wire::Greeting,
    ) -> Result<Identity, Error> {
        let row = self.query("SELECT @@GLOBAL.server_id, @@GLOBAL.version").await?;
        let [server_id, version] = row.as_slice() else { return Err(no_row()) };
        let server_id = server_id.as_deref().and_then(|id| id.parse().ok()).ok_or_else(no_row)?;
        let version = version.clone().unwrap_or_else(|| greeting.version.clone());
        let flavor = Flavor::of(&version);
        let (mut server_uuid, mut gtid_mode) = (None, None);
        if flavor == Flavor::Mysql {
            let row = self.query("SELECT @@GLOBAL.server_uuid, @@GLOBAL.gtid_mode").await?;
            let [uuid, mode] = row.as_slice() else { return Err(no_row()) };
            server_uuid = uuid.as_deref().and_then(|uuid| uuid.parse().ok());
            gtid_mode.clone_from(mode);
        }
        let mut identity = Identity {
            host: host.clone(),
            flavor,
            version,
            server_id,
            server_uuid,
            gtid_mode,
            connection_id: greeting.connection_id,
            replica_server_id: 0,
            replica_uuid: config
                .replica_uuid
                .unwrap_or_else(|| derive_replica_uuid(&config.stream)),
            secured: self.channel.is_secured(),
        };
        identity.replica_server_id = config
            .server_id
            .unwrap_or_else(|| derive_server_id(&config.stream, &identity.name(), 0));
        Ok(identity)
    }

    /// Variables have two names each: `master` and `slave` up to MySQL 8.0 and in MariaDB,
    /// `source` and `replica` since. Setting both does no harm anywhere.
    async fn prepare(
        &mut self,
        config: &Config,
        identity: &Identity,
        start: &Start,
    ) -> Result<(), Error> {
        let period = config.heartbeat_period.as_nanos();
        let uuid = identity.replica_uuid;
        let send = config.send_timeout.as_secs().clamp(60, 31_536_000);
        let mut statements = vec![
            "SET @source_binlog_checksum = @@GLOBAL.binlog_checksum, \
             @master_binlog_checksum = @@GLOBAL.binlog_checksum"
                .to_owned(),
            format!("SET @source_heartbeat_period = {period}, @master_heartbeat_period = {period}"),
            format!("SET @replica_uuid = '{uuid}', @slave_uuid = '{uuid}'"),
            format!("SET SESSION net_write_timeout = {send}, SESSION net_read_timeout = {send}"),
        ];
        if identity.flavor == Flavor::Maria {
            // 4: knows GTID events, checksums and binlog checkpoints.
            statements.push("SET @mariadb_slave_capability = 4".to_owned());
        }
        if let Start::Maria(position) = start {
            // Digits, dashes and commas only: safe to quote.
            statements.push(format!("SET @slave_connect_state = '{position}'"));
            statements.push("SET @slave_gtid_strict_mode = 0".to_owned());
            statements.push("SET @slave_gtid_ignore_duplicates = 0".to_owned());
        }
        for statement in statements {
            self.query(&statement).await?;
        }
        Ok(())
    }

    async fn register(&mut self, config: &Config, identity: &Identity) -> Result<(), Error> {
        let command =
            wire::register(identity.replica_server_id, &config.report_host, config.report_port);
        within(self.deadline, Step::Register, async {
            self.channel.command(&command).await.map_err(|error| error.at(Step::Register))?;
            wire::answer(self.channel, Step::Register).await.map(drop)
        })
        .await
    }
}

fn no_row() -> Error {
    Error::Protocol {
        step: Step::SetUp,
        found: "another answer".to_owned(),
        expected: "the server's id, version and UUID",
    }
}

/// The request for the stream, and what to pass over at its front.
fn request(identity: &Identity, start: &Start) -> Result<(Vec<u8>, Option<Skip>), Error> {
    let id = identity.replica_server_id;
    let gtid_on = identity.gtid_mode.as_deref() == Some("ON");
    let misfit = |start| Err(Error::StartMisfit { found: describe(identity), start });
    match (start, identity.flavor) {
        (Start::Gtid(_), Flavor::Maria) => misfit("a set of MySQL's GTIDs"),
        (Start::Maria(_), Flavor::Mysql) => misfit("a GTID position of MariaDB's"),
        (Start::Gtid(_), Flavor::Mysql) if !gtid_on => misfit("a set of GTIDs"),
        (Start::Gtid(set), Flavor::Mysql) => Ok((wire::dump_by_gtid(id, &set.encode()), None)),
        (Start::Maria(_), Flavor::Maria) => Ok((wire::dump_by_position(id, "", 4), None)),
        (Start::Position(position), _) => Ok(request_position(id, gtid_on, position)),
    }
}

fn request_position(id: u32, gtid_on: bool, position: &Position) -> (Vec<u8>, Option<Skip>) {
    let Position { file, offset } = position;
    match u32::try_from(*offset) {
        Ok(offset) => (wire::dump_by_position(id, file, offset), None),
        Err(_) if gtid_on => (wire::dump_from_wide_position(id, file, *offset), None),
        // Without GTIDs no request holds such an offset: the file is read from its front.
        Err(_) => (wire::dump_by_position(id, file, 4), Some(Skip { end: 4, until: *offset })),
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
    use super::{Flavor, Identity, Skip, Start, request};
    use crate::change::{GtidSet, MariaGtidSet, Position, Uuid};
    use crate::mysql::HostPort;
    use crate::source::{Error, checksum};

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
        for (server, start) in
            [(&mysql, &gtid), (&maria, &gtid), (&mysql, &Start::Maria(MariaGtidSet::new()))]
        {
            assert!(matches!(request(server, start), Err(Error::StartMisfit { .. })));
        }
        assert!(request(&identity(Flavor::Mysql, Some("ON")), &gtid).is_ok());
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
            let mut event = checksum::tests::event(30, &[0; 81], 0, false);
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
}
