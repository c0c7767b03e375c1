//! `replay`: rows that were published, published again.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};

use super::progress::{Progress, Unit};
use super::snapshot::picture::grouped;
use super::style::{columns, erase_progress, fitted, plain, say};
use super::{Exit, flags, logs, run};
use crate::app::{ReplayError, ReplayProgress, ReplayReport, ReplayWatch, ReplayWish, replay};
use crate::checkpoint::Recovery;
use crate::config::{Kind, Value};
use crate::filter::Pattern;
use crate::pack::RowRange;
use crate::sink::Permit;

/// Why writing to a string can't fail.
const FITS: &str = "a string has room";

const LONG_ABOUT: &str = "\
Publishes again what the service has published of the transactions that committed since a
time: the same rows, in the same order, under the same lanes, epoch and row numbers, read
again from the source's binary logs. The service continues meanwhile; its checkpoint is only
read. Heartbeats and canaries are left out.

Examples:
  binpulse replay --config binpulse.toml --since 5m --dry-run
  binpulse replay --config binpulse.toml --since 5m --same-topics --for billing
  binpulse replay --config binpulse.toml --lane shop.orders#0 --numbers 812-815 --same-topics

Each message has the attribute `replay` with the name that --for gives, so that
subscriptions can select it: {\"replay\": [{\"exists\": false}, \"billing\"]} takes what is
published for the first time, and what is repeated for billing. Consumers that skip numbers
they have seen skip these rows too; one that is to apply them again must first reset its
numbers to the first of each lane, which are printed.

With --lane and --numbers only these rows are published: those that a consumer misses. When
they were committed need not be known; with --since they are looked for there first, then
further back.

Use the settings of the service: with other filters or lanes the rows would be numbered
differently. It reads the log twice, first to count. On a terminal it shows how far it is, and
prints a table at the end; elsewhere, and with --json, a JSON document.

Exit codes: 0 done; 64 wrong invocation, or settings other than the service's; 69 source or
topic unavailable, or interrupted; 75 the log or the checkpoint does not have it.";

/// The command.
pub(super) fn command() -> Command {
    let command = Command::new("replay")
        .about("Publish the rows since a time again, with their original numbers")
        .long_about(LONG_ABOUT)
        .arg(
            Arg::new("since")
                .long("since")
                .value_name("TIME")
                .required_unless_present("lane")
                .help("How long ago (5m), or a time as in RFC 3339 (2026-11-21T09:00:00Z)"),
        )
        .arg(
            Arg::new("until")
                .long("until")
                .value_name("TIME")
                .help("The same for the end [default: all that the service has delivered]"),
        )
        .arg(
            Arg::new("table")
                .long("table")
                .value_name("DATABASE.TABLE")
                .action(ArgAction::Append)
                .help("Only rows of these tables, patterns as in filter.tables; no statements"),
        )
        .arg(
            Arg::new("lane")
                .long("lane")
                .value_name("LANE")
                .requires("numbers")
                .conflicts_with_all(["table", "until"])
                .help("Only rows of this lane, such as shop.orders#0"),
        )
        .arg(
            Arg::new("numbers")
                .long("numbers")
                .value_name("FIRST-LAST")
                .requires("lane")
                .help("The numbers of these rows, such as 812-815, or one number"),
        )
        .arg(
            Arg::new("for")
                .long("for")
                .value_name("NAME")
                .default_value("all")
                .value_parser(super::flags::audience)
                .help("Value of the attribute `replay`"),
        )
        .arg(Arg::new("topic").long("topic").value_name("ARN").help("Publish to this topic"))
        .arg(
            Arg::new("same-topics")
                .long("same-topics")
                .action(ArgAction::SetTrue)
                .help("Publish to the topics of the service (or its other sink)"),
        )
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Publish nothing: print the lanes and numbers"),
        )
        .group(ArgGroup::new("where").args(["topic", "same-topics", "dry-run"]).required(true));
    flags::with_settings(
        flags::with_json(command, "Print the report as JSON, on a terminal too"),
        flags::Reads::Only(&[
            "stream.",
            "source.",
            "heartbeat.",
            "filter.",
            "outbox.",
            "message.",
            "sink.",
            "sns.",
            "checkpoint.",
            "log.",
        ]),
    )
}

