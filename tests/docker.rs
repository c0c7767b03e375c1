//! What lies in `docker/` names only what the program has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use binpulse::app::{Plan, ProbePlan, exported, exported_by_probe, exported_by_relay};
use binpulse::config::{Environment, SETTINGS, Setting, Values, load};
use binpulse_demo::{Installed, roles};

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push(path);
        }
    }
}

/// Every word in `docker/` that begins with `prefix`, with its file.
fn words(prefix: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docker"), &mut found);
    let mut words = Vec::new();
    for path in found {
        let text = fs::read_to_string(&path).expect("text");
        let all = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.extend(
            all.filter(|word| word.starts_with(prefix)).map(|word| (path.clone(), word.to_owned())),
        );
    }
    words
}

#[test]
fn dashboards_show_only_metrics_that_are_exported() {
    let echo = vec![("canary.echo", "demo=http://localhost/queue".to_owned())];
    let sink = vec![("sink.kind", "null".to_owned())];
    let path = vec![
        ("canary.paths", "orders=shop.orders.reference".to_owned()),
        (
            "canary.insert",
            "orders=INSERT INTO shop.orders (reference) VALUES ('{mark}')".to_owned(),
        ),
    ];
    let all = [echo, sink, path].concat();
    let settings = load(None, &Environment::new(), &all, &|_| Ok(String::new()));
    let plan = Plan::new(&settings.expect("settings")).expect("plan");
    let text = exported(&plan).expect("metrics")
        + &exported_by_probe(&["main"]).expect("metrics")
        + &exported_by_relay("partners").expect("metrics");
    let exported: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let shown = words("binpulse_");
    assert!(shown.len() > 20, "the dashboard is among the files");
    for (path, word) in shown {
        let family = word.strip_suffix("_bucket").unwrap_or(&word);
        assert!(exported.contains(&family), "{}: `{word}` is not exported", path.display());
    }
}

#[test]
fn containers_set_only_variables_that_exist() {
    let mut known: Vec<String> = SETTINGS.iter().map(Setting::env).collect();
    let secrets = SETTINGS.iter().filter(|setting| setting.is_secret());
    known.extend(secrets.map(|setting| format!("{}_FILE", setting.env())));
    known.push("BINPULSE_CONFIG".to_owned());
    let set = words("BINPULSE_");
    assert!(set.len() > 5, "the compose file is among the files");
    for (path, word) in set {
        assert!(known.contains(&word), "{}: `{word}` is no setting", path.display());
    }
}

/// Rendered, checked against the schemas of Kubernetes, and for what a pod would lack.
#[test]
fn the_manifests_for_kubernetes_are_valid_complete_and_closed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = Installed::find().ok().and_then(|installed| installed.python);
    let python = python.unwrap_or_else(|| "python3".into());
    for folder in ["docker/kubernetes", "docker/kubernetes-ha"] {
        let mut command = Command::new(&python);
        command.arg(root.join("tests/kubernetes/manifests.py")).arg(root.join(folder));
        let output = command.output().expect("Python");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.code() {
            Some(77) => println!("NOT RUN: the manifests for Kubernetes: {said}"),
            code => {
                let errors = String::from_utf8_lossy(&output.stderr);
                assert_eq!(code, Some(0), "{folder}: {said}{errors}");
            }
        }
    }
}

#[test]
fn the_configuration_for_kubernetes_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/kubernetes/binpulse.toml");
    let text = fs::read_to_string(&path).expect("text");
    let secret = |_: &str| Ok("secret".to_owned());
    let loaded = load(Some(("binpulse.toml", &text)), &Environment::new(), &[], &secret);
    if let Err(errors) = loaded {
        let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"));
    }
}

/// The build of the image sees only what its list of exceptions lets in.
#[test]
fn what_the_program_carries_along_is_there_when_its_image_is_built() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = fs::read_to_string(root.join("docker/Dockerfile.dockerignore")).expect("the list");
    assert!(list.lines().any(|line| line == "*"), "all that is not named is left out");
    let let_in: Vec<_> = list.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let is_in = |below: &Path| let_in.iter().any(|entry| below.starts_with(entry));
    // Cargo reads the manifest of each crate, and looks for each target that is named by its path.
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("the manifest");
    let manifest: toml::Table = manifest.parse().expect("it is TOML");
    let members = manifest["workspace"]["members"].as_array().expect("members").iter();
    let targets = ["bin", "test", "bench", "example"].into_iter();
    let targets = targets.filter_map(|kind| manifest.get(kind)?.as_array()).flatten();
    let named = members.chain(targets.filter_map(|target| target.get("path")));
    let named: Vec<_> = named.map(|path| Path::new(path.as_str().expect("a path"))).collect();
    assert!(named.len() > 6, "{named:?}");
    for below in named {
        assert!(is_in(below), "Cargo.toml: {} is left out", below.display());
    }
    let (mut found, mut carried) = (Vec::new(), 0);
    files(&root.join("src"), &mut found);
    for path in found.iter().filter(|path| path.extension().is_some_and(|name| name == "rs")) {
        let text = fs::read_to_string(path).expect("text");
        for macros in ["include_str!(", "include_bytes!("] {
            for argument in text.split(macros).skip(1) {
                let named = argument.split('"').nth(1).expect("a path in quotes");
                let mut place = path.parent().expect("a folder").to_owned();
                for part in Path::new(named).components() {
                    if part == std::path::Component::ParentDir {
                        place.pop();
                    } else {
                        place.push(part);
                    }
                }
                let below = place.strip_prefix(root).expect("below the root");
                assert!(is_in(below), "{}: {} is left out", path.display(), below.display());
                carried += 1;
            }
        }
    }
    assert!(carried > 3, "{carried}");
}

