//! Commands in a real terminal (tmux): `status --watch` of the same statuses as the page, what colours it
//! gets, and how far a long command is.

use std::path::Path;

use binpulse::freshness::verdict::State;
use libtest_mimic::Trial;

use crate::longest::timed;
use crate::on_terminal::Terminal;
use crate::scale::many;
use crate::site::Site;
use crate::states::{halted, status};

const SIZES: [(u32, u32); 2] = [(80, 24), (120, 40)];
const PROGRAM: &str = env!("CARGO_BIN_EXE_binpulse");

/// Tests that need tmux, or why there are none.
pub(crate) fn trials() -> Vec<Trial> {
    let is_there = Terminal::is_there();
    let test = |name: &str, body: fn()| {
        let run = move || {
            body();
            Ok(())
        };
        if is_there {
            timed(name, run)
        } else {
            Trial::test(name, || Ok(())).with_kind("no tmux").with_ignored_flag(true)
        }
    };
    vec![
        test("the_verdict_stays_on_a_small_screen", the_verdict_stays_on_a_small_screen),
        test("every_state_fits_the_screen", every_state_fits_the_screen),
        test("keys_scroll_sort_and_search", keys_scroll_sort_and_search),
        test("an_end_leaves_the_terminal_as_it_was", an_end_leaves_the_terminal_as_it_was),
        test("no_colour_is_shown_where_none_is_wanted", no_colour_is_shown_where_none_is_wanted),
        test("how_far_it_is_stands_on_a_terminal_only", how_far_it_is_stands_on_a_terminal_only),
    ]
}

fn watch(name: &str, of: (u32, u32), environment: &str, site: &Site) -> Terminal {
    let url = site.url();
    let listen = url.trim_start_matches("http://").trim_end_matches('/');
    let line = format!("{PROGRAM} status --watch --http-listen {listen}");
    Terminal::start(name, of, environment, &line)
}

/// What the last line of a screen begins with, which is drawn last.
const KEYS: &str = " q end  ? keys";

/// The screen, once it has this, and is drawn to its end.
fn drawn(terminal: &Terminal, text: &str) -> String {
    terminal.until_so(text, |screen| screen.contains(text) && is_whole(screen))
}

fn is_whole(screen: &str) -> bool {
    screen.lines().last().is_some_and(|line| line.starts_with(KEYS))
}

/// No line is wider than the terminal, and the last one tells the keys.
fn fits(screen: &str, (width, height): (u32, u32)) {
    let [width, height] = [width, height].map(|it| usize::try_from(it).expect("small"));
    assert!(screen.lines().all(|line| line.chars().count() <= width), "{screen}");
    let last = screen.lines().nth(height - 1).unwrap_or_default();
    assert!(last.starts_with(KEYS), "{screen}");
}

fn the_verdict_stays_on_a_small_screen() {
    for size in SIZES {
        let site = Site::start(many(State::CanaryLost, 100));
        let terminal = watch("watch", size, "TERM=xterm", &site);
        let screen = drawn(&terminal, "OUTAGE AT ");
        println!("{size:?}\n{screen}");
        fits(&screen, size);
        let lines: Vec<&str> = screen.lines().collect();
        assert!(lines[0].starts_with("OUTAGE AT "), "the verdict stands first: {screen}");
        assert!(lines[0].contains("100 of 100 consumer paths"), "{screen}");
        let words = screen.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("next: Check the subscription of"), "{screen}");
        assert!(words.contains("and 17 others"), "{screen}");
        // Words are whole at the ends of lines
        assert!(!lines.iter().any(|line| line.ends_with("consumer-")), "{screen}");
        // And what changes is written over what was there
        site.say(status(State::Quiet));
        let screen = drawn(&terminal, "HEALTHY  quiet");
        assert!(!screen.contains("OUTAGE"), "{screen}");
        assert!(screen.contains("The database is quiet"), "{screen}");
    }
}

fn every_state_fits_the_screen() {
    for size in SIZES {
        let site = Site::start(status(State::Starting));
        let terminal = watch("states", size, "TERM=xterm", &site);
        let mut all: Vec<_> = State::ALL.iter().map(|state| many(*state, 20)).collect();
        all.push(halted());
        for says in all {
            let state = says.conclusion.state.clone();
            let first = state.split(' ').next().unwrap_or_default().to_owned();
            let label = says.conclusion.label.to_uppercase();
            site.say(says);
            let screen = terminal.until_so(&state, |screen| {
                let head = screen.lines().take(2).collect::<Vec<_>>().join(" ");
                head.contains(&first) && head.starts_with(&label) && is_whole(screen)
            });
            fits(&screen, size);
            // Where it is broken stands above what is scrolled.
            assert!(screen.contains("source"), "{screen}");
        }
    }
}

