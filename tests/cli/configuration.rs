//! Wrong configuration: exit 64, and every mistake named with place, value and what is allowed.

use binpulse::config::{SETTINGS, Setting};

use crate::{Run, run, text};

/// Runs `check` with a configuration file; what it says must be usage, and said at once.
fn refused(file: &str, flags: &[&str], environment: &[(&str, &str)]) -> Run {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("binpulse.toml");
    std::fs::write(&path, file).expect("a file");
    let mut arguments = vec!["check", "--config", path.to_str().expect("UTF-8")];
    arguments.extend(flags);
    let found = run(&arguments, environment, b"");
    assert_eq!(found.code, Some(64), "{found:?}");
    assert_eq!(found.out, "", "{found:?}");
    found
}

#[track_caller]
fn says(found: &Run, parts: &[&str]) {
    let line = found.error.lines().find(|line| parts.iter().all(|part| line.contains(part)));
    assert!(line.is_some(), "no line with {parts:?} in\n{}", found.error);
}

#[test]
fn a_value_out_of_range_is_named_with_its_place_and_the_range() {
    let found = refused("[sink]\nkind = \"null\"\n\n[message]\nlanes = 5000\n", &[], &[]);
    says(&found, &["binpulse.toml, line 5", "`message.lanes`", "`5000`", "from 1 to 1024"]);
    let found = refused("", &["--heartbeat-interval", "1ms", "--sink-kind", "null"], &[]);
    says(&found, &["flag --heartbeat-interval", "`heartbeat.interval`", "`1ms`", "200ms to 1h"]);
    let found = refused("", &[], &[("BINPULSE_SINK_KIND", "kafka")]);
    says(
        &found,
        &["environment BINPULSE_SINK_KIND", "`sink.kind`", "`kafka`", "sns, stdout, null"],
    );
}

#[test]
fn an_unknown_name_gets_the_nearest_one() {
    let found = refused("[canary]\nintervall = \"5s\"\n", &[], &[]);
    says(&found, &["line 2", "`canary.intervall`", "did you mean `canary.interval`?"]);
    let found = refused("", &[], &[("BINPULSE_SNS_TOPICK", "x")]);
    says(&found, &["BINPULSE_SNS_TOPICK", "did you mean `BINPULSE_SNS_TOPIC`?"]);
    let found = refused("", &["--canary-intervall", "5s"], &[]);
    assert!(found.error.contains("--canary-interval"), "{found:?}");
    let found = refused("", &[], &[("BINPULSE_ZZZ", "x")]);
    assert!(!found.error.contains("did you mean"), "{found:?}");
}

#[test]
fn all_mistakes_are_said_at_once() {
    let file = "[source]\npassword = \"hunter2\"\n[sink]\nkind = 7\n[message]\nlanes = 0\n";
    let found = refused(file, &["--http-listen", "here"], &[("BINPULSE_SOURCE_TLS", "maybe")]);
    assert_eq!(found.error.lines().count(), 5, "{}", found.error);
    says(&found, &["`source.password`", "BINPULSE_SOURCE_PASSWORD"]);
    says(&found, &["line 4", "`sink.kind`"]);
    says(&found, &["line 6", "`message.lanes`"]);
    says(&found, &["--http-listen", "`here`", "127.0.0.1:9187"]);
    says(&found, &["BINPULSE_SOURCE_TLS", "`maybe`", "verify-identity"]);
}

#[test]
fn a_file_that_cannot_be_read_does_not_hide_other_mistakes() {
    let arguments = ["check", "--config", "/nonexistent.toml", "--message-lanes", "0"];
    let found = run(&arguments, &[], b"");
    assert_eq!(found.code, Some(64), "{found:?}");
    says(&found, &["/nonexistent.toml", "No such file"]);
    says(&found, &["--message-lanes"]);
}

#[test]
fn text_that_is_no_toml_is_refused_with_its_line() {
    let found = refused("[sink]\nkind = \"null\"\nwhat\n", &[], &[]);
    says(&found, &["binpulse.toml, line 3", "not valid TOML"]);
}