/// Publishes again, or counts.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some((values, plan)) = run::plan(matches, run::Runs::Sink) else { return Exit::Usage };
    let request = match request(matches, Utc::now()) {
        Ok(request) => request,
        Err(wrong) => {
            say!("binpulse: {wrong}");
            return Exit::Usage;
        }
    };
    if request.topic.is_some() && plan.sink.kind() != "sns" {
        say!("binpulse: --topic needs sink.kind = \"sns\"");
        return Exit::Usage;
    }
    if let Err(exit) = logs(&values) {
        return exit;
    }
    let dry_run = request.dry_run;
    let is_for_people = io::stdout().is_terminal() && !matches.get_flag("json");
    let mut request = request;
    request.watch = watch();
    run::to_the_end(async |stop| match Box::pin(replay(plan, request, &stop)).await {
        Ok(report) => {
            erase_progress();
            let text = if is_for_people { words(&report, dry_run) } else { json(&report, dry_run) };
            print!("{text}");
            end(&report)
        }
        Err(error) => {
            say!("binpulse: {error}");
            exit(&error)
        }
    })
}

fn request(matches: &ArgMatches, now: DateTime<Utc>) -> Result<ReplayWish, String> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let time = |name: &str| {
        text(name).map(|text| moment(text, now).map_err(|wrong| format!("--{name} {wrong}")))
    };
    let since_us = time("since").transpose()?;
    let until_us = time("until").transpose()?;
    let is_after_since = |time: i64| since_us.is_none_or(|since| time > since);
    if !is_after_since(now.timestamp_micros()) || !until_us.is_none_or(is_after_since) {
        return Err("--since must lie in the past, and before --until".to_owned());
    }
    let tables = matches.get_many::<String>("table").into_iter().flatten().map(|text| {
        Pattern::parse(text, 2)
            .ok_or_else(|| format!("--table {text}: expected a pattern database.table"))
    });
    let rows = text("lane").zip(text("numbers")).map(|(lane, numbers)| {
        let (first, last) = range(numbers).ok_or_else(|| {
            format!("--numbers {numbers}: expected two numbers such as 812-815, or one")
        })?;
        Ok::<_, String>(RowRange { lane: lane.into(), first, last })
    });
    Ok(ReplayWish {
        since_us,
        until_us,
        rows: rows.transpose()?.into_iter().collect(),
        tables: tables.collect::<Result<_, _>>()?,
        topic: text("topic").map(str::to_owned),
        audience: Some(text("for").unwrap_or("all").to_owned()),
        dry_run: matches.get_flag("dry-run"),
        permit: Permit::default(),
        pace: None,
        watch: ReplayWatch::default(),
    })
}

/// First and last number.
fn range(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (1 <= first && first <= last).then_some((first, last))
}

/// A duration back from `now`, or a time; microseconds since 1970 UTC.
fn moment(text: &str, now: DateTime<Utc>) -> Result<i64, String> {
    const LONGEST: Kind = Kind::Duration(0, 10 * 366 * 24 * 3600 * 1000);
    if let Some(Value::Duration(ago)) = LONGEST.parse(text) {
        return Ok((now - ago).timestamp_micros());
    }
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => Ok(time.timestamp_micros()),
        Err(_) => Err(format!(
            "{text}: expected how long ago, such as 5m, or a time such as {}",
            (now - Duration::from_mins(5)).format("%Y-%m-%dT%H:%M:%SZ")
        )),
    }
}

