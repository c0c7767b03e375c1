//! A status as people see it in a terminal: the verdict, the line of stations, the figures. Pure.

use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Write as _;

use super::snapshot::picture;
use super::style::{GREEN, RED, YELLOW, bold, plain};
use crate::telemetry::duration;
use crate::telemetry::words::{Indicator, NoticeKind, Role, StationKey};

/// Why writing to a string can't fail.
const FITS: &str = "a string has room";

/// The verdict with its evidence, as of `now_us`.
pub(super) fn verdict(status: &Value, now_us: i64) -> String {
    [&title(status, now_us), &evidence(status), &next_step(status), &account(status)]
        .map(String::as_str)
        .concat()
}

/// What is so, and since when.
fn title(status: &Value, now_us: i64) -> String {
    let (said, verdict) = (&status["conclusion"], &status["verdict"]);
    let colour = colour(word(&said["indicator"]));
    let label = show(&said["label"]).to_uppercase();
    let head = bold(colour, &format!("{label}  {}", show(&said["state"])));
    let sentence = if said["is_frozen"] == true { &said["evidence"] } else { &verdict["sentence"] };
    format!("{head}  for {}\n{}\n", since(&said["since_seconds"], now_us), show(sentence))
}

/// How long it lasts, with the date where a day has passed.
fn since(age: &Value, now_us: i64) -> String {
    const DAY: f64 = 86_400.0;
    let lasts = seconds(age);
    let Some(age) = age.as_f64().filter(|age| (DAY..1e9).contains(age)) else { return lasts };
    #[expect(clippy::cast_possible_truncation, reason = "an age, below")]
    let began_us = now_us - (age * 1e6) as i64;
    let began = chrono::DateTime::from_timestamp_micros(began_us).unwrap_or_default();
    format!("{lasts}, since {}", began.format("%Y-%m-%d %H:%M UTC"))
}

/// Further facts.
fn evidence(status: &Value) -> String {
    let facts = status["verdict"]["facts"].as_array().into_iter().flatten();
    let lines: Vec<_> = facts.map(|fact| format!("  - {}\n", show(fact))).collect();
    lines.concat()
}

/// What to do, where there is something to do.
fn next_step(status: &Value) -> String {
    let said = &status["conclusion"];
    if word(&said["indicator"]) == Some(Indicator::Works) {
        return String::new();
    }
    let mut text = format!("next: {}\n", show(&said["next_step"]));
    if let Some(path) = said["runbook"].as_str() {
        // A service of before tells no address.
        let whole = said["runbook_url"].as_str().map_or_else(|| url(status) + path, str::to_owned);
        writeln!(text, "runbook: {}", plain(&whole)).expect(FITS);
    }
    text
}

/// The quiet certificate.
fn account(status: &Value) -> String {
    certificate(&status["verdict"]["certificate"]) + "\n"
}

/// What always stays in sight: what is so, what to do, and where it is broken.
pub(super) fn pinned(status: &Value, now_us: i64) -> String {
    let line = line(&status["conclusion"]);
    [&title(status, now_us), &next_step(status), &line, "\n"].map(|part| part as &str).concat()
}

/// What can be scrolled, up to the consumers: what helps now stands first.
pub(super) fn details(status: &Value) -> String {
    [evidence(status), notices(status), next(status), "\n".to_owned(), figures(status)].concat()
}

/// What can be scrolled behind the consumers.
pub(super) fn rest(status: &Value, now_us: i64) -> String {
    ["\n".to_owned(), account(status), snapshot(status, now_us)].concat()
}

/// Notices that are told in full; of the others the headline.
const NOTICES_MAX: usize = 2;

/// Consumers that are shown without a filter, worst first; the others are counted.
const CONSUMERS_MAX: usize = 10;

