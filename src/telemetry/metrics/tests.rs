use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Durations, LabelValues, Metrics, Moment, ScrapeSources, SourceLabels};

const STAGES: [&str; 5] = ["written", "received", "published", "delivered", "checkpointed"];

pub(crate) fn metrics() -> Metrics {
    let label_values = LabelValues {
        stream: String::new(),
        consumers: vec!["billing".into()],
        echo_queues: vec!["billing".into()],
        heartbeat_results: vec!["ok", "timed_out"],
        echo_kinds: vec!["matched"],
        publish_results: vec!["ok", "throttled"],
        reconnect_reasons: vec!["silent"],
        event_types: vec!["WRITE_ROWS"],
        filter_patterns: vec![("filter.exclude", "shop.audit".to_owned())],
        snapshot_discards: vec!["too_many_keys"],
        replay_outcomes: vec!["done"],
        tasks: vec!["heartbeat_writer"],
    };
    let received = Instant::now();
    let scrape_sources = ScrapeSources {
        stage: Arc::new(|| STAGES.map(|stage| (stage, None)).to_vec()),
        stream_last_receive: Arc::new(move || Some(received)),
        stream_bytes: Arc::new(|| 77),
        reader_armed: Arc::new(|| true),
        queue_bytes: Arc::new(|| 5),
        queue_capacity_bytes: Arc::new(|| 50),
        publish_duration: Arc::new(|| Durations {
            bounds_seconds: vec![0.1, 1.0],
            counts: vec![2, 3, 4],
            sum_seconds: 44.5,
        }),
        source: Arc::new(SourceLabels::default),
        more: Vec::new(),
    };
    Metrics::new(&label_values, scrape_sources).expect("names are valid and differ")
}

/// Value of the sample, by its line's begin.
fn sample(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().expect("a number")
}

#[test]
fn every_series_exists_before_anything_has_happened() {
    let text = metrics().text().expect("text");
    for series in [
        "binpulse_heartbeat_writes_total{result=\"timed_out\"}",
        "binpulse_heartbeat_writes_total{result=\"other\"}",
        "binpulse_heartbeat_roundtrip_seconds_count",
        "binpulse_canary_lost_total{consumer=\"billing\"}",
        "binpulse_canary_roundtrip_seconds_count{consumer=\"billing\"}",
        "binpulse_transactions_total{class=\"filtered\"}",
        "binpulse_events_total{type=\"WRITE_ROWS\"}",
        "binpulse_filter_pattern_events_total{pattern=\"shop.audit\",setting=\"filter.exclude\"}",
        "binpulse_changes_published_total{op=\"delete\"}",
        "binpulse_checkpoint_saves_total{result=\"error\"}",
        "binpulse_snapshot_rows_total",
        "binpulse_snapshot_discarded_chunks_total{reason=\"too_many_keys\"}",
        "binpulse_snapshot_chunk_seconds_count",
        "binpulse_user_row_last_timestamp_seconds",
    ] {
        assert!(sample(&text, series).abs() < f64::EPSILON, "{series}");
    }
    assert!(sample(&text, "binpulse_source_clock_offset_seconds").is_nan());
    for (series, value) in [
        ("binpulse_stream_bytes_total", 77.0),
        ("binpulse_reader_armed", 1.0),
        ("binpulse_queue_bytes", 5.0),
        ("binpulse_queue_capacity_bytes", 50.0),
        ("binpulse_publish_duration_seconds_bucket{le=\"0.1\"}", 2.0),
        ("binpulse_publish_duration_seconds_bucket{le=\"1\"}", 5.0),
        ("binpulse_publish_duration_seconds_bucket{le=\"+Inf\"}", 9.0),
        ("binpulse_publish_duration_seconds_count", 9.0),
        ("binpulse_publish_duration_seconds_sum", 44.5),
        ("binpulse_source_info{server_uuid=\"\",version=\"\",flavor=\"\"}", 1.0),
    ] {
        assert!((sample(&text, series) - value).abs() < f64::EPSILON, "{series}");
    }
    assert!(sample(&text, "process_resident_memory_bytes") > 0.0);
}

#[test]
fn every_family_has_a_help_text_a_type_and_the_prefix() {
    let text = metrics().text().expect("text");
    let words = |keyword: &str| -> BTreeMap<&str, &str> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(keyword));
        lines.filter_map(|line| line.split_once(' ')).collect()
    };
    let (help, types) = (words("# HELP "), words("# TYPE "));
    assert_eq!(help.keys().collect::<BTreeSet<_>>(), types.keys().collect());
    for (name, kind) in types {
        assert!(name.starts_with("binpulse_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        assert!(help[name].ends_with('.'), "{name}: {}", help[name]);
    }
}

#[test]
fn ages_keep_growing_when_nothing_happens() {
    let moment = Moment::new(Instant::now());
    assert_eq!(moment.last(), None);
    let now = Instant::now();
    let later = now + Duration::from_secs(5);
    moment.note(later);
    moment.note(now);
    assert_eq!(moment.last(), Some(later), "an older moment does not replace a newer one");

    let metrics = metrics();
    let age = || {
        let text = metrics.text().expect("text");
        sample(&text, "binpulse_clock_timestamp_seconds")
            - sample(&text, "binpulse_stage_heartbeat_timestamp_seconds{stage=\"received\"}")
    };
    let before = age();
    let asked = Instant::now();
    // Scrapes themselves take time; no sleep is needed to see the age grow.
    while asked.elapsed() < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
    assert!(age() > before && before >= 0.0);
}

#[test]
fn counts_of_values_nobody_thought_of_are_not_lost() {
    let metrics = metrics();
    metrics.heartbeat_writes_total.of("ok").inc();
    metrics.heartbeat_writes_total.of("never heard of").inc_by(2);
    let text = metrics.text().expect("text");
    assert!((sample(&text, "binpulse_heartbeat_writes_total{result=\"ok\"}") - 1.0).abs() < 1e-9);
    let other = sample(&text, "binpulse_heartbeat_writes_total{result=\"other\"}");
    assert!((other - 2.0).abs() < 1e-9);
}

#[test]
fn each_series_carries_the_name_of_its_stream() {
    let label_values = LabelValues { stream: "sh\"op".to_owned(), ..LabelValues::default() };
    let metrics = Metrics::new(&label_values, ScrapeSources::none()).expect("names are valid");
    let text = metrics.text().expect("text");
    let bare =
        text.lines().find(|line| !line.starts_with('#') && !line.contains("stream=\"sh\\\"op\""));
    assert_eq!(bare, None);
    assert!(
        text.contains("binpulse_source_info{server_uuid=\"\",version=\"\",flavor=\"\",stream=")
    );
}
