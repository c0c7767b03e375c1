//! What a fault is staged on: the source, the wire with its proxy, the endpoint, the service.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use binpulse_demo::{Error, Installed, Mysqld, Options, Server, Streamer, prepare, settings_for};
use serde_json::json;
use tokio::time::{Duration, sleep};

use crate::aws::store::{ACCOUNT, Topic};
use crate::aws::{Endpoint, sqs};
use crate::load::{self, FILTERED, Load, MASKED, Traffic};
use crate::pace::Pace;
use crate::proxy::Proxy;
use crate::service::{SOON, binary, command, session};
use crate::shim::Shim;
use crate::watch::Watch;

/// Consumers that echo canaries.
pub(crate) const CONSUMERS: [&str; 2] = ["billing", "search"];
/// The topic.
const TOPIC: &str = "changes";

/// What a stage consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Variant {
    /// One server, without TLS, so that the proxy can tell the connections apart.
    Plain,
    /// The same, with a shim under the source and one under the service, which knows the source by
    /// its name.
    Shimmed,
    /// A second server that replicates from the first.
    Pair,
    /// The same, and the second one is the source: heartbeats go to the first.
    Chain,
    /// One server, with TLS.
    Tls,
    /// One server, and canaries through a table of the users'.
    Paths,
}

/// The two shims.
pub(crate) struct Shims {
    pub(crate) source: Shim,
    pub(crate) streamer: Shim,
}

/// All of it. Dropping it stops what it started.
pub(crate) struct Stage {
    pub(crate) watch: Watch,
    pub(crate) traffic: Traffic,
    /// Kept open by the fault that is in force.
    pub(crate) held: Vec<Held>,
    pub(crate) streamer: Streamer,
    pub(crate) proxy: Proxy,
    pub(crate) endpoint: Endpoint,
    pub(crate) mysqld: Mysqld,
    other: Option<Mysqld>,
    pub(crate) shims: Option<Shims>,
    pub(crate) load: Load,
    pub(crate) variant: Variant,
    pub(crate) pace: Pace,
    pub(crate) topic: Arc<str>,
    /// The topic, while it is deleted.
    pub(crate) deleted: Mutex<Option<Topic>>,
    /// Settings of the streamer, without where it listens and keeps its checkpoint.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Not to be used for another fault.
    pub(crate) spent: bool,
}

/// Something that ends when it is dropped.
pub(crate) enum Held {
    /// With its locks.
    Session(#[expect(dead_code, reason = "kept open")] Box<mysql_async::Conn>),
    Streamer(#[expect(dead_code, reason = "kept running")] Box<Streamer>),
    Task(tokio::task::JoinHandle<()>),
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Self::Task(task) = self {
            task.abort();
        }
    }
}

impl Stage {
    /// Starts all of it and waits until the service is ready.
    pub(crate) async fn start(variant: Variant, load: Load, pace: Pace) -> Result<Self, Error> {
        let server = Installed::find()?.server()?.clone();
        let shims = match variant {
            Variant::Shimmed => Some(Shims { source: Shim::build()?, streamer: Shim::build()? }),
            Variant::Plain | Variant::Pair | Variant::Chain | Variant::Tls | Variant::Paths => None,
        };
        let mut options = source_options();
        options.environment = shims.iter().flat_map(|it| it.source.environment()).collect();
        let mysqld = Mysqld::start(&server, options).await?;
        let other = match variant {
            Variant::Pair | Variant::Chain => Some(replica(&server, &mysqld).await?),
            Variant::Plain | Variant::Shimmed | Variant::Tls | Variant::Paths => None,
        };
        prepare(&mysqld, binary()).await?;
        load::prepare(mysqld.port()).await?;
        let failed = |source| Error::Program { program: "the proxy".to_owned(), source };
        let source = other.as_ref().filter(|_| variant == Variant::Chain).unwrap_or(&mysqld);
        let target = source.address().parse().expect("an address of loopback");
        let proxy = Proxy::start(target).await.map_err(failed)?;
        let endpoint = Endpoint::start().await;
        endpoint.shared.store().is_forgetful = true;
        let topic = endpoint.topic(TOPIC, &[]);
        let settings = settings(variant, &pace, &mysqld, &proxy, &endpoint, &topic);
        let mut command = command(settings.clone());
        command.environment.extend(shims.iter().flat_map(|it| it.streamer.environment()));
        let mut streamer = Streamer::start(command)?;
        streamer.until_ready(SOON).await?;
        let watch = Watch::start(streamer.address());
        let traffic = Traffic::start(load, mysqld.port());
        Ok(Self {
            watch,
            traffic,
            held: Vec::new(),
            streamer,
            proxy,
            endpoint,
            mysqld,
            other,
            shims,
            load,
            variant,
            pace,
            topic,
            deleted: Mutex::new(None),
            settings,
            spent: false,
        })
    }

    /// The second server.
    pub(crate) fn other(&self) -> Result<&Mysqld, Error> {
        self.other.as_ref().ok_or_else(|| missing("a second server"))
    }

    pub(crate) fn source_shim(&self) -> Result<&Shim, Error> {
        self.shims.as_ref().map(|shims| &shims.source).ok_or_else(|| missing("a shim"))
    }

