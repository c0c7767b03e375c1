//! What the soak runs on: the source, the wire with its proxy, the endpoint, the streamer.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use binpulse_demo::{
    Command, Error, Flavor, Folder, Installed, Mysqld, Options, Server, Streamer, prepare,
    settings_for,
};

use crate::aws::Endpoint;
use crate::plan::{Plan, Source, Topic};
use crate::proxy::Proxy;
use crate::service::{self, SOON};
use crate::snapshots::{self, Operator};
use crate::standby;
use crate::workload::DATABASE;

/// All of it. Dropping it stops what it started.
pub(crate) struct Stage {
    pub(crate) streamer: Streamer,
    pub(crate) proxy: Proxy,
    pub(crate) endpoint: Endpoint,
    pub(crate) mysqld: Mysqld,
    /// A replica of it that can take over.
    pub(crate) standby: Option<Mysqld>,
    pub(crate) source: Source,
    /// Where the workload finds the source.
    pub(crate) port: Arc<AtomicU16>,
    /// Checkpoint and the program.
    folder: Folder,
    /// Settings of the streamer, without where it listens and keeps its checkpoint.
    settings: Vec<(&'static str, String)>,
}

/// A port on which nobody listens.
const NOWHERE: u16 = 1;

/// Names the program to test instead of the one that was built with the tests.
const BINARY: &str = "SOAK_BINARY";

/// The program under test.
fn binary() -> PathBuf {
    std::env::var_os(BINARY).map_or_else(|| service::binary().to_owned(), PathBuf::from)
}

fn failed(program: &str) -> impl FnOnce(std::io::Error) -> Error {
    let program = program.to_owned();
    |source| Error::Program { program, source }
}

impl Stage {
    pub(crate) async fn start(plan: &Plan, seed: u64) -> Result<Self, Error> {
        let server = server(plan)?;
        let mysqld = Mysqld::start(&server, source_options(plan.source)).await?;
        prepare(&mysqld, &binary()).await?;
        mysqld
            .execute(&[format!("GRANT SELECT, LOCK TABLES ON {DATABASE}.* TO 'binpulse'@'%'")])
            .await?;
        let standby = if plan.has_standby && plan.source != Source::Position {
            Some(standby::start(&mysqld, source_options(plan.source)).await?)
        } else {
            None
        };
        let folder = Folder::create()?;
        lay_out(folder.path()).map_err(failed("the folder of the checkpoint"))?;
        let target = mysqld.address().parse().expect("an address of loopback");
        let proxy = Proxy::start(target).await.map_err(failed("the proxy"))?;
        let endpoint = Endpoint::start_on(0, seed).await;
        let (name, attributes): (_, &[_]) = match plan.topic {
            Topic::Fifo => ("soak.fifo", &[("FifoThroughputScope", "MessageGroup")]),
            Topic::Standard => ("soak", &[]),
        };
        let arn = endpoint.topic(name, attributes);
        let mut settings = settings(&mysqld, &proxy, &endpoint, &arn);
        settings.push(("message.lanes", plan.lanes.to_string()));
        settings.extend(snapshots::settings(plan));
        let port = Arc::new(AtomicU16::new(mysqld.port()));
        let own = Self::command_in(folder.path(), &settings, &folder.path().join(CHECKPOINT));
        let mut streamer = Streamer::start(own)?;
        streamer.until_ready(SOON).await?;
        let source = plan.source;
        Ok(Self { streamer, proxy, endpoint, mysqld, standby, source, port, folder, settings })
    }

    /// The file in which the streamer keeps its checkpoint.
    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.folder.path().join(CHECKPOINT)
    }

    /// Who gives orders about snapshots.
    pub(crate) fn operator(&self) -> Operator {
        Operator { binary: binary(), address: self.streamer.address().to_owned() }
    }

    /// A folder of the soak's own.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What starts another streamer of the same stream, with its checkpoint there.
    pub(crate) fn another(&self, checkpoint: &Path) -> Command {
        Self::command_in(self.folder.path(), &self.settings, checkpoint)
    }