fn keys_scroll_sort_and_search() {
    for size in SIZES {
        let site = Site::start(many(State::CanaryLost, 100));
        let terminal = watch("keys", size, "TERM=xterm", &site);
        let first = drawn(&terminal, "lines 1-");
        terminal.press(&["End"]);
        // The names stand last: the last consumer, and the line that counts.
        let last = terminal.until_so("the end", |screen| {
            let foot = screen.lines().last().unwrap_or_default();
            let (_, place) = foot.rsplit_once('-').unwrap_or_default();
            place.split_once(" of ").is_some_and(|(at, all)| at.trim() == all.trim())
        });
        fits(&last, size);
        assert_eq!(last.lines().next(), first.lines().next(), "the verdict stays: {last}");
        terminal.press(&["s"]);
        terminal.until("s by name");
        terminal.press(&["r"]);
        terminal.until("by name, reversed");
        terminal.press(&["/"]);
        terminal.until("names with: _");
        terminal.press(&["1", "3", "/", "p", "a", "t", "h", "Enter"]);
        let found = terminal.until_so("four paths", |screen| {
            let has = |text| screen.contains(text);
            has("only 13/path") && has("consumer-13/path-1") && is_whole(screen)
        });
        fits(&found, size);
        let rows = found.lines().filter(|line| line.contains("consumer-13/path-"));
        let rows: Vec<_> = rows.filter(|line| line.starts_with("  consumer")).collect();
        assert!(rows.first().is_some_and(|row| row.contains("path-4")), "reversed: {found}");
        assert!(!found.contains("  consumer-12"), "{found}");
        terminal.press(&["?"]);
        terminal.until("sort consumers: worst first");
        terminal.press(&["x"]);
        terminal.until("only 13/path");
        println!("{size:?}\n{found}");
    }
}

fn an_end_leaves_the_terminal_as_it_was() {
    let site = Site::start(status(State::Live));
    let url = site.url();
    let listen = url.trim_start_matches("http://").trim_end_matches('/');
    for (name, end) in [("q", "q"), ("interrupt", "C-c"), ("signal", "")] {
        let watch = format!("{PROGRAM} status --watch --http-listen {listen}");
        let line = format!(
            "sh -c 'echo before; {watch}; echo ended with $?; stty -a | grep -o \"[-]*icanon\"; cat'"
        );
        let terminal = Terminal::start(name, (80, 24), "TERM=xterm", &line);
        let screen = terminal.until("HEALTHY  live");
        assert!(!screen.contains("before"), "a screen of its own: {screen}");
        if end.is_empty() {
            let program = format!("{PROGRAM} status --watch --http-listen {listen}");
            let found = std::process::Command::new("pgrep").args(["-xf", &program]).output();
            let found = String::from_utf8(found.expect("pgrep").stdout).expect("a number");
            let ended = std::process::Command::new("kill").arg(found.trim()).status();
            assert!(ended.expect("kill").success(), "{found}");
        } else {
            terminal.press(&[end]);
        }
        let screen = terminal.until("icanon");
        let lines: Vec<_> = screen.lines().collect();
        assert_eq!(lines[..3], ["before", "ended with 0", "icanon"], "{name}: {screen}");
    }
}

fn no_colour_is_shown_where_none_is_wanted() {
    let site = Site::start(status(State::SinkStalled));
    for (name, environment, is_plain) in [
        ("colour", "TERM=xterm", false),
        ("no-color", "TERM=xterm NO_COLOR=1", true),
        ("dumb", "TERM=dumb", true),
    ] {
        let terminal = watch(name, (80, 60), environment, &site);
        terminal.until("OUTAGE AT PUBLISH");
        let screen = terminal.colours();
        assert_eq!(!screen.contains("\u{1b}["), is_plain, "{environment}: {screen:?}");
        // Other commands too
        for line in ["check --source-hosts 127.0.0.1:1 --sink-kind null", "run --sink-kind null"] {
            let more = "--http-listen 127.0.0.1:0 --checkpoint-path /nowhere/checkpoint";
            let line = format!("sh -c '{PROGRAM} {line} {more}; echo has ended; cat'");
            let terminal = Terminal::start(&format!("{name}-other"), (80, 60), environment, &line);
            terminal.until("has ended");
            let screen = terminal.colours();
            if is_plain {
                assert!(!screen.contains("\u{1b}["), "{environment}: {line}: {screen:?}");
            }
        }
    }
}

fn how_far_it_is_stands_on_a_terminal_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let log = root.join("tests/fixtures/rotation/mysql-9.7/binlog.000001");
    let log = log.display();
    // A log without an end, until somebody has seen how far it is.
    let endless = format!("while cat {log}; do :; done | {PROGRAM} decode -");
    for size in SIZES {
        let line = format!("bash -c '{endless} > /dev/null'");
        let terminal = Terminal::start("decode", size, "TERM=xterm", &line);
        let screen = terminal.until("Decoding  ");
        println!("{screen}");
        let told = screen.lines().next().unwrap_or_default();
        assert!(told.starts_with("Decoding  ") && told.contains("iB"), "{screen}");
        terminal.until("iB/s");
        terminal.press(&["C-c"]);
    }
    // Neither where nothing but a pipe would see it
    let folder = tempfile::tempdir().expect("a folder");
    let told = folder.path().join("told");
    let some = format!("for n in $(seq 2000); do cat {log}; done | {PROGRAM} decode -");
    let line = format!("bash -c '{some} > /dev/null 2> {}; echo ended; cat'", told.display());
    let terminal = Terminal::start("piped", (80, 24), "TERM=xterm", &line);
    terminal.until("ended");
    let told = std::fs::read_to_string(told).expect("what was told");
    assert!(!told.contains("Decoding"), "{told}");
    // Nor where the terminal can't take it away again
    let line = format!("bash -c '{some} > /dev/null; echo ended; cat'");
    let terminal = Terminal::start("dumb", (80, 24), "TERM=dumb", &line);
    let screen = terminal.until("ended");
    assert!(!screen.contains("Decoding"), "{screen}");
}
