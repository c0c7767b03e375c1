//! What lies in `docker/` names only what the program has.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use binpulse::config::{Environment, SETTINGS, Setting, load};
use binpulse::telemetry::metrics::{Metrics, Readings, SourceLabels, Vocabulary};

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
    let vocabulary = Vocabulary {
        consumers: vec!["demo".to_owned()],
        heartbeat_results: vec!["ok"],
        publish_results: vec!["ok"],
        reconnect_reasons: vec!["silent"],
        event_types: vec!["write_rows"],
    };
    let readings = Readings {
        stage: Arc::new(|| [None; 5]),
        stream_last_receive: Arc::new(|| None),
        stream_bytes: Arc::new(|| 0),
        reader_armed: Arc::new(|| false),
        queue_bytes: Arc::new(|| 0),
        queue_capacity_bytes: Arc::new(|| 0),
        source: Arc::new(SourceLabels::default),
    };
    let text = Metrics::new(&vocabulary, readings).expect("metrics").text().expect("text");
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
