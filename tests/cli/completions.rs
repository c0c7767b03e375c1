//! What shells offer, asked of the shells themselves; and manual pages, asked of what shows them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use binpulse::config::SETTINGS;

use crate::on_terminal::Terminal;
use crate::{text, typed};

fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    if found.is_err() {
        println!("NOT RUN: no {program}");
    }
    found.is_ok()
}

/// The script for a shell, in a file.
fn script(shell: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let made = typed(&["completions", shell]);
    assert_eq!((made.code, made.error.as_str()), (Some(0), ""), "{shell}");
    std::fs::write(file.path(), made.out).expect("written");
    file
}

fn lines(mut command: Command) -> BTreeSet<String> {
    let output = command.stdin(Stdio::null()).output().expect("a shell");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    let out = String::from_utf8(output.stdout).expect("UTF-8");
    out.lines().filter_map(|line| line.split('\t').next()).map(str::to_owned).collect()
}

/// What bash offers behind these words, of which the last may be begun.
fn by_bash(script: &Path, words: &[&str]) -> BTreeSet<String> {
    // As bash calls it: the command, the word that is completed, and the one before.
    const ASK: &str = "
        source \"$1\"; shift
        COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
        _binpulse binpulse \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut command = Command::new("bash");
    command.args(["-c", ASK, "bash", text(script), "binpulse"]).args(words);
    lines(command)
}

fn by_fish(script: &Path, words: &[&str]) -> BTreeSet<String> {
    let mut command = Command::new("fish");
    let ask = "source $argv[1]; complete -C $argv[2]";
    let line = [&["binpulse"], words].concat().join(" ");
    command.args(["--no-config", "-c", ask, text(script), &line]);
    lines(command)
}

/// Words that are typed, words that must be offered, and one that must not.
const ASKED: &[(&[&str], &[&str], &str)] = &[
    (&["sta"], &["status"], "start"),
    (&["run", "--sink-kind", ""], &["sns", "stdout", "null"], "file"),
    (&["run", "--checkpoint-st"], &["--checkpoint-store"], "--checkpoint-path"),
    (&["run", "--checkpoint-store", ""], &["file", "table"], "null"),
    (&["run", "--heartbeat-enabled", ""], &["true", "false"], "maybe"),
    (&["tail", "--format", ""], &["binpulse", "debezium", "maxwell", "cloudevents"], "json"),
    (&["tail", "--filter-"], &["--filter-tables"], "--canary-echo"),
    (&["relay", "--relay-to-kind", ""], &["webhook", "mysql", "stdout"], "file"),
    (&["relay", "red"], &["redrive"], "relay"),
    (&["man", "rep"], &["replay"], "status"),
    (&["man", "relay", "red"], &["redrive"], "status"),
    (&["completions", ""], &["bash", "zsh", "fish"], "tcsh"),
    (&["status", "--"], &["--watch", "--only", "--http-listen"], "--sink-kind"),
    (&["resume", "--s"], &["--send"], "--sink-kind"),
];

#[test]
fn shells_offer_commands_options_and_words_and_only_what_is_read() {
    for (shell, ask) in [("bash", by_bash as fn(&Path, &[&str]) -> _), ("fish", by_fish)] {
        if !is_there(shell) {
            continue;
        }
        let script = script(shell);
        for (words, offered, other) in ASKED {
            let found = ask(script.path(), words);
            for word in *offered {
                assert!(found.contains(*word), "{shell}, {words:?}: no {word} in {found:?}");
            }
            assert!(!found.contains(*other), "{shell}, {words:?}: {other} in {found:?}");
        }
    }
}