#[test]
fn settings_that_contradict_one_another_are_both_named_with_their_values() {
    let null = ["--sink-kind", "null"];
    for (flags, parts) in [
        (
            vec!["--source-heartbeat-period", "3s"],
            vec!["source.heartbeat_period = 3s", "heartbeat.interval = 5s", "half"],
        ),
        (
            vec!["--heartbeat-write-deadline", "6s"],
            vec!["heartbeat.write_deadline = 6s", "heartbeat.interval = 5s"],
        ),
        (
            vec!["--filter-hash-columns", "a.b.c"],
            vec!["`filter.hash_columns` is a.b.c", "`filter.hash_key` is not set"],
        ),
        (
            vec!["--source-role", "replica"],
            vec!["`source.role` is replica", "`heartbeat.host` is not set", "primary"],
        ),
        (
            vec!["--sink-rejected", "quarantine"],
            vec!["`sink.rejected` is quarantine", "`sink.quarantine` is not set"],
        ),
    ] {
        let flags: Vec<_> = flags.into_iter().chain(null).collect();
        says(&refused("", &flags, &[]), &parts);
    }
    let topic = "arn:aws:sns:eu-west-1:123456789012:{table}";
    says(
        &refused("", &["--sns-topic", topic], &[]),
        &["`canary.topic` is not set", "`sns.topic` is", "{table}"],
    );
}

#[test]
fn all_contradictions_of_valid_values_and_malformed_items_of_lists_are_said_at_once() {
    let flags = [
        ("--sink-kind", "null"),
        ("--source-hosts", "db:port,other:3306,[::1"),
        ("--source-heartbeat-period", "4s"),
        ("--heartbeat-write-deadline", "6s"),
        ("--canary-deadline", "1s"),
        ("--canary-echo", "queue,probe=ftp://queue"),
        ("--filter-tables", "a.b.c"),
        ("--filter-hash-columns", "x,a.b.c"),
        ("--sink-rejected", "quarantine"),
        ("--decode-on-error", "quarantine"),
        ("--sink-oversize", "claim-check"),
    ];
    let flags: Vec<_> = flags.iter().flat_map(|(flag, value)| [*flag, *value]).collect();
    let found = refused("", &flags, &[]);
    for parts in [
        vec!["flag --source-hosts", "not `db:port`"],
        vec!["flag --source-hosts", "not `[::1`"],
        vec!["source.heartbeat_period = 4s", "heartbeat.interval = 5s"],
        vec!["heartbeat.write_deadline = 6s", "heartbeat.interval = 5s"],
        vec!["canary.deadline = 1s", "heartbeat.seen_deadline + sns.request_timeout = 15s"],
        vec!["canary.interval = 10s", "canary.deadline = 1s"],
        vec!["flag --canary-echo", "not `queue`"],
        vec!["flag --canary-echo", "not `probe=ftp://queue`"],
        vec!["flag --filter-tables", "not `a.b.c`"],
        vec!["flag --filter-hash-columns", "not `x`"],
        vec!["`filter.hash_key` is not set"],
        vec!["`sink.rejected` is quarantine", "`sink.quarantine` is not set"],
        vec!["`decode.on_error` is quarantine", "`sink.quarantine` is not set"],
        vec!["`sink.claim_check_bucket` is not set"],
    ] {
        says(&found, &parts);
    }
    assert_eq!(found.error.lines().count(), 14, "{}", found.error);
}

#[test]
fn a_start_in_the_future_is_refused() {
    let flags = ["--source-start", "time:2199-01-01T00:00:00Z", "--sink-kind", "null"];
    says(&refused("", &flags, &[]), &["`source.start`", "2199", "not in the future"]);
}

#[test]
fn what_has_no_default_and_is_not_given_is_asked_for_by_all_its_names() {
    let found = refused("", &[], &[]);
    says(&found, &["`sns.topic`", "--sns-topic", "BINPULSE_SNS_TOPIC"]);
}

#[test]
fn authorities_that_nothing_would_be_verified_with_are_refused() {
    let found = refused("", &["--source-tls-ca", "ca.pem", "--sink-kind", "null"], &[]);
    says(&found, &["source.tls", "ca.pem", "required", "verify-ca or verify-identity"]);
    let verified = ["--source-tls-ca", "/nonexistent.pem", "--source-tls", "verify-ca"];
    let found = refused("", &[&verified[..], &["--sink-kind", "null"]].concat(), &[]);
    says(&found, &["source.tls", "/nonexistent.pem", "No such file"]);
}

#[test]
fn every_malformed_value_of_the_source_is_refused() {
    for (flag, value) in [
        ("--source-hosts", "db:port"),
        ("--source-hosts", ","),
        ("--filter-tables", ","),
        ("--source-start", "yesterday"),
        ("--source-start", "position:binlog.000001"),
        ("--source-start", "time:2026-11-20"),
        ("--source-tls-ca", "/nonexistent.pem"),
        ("--canary-echo", "queue"),
        ("--filter-tables", "a.b.c"),
        ("--heartbeat-schema", "my-schema"),
        ("--stream-name", "a b"),
    ] {
        let found = refused("", &[flag, value, "--sink-kind", "null"], &[]);
        let key = flag.trim_start_matches("--").replacen('-', ".", 1).replace('-', "_");
        let section = key.split('.').next().expect("a section");
        assert!(found.error.contains(section), "{flag} {value}: {}", found.error);
    }
}