    fn command_in(
        folder: &Path,
        settings: &[(&'static str, String)],
        checkpoint: &Path,
    ) -> Command {
        let mut settings = settings.to_vec();
        settings.push(("checkpoint.path", checkpoint.display().to_string()));
        Command { binary: folder.join(PROGRAM), ..service::command(settings) }
    }

    /// The workload finds no source.
    pub(crate) fn hide(&self) {
        self.port.store(NOWHERE, Ordering::Relaxed);
    }

    /// The standby takes the place of the source, for the workload too.
    pub(crate) fn switch(&mut self) {
        if let Some(standby) = &mut self.standby {
            std::mem::swap(&mut self.mysqld, standby);
        }
        self.port.store(self.mysqld.port(), Ordering::Relaxed);
        self.proxy.move_to(self.mysqld.address().parse().expect("an address of loopback"));
    }

    /// Where binary logs of the source are kept that it purges.
    pub(crate) fn archive(&self) -> PathBuf {
        self.mysqld.data().with_file_name("archive")
    }

    /// Binary logs of the source, in their order, with those that it has purged.
    pub(crate) fn binlogs(&self) -> std::io::Result<Vec<PathBuf>> {
        let mut files = binlogs_in(&self.mysqld.data())?;
        if self.archive().exists() {
            files.extend(binlogs_in(&self.archive())?);
        }
        // Nothing that was quarantined is there still.
        files.sort_by(|one, two| one.file_name().cmp(&two.file_name()));
        Ok(files)
    }
}

/// The binary logs in a folder.
pub(crate) fn binlogs_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let number = name.as_deref().and_then(|name| name.strip_prefix("binlog."));
        if number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The checkpoint within the folder. Its own folder is a link, so that it can be taken away.
const CHECKPOINT: &str = "state/checkpoint";
/// Where that link leads.
const STATE: &str = "state.there";
/// The program within the folder.
const PROGRAM: &str = "binpulse";

/// The program is started by a script: without the signal for files that are too large, a write
/// beyond a limit ends as one to a full disk does, with an error and what fitted written.
fn lay_out(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir(folder.join(STATE))?;
    symlink(STATE, folder.join("state"))?;
    let script = format!("#!/bin/sh\ntrap '' XFSZ\nexec '{}' \"$@\"\n", binary().display());
    let program = folder.join(PROGRAM);
    std::fs::write(&program, script)?;
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700))
}

/// Leads the link to the checkpoint's folder to a place where nobody can write, or back.
pub(crate) fn point_state(folder: &Path, is_there: bool) -> std::io::Result<()> {
    let new = folder.join("state.new");
    symlink(if is_there { Path::new(STATE) } else { Path::new("/sys") }, &new)?;
    std::fs::rename(new, folder.join("state"))
}

fn server(plan: &Plan) -> Result<Server, Error> {
    let installed = Installed::find()?;
    let (release, is_maria) = (plan.release, plan.source == Source::Mariadb);
    if release.is_empty() && !is_maria {
        return installed.server().cloned();
    }
    let is_it = |server: &Server| match release {
        "" => server.flavor == Flavor::Mariadb,
        name => server.name == name,
    };
    installed.servers.into_iter().find(is_it).ok_or_else(|| {
        let what = if release.is_empty() { "a MariaDB" } else { release };
        Error::Missing { what: what.to_owned(), remedy: "run `make deps`" }
    })
}

/// A killed server must come back with everything that its binary log has told: writes reach the
/// operating system at each commit. Reaching the disk would only matter for power cuts.
fn source_options(source: Source) -> Options {
    let extra = [
        "--innodb-flush-log-at-trx-commit=2",
        "--sync-binlog=0",
        "--binlog-cache-size=64K",
        "--max-binlog-size=64M",
        "--innodb-lock-wait-timeout=1",
    ];
    let extra = extra.map(str::to_owned).to_vec();
    Options { durable: true, gtid: source == Source::Gtid, extra, ..Options::default() }
}

fn settings(
    mysqld: &Mysqld,
    proxy: &Proxy,
    endpoint: &Endpoint,
    topic: &str,
) -> Vec<(&'static str, String)> {
    let own = [
        ("stream.name", "soak".to_owned()),
        ("source.hosts", proxy.address().to_string()),
        // Without TLS, so that the proxy can tell the connections apart, and corrupt what they carry.
        ("source.tls", "off".to_owned()),
        ("source.get_server_public_key", "true".to_owned()),
        ("source.start", "earliest".to_owned()),
        ("source.heartbeat_period", "400ms".to_owned()),
        ("heartbeat.interval", "1s".to_owned()),
        ("heartbeat.write_deadline", "400ms".to_owned()),
        ("canary.interval", "2s".to_owned()),
        ("checkpoint.interval", "100ms".to_owned()),
        ("sns.topic", topic.to_owned()),
        ("sns.endpoint_url", endpoint.url()),
        ("sns.request_timeout", "2s".to_owned()),
        ("shutdown.grace", "5s".to_owned()),
        ("shutdown.on_halt", "exit".to_owned()),
    ];
    let mut all = settings_for(mysqld);
    all.retain(|(key, _)| !own.iter().any(|(other, _)| other == key));
    all.extend(own);
    all
}
