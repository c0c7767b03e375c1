//! What goes with a next step: commands that are complete, what it asks to check, and links. Pure.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::Surroundings;
use super::consumers::owner;
use crate::telemetry::snapshot::SnapshotState;
use crate::telemetry::status::Status;

/// What a state's next step asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aid {
    /// Where the source is.
    Source,
    /// The topic, its endpoint, and its attributes.
    Topic,
    /// The topic's subscriptions.
    Subscriptions,
    /// The echo queues of the consumers that the state names.
    Queues,
    /// Where the checkpoint is kept.
    Checkpoint,
    /// Maintenance of the consumers that the state names.
    Maintenance,
    /// A replay for the consumers that the state names.
    Replay,
}

/// What a next step needs, ready to be copied or followed.
#[derive(Debug, Clone, Serialize, PartialEq, Eq, Default)]
pub struct NextSteps {
    /// Commands that the next step asks for.
    pub commands: Vec<Command>,
    /// What it asks to check.
    pub places: Vec<Place>,
    /// Other pages about this stream and the time since the state began: `page.links`.
    pub links: Vec<Link>,
    /// Commands for the snapshot that is under way.
    pub snapshot: Vec<Command>,
    /// Commands for whoever operates the stream, whatever its state; words in capitals are to be replaced.
    pub operations: Vec<Command>,
}

/// A command, complete.
#[derive(Debug, Clone, Serialize, PartialEq, Eq, Default)]
pub struct Command {
    /// What it is for; empty where the next step says it.
    pub purpose: String,
    /// The command.
    pub command: String,
}

/// Something to check.
#[derive(Debug, Clone, Serialize, PartialEq, Eq, Default)]
pub struct Place {
    /// What it is.
    pub what: String,
    /// An address, an ARN, a path.
    pub value: String,
}

/// A page elsewhere.
#[derive(Debug, Clone, Serialize, PartialEq, Eq, Default)]
pub struct Link {
    /// What to call it.
    pub name: String,
    /// Where it is.
    pub url: String,
}

/// Commands that read all settings; the others only ask the running service.
const READ_ALL: [&str; 7] = ["check", "init", "redrive", "replay", "run", "settings", "bundle"];
/// A command that needs more than the next step says.
const INCOMPLETE: &str = "binpulse release";
/// Consumers that commands are offered for.
const CONSUMERS_MAX: usize = 3;
/// A replay begins so long before the state did, minutes.
const REPLAY_BEFORE: f64 = 5.0;
/// A page elsewhere shows so much of the time before the state began, microseconds.
const SHOWN_BEFORE_US: i64 = 15 * 60_000_000;
/// It shows no more than this.
const SHOWN_MAX_US: i64 = 24 * 3_600_000_000;

/// What goes with the next step of this status.
pub(super) fn of(status: &Status) -> NextSteps {
    let said = &status.conclusion;
    let around = &status.surroundings;
    let mut next = NextSteps {
        commands: quoted(&said.next_step, around),
        links: links(status),
        snapshot: snapshot(status),
        operations: operations(around),
        ..NextSteps::default()
    };
    if !said.is_frozen {
        for aid in status.verdict.aids {
            add(&mut next, *aid, status);
        }
    }
    next
}

/// The commands that a text has in backticks.
pub(super) fn quoted(text: &str, around: &Surroundings) -> Vec<Command> {
    let inside = text.split('`').skip(1).step_by(2);
    let ours = inside.filter(|text| text.starts_with("binpulse ") && *text != INCOMPLETE);
    ours.map(|command| Command { purpose: String::new(), command: complete(command, around) })
        .collect()
}