    pub(crate) fn streamer_shim(&self) -> Result<&Shim, Error> {
        self.shims.as_ref().map(|shims| &shims.streamer).ok_or_else(|| missing("a shim"))
    }

    /// Starts another streamer of the same stream, with a copy of its checkpoint.
    pub(crate) async fn start_second(&mut self) -> Result<(), Error> {
        let checkpoint = self.streamer.folder().path().join("checkpoint");
        let copy = checkpoint.with_file_name("copy");
        let failed = |source| Error::File { path: checkpoint.clone(), source };
        std::fs::copy(&checkpoint, &copy).map_err(failed)?;
        let mut settings = self.settings.clone();
        settings.push(("checkpoint.path", copy.display().to_string()));
        // Without heartbeats there is no lease, which would keep it from starting.
        settings.push(("heartbeat.enabled", "false".to_owned()));
        settings.push(("canary.enabled", "false".to_owned()));
        let mut second = Streamer::start(command(settings))?;
        second.until_ready(SOON).await?;
        self.held.push(Held::Streamer(Box::new(second)));
        Ok(())
    }
}

fn missing(what: &str) -> Error {
    Error::Missing { what: what.to_owned(), remedy: "name the variant in the catalogue" }
}

fn settings(
    variant: Variant,
    pace: &Pace,
    mysqld: &Mysqld,
    proxy: &Proxy,
    endpoint: &Endpoint,
    topic: &str,
) -> Vec<(&'static str, String)> {
    let echo = CONSUMERS.map(|name| format!("{name}={}", subscribe(endpoint, topic, name)));
    let host = match variant {
        Variant::Shimmed => format!("localhost:{}", proxy.address().port()),
        Variant::Plain | Variant::Pair | Variant::Chain | Variant::Tls | Variant::Paths => {
            proxy.address().to_string()
        }
    };
    let tls = if variant == Variant::Tls { "required" } else { "off" };
    let own = [
        ("stream.name", "experiment".to_owned()),
        ("source.hosts", host),
        ("source.tls", tls.to_owned()),
        ("source.get_server_public_key", "true".to_owned()),
        ("filter.exclude", FILTERED.to_owned()),
        ("filter.drop_columns", MASKED.to_owned()),
        ("sns.topic", topic.to_owned()),
        ("sns.endpoint_url", endpoint.url()),
        ("canary.echo", echo.join(",")),
    ];
    let mut settings = settings_for(mysqld);
    settings.retain(|(key, _)| !own.iter().any(|(other, _)| other == key));
    settings.extend(own);
    settings.extend(pace.settings());
    if variant == Variant::Paths {
        settings.extend(load::PATH.map(|(key, value)| (key, value.to_owned())));
    }
    if variant == Variant::Chain {
        settings.push(("heartbeat.host", mysqld.address()));
        settings.push(("source.role", "replica".to_owned()));
    }
    settings
}

/// Makes the queue of a consumer's echo and has the topic deliver canaries to it; its URL.
pub(crate) fn subscribe(endpoint: &Endpoint, topic: &str, consumer: &str) -> String {
    let base = endpoint.url();
    let mut store = endpoint.shared.store();
    let policy = r#"{"Statement":[{"Effect":"Allow","Action":"sqs:SendMessage"}]}"#;
    let wanted = json!({"QueueName": consumer, "Attributes": {"Policy": policy}});
    let queue = sqs::call(&mut store, &base, "CreateQueue", &wanted, Instant::now());
    let url = queue.expect("a valid name")["QueueUrl"].as_str().expect("a URL").to_owned();
    let arn = format!("arn:aws:sqs:{}:{ACCOUNT}:{consumer}", store.region);
    let attributes = BTreeMap::from([
        ("RawMessageDelivery".to_owned(), "true".to_owned()),
        ("FilterPolicy".to_owned(), r#"{"kind":["canary"]}"#.to_owned()),
    ]);
    store.subscribe(topic, &arn, &attributes).expect("a valid subscription");
    url
}

/// A killed server must come back with everything that its binary log has told.
fn source_options() -> Options {
    let extra = ["--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0"];
    Options { durable: true, extra: extra.map(str::to_owned).to_vec(), ..Options::default() }
}

/// A second server that follows the first, and takes no writes.
async fn replica(server: &Server, of: &Mysqld) -> Result<Mysqld, Error> {
    let other = Mysqld::start(server, source_options()).await?;
    let follow = format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, \
         SOURCE_USER = 'root', SOURCE_PASSWORD = '', SOURCE_AUTO_POSITION = 1, \
         GET_SOURCE_PUBLIC_KEY = 1",
        of.port()
    );
    let start = ["START REPLICA".to_owned(), "SET GLOBAL super_read_only = ON".to_owned()];
    other.execute(&[&[follow][..], &start[..]].concat()).await?;
    let mut root = session(other.port()).await?;
    let state = "SELECT COUNT(*) FROM performance_schema.replication_connection_status \
                 WHERE service_state = 'ON'";
    for _ in 0..300 {
        let runs: Option<u64> =
            mysql_async::prelude::Queryable::query_first(&mut root, state).await?;
        if runs == Some(1) {
            root.disconnect().await?;
            return Ok(other);
        }
        sleep(Duration::from_millis(100)).await;
    }
    Err(Error::Deadline { what: "replication to start".to_owned(), seconds: 30 })
}
