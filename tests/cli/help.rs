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
    for command in ["run", "check", "init", "tail", "settings"] {
        let help = typed(&[command, "--help"]);
        assert_eq!(help.code, Some(0), "{help:?}");
        for setting in SETTINGS {
            assert!(help.out.contains(&setting.flag()), "{command}: {}", setting.key);
            assert!(help.out.contains(&setting.env()), "{command}: {}", setting.key);
        }
        assert!(help.out.contains("BINPULSE_CONFIG"), "{command}");
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
fn the_exit_codes_are_in_the_help() {
    let help = typed(&["--help"]).out;
    for code in ["64", "65", "69", "70", "75"] {
        assert!(help.contains(code), "{code}");
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
