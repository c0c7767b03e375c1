//! A status as people see it in a terminal: the verdict, the line of stations, the figures. Pure.

use serde_json::Value;

/// A verdict older than this, seconds, is none: its loop judges each second.
const FROZEN_AFTER: f64 = 6.0;
const STATIONS: [&str; 5] = ["source", "stream", "publish", "delivery", "consumers"];

/// Halts of the stream that lie at the sink.
const AT_SINK: [&str; 4] = ["too_large", "refused", "sink_ended", "quarantine"];
/// The part of the source's expiry below which somebody must act, as the alert has it.
const MARGIN_LEAST: f64 = 0.25;

const GREEN: u8 = 32;
const YELLOW: u8 = 33;
const RED: u8 = 31;

/// Whether the verdict is still being judged.
pub(super) fn is_judged(verdict: &Value) -> bool {
    verdict["judged_age_seconds"].as_f64().is_none_or(|age| age <= FROZEN_AFTER)
}

/// The verdict with its evidence.
pub(super) fn verdict(verdict: &Value) -> String {
    let (colour, grade) = match verdict["grade"].as_str() {
        _ if !is_judged(verdict) => (RED, "NOT KNOWN, it is no longer judged; was"),
        Some("healthy") => (GREEN, "HEALTHY"),
        Some("outage") => (RED, "OUTAGE"),
        Some("late") => (YELLOW, "LATE"),
        Some("recovering") => (YELLOW, "RECOVERING"),
        Some(_) | None => (YELLOW, "NOT KNOWN"),
    };
    let reason = verdict["reason"].as_str().map_or(String::new(), |name| format!(" ({name})"));
    let state = format!("{}{}", show(&verdict["state"]), plain(&reason));
    let since = seconds(&verdict["since_seconds"]);
    let mut lines = vec![
        format!("{}  for {since}", bold(colour, &format!("{grade}  {state}"))),
        show(&verdict["sentence"]),
    ];
    let facts = verdict["facts"].as_array().into_iter().flatten();
    lines.extend(facts.map(|fact| format!("  - {}", show(fact))));
    if verdict["grade"] != "healthy" {
        lines.push(format!("next: {}", show(&verdict["next_step"])));
        if let Some(path) = verdict["runbook"].as_str() {
            lines.push(format!("runbook: {} at http.listen", plain(path)));
        }
    }
    lines.push(certificate(&verdict["certificate"]));
    lines.join("\n") + "\n"
}

/// Everything at once.
pub(super) fn status(status: &Value) -> String {
    let mut text = String::new();
    if !status["halted"].is_null() {
        let of = |member: &str| show(&status["halted"][member]);
        text += &bold(RED, &format!("HALTED  {}", of("reason")));
        text += &["\n", &of("message"), "\nwhat mends it: ", &of("mend"), "\n\n"].concat();
    }
    if let Some(lost) = status["verdict"]["unaccounted_transactions"].as_u64().filter(|n| *n > 0) {
        text += &bold(RED, &format!("LOSS  {lost} transactions did not come through the stream"));
        text += "\nfind out which rows are missing, and tell the consumers\n";
        text += "runbook: /runbooks/BinpulseUnaccountedTransactions at http.listen\n\n";
    }
    let number = |name: &str| status["progress"][name].as_f64();
    if let (Some(margin), Some(expiry)) =
        (number("purge_margin_seconds"), number("log_expiry_seconds"))
        && margin < MARGIN_LEAST * expiry
    {
        let left = duration(margin);
        text += &bold(RED, &format!("PURGE  in {left} the source may purge what is not delivered"));
        text += "\nlengthen binlog_expire_logs_seconds there, and mend what holds delivery up\n\n";
    }
    text + &verdict(&status["verdict"]) + "\n" + &line(status) + "\n\n" + &figures(status)
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
            format!("{head}\n{reason}\nnot known now; the last answer said {state}: {sentence}\n")
        }
    }
}

