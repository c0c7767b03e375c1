//! What the soak runs on: the source, the wire with its proxy, the endpoint, the streamer.

use std::path::PathBuf;

use binpulse::demo::{Error, Installed, Mysqld, Options, Server, Streamer, prepare, settings_for};

use crate::aws::Endpoint;
use crate::proxy::Proxy;
use crate::service::{SOON, binary, command};

/// Kind of topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Order is kept per lane.
    Fifo,
    /// Many messages of a lane are under way at once.
    Standard,
}

/// All of it. Dropping it stops what it started.
pub(crate) struct Stage {
    pub(crate) streamer: Streamer,
    pub(crate) proxy: Proxy,
    pub(crate) endpoint: Endpoint,
    pub(crate) mysqld: Mysqld,
    pub(crate) server: Server,
    /// Settings of the streamer, without where it listens and keeps its checkpoint.
    settings: Vec<(&'static str, String)>,
}

impl Stage {
    pub(crate) async fn start(topic: Topic, lanes: u64, seed: u64) -> Result<Self, Error> {
        let installed = Installed::find()?;
        let server = installed.server()?.clone();
        let mysqld = Mysqld::start(&server, source_options()).await?;
        prepare(&mysqld, binary()).await?;
        let target = mysqld.address().parse().expect("an address of loopback");
        let failed = |source| Error::Program { program: "the proxy".to_owned(), source };
        let proxy = Proxy::start(target).await.map_err(failed)?;
        let endpoint = Endpoint::start_on(0, seed).await;
        let (name, attributes): (_, &[_]) = match topic {
            Topic::Fifo => ("soak.fifo", &[("FifoThroughputScope", "MessageGroup")]),
            Topic::Standard => ("soak", &[]),
        };
        let arn = endpoint.topic(name, attributes);
        let mut settings = settings(&mysqld, &proxy, &endpoint, &arn);
        settings.push(("message.lanes", lanes.to_string()));
        let mut streamer = Streamer::start(command(settings.clone()))?;
        streamer.until_ready(SOON).await?;
        Ok(Self { streamer, proxy, endpoint, mysqld, server, settings })
    }

    /// The file in which the streamer keeps its checkpoint.
    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.streamer.folder().path().join("checkpoint")
    }

    /// A second streamer of the same stream, by mistake: how it ends.
    pub(crate) async fn second_streamer(&self) -> Result<(Option<i32>, String), Error> {
        let mut settings = self.settings.clone();
        settings.push(("http.listen", "127.0.0.1:0".to_owned()));
        settings.push(("checkpoint.path", self.checkpoint().display().to_string()));
        command(settings).run_to_end(SOON).await
    }

    /// Binary logs of the source, in their order.
    pub(crate) fn binlogs(&self) -> std::io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(self.mysqld.data())? {
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
}

/// A killed server must come back with everything that its binary log has told: writes reach the
/// operating system at each commit. Reaching the disk would only matter for power cuts.
fn source_options() -> Options {
    let extra = [
        "--innodb-flush-log-at-trx-commit=2",
        "--sync-binlog=0",
        "--binlog-cache-size=64K",
        "--max-binlog-size=64M",
        "--innodb-lock-wait-timeout=1",
    ];
    let extra = extra.map(str::to_owned).to_vec();
    Options { durable: true, extra, ..Options::default() }
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
