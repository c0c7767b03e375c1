//! `binpulse status --watch` in a real terminal (tmux), of the same statuses as the page.

use std::process::Command;
use std::time::{Duration, Instant};

use binpulse::freshness::verdict::State;
use libtest_mimic::Trial;

use crate::scale::many;
use crate::site::Site;
use crate::states::status;

/// Longest wait for something on the screen.
const DEADLINE: Duration = Duration::from_secs(30);

/// Tests that need tmux, or why there are none.
pub(crate) fn trials() -> Vec<Trial> {
    let is_there = Command::new("tmux").arg("-V").output().is_ok();
    let test = |name: &str, body: fn()| {
        let run = move || {
            body();
            Ok(())
        };
        if is_there {
            Trial::test(name, run)
        } else {
            Trial::test(name, || Ok(())).with_kind("no tmux").with_ignored_flag(true)
        }
    };
    vec![
        test(
            "the_verdict_stays_on_a_small_screen_and_no_line_is_cut",
            the_verdict_stays_on_a_small_screen_and_no_line_is_cut,
        ),
        test("no_colour_is_shown_where_none_is_wanted", no_colour_is_shown_where_none_is_wanted),
    ]
}

/// A terminal of this size, which ends with this value.
struct Terminal {
    server: String,
}

impl Terminal {
    fn start(name: &str, width: u32, height: u32, environment: &str, url: &str) -> Self {
        let server = format!("binpulse-{}-{name}-{width}", std::process::id());
        let program = env!("CARGO_BIN_EXE_binpulse");
        let listen = url.trim_start_matches("http://").trim_end_matches('/');
        // Variables that are for the tests are no settings.
        let line = format!("env -i {environment} {program} status --watch --http-listen {listen}");
        let (width, height) = (width.to_string(), height.to_string());
        let started = Command::new("tmux")
            .args([
                "-L",
                &server,
                "-f",
                "/dev/null",
                "new-session",
                "-d",
                "-x",
                &width,
                "-y",
                &height,
            ])
            .arg(line)
            .status();
        assert!(started.expect("tmux").success());
        Self { server }
    }

    /// What is on the screen; with `colours`, its escape sequences too.
    fn screen(&self, colours: bool) -> String {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.server, "capture-pane", "-p"]);
        if colours {
            command.arg("-e");
        }
        String::from_utf8(command.output().expect("tmux").stdout).expect("UTF-8")
    }

    fn until(&self, text: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let screen = self.screen(false);
            if screen.contains(text) {
                return screen;
            }
            assert!(Instant::now() < until, "never came: {text}\n{screen}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(Command::new("tmux").args(["-L", &self.server, "kill-server"]).status());
    }
}

fn the_verdict_stays_on_a_small_screen_and_no_line_is_cut() {
    for (width, height) in [(80, 24), (120, 40)] {
        let site = Site::start(many(State::CanaryLost, 100));
        let terminal = Terminal::start("watch", width, height, "TERM=xterm", &site.url());
        let screen = terminal.until("more lines");
        println!("{width}x{height}\n{screen}");
        let lines: Vec<&str> = screen.lines().collect();
        assert!(lines[0].starts_with("OUTAGE AT "), "the verdict stands first: {screen}");
        assert!(lines[0].contains("100 of 100 consumer paths"), "{screen}");
        let words = screen.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("next: Check the subscription of"), "{screen}");
        assert!(words.contains("and 17 others"), "{screen}");
        let wide = usize::try_from(width).expect("small");
        assert!(lines.iter().all(|line| line.chars().count() <= wide), "{screen}");
        // Words are whole at the ends of lines
        assert!(!lines.iter().any(|line| line.ends_with("consumer-")), "{screen}");
        // And what changes is written over what was there
        site.say(status(State::Quiet));
        let screen = terminal.until("HEALTHY  quiet");
        assert!(!screen.contains("OUTAGE"), "{screen}");
        assert!(screen.contains("The database is quiet"), "{screen}");
    }
}

fn no_colour_is_shown_where_none_is_wanted() {
    let site = Site::start(status(State::SinkStalled));
    for (name, environment, is_plain) in [
        ("colour", "TERM=xterm", false),
        ("no-color", "TERM=xterm NO_COLOR=1", true),
        ("dumb", "TERM=dumb", true),
    ] {
        let terminal = Terminal::start(name, 80, 60, environment, &site.url());
        terminal.until("OUTAGE AT PUBLISH");
        let screen = terminal.screen(true);
        assert_eq!(!screen.contains("\u{1b}[1"), is_plain, "{environment}: {screen:?}");
    }
}