/// What is published is the last stage: the service, without what shows it.
#[test]
fn the_published_image_holds_the_service_alone() {
    let dockerfile = read("docker/Dockerfile");
    let (_, published) = dockerfile.rsplit_once("\nFROM ").expect("stages");
    let copied: Vec<_> = published.lines().filter(|line| line.starts_with("COPY ")).collect();
    assert_eq!(copied.len(), 2, "the program and the folder of its checkpoint: {copied:?}");
    assert!(copied[0].ends_with("/out/binpulse /usr/bin/binpulse"), "{copied:?}");
    assert!(!published.contains("demo"), "{published}");

    let compose = read("docker/compose.yaml");
    for (name, is_demo) in
        [("binpulse", false), ("probe", false), ("shop", true), ("consumer", true)]
    {
        let lines = service(&compose, name);
        assert_eq!(lines.contains(&"    <<: *demo"), is_demo, "{name}");
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("text")
}

/// The lines of a service in the compose file: those behind its name that are indented more.
fn service<'a>(compose: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!("  {name}:");
    let behind = compose.lines().skip_while(|line| **line != *begin).skip(1);
    let lines: Vec<_> =
        behind.take_while(|line| line.starts_with("    ") || line.is_empty()).collect();
    assert!(!lines.is_empty(), "no service {name}");
    lines
}

/// The settings that a service's variables make.
fn settings(compose: &str, name: &str) -> Values {
    let anchors = ["x-source: &source", "x-aws: &aws"].map(|anchor| {
        let behind = compose.lines().skip_while(move |line| *line != anchor).skip(1);
        behind.take_while(|line| line.starts_with("  ")).collect::<Vec<_>>()
    });
    let own = service(compose, name);
    let merged = ["*source", "*aws"].map(|name| {
        let merges = |line: &&str| line.trim().starts_with("<<:") && line.contains(name);
        own.iter().any(merges)
    });
    let given = anchors.iter().zip(merged).filter(|(_, merged)| *merged);
    let lines = given.flat_map(|(lines, _)| lines).chain(&own);
    let environment: Environment = lines
        .filter_map(|line| line.trim().split_once(": "))
        .filter(|(key, _)| key.starts_with("BINPULSE_"))
        .map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned()))
        .collect();
    let loaded = load(None, &environment, &[], &|_| Ok("secret".to_owned()));
    loaded.unwrap_or_else(|errors| {
        let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        panic!("{name}: {}", lines.join("\n"))
    })
}

#[test]
fn the_compose_file_starts_a_streamer_and_a_probe_that_are_configured() {
    let compose = read("docker/compose.yaml");
    let streamer = settings(&compose, "binpulse");
    let plan = Plan::new(&streamer).expect("a plan");
    let echo = format!("/{}", roles::ECHO);
    assert!(
        plan.freshness.echoes.iter().any(|(_, url)| url.ends_with(&echo)),
        "{:?}",
        plan.freshness
    );
    assert!(streamer.text("sns.topic").expect("a topic").ends_with(roles::TOPIC));

    let probe = ProbePlan::new(&settings(&compose, "probe")).expect("a plan");
    let canaries = format!("{:?}", probe.canaries);
    assert!(canaries.contains(&format!("/{}\"", roles::PROBE)), "a queue of its own: {canaries}");
    assert_eq!(probe.streams, [plan.stream], "it awaits what is published");
    assert_eq!(probe.endpoint_url.as_deref(), Some("http://aws:4566"));
    let health = r#"["CMD", "/usr/bin/binpulse", "health", "--http-listen", "127.0.0.1:9188"]"#;
    assert_eq!(probe.http.address.port(), 9188);
    let lines = service(&compose, "probe");
    assert!(lines.iter().any(|line| line.trim() == format!("test: {health}")), "{lines:?}");
}

#[test]
fn prometheus_scrapes_each_service_under_the_job_that_its_alerts_name() {
    let scraped = read("docker/prometheus/prometheus.yml");
    let alerts = read("alerts/rules/binpulse.rules.yml");
    for (job, target) in [("binpulse", "binpulse:9187"), ("binpulse-probe", "probe:9188")] {
        let entry =
            format!("- job_name: {job}\n    static_configs:\n      - targets: [\"{target}\"]");
        assert!(scraped.contains(&entry), "{job}");
        assert!(alerts.contains(&format!("up{{job=\"{job}\"}}")), "{job}");
    }
}