/// Who waits for it on a terminal sees how far it is.
fn watch() -> ReplayWatch {
    let progress = Progress::new(Unit::Bytes, false);
    if !progress.is_wanted() {
        return ReplayWatch::default();
    }
    let progress = Mutex::new(progress);
    ReplayWatch::new(move |it: ReplayProgress| {
        let what = if it.is_publishing { "Publishing" } else { "Counting" };
        let at = DateTime::from_timestamp_micros(it.newest_commit_us).filter(|_| it.done > 0);
        let at = at.map(|at| at.format("at %Y-%m-%d %H:%M:%S UTC").to_string());
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.at(what, it.done, it.all, &at.unwrap_or_default());
    })
}

/// One JSON document.
fn json(report: &ReplayReport, dry_run: bool) -> String {
    let lanes: serde_json::Map<_, _> = report
        .lanes
        .iter()
        .map(|(lane, first, last)| (lane.to_string(), serde_json::json!([first, last])))
        .collect();
    let document = serde_json::json!({
        "published": !dry_run,
        "rows": report.rows,
        "messages": if dry_run { None } else { Some(report.messages) },
        "epoch": report.epoch,
        "until": report.until.to_string(),
        "lanes": lanes,
    });
    format!("{document}\n")
}

/// The same for people.
fn words(report: &ReplayReport, dry_run: bool) -> String {
    let (rows, epoch, until) = (grouped(report.rows), report.epoch, report.until.to_string());
    let head = if dry_run {
        format!("Nothing was published. {rows} rows would be, of epoch {epoch}, up to {until}.\n")
    } else {
        let messages = grouped(report.messages);
        format!("Published {rows} rows in {messages} messages, of epoch {epoch}, up to {until}.\n")
    };
    let mut text = fitted(&head);
    if report.lanes.is_empty() {
        return text;
    }
    let widest = |of: fn(&(Arc<str>, u64, u64)) -> String, name: &str| {
        let all = report.lanes.iter().map(|lane| columns(&of(lane)));
        all.max().unwrap_or(0).max(name.len())
    };
    let lane = widest(|(lane, ..)| plain(lane), "lane");
    let first = widest(|(_, first, _)| first.to_string(), "first");
    let last = widest(|(.., last)| last.to_string(), "last");
    write!(text, "\n{:lane$}  {:>first$}  {:>last$}  {:>9}\n", "lane", "first", "last", "rows")
        .expect(FITS);
    for (name, from, to) in &report.lanes {
        let name = plain(name);
        let pad = " ".repeat(lane - columns(&name));
        let rows = grouped(to - from + 1);
        writeln!(text, "{name}{pad}  {from:>first$}  {to:>last$}  {rows:>9}").expect(FITS);
    }
    text
}

fn end(report: &ReplayReport) -> Exit {
    if report.is_interrupted {
        say!("binpulse: interrupted before the end; run it again: it repeats the same numbers");
        return Exit::Unavailable;
    }
    Exit::Done
}

