//! From a host name to a connection that is ready to be asked for the stream.

use std::time::Duration;

use crate::mysql::HostPort;
use crate::mysql::wire::{
    self, Channel, Dial, Dialled, Greeting, RESULT_BYTES_MAX, ServerError, Socket,
};
use crate::source::command::register;
use crate::source::identity::{derive_replica_uuid, derive_server_id};
use crate::source::{Config, Error, Flavor, Identity, Start, Step};

/// Connects, logs in, agrees on checksums and heartbeats, and registers.
pub(super) async fn open(
    config: &Config,
    host: &HostPort,
    start: &Start,
) -> Result<(Channel<Socket>, Identity), Error> {
    let password = config.password.now();
    let dialled = wire::dial(Dial {
        host,
        user: &config.user,
        password: &password,
        tls: &config.tls,
        database: None,
        connect: config.deadlines.connect,
        login: config.deadlines.login,
    });
    let dialled = dialled.await.map_err(|failure| Error::of_wire(failure, host))?;
    let Dialled { mut channel, greeting, .. } = dialled;
    channel.allow(RESULT_BYTES_MAX);
    let mut setup = SetUp { channel: &mut channel, host, deadline: config.deadlines.query };
    let identity = setup.identify(config, &greeting).await?;
    setup.prepare(config, &identity, start).await?;
    setup.register(config, &identity).await?;
    Ok((channel, identity))
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
    host: &'a HostPort,
    deadline: Duration,
}

impl SetUp<'_> {
    /// The first row of the answer, if it has rows: names and numbers, none of which is long.
    async fn query(&mut self, sql: &str) -> Result<Vec<Option<String>>, Error> {
        let host = self.host;
        let answer = within(self.deadline, Step::SetUp, async {
            let answer = wire::run(self.channel, sql).await;
            answer.map_err(|failure| Error::of_wire(failure, host))
        });
        let rows = answer.await?.rows;
        let first = rows.first();
        Ok(first
            .map(|row| (0..row.len()).map(|column| row.excerpt(column)).collect())
            .unwrap_or_default())
    }

    async fn identify(&mut self, config: &Config, greeting: &Greeting) -> Result<Identity, Error> {
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
            host: self.host.clone(),
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
        let command = register(identity.replica_server_id, &config.report_host, config.report_port);
        within(self.deadline, Step::Register, async {
            let answer = async {
                self.channel.command(&command).await?;
                self.channel.packet().await
            };
            let packet = answer.await.map_err(|error| Error::of_channel(error, Step::Register))?;
            match packet.split_first() {
                Some((0xff, rest)) => Err(Error::refused(ServerError::parse(rest), Step::Register)),
                _ => Ok(()),
            }
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