/// With what stands before it, and where the settings are.
fn complete(command: &str, around: &Surroundings) -> String {
    let name = command.split(' ').nth(1).unwrap_or_default();
    let settings = if READ_ALL.contains(&name) { &around.all } else { &around.asking };
    let words = [around.prefix.as_str(), command, settings.as_str()];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn add(next: &mut NextSteps, aid: Aid, status: &Status) {
    let of = |key: &str| status.config.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut place = |what: &str, value: &str| {
        if !value.is_empty() && !next.places.iter().any(|place| place.value == value) {
            next.places.push(Place { what: what.to_owned(), value: value.to_owned() });
        }
    };
    let mut commands = Vec::new();
    let mut command = |purpose: &str, command: String| {
        commands.push(Command { purpose: purpose.to_owned(), command });
    };
    let around = &status.surroundings;
    match aid {
        Aid::Source if status.source.host.is_empty() => place("Source", of("source.hosts")),
        Aid::Source => place("Source", &status.source.host),
        Aid::Checkpoint => place("Checkpoint", &status.checkpoint.place),
        Aid::Topic | Aid::Subscriptions => {
            let (topic, endpoint) = (of("sns.topic"), of("sns.endpoint_url"));
            place("Topic", topic);
            place("Endpoint", endpoint);
            let (verb, purpose) = if aid == Aid::Topic {
                ("get-topic-attributes", "Show the topic")
            } else {
                ("list-subscriptions-by-topic", "Show its subscriptions")
            };
            // A template names no topic.
            if !topic.is_empty() && !topic.contains('{') {
                let topic = quote(topic);
                command(purpose, aws(&format!("sns {verb} --topic-arn {topic}"), endpoint));
            }
        }
        Aid::Queues => {
            for (name, url) in queues(status) {
                place(&format!("Echo queue of {name}"), url);
                let ask = format!("sqs get-queue-attributes --queue-url {}", quote(url));
                let purpose = format!("Show the echo queue of {name}");
                command(&purpose, aws(&(ask + " --attribute-names All"), of("sns.endpoint_url")));
            }
        }
        Aid::Maintenance => {
            for name in named(status) {
                let purpose = format!("If {name} is meant to rest, do not evaluate it");
                let text = format!("binpulse maintenance {} --for 30m", quote(&name));
                command(&purpose, complete(&text, around));
            }
        }
        Aid::Replay => {
            let minutes = (status.verdict.since_seconds / 60.0).ceil() + REPLAY_BEFORE;
            for name in named(status) {
                let purpose = format!("When it is fixed, publish for {name} again what it missed");
                let text = format!(
                    "binpulse replay --since {minutes:.0}m --same-topics --for {}",
                    quote(&name)
                );
                command(&purpose, complete(&text, around));
            }
        }
    }
    next.commands.extend(commands);
}

fn aws(ask: &str, endpoint: &str) -> String {
    if endpoint.is_empty() {
        format!("aws {ask}")
    } else {
        format!("aws {ask} --endpoint-url {}", quote(endpoint))
    }
}

/// The consumers that the state is about: those that its reason names, or whose queues can't be read.
fn named(status: &Status) -> Vec<String> {
    let reason = status.verdict.reason.as_deref().unwrap_or_default();
    let is_meant: BTreeSet<&str> = reason.split(',').map(owner).collect();
    let mut names: Vec<String> = Vec::new();
    for one in &status.consumers {
        let name = owner(&one.name);
        let is_named = is_meant.contains(name) || one.unreadable.is_some();
        if is_named && names.len() < CONSUMERS_MAX && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Their echo queues, by name and URL.
fn queues(status: &Status) -> Vec<(String, &str)> {
    let echoes = status.config.get("canary.echo").and_then(Value::as_str).unwrap_or_default();
    let pairs: Vec<_> = echoes.split(',').filter_map(|pair| pair.split_once('=')).collect();
    let url = |name: &String| pairs.iter().find(|(known, _)| known.trim() == name);
    let found = |name: String| url(&name).map(|(_, url)| (name.clone(), url.trim()));
    named(status).into_iter().filter_map(found).collect()
}

/// Commands for a snapshot that is not over.
fn snapshot(status: &Status) -> Vec<Command> {
    let Some(of) = status.snapshot.as_ref().filter(|one| !one.state.is_over()) else {
        return Vec::new();
    };
    let first = if of.state == SnapshotState::Paused {
        ("Go on", "resume")
    } else {
        ("Read no further chunk for now", "pause")
    };
    let command = |(purpose, verb): (&str, &str)| Command {
        purpose: purpose.to_owned(),
        command: complete(&format!("binpulse snapshot {verb}"), &status.surroundings),
    };
    [first, ("End it; what was published stays valid", "stop")].map(command).into()
}

/// What can be done with a stream at any time: what for, and the command.
const OPERATIONS: [(&str, &str); 12] = [
    (
        "Let the rows of a table wait, and send them later",
        "pause DATABASE.TABLE --for 30m --reason 'REASON'",
    ),
    ("Send no more rows of a table", "suppress DATABASE.TABLE --reason 'REASON'"),
    ("Send at most so many rows of a table a second", "rate DATABASE.TABLE 500 --reason 'REASON'"),
    ("Show what is held back", "controls"),
    ("End it, and send what was held back", "release DATABASE.TABLE --send"),
    (
        "Publish again what was published in the last minutes",
        "replay --since 5m --same-topics --for CONSUMER",
    ),
    ("Publish the rows that a table has already", "snapshot start --tables DATABASE.TABLE"),
    ("Publish digests that prove copies equal", "verify --tables DATABASE.TABLE"),
    ("Do not evaluate a consumer that is meant to rest", "maintenance CONSUMER --for 30m"),
    ("Show what is in the quarantine file", "redrive --dry-run"),
    ("Say what edited settings would change", "reload --check"),
    ("Change them while it runs", "reload"),
];

fn operations(around: &Surroundings) -> Vec<Command> {
    let operation = |(purpose, command): (&str, &str)| Command {
        purpose: purpose.to_owned(),
        command: complete(&format!("binpulse {command}"), around),
    };
    OPERATIONS.map(operation).into()
}

/// The pages of the settings, for the time since the state began.
fn links(status: &Status) -> Vec<Link> {
    let around = &status.surroundings;
    #[expect(clippy::cast_possible_truncation, reason = "an age, below")]
    let lasts_us = (status.conclusion.since_seconds.clamp(0.0, 1e6) * 1e6) as i64;
    let from_us = around.now_us - (lasts_us + SHOWN_BEFORE_US).min(SHOWN_MAX_US);
    let fill = |(name, template): &(&'static str, String)| Link {
        name: (*name).to_owned(),
        url: filled(template, &status.stream, from_us, around.now_us),
    };
    around.links.iter().map(fill).collect()
}

/// The address with its placeholders filled. A stream's name has nothing that a URL would escape.
fn filled(template: &str, stream: &str, from_us: i64, to_us: i64) -> String {
    let iso = |at_us: i64| {
        let at = chrono::DateTime::from_timestamp_micros(at_us).unwrap_or_default();
        at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    template
        .replace("{stream}", stream)
        .replace("{from}", &(from_us / 1_000).to_string())
        .replace("{to}", &(to_us / 1_000).to_string())
        .replace("{from_iso}", &iso(from_us))
        .replace("{to_iso}", &iso(to_us))
}

/// As a shell takes it for one word.
pub fn quote(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_./:=@%+,-".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::telemetry::status::Consumer;

    fn around() -> Surroundings {
        Surroundings {
            prefix: "kubectl exec deploy/orders --".to_owned(),
            asking: "--config /etc/b.toml".to_owned(),
            all: "--config /etc/b.toml --sns-topic t".to_owned(),
            links: vec![
                ("Grafana", "https://g/d/x?var-stream={stream}&from={from}&to={to}".to_owned()),
                ("Logs", "https://l/{stream}?a={from_iso}&b={to_iso}".to_owned()),
            ],
            now_us: 1_796_030_100_000_000,
        }
    }

    fn status(aids: &'static [Aid]) -> Status {
        let mut status = Status { stream: "orders".to_owned(), ..Status::default() };
        status.surroundings = around();
        status.verdict.aids = aids;
        status.verdict.reason = Some("search,bill ing/path".to_owned());
        status.verdict.since_seconds = 130.0;
        let names = ["search", "search/path", "bill ing", "well"];
        let consumer = |name: &str| Consumer { name: name.to_owned(), ..Consumer::default() };
        status.consumers = names.map(consumer).into();
        status.config = json!({
            "sns.topic": "arn:aws:sns:eu-central-1:1:t",
            "sns.endpoint_url": "http://localhost:1",
            "canary.echo": "search=https://sqs/1/search,well=https://sqs/1/well",
        });
        status
    }

    fn commands(next: &NextSteps) -> Vec<&str> {
        next.commands.iter().map(|one| one.command.as_str()).collect()
    }

    #[test]
    fn commands_of_the_text_are_completed_with_the_settings_that_they_read() {
        let text = "`binpulse check` says more; `binpulse controls` and `SELECT 1` too, and \
                    `binpulse release` with a name.";
        let found = quoted(text, &around());
        let found: Vec<_> = found.iter().map(|one| one.command.as_str()).collect();
        assert_eq!(
            found,
            [
                "kubectl exec deploy/orders -- binpulse check --config /etc/b.toml --sns-topic t",
                "kubectl exec deploy/orders -- binpulse controls --config /etc/b.toml",
            ]
        );
        let bare = quoted("Run `binpulse check`.", &Surroundings::default());
        assert_eq!(bare[0].command, "binpulse check");
    }

    #[test]
    fn what_can_be_done_at_any_time_is_complete_but_for_words_in_capitals() {
        let all = of(&status(&[])).operations;
        let has = |command: &str| all.iter().any(|one| one.command == command);
        let prefix = "kubectl exec deploy/orders -- binpulse";
        assert!(has(&format!("{prefix} reload --config /etc/b.toml")), "{all:?}");
        let replay = "replay --since 5m --same-topics --for CONSUMER";
        assert!(has(&format!("{prefix} {replay} --config /etc/b.toml --sns-topic t")), "{all:?}");
        assert!(all.iter().all(|one| !one.purpose.is_empty()));
    }

    #[test]
    fn a_lost_canary_has_its_topic_its_queue_and_the_commands_of_its_consumers() {
        let aids = &[Aid::Subscriptions, Aid::Queues, Aid::Maintenance, Aid::Replay];
        let next = status(aids).concluded().next;
        let places: Vec<_> = next.places.iter().map(|it| (&*it.what, &*it.value)).collect();
        assert_eq!(
            places,
            [
                ("Topic", "arn:aws:sns:eu-central-1:1:t"),
                ("Endpoint", "http://localhost:1"),
                ("Echo queue of search", "https://sqs/1/search"),
            ]
        );
        let all = commands(&next).join("\n");
        for wanted in [
            "aws sns list-subscriptions-by-topic --topic-arn arn:aws:sns:eu-central-1:1:t --endpoint-url http://localhost:1",
            "aws sqs get-queue-attributes --queue-url https://sqs/1/search --attribute-names All",
            "binpulse maintenance search --for 30m --config /etc/b.toml",
            "binpulse maintenance 'bill ing' --for 30m",
            "binpulse replay --since 8m --same-topics --for search --config /etc/b.toml --sns-topic t",
        ] {
            assert!(all.contains(wanted), "{wanted} is not in\n{all}");
        }
        assert!(!all.contains("well"), "{all}");
    }

    #[test]
    fn links_are_filled_for_the_time_since_the_state_began() {
        let next = status(&[]).concluded().next;
        let urls: Vec<_> = next.links.iter().map(|link| (&*link.name, &*link.url)).collect();
        assert_eq!(
            urls,
            [
                ("Grafana", "https://g/d/x?var-stream=orders&from=1796029070000&to=1796030100000"),
                ("Logs", "https://l/orders?a=2026-11-30T08:57:50Z&b=2026-11-30T09:15:00Z"),
            ]
        );
    }

    #[test]
    fn a_word_is_quoted_where_a_shell_would_split_it() {
        assert_eq!(quote("shop.orders"), "shop.orders");
        assert_eq!(quote("shop.*"), "'shop.*'");
        assert_eq!(quote("it's"), "'it'\\''s'");
        assert_eq!(quote("$(rm x)"), "'$(rm x)'");
        assert_eq!(quote(""), "''");
    }
}
