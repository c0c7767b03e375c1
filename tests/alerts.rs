//! `alerts/` names only what the program exports, each alert has its runbook, the rules do what
//! their tests say, and a real Alertmanager leaves one page of an incident.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use binpulse::app::{Plan, exported, exported_by_probe, exported_by_relay};
use binpulse::config::{Environment, load};
use binpulse::freshness::verdict::{State, words};
use serde_json::{Value, json};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rules() -> String {
    fs::read_to_string(root().join("alerts/rules/binpulse.rules.yml")).expect("the rules")
}

/// Text behind `key` on each line that has it.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix(key).map(str::trim)).collect()
}

/// A tool that `make deps` fetched. Its absence is a failure: a test that did not run is none.
fn tool(name: &str) -> PathBuf {
    let manifest = fs::read(root().join(".deps/manifest.json")).expect("run `make deps` first");
    let manifest: Value = serde_json::from_slice(&manifest).expect("the manifest is JSON");
    let path = manifest["tools"][name].as_str().unwrap_or_else(|| panic!("no {name} in .deps"));
    PathBuf::from(path)
}

fn succeed(command: &mut Command) {
    let output = command.current_dir(root().join("alerts")).output().expect("the tool runs");
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&text));
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("alerts").join(folder)).expect("folder");
    let paths = entries.map(|entry| entry.expect("entry").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "yml")).collect()
}

#[test]
fn alerts_name_only_metrics_that_are_exported() {
    let flags = [
        ("canary.echo", "billing=http://localhost/queue".to_owned()),
        ("canary.paths", "orders=billing.orders.reference".to_owned()),
        ("canary.insert", "orders=INSERT INTO billing.orders VALUES ('{mark}')".to_owned()),
        ("sink.kind", "null".to_owned()),
    ];
    let settings = load(None, &Environment::new(), &flags, &|_| Ok(String::new()));
    let plan = Plan::new(&settings.expect("settings")).expect("plan");
    let text = exported(&plan).expect("metrics")
        + &exported_by_probe(&["main"]).expect("metrics")
        + &exported_by_relay("partners").expect("metrics");
    let families: BTreeSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let mut named = 0;
    for path in [yaml_files("rules"), yaml_files("tests"), yaml_files(".")].concat() {
        let text = fs::read_to_string(&path).expect("text");
        // Recorded names have a colon, and are not exported.
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
        for word in words.filter(|word| word.starts_with("binpulse_")) {
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix))
                .unwrap_or(word);
            assert!(families.contains(family), "{}: `{word}` is not exported", path.display());
            named += 1;
        }
    }
    assert!(named > 50, "{named} names: the rules are among the files");
}

#[test]
fn alerts_name_only_label_values_that_are_exported() {
    let settings =
        load(
            None,
            &Environment::new(),
            &[("sink.kind", "null".to_owned())],
            &|_| Ok(String::new()),
        );
    let plan = Plan::new(&settings.expect("settings")).expect("plan");
    let text = exported(&plan).expect("metrics");
    let rules = rules();
    for label in ["state", "stage", "condition", "action", "reason", "level"] {
        let assigned = format!("{label}=");
        // Prometheus's own label of its own series.
        let rules = rules.replace("alertstate=", "");
        let wanted = rules.split(&assigned).skip(1).filter_map(|rest| {
            let rest = rest.trim_start_matches('~');
            rest.strip_prefix('"')?.split('"').next()
        });
        for value in wanted.flat_map(|alternatives| alternatives.split('|')) {
            let series = format!("{label}=\"{value}\"");
            assert!(text.contains(&series), "no series has {series}");
        }
    }
}