/// Everything at once, as of `now_us`. `only`: consumers and paths whose name has it, one by one.
pub(super) fn status(status: &Value, now_us: i64, only: Option<&str>) -> String {
    let mut text = [&verdict(status, now_us), "\n", &line(&status["conclusion"]), "\n\n"].concat();
    text += &notices(status);
    text += &figures(status);
    text += &consumers(status, only);
    text + &snapshot(status, now_us)
}

/// What else needs attention.
fn notices(status: &Value) -> String {
    let mut text = String::new();
    let notices = status["conclusion"]["notices"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (at, notice) in notices.iter().enumerate() {
        let kind = show(&notice["kind"]).to_uppercase();
        let is_loss = word(&notice["kind"]) == Some(NoticeKind::Loss);
        let red = if is_loss { RED } else { YELLOW };
        text += &bold(red, &format!("{kind}  {}", show(&notice["headline"])));
        if at < NOTICES_MAX {
            let (what, next) = (show(&notice["text"]), show(&notice["next_step"]));
            text += &["\n", &what, "\nnext: ", &next, "\nrunbook: "].concat();
            text += &[&url(status), &show(&notice["runbook"]), "\n"].concat();
        }
        text += "\n";
    }
    text
}

/// The snapshot, if there is one.
fn snapshot(status: &Value, now_us: i64) -> String {
    match serde_json::from_value(status["snapshot"].clone()) {
        Ok(Some(of)) => ["\n", &picture::lines(&of, now_us).join("\n"), "\n"].concat(),
        Ok(None) | Err(_) => String::new(),
    }
}

/// What goes with the next step: what to check, commands, links. Lines that are to be copied are whole.
pub(super) fn next(status: &Value) -> String {
    let list = |key: &str| status["next"][key].as_array().map(Vec::as_slice).unwrap_or_default();
    let notices = status["conclusion"]["notices"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_notices = notices.iter().filter_map(|notice| notice["commands"].as_array()).flatten();
    let mut lines: Vec<String> = Vec::new();
    let mut add = |line: String| {
        if !lines.contains(&line) {
            lines.push(line);
        }
    };
    for place in list("places") {
        add(format!("{}: {}", show(&place["what"]), show(&place["value"])));
    }
    for command in list("commands").iter().chain(of_notices).chain(list("snapshot")) {
        if let Some(purpose) = command["purpose"].as_str().filter(|purpose| !purpose.is_empty()) {
            add(format!("{}:", plain(purpose)));
        }
        add(format!("  $ {}", show(&command["command"])));
    }
    for link in list("links") {
        add(format!("{}: {}", show(&link["name"]), show(&link["url"])));
    }
    if lines.is_empty() { String::new() } else { format!("\n{}\n", lines.join("\n")) }
}

/// A word that this version knows; newer services may say others.
pub(super) fn word<T: DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

pub(super) fn colour(indicator: Option<Indicator>) -> u8 {
    match indicator {
        Some(Indicator::Works) => GREEN,
        Some(Indicator::Broken) => RED,
        Some(Indicator::Late | Indicator::Unknown | Indicator::Waits | Indicator::Unwatched)
        | None => YELLOW,
    }
}

/// Who has the lease on the stream.
pub(super) fn lease(lease: &Value) -> String {
    let (host, address) = (show(&lease["host"]), show(&lease["address"]));
    let age = seconds(&lease["age_seconds"]);
    let fence = show(&lease["fence"]);
    match word(&lease["role"]) {
        Some(Role::Active) => format!("active, lease age {age}, fence {fence}"),
        Some(Role::Standby) if lease["age_seconds"].is_null() => {
            "standby, and no process has the lease".to_owned()
        }
        Some(Role::Standby) => {
            format!("standby of {host} ({address}), lease age {age}, fence {fence}")
        }
        Some(Role::None) | None => "no lease".to_owned(),
    }
}

/// What is shown while nobody answers, above what was said last.
pub(super) fn silence(reason: &str, last: Option<(&Value, f64)>) -> String {
    let reason = plain(reason);
    match last {
        None => format!("{}\n{reason}\n", bold(RED, "NO ANSWER")),
        Some((said, age)) => {
            let head = bold(RED, &format!("NO ANSWER for {age:.0} s"));
            let state = show(&said["verdict"]["state"]);
            let sentence = show(&said["verdict"]["sentence"]);
            format!("{head}\n{reason}\nNot known now; the last answer said {state}: {sentence}\n")
        }
    }
}

/// The changes of the verdict, the oldest first: the newest stands above the prompt.
pub(super) fn history(told: &Value) -> String {
    let changes = told["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = String::new();
    let mut until: Option<i64> = None;
    let mut lines = Vec::new();
    for change in changes {
        let at_us = change["at_us"].as_i64().unwrap_or_default();
        let at = chrono::DateTime::from_timestamp_micros(at_us).unwrap_or_default();
        let at = at.format("%Y-%m-%d %H:%M:%SZ");
        #[expect(clippy::cast_precision_loss, reason = "a duration for people")]
        let lasted = |until: i64| duration(until.saturating_sub(at_us) as f64 / 1e6);
        let lasted =
            until.map_or_else(|| "until now".to_owned(), |it| format!("for {}", lasted(it)));
        let colour = colour(word(&change["indicator"]));
        let label = show(&change["label"]).to_uppercase();
        let head = bold(colour, &format!("{label}  {}", show(&change["state"])));
        let (headline, evidence) = (show(&change["headline"]), show(&change["evidence"]));
        lines.push(format!("{at}  {head}, {lasted}\n  {headline}. {evidence}\n"));
        until = Some(at_us);
    }
    text.extend(lines.into_iter().rev());
    for told in [&told["late"], &told["told"]] {
        if let Some(told) = told.as_str().filter(|told| !told.is_empty()) {
            text += &[&plain(told), ".\n"].concat();
        }
    }
    if text.is_empty() { "Nothing has been recorded yet.\n".to_owned() } else { text }
}

/// The stations, the broken ones marked.
fn line(said: &Value) -> String {
    let stations = said["stations"].as_array().map(Vec::as_slice).unwrap_or_default();
    let way =
        stations.iter().filter(|station| word(&station["key"]) != Some(StationKey::Checkpoint));
    let (mut text, mut track) = (String::new(), "");
    for station in way {
        let (key, said) = (show(&station["key"]), show(&station["word"]));
        let indicator = word(&station["indicator"]);
        text += track;
        let mark = match indicator {
            Some(Indicator::Works) => bold(GREEN, &format!("{key} ok")),
            Some(Indicator::Broken) => bold(RED, &format!("{key} X {}", said.to_uppercase())),
            Some(Indicator::Late) => bold(YELLOW, &format!("{key} ! {}", said.to_uppercase())),
            Some(Indicator::Unknown | Indicator::Waits | Indicator::Unwatched) | None => {
                format!("{key} ({said})")
            }
        };
        text += &mark;
        track = if indicator == Some(Indicator::Works) { " == " } else { " -- " };
    }
    text
}

fn certificate(certificate: &Value) -> String {
    if certificate.is_null() {
        return "certificate: none yet".to_owned();
    }
    let count = |class: &str| show(&certificate[class]);
    format!(
        "certificate: heartbeat {} ({})\n         to heartbeat {} ({})\n             {} user, {} \
         filtered, {} heartbeat, {} canary transactions; unaccounted: {}",
        count("from_heartbeat"),
        count("from"),
        count("to_heartbeat"),
        count("to"),
        count("user"),
        count("filtered"),
        count("heartbeat"),
        count("canary"),
        count("unaccounted"),
    )
}

fn figures(status: &Value) -> String {
    let of = |path: &str| show(status.pointer(path).unwrap_or(&Value::Null));
    let age = |path: &str| seconds(status.pointer(path).unwrap_or(&Value::Null));
    let ago = |path: &str| match age(path).as_str() {
        "-" => "never".to_owned(),
        age => format!("{age} ago"),
    };
    let late = status.pointer("/recent/late").and_then(Value::as_str);
    let late = late.filter(|late| !late.is_empty()).map(plain);
    let mut rows = vec![
        (
            "stream",
            format!("{}  {} for {}", of("/stream"), of("/state"), age("/state_age_seconds")),
        ),
        ("lease", lease(&status["lease"])),
        ("uptime", format!("{}, binpulse {}", age("/uptime_seconds"), of("/version"))),
        (
            "source",
            format!("{}  {} {}", of("/source/host"), of("/source/flavor"), of("/source/version")),
        ),
        ("read", of("/progress/read")),
        ("lag", late.unwrap_or_else(|| age("/progress/lag_seconds"))),
        ("delivered", of("/progress/delivered")),
        (
            "published",
            format!(
                "{} changes in {} messages",
                of("/progress/changes_published"),
                of("/progress/messages_published")
            ),
        ),
        (
            "heartbeat",
            format!(
                "{}, seen {}",
                of("/heartbeat/last_result"),
                ago("/heartbeat/seen_age_seconds")
            ),
        ),
        (
            "sink",
            format!("{}, accepted {}", of("/sink/kind"), ago("/sink/last_accept_age_seconds")),
        ),
        (
            "checkpoint",
            format!("{}, saved {}", of("/checkpoint/place"), ago("/checkpoint/age_seconds")),
        ),
    ];
    rows.extend(rates(&status["recent"]));
    let paths = status["paths"].as_array().map(Vec::as_slice).unwrap_or_default();
    let failing = || paths.iter().filter(|path| path["failing"] == true);
    if !paths.is_empty() {
        rows.push(("paths", format!("{} of {} not written", failing().count(), paths.len())));
    }
    for path in failing().take(CONSUMERS_MAX) {
        let (name, table) = (show(&path["name"]), show(&path["table"]));
        rows.push(("path", format!("{name} ({table}): {}", show(&path["canary"]["last_result"]))));
    }
    for finding in status["findings"].as_array().into_iter().flatten() {
        let of = |field: &str| show(&finding[field]);
        let (what, found, needed) = (of("what"), of("found"), of("needed"));
        rows.push((
            "finding",
            format!("{what}: {found}, needed {needed}; to fix it: {}", of("remedy")),
        ));
    }
    let lines: Vec<_> =
        rows.into_iter().map(|(name, value)| format!("{name:<11}{value}\n")).collect();
    lines.concat()
}

/// How fast it goes, and which tables are the busiest: of `/history`.
fn rates(recent: &Value) -> Vec<(&'static str, String)> {
    let per_second = |value: &Value| value.as_f64().map_or("-".to_owned(), |it| format!("{it:.1}"));
    let mut rows = Vec::new();
    if let Some(point) = recent["points"].as_array().and_then(|points| points.last()) {
        let of = |key: &str| per_second(&point[key]);
        rows.push((
            "rates",
            format!(
                "{} rows/s committed, {} rows/s published in {} messages/s",
                of("committed_per_second"),
                of("changes_per_second"),
                of("messages_per_second")
            ),
        ));
    }
    let table =
        |one: &Value| format!("{} {}/s", show(&one["table"]), per_second(&one["rows_per_second"]));
    let busiest: Vec<_> = recent["busiest"].as_array().into_iter().flatten().map(table).collect();
    if !busiest.is_empty() {
        rows.push(("busiest", busiest.join(", ")));
    }
    rows
}

/// Consumers, worst first: grouped, or with a filter each member that it finds.
fn consumers(status: &Value, only: Option<&str>) -> String {
    let (said, none) = (&status["conclusion"], Vec::new());
    let groups = said["consumers"].as_array().unwrap_or(&none);
    let members = || groups.iter().flat_map(|one| one["members"].as_array().into_iter().flatten());
    let has = |one: &&Value, text: &str| one["name"].as_str().is_some_and(|it| it.contains(text));
    let shown: Vec<&Value> = match only {
        Some(text) => members().filter(|one| has(one, text)).collect(),
        None => groups.iter().collect(),
    };
    let most = if only.is_some() { usize::MAX } else { CONSUMERS_MAX };
    let row = |one: &&Value| {
        let name = show(&one["name"]);
        let mut figures = status["consumers"].as_array().into_iter().flatten();
        let figures =
            figures.rfind(|it| only.is_some() && it["name"] == one["name"]).unwrap_or(one);
        let age = seconds(&figures["last_age_seconds"]);
        let newest = if age == "-" { "never".to_owned() } else { format!("{age} ago") };
        let why = one["text"].as_str().filter(|why| !why.is_empty());
        let why = why.map_or_else(String::new, |why| format!(" ({})", plain(why)));
        let (does, lost) = (show(&one["word"]), show(&figures["lost"]));
        let does = match word(&one["indicator"]) {
            Some(Indicator::Works) => does,
            other => bold(colour(other), &does),
        };
        format!("{:<11}{name}: {does}{why}, last echo {newest}, {lost} lost\n", "consumer")
    };
    let mut text = format!("{:<11}{}\n", "consumers", show(&said["consumers_text"]));
    text.extend(shown.iter().take(most).map(row));
    if shown.len() > most {
        let more = (shown.len() - most).to_string();
        text += &["           and ", &more, " more; --only NAME finds them\n"].concat();
    }
    text
}

/// Where the pages are.
fn url(status: &Value) -> String {
    status["url"].as_str().map(plain).unwrap_or_default()
}

/// A string member as it is, anything else as JSON; `-` for null.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => plain(text),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    }
}

pub(super) fn seconds(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), duration)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    use crate::telemetry::Status;
    use crate::telemetry::status::{Canary, Condition, Consumer, Finding, Halted, Verdict};
    use crate::telemetry::words::{CanaryState, ConditionStatus};
    use crate::telemetry::{Aid, StateKind};

    fn document(state: &str, grade: &str, hop: &str) -> Status {
        let well = [
            ("sql_admits", StationKey::Source),
            ("stream_connected", StationKey::Stream),
            ("sink_moves", StationKey::Publish),
            ("canaries_arrive", StationKey::Delivery),
        ];
        let well = well.map(|(name, station)| Condition {
            speaks_for: Some(station),
            name: name.to_owned(),
            status: ConditionStatus::True,
            needed: true,
            ..Condition::default()
        });
        Status {
            stream: "orders".to_owned(),
            consumers: vec![Consumer { name: "a".to_owned(), ..Consumer::default() }],
            verdict: Verdict {
                state: state.to_owned(),
                grade: word(&json!(grade)).expect(grade),
                hop: word(&json!(hop)).expect(hop),
                kind: if state == "starting" { StateKind::Blind } else { StateKind::Usual },
                since_seconds: 12.5,
                evaluated_age_seconds: 0.4,
                headline: "It is so".to_owned(),
                sentence: "It is so: seen.".to_owned(),
                facts: vec!["a fact".to_owned()],
                next_step: "Do that.".to_owned(),
                conditions: well.into(),
                ..Verdict::default()
            },
            ..Status::default()
        }
    }

    /// As the service's own answer is shown.
    fn shown(says: &Status) -> String {
        status(&json!(says.clone().concluded()), 0, None)
    }

    #[test]
    fn the_first_broken_station_is_marked_and_what_follows_is_not_evaluated() {
        let text = shown(&document("sink_stalled", "outage", "publish"));
        assert!(text.contains("OUTAGE AT PUBLISH  sink_stalled"), "{text}");
        assert!(text.contains("next: Do that.") && text.contains("stream ok"), "{text}");
        assert!(text.contains("publish X BROKEN HERE"), "{text}");
        assert!(text.contains("delivery (not evaluated)") && !text.contains("consumers ok"));
    }

    #[test]
    fn nothing_is_ok_that_is_not_known_to_be() {
        let mut frozen = document("quiet", "healthy", "none");
        frozen.verdict.evaluated_age_seconds = 40.0;
        for said in [frozen, document("starting", "unknown", "none")] {
            let text = shown(&said);
            assert!(text.contains("NOT KNOWN") && !text.contains(" ok"), "{text}");
        }
        let mut halted = document("quiet", "healthy", "none");
        halted.halted = Some(Halted {
            reason: crate::telemetry::words::HaltReason::Undecodable,
            message: "m".to_owned(),
            remedy: "look; then restart".to_owned(),
        });
        let text = shown(&halted);
        assert!(text.contains("HALTED AT STREAM  undecodable") && !text.contains("stream ok"));
        assert!(text.contains("stream X BROKEN HERE") && text.contains("publish (not evaluated)"));
        assert!(text.contains("next: Look; then restart."), "{text}");
        let text = silence("refused", Some((&json!(halted.concluded()), 7.2)));
        assert!(text.contains("NO ANSWER for 7 s") && text.contains("the last answer said quiet"));
    }

    #[test]
    fn what_a_verdict_does_not_tell_stands_above_it_or_beside_its_consumer() {
        let mut said = document("quiet", "healthy", "none");
        said.progress.purge_margin_seconds = Some(90_000.0);
        said.progress.log_expiry_seconds = Some(100_000.0);
        said.consumers[0].maintenance_seconds_left = Some(1_290.0);
        let text = shown(&said);
        assert!(text.contains("(not evaluated for 21 min 30 s)"), "{text}");
        assert!(!text.contains("PURGE") && text.contains("HEALTHY  quiet"), "{text}");
        said.progress.purge_margin_seconds = Some(11_700.0);
        let text = shown(&said);
        assert!(text.contains("PURGE  ") && text.contains("In 3 h 15 min"), "{text}");
        assert!(text.contains("next: Lengthen binlog_expire_logs_seconds"), "{text}");
    }

    #[test]
    fn findings_are_listed_with_what_to_do_and_the_urgent_ones_stand_above() {
        let mut said = document("quiet", "healthy", "none");
        let finding = |level: &str, what: &str| Finding {
            level: word(&json!(level)).expect(level),
            what: what.to_owned(),
            found: "it is so".to_owned(),
            needed: "otherwise".to_owned(),
            remedy: "turn it".to_owned(),
            refuses: false,
        };
        said.findings = vec![finding("note", "foreign keys")];
        let text = shown(&said);
        let line = "finding    foreign keys: it is so, needed otherwise; to fix it: turn it";
        assert!(text.contains(line) && !text.contains("FINDING"), "{text}");
        said.findings.push(finding("warning", "binlog-do-db"));
        let text = shown(&said);
        assert!(text.contains("FINDING  binlog-do-db is not as it should be"), "{text}");
        assert!(text.contains("next: Turn it.") && text.contains("HEALTHY, WITH A WARNING"));
    }

    #[test]
    fn the_history_tells_each_state_how_long_it_lasted_and_the_newest_last() {
        let change = |at_us: i64, label: &str, state: &str| {
            json!({"at_us": at_us, "label": label, "state": state, "headline": "It is so",
                   "evidence": "Seen.", "indicator": "broken"})
        };
        let second = 1_000_000;
        let changes = [
            change(90 * second, "healthy", "live"),
            change(20 * second, "outage at publish", "sink_stalled (\u{1b}denied)"),
        ];
        let text = history(&json!({"changes": changes, "late": "42.0 s late", "told": ""}));
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what} in {text}"));
        assert!(at("1970-01-01 00:00:20Z") < at("for 1 min 10 s"), "{text}");
        assert!(at("OUTAGE AT PUBLISH") < at("HEALTHY  live"), "{text}");
        assert!(at("until now") > at("HEALTHY") && text.ends_with("42.0 s late.\n"), "{text}");
        assert!(!text.contains("\u{1b}denied"), "{text}");
        assert!(history(&json!({"changes": []})).contains("Nothing has been recorded"));
    }

    #[test]
    fn a_snapshot_is_shown_if_there_is_one() {
        let mut said = document("quiet", "healthy", "none");
        assert!(!shown(&said).contains("snapshot"));
        said.snapshot = Some(picture::tests::status(Vec::new()));
        let text = shown(&said);
        assert!(text.contains("snapshot 01JDZ") && text.contains("1,234,567 rows"), "{text}");
    }

    #[test]
    fn many_consumers_are_grouped_worst_first_and_a_filter_finds_each() {
        let mut said = document("canary_lost", "outage", "consumers");
        let names = (0..100).map(|at| format!("team{:02}/path{}", at / 5, at % 5));
        let consumer = |name| Consumer { name, last: Some(9), ..Consumer::default() };
        said.consumers = names.map(consumer).collect();
        let lost = |number| Canary { number, state: CanaryState::Lost, ..Canary::default() };
        said.consumers[73].recent = vec![lost(9), lost(8)];
        let text = shown(&said);
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what} in {text}"));
        assert!(
            at("1 of 100 consumer paths silent") < at("team14: ")
                && at("team14: ") < at("team00: ")
        );
        assert!(text.contains("silent") && text.contains("(1 of 5: team14/path3)"), "{text}");
        assert!(text.contains("and 10 more; --only NAME") && text.lines().count() < 40, "{text}");
        let text = status(&json!(said.concluded()), 0, Some("team14/"));
        assert_eq!(text.matches("team14/path").count(), 5, "{text}");
    }

    #[test]
    fn lag_and_rates_are_told_as_the_history_has_them() {
        let mut says = json!(document("catching_up", "late", "stream").concluded());
        says["recent"] = json!({
            "late": "42.0 s late, about 3 min to catch up",
            "points": [{}, {
                "committed_per_second": 40.0, "changes_per_second": 390.25, "messages_per_second": 4.0,
            }],
            "busiest": [
                {"table": "shop.orders", "rows_per_second": 300.0},
                {"table": "shop.items", "rows_per_second": 90.3},
            ],
        });
        let text = status(&says, 0, None);
        for line in [
            "lag        42.0 s late, about 3 min to catch up",
            "rates      40.0 rows/s committed, 390.2 rows/s published in 4.0 messages/s",
            "busiest    shop.orders 300.0/s, shop.items 90.3/s",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        says["recent"] = Value::Null;
        let text = status(&says, 0, None);
        assert!(text.contains("lag        -") && !text.contains("rates"), "{text}");
    }

    #[test]
    fn what_is_to_be_copied_stands_on_lines_of_its_own_and_once() {
        let mut lost = document("canary_lost", "outage", "consumers");
        lost.verdict.aids = &[Aid::Queues, Aid::Maintenance];
        lost.verdict.reason = Some("a".to_owned());
        lost.verdict.next_step = "`binpulse check` says more.".to_owned();
        lost.sink.quarantined = 1;
        lost.config = json!({"canary.echo": "a=https://sqs/a"});
        let text = next(&json!(lost.concluded()));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "",
                "Echo queue of a: https://sqs/a",
                "  $ binpulse check",
                "Show the echo queue of a:",
                "  $ aws sqs get-queue-attributes --queue-url https://sqs/a --attribute-names All",
                "If a is meant to rest, do not evaluate it:",
                "  $ binpulse maintenance a --for 30m",
                "  $ binpulse redrive --dry-run",
            ]
        );
        assert_eq!(next(&json!(document("live", "healthy", "none").concluded())), "");
    }

    #[test]
    fn a_name_can_not_command_the_terminal() {
        let mut said = document("live", "healthy", "none");
        said.stream = "\u{1b}]0;owned\u{7}".to_owned();
        assert!(!shown(&said).contains("\u{1b}]") && !shown(&said).contains('\u{7}'));
    }
}