#[test]
fn secrets_are_never_shown() {
    let secret = "hunter2-correct-horse";
    let names =
        ["BINPULSE_SOURCE_PASSWORD", "BINPULSE_HEARTBEAT_PASSWORD", "BINPULSE_FILTER_HASH_KEY"];
    let environment: Vec<_> = names.iter().map(|name| (*name, secret)).collect();
    let unreachable =
        ["--source-hosts", "127.0.0.1:1", "--source-connect-timeout", "1s", "--sink-kind", "null"];
    for (command, code) in [
        ("settings", 0),
        ("check", 1),
        ("init", 69),
        ("tail", 69),
        ("settings --message-lanes=0", 64),
    ] {
        let mut arguments: Vec<_> = command.split(' ').collect();
        arguments.extend(unreachable);
        let found = run(&arguments, &environment, b"");
        assert_eq!(found.code, Some(code), "{command}: {found:?}");
        assert!(!found.out.contains(secret), "{command}: {found:?}");
        assert!(!found.error.contains(secret), "{command}: {found:?}");
        if command == "settings" {
            assert_eq!(found.out.matches(" = ***").count(), 3, "{found:?}");
        }
    }
    let file = format!("[source]\npassword = \"{secret}\"\n");
    let found = refused(&file, &[], &[]);
    assert!(!found.error.contains(secret), "{found:?}");
}

#[test]
fn the_later_source_of_a_setting_wins_and_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b.toml");
    std::fs::write(&path, "[canary]\ninterval = \"11s\"\ndeadline = \"21s\"\n").expect("a file");
    let arguments =
        ["settings", "--config", path.to_str().expect("UTF-8"), "--canary-interval", "13s"];
    let environment = [("BINPULSE_CANARY_INTERVAL", "12s"), ("BINPULSE_LOG_LEVEL", "warn")];
    let found = run(&arguments, &environment, b"");
    assert_eq!(found.code, Some(0), "{found:?}");
    for line in [
        "canary.interval = 13s  # flag --canary-interval".to_owned(),
        format!("canary.deadline = 21s  # {}, line 3", path.display()),
        "log.level = warn  # environment BINPULSE_LOG_LEVEL".to_owned(),
        "message.lanes = 1".to_owned(),
    ] {
        assert!(found.out.lines().any(|found| *found == line), "{line} in {}", found.out);
    }
}

/// The container image sets an address for HTTP that asks for a token. Only what serves HTTP may
/// ask for it.
#[test]
fn commands_that_serve_no_http_work_with_the_settings_of_the_image() {
    let image = [
        ("BINPULSE_HTTP_LISTEN", "0.0.0.0:9187"),
        ("BINPULSE_CHECKPOINT_PATH", "/nonexistent/checkpoint"),
        ("BINPULSE_LOG_FORMAT", "json"),
        ("BINPULSE_SOURCE_HOSTS", "127.0.0.1:1"),
        ("BINPULSE_SOURCE_USER", "binpulse"),
    ];
    let with_topic = ("BINPULSE_SNS_TOPIC", "arn:aws:sns:us-east-1:000000000000:shop");
    let log = crate::log("all_types/mysql-5.6");
    let commands: &[&[&str]] = &[
        &["init", "--print"],
        &["init"],
        &["tail"],
        &["replay", "--since", "5m", "--same-topics"],
        &["decode", text(&log)],
        &["health"],
        &["status"],
        &["verdict"],
        &["settings"],
    ];
    for command in commands {
        let run = run(command, &[&image[..], &[with_topic]].concat(), b"");
        assert!(!run.error.contains("http.token"), "{command:?}: {run:?}");
        assert_ne!(run.code, Some(64), "{command:?}: {run:?}");
    }
    for command in ["run", "check"] {
        let run = run(&[command], &[&image[..], &[with_topic]].concat(), b"");
        assert!(run.error.contains("http.token"), "{command}: {run:?}");
        assert_eq!(run.code, Some(64), "{command}: {run:?}");
    }
}

/// What the live tests and the demo start is given its settings as the program reads them.
#[test]
fn the_launcher_of_the_tests_passes_each_setting_as_the_program_reads_it() {
    for Setting { key, .. } in SETTINGS {
        let setting = Setting::find(key).expect("a setting");
        assert_eq!(binpulse_demo::is_secret(key), setting.is_secret(), "{key}");
        assert_eq!(binpulse_demo::variable(key), setting.env());
        if !setting.is_secret() {
            assert_eq!(binpulse_demo::flag(key), setting.flag());
        }
    }
}