#[test]
fn each_alert_has_a_runbook_and_each_runbook_an_alert() {
    let rules = rules();
    let alerts: BTreeSet<_> = values(&rules, "- alert:").into_iter().collect();
    let urls = values(&rules, "runbook_url:");
    assert_eq!(alerts.len(), urls.len());
    assert_eq!(alerts.len(), values(&rules, "summary:").len());
    for alert in &alerts {
        let url = format!("docs/runbooks/{alert}.md");
        // Of one streamer it is that one's own page; absolute, for whoever reads it in a chat.
        let own =
            "{{ or $externalLabels.runbooks (printf \"http://%s/runbooks\" $labels.instance) }}";
        let any = "{{ or $externalLabels.runbooks \"http://localhost:9187/runbooks\" }}";
        let links = [own, any].map(|base| format!("'{base}/{alert}'"));
        assert!(urls.iter().any(|url| links.contains(&(*url).to_owned())), "{alert}: {urls:?}");
        let text = fs::read_to_string(root().join(&url)).unwrap_or_else(|_| panic!("no {url}"));
        assert!(text.starts_with(&format!("# {alert}\n")), "{url} has another title");
        let mut rest = text.as_str();
        for section in ["Impact", "Check", "Fix", "Verify", "Escalate"] {
            let found = rest.split_once(&format!("\n## {section}\n\n"));
            rest = found.unwrap_or_else(|| panic!("{url}: no `{section}` in its place")).1;
        }
        // Whoever is woken must know at once: is something lost, and how long is there to act?
        for question in ["- **Data lost?** ", "- **How long to act?** "] {
            assert!(text.contains(question), "{url}: {question}");
        }
        // `binpulse` sends the token and uses TLS; a bare request to the service works with neither.
        assert!(!text.contains("$HOST") && !text.contains("curl -s http://localhost"), "{url}");
    }
    for entry in fs::read_dir(root().join("docs/runbooks")).expect("folder") {
        let path = entry.expect("entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(alerts.contains(name.as_str()), "no alert leads to {}", path.display());
    }
}

#[test]
fn each_state_leads_to_the_runbook_of_the_alert_that_it_raises() {
    let rules = rules();
    let blocks: Vec<_> = rules.split("- alert: ").skip(1).collect();
    for state in State::ALL {
        if matches!(state, State::SuppressedByOperator | State::PausedByOperator) {
            // A reminder of each pattern that is held back, whatever the verdict is.
            let alert = words::alert(state, None).expect("a reminder");
            assert!(blocks.iter().any(|block| block.lines().next() == Some(alert)), "{alert}");
            continue;
        }
        let raised = blocks.iter().find(|block| {
            let expression = block.split("annotations:").next().unwrap_or_default();
            let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            expression.contains("binpulse_verdict{")
                && words.into_iter().any(|word| word == state.name())
        });
        let alert = raised.and_then(|block| block.lines().next());
        assert_eq!(words::alert(state, None), alert, "{state}");
        // Where an alert stands for one state, both say the same.
        let alike = State::ALL.into_iter().filter(|other| words::alert(*other, None) == alert);
        if let (Some(block), 1) = (raised, alike.count()) {
            let headline = words::headline(state, None, false);
            assert_eq!(values(block, "summary:")[0], format!("{headline}."), "{state}");
        }
    }
}

#[test]
fn each_alert_is_tested_and_the_tests_hold() {
    let tests = fs::read_to_string(root().join("alerts/tests/alerts.yml")).expect("tests");
    let quiet = fs::read_to_string(root().join("alerts/tests/quiet.yml")).expect("tests");
    let rules = rules();
    for alert in values(&rules, "- alert:") {
        let named = format!("alertname=\"{alert}\"");
        assert!(tests.contains(&named) || quiet.contains(&named), "{alert} has no test");
    }
    let promtool = tool("promtool");
    succeed(Command::new(&promtool).args(["check", "rules", "rules/binpulse.rules.yml"]));
    succeed(Command::new(&promtool).args(["check", "rules", "inventory.example.yml"]));
    let files = ["tests/alerts.yml", "tests/edges.yml", "tests/quiet.yml"];
    succeed(Command::new(&promtool).args(["test", "rules"]).args(files));
}

#[test]
fn the_routing_names_only_alerts_that_exist() {
    let path = root().join("alerts/alertmanager/alertmanager.yml");
    let text = fs::read_to_string(path).expect("routing");
    let rules = rules();
    let alerts: BTreeSet<_> = values(&rules, "- alert:").into_iter().collect();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        let is_name = word.strip_prefix("Binpulse").is_some_and(|rest| !rest.is_empty());
        assert!(!is_name || alerts.contains(word), "there is no alert {word}");
    }
    let amtool = tool("amtool");
    succeed(Command::new(amtool).args(["check-config", "alertmanager/alertmanager.yml"]));
}

/// An Alertmanager of our own; it ends with this value.
struct Alertmanager {
    process: Child,
    port: u16,
    folder: PathBuf,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        self.process.kill().expect("it was running");
        self.process.wait().expect("it ends");
        fs::remove_dir_all(&self.folder).expect("its folder is ours");
    }
}