/// The stations, the first broken one marked.
fn line(status: &Value) -> String {
    let verdict = &status["verdict"];
    let is_halted = !status["halted"].is_null();
    // A halt is known before the verdict has seen it.
    let broken = STATIONS.iter().position(|name| verdict["hop"] == *name).or_else(|| {
        let at_sink = status["halted"]["reason"].as_str().is_some_and(|it| AT_SINK.contains(&it));
        is_halted.then_some(if at_sink { 2 } else { 1 })
    });
    let healthy = verdict["grade"] == "healthy" && !is_halted;
    let watched = status["consumers"].as_array().is_some_and(|list| !list.is_empty());
    let mut text = String::new();
    for (at, name) in STATIONS.into_iter().enumerate() {
        let (mark, track) = match broken {
            _ if !is_judged(verdict) => (format!("{name} ?"), " -- "),
            Some(broken) if at == broken && verdict["grade"] == "late" => {
                (bold(YELLOW, &format!("{name} ! LATE HERE")), " -- ")
            }
            Some(broken) if at == broken && verdict["grade"] == "recovering" => {
                (bold(YELLOW, &format!("{name} ! RECOVERING")), " -- ")
            }
            Some(broken) if at == broken => (bold(RED, &format!("{name} X BROKEN HERE")), " -- "),
            _ if at >= 3 && !watched => (format!("{name} (not watched)"), " -- "),
            Some(broken) if at > broken => (format!("{name} (not judged)"), " -- "),
            None if !healthy => (format!("{name} ?"), " -- "),
            Some(_) | None => (bold(GREEN, &format!("{name} ok")), " == "),
        };
        text += &mark;
        if at + 1 < STATIONS.len() {
            text += track;
        }
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
    let mut rows = vec![
        (
            "stream",
            format!("{}  {} for {}", of("/stream"), of("/state"), age("/state_age_seconds")),
        ),
        ("uptime", format!("{}, binpulse {}", age("/uptime_seconds"), of("/version"))),
        (
            "source",
            format!("{}  {} {}", of("/source/host"), of("/source/flavor"), of("/source/version")),
        ),
        ("read", of("/progress/read")),
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
    for path in status["paths"].as_array().into_iter().flatten() {
        let (name, table) = (show(&path["name"]), show(&path["table"]));
        rows.push(("path", format!("{name} ({table}): {}", show(&path["canary"]["last_result"]))));
    }
    for consumer in status["consumers"].as_array().into_iter().flatten() {
        let back = match consumer["last"].as_u64() {
            Some(number) => {
                format!("canary {number} back {} ago", seconds(&consumer["last_age_seconds"]))
            }
            None => "no canary back yet".to_owned(),
        };
        let (name, lost) = (show(&consumer["name"]), show(&consumer["lost"]));
        let rests =
            consumer["maintenance_seconds_left"].as_f64().map_or_else(String::new, |left| {
                format!(", in maintenance for {}: not judged", duration(left))
            });
        rows.push(("consumer", format!("{name}: {back}, {lost} lost{rests}")));
    }
    let lines: Vec<_> =
        rows.into_iter().map(|(name, value)| format!("{name:<11}{value}\n")).collect();
    lines.concat()
}

fn bold(colour: u8, text: &str) -> String {
    format!("\u{1b}[1;{colour}m{text}\u{1b}[0m")
}

/// A string member as it is, anything else as JSON; `-` for null.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => plain(text),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    }
}

/// Without control characters: names and errors come from outside, and a terminal obeys them.
fn plain(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

fn seconds(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), duration)
}

/// In the units that a person would use.
fn duration(seconds: f64) -> String {
    let whole =
        std::time::Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default().as_secs();
    match whole {
        0..60 => format!("{:.1} s", seconds.max(0.0)),
        60..3_600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {:02} min", whole / 3_600, whole / 60 % 60),
        _ => format!("{} d {:02} h", whole / 86_400, whole / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(state: &str, grade: &str, hop: &str) -> Value {
        json!({
            "stream": "orders", "halted": null, "consumers": [{"name": "a", "last": null, "lost": 0}],
            "verdict": {
                "state": state, "grade": grade, "hop": hop, "reason": null, "since_seconds": 12.5,
                "judged_age_seconds": 0.4, "sentence": "It is so.", "facts": ["a fact"],
                "next_step": "Do that.", "certificate": null, "unaccounted_transactions": 0,
            },
        })
    }

    #[test]
    fn the_first_broken_station_is_marked_and_what_follows_is_not_judged() {
        let text = status(&document("sink_stalled", "outage", "publish"));
        assert!(text.contains("OUTAGE  sink_stalled") && text.contains("next: Do that."));
        assert!(text.contains("stream ok") && text.contains("publish X BROKEN HERE"));
        assert!(text.contains("delivery (not judged)") && !text.contains("consumers ok"));
    }

    #[test]
    fn nothing_is_ok_that_is_not_known_to_be() {
        let mut frozen = document("quiet", "healthy", "none");
        frozen["verdict"]["judged_age_seconds"] = json!(40);
        for said in [frozen, document("starting", "unknown", "none")] {
            let text = status(&said);
            assert!(text.contains("NOT KNOWN") && !text.contains(" ok"), "{text}");
        }
        let mut halted = document("quiet", "healthy", "none");
        halted["halted"] = json!({"reason": "undecodable", "message": "m", "mend": "w"});
        let text = status(&halted);
        assert!(text.contains("HALTED  undecodable") && !text.contains("stream ok"), "{text}");
        assert!(text.contains("stream X BROKEN HERE") && text.contains("publish (not judged)"));
        halted["halted"]["reason"] = json!("too_large");
        assert!(status(&halted).contains("publish X BROKEN HERE"));
        let text = silence("refused", Some((&document("quiet", "healthy", "none"), 7.2)));
        assert!(text.contains("NO ANSWER for 7 s") && text.contains("the last answer said quiet"));
    }

    #[test]
    fn what_a_verdict_does_not_tell_stands_above_it_or_beside_its_consumer() {
        let mut said = document("quiet", "healthy", "none");
        said["progress"] =
            json!({"purge_margin_seconds": 90_000.0, "log_expiry_seconds": 100_000.0});
        said["consumers"][0]["maintenance_seconds_left"] = json!(1_290.0);
        let text = status(&said);
        assert!(
            text.contains("in maintenance for 21 min 30 s") && !text.contains("PURGE"),
            "{text}"
        );
        said["progress"]["purge_margin_seconds"] = json!(11_700.0);
        assert!(status(&said).contains("PURGE  in 3 h 15 min"), "{}", status(&said));
    }

    #[test]
    fn a_name_can_not_command_the_terminal() {
        let mut said = document("live", "healthy", "none");
        said["stream"] = json!("\u{1b}]0;owned\u{7}");
        assert!(!status(&said).contains("\u{1b}]") && !status(&said).contains('\u{7}'));
    }
}
