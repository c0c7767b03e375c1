//! Every query of every dashboard, asked of a real Prometheus that scrapes two real instances: one that
//! is well, and one whose source is down.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use binpulse_demo::{
    Aws, Error, Folder, Options, Process, Program, Standin, Streamer, get, prepare,
};
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use crate::aws::Endpoint;
use crate::bed::{Bed, SOON, binary, command};
use crate::echo;
use crate::relay::{Webhook, relay};
use crate::start::start_with;
use crate::suite::{Outcome, tests};
use crate::takeover::is_healthy;

tests! {
    every_query_of_the_dashboards_finds_both_streams_and_names_them on [Mysql97];
    every_query_of_the_relay_dashboard_finds_both_routes_and_names_them on [Mysql97];
}

/// Two scrapes a second, so that a rate has samples soon.
const CONFIG: &str = "global: {scrape_interval: 500ms, evaluation_interval: 500ms}\n";

/// A Prometheus of our own.
struct Prometheus {
    process: Process,
    address: String,
    _folder: Folder,
}

impl Prometheus {
    fn start(jobs: &[(&str, &[&str])]) -> Result<Self, Error> {
        let folder = Folder::create()?;
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts/rules/binpulse.rules.yml");
        let mut config = format!("{CONFIG}rule_files: ['{}']\nscrape_configs:\n", rules.display());
        for (job, targets) in jobs {
            writeln!(config, "- job_name: {job}\n  static_configs: [{{targets: {targets:?}}}]")
                .expect("it fits");
        }
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config).expect("written");
        let address = format!("127.0.0.1:{}", free_port());
        let program = Program {
            name: "prometheus".to_owned(),
            command: vec![
                tool("prometheus").into(),
                format!("--config.file={}", file.display()).into(),
                format!("--storage.tsdb.path={}", folder.path().join("data").display()).into(),
                format!("--web.listen-address={address}").into(),
            ],
            environment: Vec::new(),
            without: Vec::new(),
            log: folder.path().join("log"),
        };
        let process = Process::start(&program, &folder)?;
        Ok(Self { process, address, _folder: folder })
    }

    /// What an expression gives now: each series' labels and its value.
    async fn ask(&mut self, expression: &str) -> Result<Vec<(Value, f64)>, Error> {
        self.process.must_run()?;
        let path = format!("/api/v1/query?query={}", encoded(expression));
        let answer = get(&self.address, &path).await;
        // It says 503 until it has begun.
        let Some(answer) = answer.ok().filter(|answer| answer.code != 503) else {
            return Ok(Vec::new());
        };
        let answer: Value = serde_json::from_str(&answer.body).expect("JSON of Prometheus");
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let series = answer["data"]["result"].as_array().expect("a vector");
        let one = |series: &Value| {
            let value = series["value"][1].as_str().and_then(|text| text.parse().ok());
            (series["metric"].clone(), value.unwrap_or(f64::NAN))
        };
        Ok(series.iter().map(one).collect())
    }

    /// Waits until an expression finds these values of a label, and returns what it gives.
    async fn until_it_finds(
        &mut self,
        expression: &str,
        label: &str,
        streams: &[&str],
    ) -> Result<Vec<(Value, f64)>, Error> {
        let give_up = Instant::now() + SOON;
        loop {
            let found = self.ask(expression).await?;
            let named: BTreeSet<_> =
                found.iter().filter_map(|(labels, _)| labels[label].as_str()).collect();
            if streams.iter().all(|stream| named.contains(stream)) {
                return Ok(found);
            }
            if Instant::now() >= give_up {
                let what = format!("{streams:?} from {expression}; last: {found:?}");
                return Err(Error::Deadline { what, seconds: SOON.as_secs() });
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

fn tool(name: &str) -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/manifest.json");
    let manifest = fs::read(manifest).expect("run `make deps` first");
    let manifest: Value = serde_json::from_slice(&manifest).expect("the manifest is JSON");
    let path = manifest["tools"][name].as_str().unwrap_or_else(|| panic!("no {name} in .deps"));
    PathBuf::from(path)
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        write!(out, "%{byte:02X}").expect("it fits");
        out
    })
}

/// A query of a panel: title, expression with the variables filled in, legend.
type Query = (String, String, String);

fn queries(dashboard: &str) -> Vec<Query> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/grafana/dashboards");
    let text = fs::read_to_string(folder.join(format!("{dashboard}.json"))).expect("a dashboard");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let mut all = Vec::new();
    for panel in document["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().expect("queries") {
            let mut expression = target["expr"].as_str().expect("an expression").to_owned();
            for (name, value) in [
                ("$stream", ".*"),
                ("$instance", ".*"),
                ("$consumer", ".*"),
                ("$__rate_interval", "10s"),
            ] {
                expression = expression.replace(name, value);
            }
            assert!(!expression.contains('$'), "{expression}");
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            all.push((text(&panel["title"]), expression, text(&target["legendFormat"])));
        }
    }
    assert!(!all.is_empty(), "{dashboard}");
    all
}