/// Debian's Alertmanager reads its templates from a folder that only an installed package has. One
/// that was merely unpacked is copied, with the folder's name in it replaced by `folder`.
fn runnable(tool: &Path, folder: &Path) -> PathBuf {
    const INSTALLED: &str = "/usr/share/prometheus/alertmanager";
    let unpacked = tool.parent().expect("it lies in a folder");
    let binary = unpacked.join("usr/bin/prometheus-alertmanager");
    if Path::new(INSTALLED).exists() || !binary.exists() {
        return tool.to_owned();
    }
    // As long as the other: leading slashes mean nothing.
    let name = format!("{:/>width$}", folder.display(), width = INSTALLED.len());
    assert_eq!(name.len(), INSTALLED.len());
    let mut bytes = fs::read(&binary).expect("the binary");
    for at in 0..bytes.len() {
        if bytes[at] == b'/' && bytes[at..].starts_with(INSTALLED.as_bytes()) {
            bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
        }
    }
    let programs = folder.join("usr/bin");
    fs::create_dir_all(&programs).expect("a folder");
    let copy = programs.join("prometheus-alertmanager");
    fs::write(&copy, bytes).expect("written");
    fs::set_permissions(&copy, fs::metadata(&binary).expect("it").permissions()).expect("set");
    for libraries in ["lib", "usr/lib"] {
        symlink(unpacked.join(libraries), folder.join(libraries)).expect("linked");
    }
    let templates = unpacked.join(INSTALLED.trim_start_matches('/'));
    fs::copy(templates.join("default.tmpl"), folder.join("default.tmpl")).expect("copied");
    fs::write(folder.join("email.tmpl"), "").expect("written");
    let launcher = folder.join("alertmanager");
    fs::copy(tool, &launcher).expect("copied");
    launcher
}

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

impl Alertmanager {
    fn start() -> Self {
        let port =
            TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").port();
        let folder = PathBuf::from(format!("/tmp/binpulse-am-{port}"));
        fs::create_dir_all(&folder).expect("a folder");
        let config = root().join("alerts/alertmanager/alertmanager.yml");
        let process = Command::new(runnable(&tool("alertmanager"), &folder))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.join("storage").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("alertmanager starts");
        let this = Self { process, port, folder };
        this.until("it answers", || this.ask("GET", "/-/ready", "").is_some());
        this
    }

    /// The answer's body, if it was one of success.
    fn ask(&self, method: &str, path: &str, body: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.split(' ').nth(1).filter(|status| *status == "200").map(|_| body.to_owned())
    }

    fn fire(&self, alerts: &[(&str, Value)]) {
        let body: Vec<_> = alerts
            .iter()
            .map(|(name, labels)| {
                let mut labels = labels.clone();
                labels["alertname"] = json!(name);
                labels["job"] = json!("binpulse");
                json!({"labels": labels, "annotations": {}})
            })
            .collect();
        self.ask("POST", "/api/v2/alerts", &Value::from(body).to_string()).expect("accepted");
    }

    /// Names of what `instance` would send to people.
    fn pages(&self, instance: &str) -> BTreeSet<String> {
        let path = "/api/v2/alerts?inhibited=false&silenced=false";
        let answer = self.ask("GET", path, "").expect("answered");
        let alerts: Vec<Value> = serde_json::from_str(&answer).expect("JSON");
        let ours = alerts.iter().filter(|alert| alert["labels"]["instance"] == instance);
        ours.map(|alert| alert["labels"]["alertname"].as_str().expect("text").to_owned()).collect()
    }

