//! What a fault is staged on: the source, the wire with its proxy, the endpoint, the service.

use std::collections::BTreeMap;
use std::time::Instant;

use binpulse::demo::{Error, Installed, Mysqld, Options, Server, Streamer, prepare, settings_for};
use serde_json::json;

use crate::aws::{Endpoint, sqs};
use crate::load::{self, FILTERED, Load, Traffic};
use crate::pace::Pace;
use crate::proxy::Proxy;
use crate::service::{SOON, binary, command};
use crate::watch::Watch;

/// Consumers that echo canaries.
pub(crate) const CONSUMERS: [&str; 2] = ["billing", "search"];
/// The topic.
pub(crate) const TOPIC: &str = "changes";

/// What a stage consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Variant {
    /// One server.
    Plain,
}

/// All of it. Dropping it stops what it started.
pub(crate) struct Stage {
    pub(crate) watch: Watch,
    pub(crate) traffic: Traffic,
    pub(crate) streamer: Streamer,
    pub(crate) proxy: Proxy,
    pub(crate) endpoint: Endpoint,
    pub(crate) mysqld: Mysqld,
    pub(crate) load: Load,
    pub(crate) variant: Variant,
    pub(crate) pace: Pace,
    /// Kept open by the fault that is in force: sessions with locks, tasks.
    pub(crate) held: Vec<Held>,
    /// Not to be used for another fault.
    pub(crate) spent: bool,
}

/// Something that ends when it is dropped.
pub(crate) enum Held {
    Session(mysql_async::Conn),
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
    pub(crate) async fn start(variant: Variant, load: Load, pace: Pace) -> Result<Self, Error> {
        let installed = Installed::find()?;
        let server = installed.server()?.clone();
        let mysqld = Mysqld::start(&server, source_options()).await?;
        prepare(&mysqld, binary()).await?;
        load::prepare(mysqld.port()).await?;
        let failed = |source| Error::Program { program: "the proxy".to_owned(), source };
        let target = mysqld.address().parse().expect("an address of loopback");
        let proxy = Proxy::start(target).await.map_err(failed)?;
        let endpoint = Endpoint::start().await;
        endpoint.shared.store().is_forgetful = true;
        let topic = endpoint.topic(TOPIC, &[]);
        let echo: Vec<_> = CONSUMERS
            .iter()
            .map(|consumer| format!("{consumer}={}", subscribe(&endpoint, &topic, consumer)))
            .collect();
        let own = [
            ("stream.name", "experiment".to_owned()),
            ("source.hosts", proxy.address().to_string()),
            // Without TLS, so that the proxy can tell the connections apart.
            ("source.tls", "off".to_owned()),
            ("filter.exclude", FILTERED.to_owned()),
            ("sns.topic", topic.to_string()),
            ("sns.endpoint_url", endpoint.url()),
            ("canary.echo", echo.join(",")),
        ];
        let mut settings = settings_for(&mysqld);
        settings.retain(|(key, _)| !own.iter().any(|(other, _)| other == key));
        settings.extend(own);
        settings.extend(pace.settings());
        let mut streamer = Streamer::start(command(settings))?;
        streamer.until_ready(SOON).await?;
        let watch = Watch::start(streamer.address());
        let traffic = Traffic::start(load, mysqld.port());
        let held = Vec::new();
        Ok(Self {
            watch, traffic, streamer, proxy, endpoint, mysqld, load, variant, pace, held,
            spent: false,
        })
    }
}

/// Makes the queue of a consumer's echo and has the topic deliver canaries to it; its URL.
pub(crate) fn subscribe(endpoint: &Endpoint, topic: &str, consumer: &str) -> String {
    let base = endpoint.url();
    let mut store = endpoint.shared.store();
    let policy = r#"{"Statement":[{"Effect":"Allow","Action":"sqs:SendMessage"}]}"#;
    let wanted = json!({"QueueName": consumer, "Attributes": {"Policy": policy}});
    let queue = sqs::call(&mut store, &base, "CreateQueue", &wanted, Instant::now());
    let url = queue.expect("a valid name")["QueueUrl"].as_str().expect("a URL").to_owned();
    let arn = format!("arn:aws:sqs:{}:{}:{consumer}", store.region, crate::aws::store::ACCOUNT);
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

/// The server to use, for further ones beside it.
#[allow(dead_code)]
pub(crate) fn server() -> Result<Server, Error> {
    Ok(Installed::find()?.server()?.clone())
}