/// Streams that a query must find: what only one of them can have, or none has, is told apart.
fn found_in(expression: &str) -> &'static [&'static str] {
    let none = ["halted", "snapshot_running", "snapshot_waiting", "maintenance", "path_failing"];
    let none = none.iter().any(|name| expression.contains(&format!("binpulse_{name}")))
        || expression.contains("path_seen")
        || expression.contains("binpulse_canary_path")
        || expression.contains("\"late\"") && !expression.contains('*')
        || expression.contains("\"unknown\"} ==");
    let first = expression.contains("consumer")
        || expression.contains("_sent_total")
        || expression.contains("binpulse_probe_")
        || expression.contains("histogram_quantile")
        || expression.contains("clock_offset")
        || expression.contains("messages_published")
        || expression.contains("\"healthy\"} ==");
    let second = expression.contains("status=\"false\"")
        || expression.contains("\"outage\"} ==")
        || expression.contains("verdict_hop == 1");
    match () {
        () if none => &[],
        () if first => &["alpha"],
        () if second => &["beta"],
        () => &["alpha", "beta"],
    }
}

async fn every_query_of_the_dashboards_finds_both_streams_and_names_them(bed: Bed) -> Outcome {
    // Given a stream that is well, whose canaries a consumer echoes and a probe sees
    let mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    let endpoint = echo::endpoint().await;
    let aws = Aws::at(&endpoint.url());
    let topic = aws.create_topic("changes").await?;
    let queue = aws.subscribe_queue(&topic, "billing", &["canary"]).await?;
    let probed = aws.subscribe_queue(&topic, "probe", &["canary"]).await?;
    let mut settings = echo::settings(&mysqld, &endpoint, &topic, format!("billing={queue}"));
    rename(&mut settings, "alpha");
    let mut alpha = Streamer::start(command("run", settings))?;
    let mut probe = start_probe(&endpoint, &probed)?;
    // And one that waits for its source
    let down = [
        ("stream.name", "beta".to_owned()),
        ("sink.kind", "null".to_owned()),
        ("source.start_patience", "1h".to_owned()),
        ("source.hosts", format!("127.0.0.1:{}", free_port())),
    ];
    let mut beta = start_with(Some(&mysqld), &down, Vec::new())?;
    alpha.until("a healthy verdict", SOON, is_healthy).await?;
    let is_down = |status: &Value| status["verdict"]["state"] == "source_unreachable";
    beta.until("the source's outage", SOON, is_down).await?;

    // When a Prometheus scrapes both
    let targets = [alpha.address(), beta.address()];
    let mut prometheus =
        Prometheus::start(&[("binpulse", &targets), ("binpulse-probe", &[probe.address()])])?;
    for dashboard in ["binpulse-fleet", "binpulse-stream"] {
        for (title, expression, legend) in queries(dashboard) {
            let found =
                prometheus.until_it_finds(&expression, "stream", found_in(&expression)).await?;
            for (labels, value) in &found {
                let stream = labels["stream"].as_str().unwrap_or_default();
                assert!(["alpha", "beta"].contains(&stream), "{title}: {labels} of {expression}");
                for label in legend.split("{{").skip(1).filter_map(|it| it.split("}}").next()) {
                    let value = labels[label].as_str().unwrap_or_default();
                    assert!(!value.is_empty(), "{title}: no {label} in {labels}");
                }
                println!("{dashboard}: {title}: {labels} {value}");
            }
            let is_table = legend.is_empty();
            assert!(is_table || legend.starts_with("{{stream}}"), "{title}: {legend}");
        }
    }
    every_metric_is_known();

    // Then the broken one is the worst of the fleet, with its place; and one that is gone is worse
    let fleet = queries("binpulse-fleet");
    let worst = &fleet.iter().find(|(title, ..)| title == "Streams, worst first").expect("it").1;
    let of = |found: &[(Value, f64)], stream: &str| {
        found.iter().find(|(labels, _)| labels["stream"] == stream).map(|(_, value)| *value)
    };
    let found = prometheus.ask(worst).await?;
    assert_eq!((of(&found, "alpha"), of(&found, "beta")), (Some(0.0), Some(4.0)), "{found:?}");
    let at = prometheus.ask("binpulse_verdict_hop == 1").await?;
    assert!(at.iter().any(|(labels, _)| labels["stream"] == "beta" && labels["hop"] == "source"));
    beta.kill().await?;
    let give_up = Instant::now() + SOON;
    while of(&prometheus.ask(worst).await?, "beta") != Some(5.0) {
        assert!(Instant::now() < give_up, "{:?}", prometheus.ask(worst).await?);
        sleep(Duration::from_millis(100)).await;
    }
    probe.kill().await?;
    assert_eq!(alpha.stop().await?, Some(0));
    Ok(())
}