fn exit(error: &ReplayError) -> Exit {
    match error {
        ReplayError::Checkpoint(error) if error.recovery() == Recovery::Retry => Exit::Unavailable,
        ReplayError::Checkpoint(_)
        | ReplayError::NotBegun { .. }
        | ReplayError::OtherServer { .. }
        | ReplayError::NotPublished { .. }
        | ReplayError::NotInLog { .. }
        | ReplayError::Suppressed { .. }
        | ReplayError::Controls(_)
        | ReplayError::Filters(_)
        | ReplayError::FiltersForgotten { .. }
        | ReplayError::RowCountMismatch { .. } => Exit::Operator,
        ReplayError::Source { error } if error.needs_operator() => Exit::Operator,
        ReplayError::OtherLanes { .. } | ReplayError::Topic(_) | ReplayError::NoLane { .. } => {
            Exit::Usage
        }
        ReplayError::Source { .. }
        | ReplayError::Sink(_)
        | ReplayError::Broken(_)
        | ReplayError::Unavailable(_) => Exit::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
    }

    fn wish_of(arguments: &[&str]) -> Result<ReplayWish, String> {
        let all = ["replay", "--dry-run"].iter().chain(arguments);
        request(&command().try_get_matches_from(all).expect("flags that exist"), now())
    }

    #[test]
    fn times_are_how_long_ago_or_of_the_calendar() {
        let since = |text: &str| wish_of(&["--since", text]).map(|request| request.since_us);
        assert_eq!(since("5m"), Ok(Some(1_799_999_700_000_000)));
        assert_eq!(since("2027-01-15T08:00:00+01:00"), Ok(Some(1_799_996_400_000_000)));
        for wrong in ["yesterday", "-5m", "2027-01-15", "2100-01-01T00:00:00Z"] {
            let arguments = format!("--since={wrong}");
            assert!(wish_of(&[&arguments]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_end_lies_behind_the_begin() {
        let until = |text: &str| {
            wish_of(&["--since", "5m", "--until", text]).map(|request| request.until_us)
        };
        assert_eq!(until("4m"), Ok(Some(1_799_999_760_000_000)));
        assert!(until("5m").is_err() && until("6m").is_err());
    }

    #[test]
    fn rows_are_named_by_lane_and_numbers_and_need_no_time() {
        let rows = |numbers: &str| wish_of(&["--lane", "shop.orders#0", "--numbers", numbers]);
        let found = |first, last| vec![RowRange { lane: "shop.orders#0".into(), first, last }];
        let (range, one) = (rows("812-815").expect("a range"), rows("7").expect("a number"));
        assert_eq!((range.rows, range.since_us), (found(812, 815), None));
        assert_eq!(one.rows, found(7, 7));
        for wrong in ["", "0", "5-4", "0-3", "1-2-3", "a", "1-"] {
            assert!(rows(wrong).is_err(), "{wrong}");
        }
        let parses = |arguments: &[&str]| {
            let all = ["replay", "--dry-run"].iter().chain(arguments);
            command().try_get_matches_from(all).is_ok()
        };
        assert!(!parses(&["--lane", "a.b#0"]) && !parses(&["--numbers", "1", "--since", "5m"]));
        assert!(!parses(&["--lane", "a.b#0", "--numbers", "1", "--table", "a.b"]));
        assert!(parses(&["--lane", "a.b#0", "--numbers", "1", "--since", "5m"]) && !parses(&[]));
    }

    #[test]
    fn people_get_a_table_and_programs_a_document() {
        let lanes = vec![("shop.orders#0".into(), 812, 2_815), ("a#1".into(), 7, 7)];
        let until = crate::change::Position::new("binlog.000042", 4);
        let report = ReplayReport {
            rows: 2_005,
            messages: 12,
            lanes,
            epoch: 3,
            until,
            ..ReplayReport::default()
        };
        assert_eq!(
            words(&report, false),
            "Published 2,005 rows in 12 messages, of epoch 3, up to binlog.000042:4.\n\n\
             lane           first  last       rows\n\
             shop.orders#0    812  2815      2,004\n\
             a#1                7     7          1\n"
        );
        assert!(words(&report, true).starts_with("Nothing was published. 2,005 rows would be"));
        let document: serde_json::Value = serde_json::from_str(&json(&report, true)).expect("JSON");
        assert_eq!(document["lanes"]["shop.orders#0"], serde_json::json!([812, 2_815]));
        assert_eq!((&document["published"], document["messages"].is_null()), (&false.into(), true));
    }

    #[test]
    fn where_to_has_to_be_said_and_only_once() {
        let parses = |arguments: &[&str]| {
            let all = ["replay", "--since", "5m"].iter().chain(arguments);
            command().try_get_matches_from(all).is_ok()
        };
        assert!(!parses(&[]));
        assert!(!parses(&["--same-topics", "--dry-run"]));
        assert!(!parses(&["--topic", "arn:aws:sns:eu-west-1:1:t", "--same-topics"]));
        assert!(parses(&["--topic", "arn:aws:sns:eu-west-1:1:t"]));
    }
}