    /// Waits until something is so: inhibition follows a moment after an alert's arrival.
    fn until(&self, what: &str, mut so: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !so() {
            assert!(Instant::now() < end, "{what}: not within {PATIENCE:?} on port {}", self.port);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Severity and hop of an alert, as the rules have them.
fn labels(rules: &str, alert: &str, instance: &str) -> Value {
    let rule = rules.split("- alert: ").find(|rule| rule.starts_with(alert)).expect("the alert");
    let text = values(rule, "labels: {")[0].trim_end_matches('}');
    let mut labels = json!({"instance": instance});
    for pair in text.split(',') {
        let (name, value) = pair.split_once(':').expect("a pair");
        labels[name.trim()] = json!(value.trim());
    }
    labels
}

#[test]
fn of_simultaneous_alerts_one_page_is_left_and_loss_is_never_hidden() {
    let manager = Alertmanager::start();
    let rules = rules();
    // What fires at the same time, and what of it may reach people.
    let incidents: &[(&[&str], &[&str])] = &[
        (
            &[
                "SourceDown",
                "StreamStalled",
                "SinkStalled",
                "CanaryLost",
                "EndToEndStale",
                "FreshnessUnknown",
            ],
            &["SourceDown"],
        ),
        (
            &["SourceWritesBlocked", "EndToEndStale", "CanaryErrorBudgetBurn"],
            &["SourceWritesBlocked"],
        ),
        (&["WrongSource", "EndToEndStale", "Reconnecting", "CanaryPathFailing"], &["WrongSource"]),
        (&["StreamStalled", "Lagging", "EndToEndStale", "Reconnecting"], &["StreamStalled"]),
        (
            &["SinkStalled", "CanaryLost", "EndToEndStale", "CanaryErrorBudgetBurn"],
            &["SinkStalled"],
        ),
        (&["CanaryLost", "EndToEndStale", "CanaryErrorBudgetBurn"], &["CanaryLost"]),
        (&["Lagging", "EndToEndStale"], &["Lagging"]),
        (&["PositionLost", "EndToEndStale", "CheckpointStuck"], &["PositionLost"]),
        (&["StreamerDown", "SinkStalled", "EndToEndStale", "FreshnessUnknown"], &["StreamerDown"]),
        // An inhibited alert continues inhibiting: one page is left here too.
        (&["VerdictFrozen", "SourceDown", "EndToEndStale"], &["VerdictFrozen"]),
        (&["VerdictFrozen", "EndToEndStale"], &["VerdictFrozen", "EndToEndStale"]),
        (
            &["StreamerDown", "SourceDown", "UnaccountedTransactions", "CanaryMismatched"],
            &["StreamerDown", "UnaccountedTransactions", "CanaryMismatched"],
        ),
        (&["SourceDown", "PositionLost"], &["SourceDown", "PositionLost"]),
        (&["EndToEndStale"], &["EndToEndStale"]),
        (&["Halted", "StreamStalled", "EndToEndStale", "CheckpointStuck"], &["Halted"]),
        (&["Halted", "PositionLost", "StreamStalled", "EndToEndStale"], &["PositionLost"]),
        (&["ConsumerStale", "ConsumerCanariesLost"], &["ConsumerStale"]),
        (&["EchoUnreadable", "FreshnessUnknown"], &["EchoUnreadable"]),
        // What the source is set up like waits while it is out; what ended here does not.
        (&["SourceDown", "SourceFinding", "TaskRestarted"], &["SourceDown", "TaskRestarted"]),
        (&["Halted", "SourceFinding", "SnapshotStalled"], &["Halted"]),
        // A snapshot can't move while its source, its stream or its topic stands.
        (&["SourceDown", "SnapshotStalled"], &["SourceDown"]),
        (&["StreamStalled", "SnapshotStalled"], &["StreamStalled"]),
        (&["SinkStalled", "SnapshotStalled"], &["SinkStalled"]),
        (&["SnapshotStalled"], &["SnapshotStalled"]),
        (&["StreamerDown", "SourceFinding", "TaskRestarted"], &["StreamerDown"]),
    ];
    let full = |name: &&str| format!("Binpulse{name}");
    for (number, (firing, left)) in incidents.iter().enumerate() {
        let instance = format!("incident-{number}:9187");
        let firing: Vec<_> = firing.iter().map(full).collect();
        let alerts: Vec<_> =
            firing.iter().map(|name| (name.as_str(), labels(&rules, name, &instance))).collect();
        manager.fire(&alerts);
        let left: BTreeSet<_> = left.iter().map(full).collect();
        manager.until(&format!("{firing:?} leaves {left:?}"), || manager.pages(&instance) == left);
    }
    // The incident of one streamer hides nothing of another.
    let others: BTreeSet<_> = ["BinpulseEndToEndStale".to_owned()].into();
    assert_eq!(manager.pages("incident-13:9187"), others);
}

#[test]
fn a_rule_file_with_a_wrong_name_would_be_found() {
    let promtool = tool("promtool");
    let broken =
        rules().replace("binpulse:stage_age_seconds{stage=\"published\"} > 120", "vector(0) > 120");
    let folder = std::env::temp_dir().join(format!("binpulse-rules-{}", std::process::id()));
    let (rules, tests) = (folder.join("rules"), folder.join("tests"));
    fs::create_dir_all(&rules).and_then(|()| fs::create_dir_all(&tests)).expect("folders");
    fs::write(rules.join("binpulse.rules.yml"), broken).expect("written");
    let test = root().join("alerts/tests/alerts.yml");
    fs::copy(test, tests.join("alerts.yml")).expect("copied");
    let status = Command::new(promtool)
        .args(["test", "rules", "alerts.yml"])
        .current_dir(&tests)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    fs::remove_dir_all(&folder).expect("ours");
    assert!(!status.expect("promtool runs").success(), "the tests passed on a broken rule");
}