#[test]
fn zsh_offers_them_too() {
    if !is_there("zsh") || !Terminal::is_there() {
        return;
    }
    let script = script("zsh");
    let folder = tempfile::tempdir().expect("a folder");
    let begin = format!(
        "autoload -Uz compinit; compinit -u -d {}/dump; source {}; PS1='ready> '; clear",
        text(folder.path()),
        text(script.path())
    );
    let terminal = Terminal::start("zsh", (100, 40), "TERM=xterm HOME=/", "zsh -f -i");
    terminal.press(&["-l", &begin]);
    terminal.press(&["Enter"]);
    terminal.until_so("a prompt", |screen| screen.starts_with("ready>"));
    terminal.press(&["-l", "binpulse run --sink-kind "]);
    terminal.press(&["Tab"]);
    let screen = terminal.until("stdout");
    assert!(screen.contains("null") && screen.contains("sns"), "{screen}");
    terminal.press(&["C-u"]);
    terminal.press(&["-l", "binpulse status --"]);
    terminal.press(&["Tab"]);
    let screen = terminal.until("--watch");
    assert!(screen.contains("--http-listen") && !screen.contains("--sink-kind"), "{screen}");
}

/// The pages of all commands, in a folder.
fn pages() -> (tempfile::TempDir, Vec<std::path::PathBuf>) {
    let folder = tempfile::tempdir().expect("a folder");
    let made = typed(&["man", "--all", text(folder.path())]);
    assert_eq!((made.code, made.error.as_str()), (Some(0), ""));
    let files = std::fs::read_dir(folder.path()).expect("the folder");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    assert!(files.len() > 40, "{files:?}");
    (folder, files)
}

#[test]
fn manual_pages_are_shown_without_a_complaint() {
    let (_folder, files) = pages();
    for (program, arguments) in [
        ("groff", &["-man", "-ww", "-Tutf8", "-z"][..]),
        ("mandoc", &["-T", "lint", "-W", "warning"]),
        ("man", &["--warnings", "-P", "cat", "-l"]),
    ] {
        if program != "mandoc" && !is_there(program) {
            continue;
        }
        for file in &files {
            let output =
                Command::new(program).args(arguments).arg(file).stdin(Stdio::null()).output();
            let Ok(output) = output else {
                println!("NOT RUN: no {program}");
                break;
            };
            let told = [output.stdout.as_slice(), &output.stderr].concat();
            let told =
                String::from_utf8_lossy(if program == "man" { &output.stderr } else { &told });
            // Pages have no date: they would differ with each build.
            let told: Vec<_> = told.lines().filter(|line| !line.contains("missing date")).collect();
            assert!(told.is_empty(), "{program} {}: {told:?}", file.display());
        }
    }
}

#[test]
fn each_manual_page_has_its_options_its_environment_and_the_exit_codes() {
    let (folder, files) = pages();
    for file in &files {
        let page = std::fs::read_to_string(file).expect("a page");
        for section in
            ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "EXIT STATUS", "SEE ALSO"]
        {
            assert!(page.contains(&format!(".SH \"{section}\"")), "{}: {section}", file.display());
        }
        for exit in binpulse::cli::Exit::ALL {
            assert!(page.contains(&format!("\\fB{}\\fR", exit.code())), "{}", file.display());
        }
        for variable in ["NO_COLOR", "TERM"] {
            assert!(page.contains(&format!("\\fB{variable}\\fR")), "{}", file.display());
        }
    }
    let page = |name: &str| {
        let path = folder.path().join(format!("{name}.1"));
        std::fs::read_to_string(path).expect(name).replace("\\-", "-")
    };
    let run = page("binpulse-run");
    for setting in SETTINGS {
        assert!(run.contains(&format!("\\fB{}\\fR", setting.env())), "{}", setting.key);
        assert!(run.contains(&format!("\\fB{}\\fR", setting.flag())), "{}", setting.key);
    }
    // What a command does not read does not stand in its page, and examples stay as they are.
    let status = page("binpulse-status");
    assert!(status.contains("BINPULSE_HTTP_LISTEN") && !status.contains("BINPULSE_SINK_KIND"));
    assert!(status.contains("--watch") && status.contains("BINPULSE_CONFIG"), "{status}");
    assert!(status.contains(".nf\nbinpulse status --config binpulse.toml\n"), "{status}");
    let synopsis = status.split(".SH \"DESCRIPTION\"").next().unwrap_or_default();
    assert!(synopsis.len() < 700, "{synopsis}");
    assert!(
        page("binpulse").contains("binpulse-relay-redrive")
            || page("binpulse-relay").contains("binpulse-relay-redrive")
    );
}