/// What a query finds nothing of now is asked for by its right name all the same: that of the reference,
/// which is made from the code.
fn every_metric_is_known() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/metrics.md");
    let reference = fs::read_to_string(path).expect("the reference");
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    for (title, expression, _) in
        ["binpulse-fleet", "binpulse-stream", "binpulse-relay"].map(queries).concat()
    {
        let names = expression.split(|letter| !is_part(letter));
        for name in names.filter(|name| name.starts_with("binpulse_")) {
            let family = name.trim_end_matches("_bucket");
            let is_known = reference.contains(&format!("`{family}`"));
            assert!(is_known, "{title}: there is no {name}");
        }
    }
}

async fn every_query_of_the_relay_dashboard_finds_both_routes_and_names_them(bed: Bed) -> Outcome {
    // Given a relay whose webhook takes all, and one whose webhook is down
    let mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    let endpoint = echo::endpoint().await;
    let aws = Aws::at(&endpoint.url());
    let topic = aws.create_topic("changes").await?;
    let [north, south] = [
        aws.subscribe_queue(&topic, "north", &["change", "canary"]).await?,
        aws.subscribe_queue(&topic, "south", &["change", "canary"]).await?,
    ];
    let (works, down) = (Webhook::start().await?, free_port());
    let (url, port) = (format!("http://127.0.0.1:{down}/hook"), down.to_string());
    let at = endpoint.url();
    let common = [("relay.canaries", "true"), ("sns.endpoint_url", at.as_str())];
    let to_down = [("relay.to.url", url.as_str()), ("relay.egress.ports", port.as_str())];
    let folders = (Folder::create()?, Folder::create()?);
    let named = |name, more: &[_]| [&common[..], &[("relay.name", name)], more].concat();
    let mut relays = [
        relay(&folders.0, &north, &works, &named("north", &[]))?,
        relay(&folders.1, &south, &works, &named("south", &to_down))?,
    ];
    let echo = aws.subscribe_queue(&topic, "billing", &["canary"]).await?;
    let settings = echo::settings(&mysqld, &endpoint, &topic, format!("billing={echo}"));
    let mut streamer = Streamer::start(command("run", settings))?;
    streamer.until("a healthy verdict", SOON, is_healthy).await?;
    mysqld.execute(&["CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)"]).await?;
    mysqld.execute(&["INSERT INTO d.t VALUES (1), (2), (3)"]).await?;

    // When a Prometheus scrapes both
    let targets: Vec<_> = relays.iter().map(|one| one.address().to_owned()).collect();
    let targets: Vec<_> = targets.iter().map(String::as_str).collect();
    let mut prometheus = Prometheus::start(&[("binpulse-relay", &targets)])?;
    for (title, expression, legend) in queries("binpulse-relay") {
        // Rows and canaries arrive at one of them only.
        let arrives = ["delivery_seconds", "canary_age"].iter().any(|it| expression.contains(it));
        let routes: &[&str] = if arrives { &["north"] } else { &["north", "south"] };
        let found = prometheus.until_it_finds(&expression, "route", routes).await?;
        for (labels, value) in &found {
            for label in legend.split("{{").skip(1).filter_map(|it| it.split("}}").next()) {
                let value = labels[label].as_str().unwrap_or_default();
                assert!(!value.is_empty(), "{title}: no {label} in {labels}");
            }
            println!("binpulse-relay: {title}: {labels} {value}");
        }
    }
    // Then the one that is down is seen as such
    let give_up = Instant::now() + SOON;
    loop {
        let found = prometheus.ask("max by (route) (binpulse_relay_lag_rows)").await?;
        let of = |route: &str| {
            found.iter().find(|(labels, _)| labels["route"] == route).map(|(_, value)| *value)
        };
        if of("north") == Some(0.0) && of("south") == Some(3.0) {
            break;
        }
        assert!(Instant::now() < give_up, "{found:?}");
        sleep(Duration::from_millis(100)).await;
    }
    for one in &mut relays {
        one.kill().await?;
    }
    assert_eq!(streamer.stop().await?, Some(0));
    Ok(())
}

fn rename(settings: &mut [(&'static str, String)], name: &str) {
    for (key, value) in settings {
        if *key == "stream.name" {
            name.clone_into(value);
        }
    }
}

fn start_probe(endpoint: &Endpoint, queue: &str) -> Result<Streamer, Error> {
    let settings = vec![
        ("probe.queue", queue.to_owned()),
        ("sns.endpoint_url", endpoint.url()),
        ("sns.region", Standin::REGION.to_owned()),
    ];
    Streamer::start(command("probe", settings))
}
