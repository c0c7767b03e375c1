//! Help, completions and the manual page mention everything there is.

use binpulse::config::SETTINGS;

use crate::{run, typed};

/// Every command of the binary, from its own help.
fn commands() -> Vec<String> {
    let help = typed(&["--help"]);
    assert_eq!((help.code, help.error.as_str()), (Some(0), ""), "{help:?}");
    let lines = help.out.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<_> = lines
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("    "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|name| name != "help")
        .collect();
    for expected in ["run", "check", "init", "tail", "decode", "settings", "completions", "man"] {
        assert!(commands.iter().any(|name| name == expected), "no {expected} in {commands:?}");
    }
    commands
}

#[test]
fn the_help_of_every_command_that_takes_settings_mentions_each_with_its_variable() {
    for command in ["run", "check", "settings"] {
        let help = typed(&[command, "--help"]);
        assert_eq!(help.code, Some(0), "{help:?}");
        for setting in SETTINGS {
            assert!(help.out.contains(&setting.flag()), "{command}: {}", setting.key);
            assert!(help.out.contains(&setting.env()), "{command}: {}", setting.key);
        }
        assert!(help.out.contains("BINPULSE_CONFIG"), "{command}");
    }
}

/// Settings that a command reads are in its help; those of others are not, and are accepted.
#[test]
fn the_help_of_other_commands_lists_only_what_they_read() {
    for (command, reads, other) in [
        ("health", "--http-listen", "--source-hosts"),
        ("verdict", "--http-token-file", "--filter-tables"),
        ("maintenance", "--http-listen", "--sns-topic"),
        ("snapshot status", "--http-listen", "--sns-topic"),
        ("probe", "--probe-queue", "--source-hosts"),
        ("init", "--heartbeat-user", "--sns-topic"),
        ("tail", "--filter-tables", "--canary-echo"),
        ("redrive", "--sink-quarantine", "--source-hosts"),
        ("replay", "--source-hosts", "--probe-queue"),
    ] {
        let typed_out: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let help = typed(&typed_out).out;
        assert!(help.contains(reads) && !help.contains(other), "{command}: {help}");
        assert!(help.contains("binpulse run --help"), "{command}: where the others are");
    }
    let lines = typed(&["health", "--help"]).out.lines().count();
    assert!(lines < 50, "health --help has {lines} lines");
    let other = typed(&["health", "--source-hosts", "db:3306", "--http-listen", "127.0.0.1:1"]);
    assert_eq!(other.code, Some(1), "{other:?}");
}

/// What it does comes first, then an example; the short form lists no settings.
#[test]
fn every_help_begins_with_what_the_command_does_and_an_example() {
    for command in commands() {
        let help = typed(&[&command, "--help"]).out;
        let (about, _) = help.split_once("Usage:").expect("the usage");
        let first = about.lines().next().unwrap_or_default();
        assert!(first.contains(' ') && !first.starts_with("Usage"), "{command}: {first}");
        let example = format!("\n  binpulse {command}");
        assert!(about.contains("Example") && about.contains(&example), "{command}: {about}");
        let short = typed(&[&command, "-h"]);
        assert_eq!(short.code, Some(0), "{command}");
        let lines = short.out.lines().count();
        assert!(lines < 40, "{command} -h has {lines} lines");
    }
}

#[test]
fn the_reference_mentions_every_setting_by_all_its_names() {
    let reference = typed(&["settings", "--markdown"]).out;
    for setting in SETTINGS {
        for name in [setting.key.to_owned(), setting.flag(), setting.env()] {
            assert!(reference.contains(&format!("`{name}`")), "{name}");
        }
    }
}

#[test]
fn every_command_has_help_that_ends_with_0() {
    for command in commands() {
        let help = typed(&[&command, "--help"]);
        assert_eq!((help.code, help.error.as_str()), (Some(0), ""), "{command}");
        assert!(help.out.contains("Usage: binpulse"), "{command}: {}", help.out);
    }
}

#[test]
fn completions_and_the_manual_page_know_every_command() {
    for arguments in
        [&["completions", "bash"][..], &["completions", "zsh"], &["completions", "fish"], &["man"]]
    {
        let found = typed(arguments);
        assert_eq!((found.code, found.error.as_str()), (Some(0), ""), "{arguments:?}");
        for command in commands() {
            assert!(found.out.contains(&command), "{arguments:?} lacks {command}");
        }
    }
}

#[test]
fn completions_offer_settings_and_the_words_that_they_take() {
    for shell in ["bash", "zsh", "fish"] {
        let script = typed(&["completions", shell]).out;
        for offered in ["sink-kind", "stdout", "http-public-url", "checkpoint-store", "table"] {
            assert!(script.contains(offered), "{shell} lacks {offered}");
        }
    }
    let bash = typed(&["completions", "bash"]).out;
    assert!(bash.contains("sns stdout null"), "the words of sink.kind");
}

#[test]
fn each_command_has_a_manual_page() {
    for command in commands() {
        let page = typed(&["man", &command]);
        assert_eq!((page.code, page.error.as_str()), (Some(0), ""), "{command}");
        let title = format!(".TH \"BINPULSE\\-{}\" 1", command.to_uppercase());
        assert!(page.out.contains(&title), "{command}: {}", page.out);
    }
    let below = typed(&["man", "relay", "redrive"]).out;
    assert!(below.contains(".TH \"BINPULSE\\-RELAY\\-REDRIVE\" 1"), "{below}");
    let found = typed(&["man", "nosuch"]);
    assert_eq!((found.code, found.out.as_str()), (Some(64), ""), "{found:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let all = folder.path().display().to_string();
    assert_eq!(typed(&["man", "--all", &all]).code, Some(0));
    for command in commands() {
        assert!(folder.path().join(format!("binpulse-{command}.1")).is_file(), "{command}");
    }
}

#[test]
fn the_exit_codes_are_in_the_help() {
    let help = typed(&["--help"]).out;
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for exit in binpulse::cli::Exit::ALL {
        let line = format!("{} {}", exit.code(), exit.meaning());
        assert!(words.contains(&line), "{line}: {help}");
    }
}

#[test]
fn a_wrong_invocation_ends_with_64() {
    for arguments in [
        &[][..],
        &["nosuch"],
        &["run", "--nope"],
        &["decode"],
        &["completions"],
        &["completions", "tcsh"],
        &["check", "surplus"],
        &["settings", "--message-lanes"],
        &["snapshot"],
        &["snapshot", "start"],
        &["snapshot", "start", "--tables", "a.b", "--rows-per-second", "0"],
    ] {
        let found = typed(arguments);
        assert_eq!(found.code, Some(64), "{arguments:?}: {found:?}");
        assert_eq!(found.out, "", "{arguments:?}");
        assert!(!found.error.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_version_is_told() {
    let found = run(&["--version"], &[], b"");
    assert_eq!(found.code, Some(0));
    assert_eq!(found.out, concat!("binpulse ", env!("CARGO_PKG_VERSION"), "\n"));
}
