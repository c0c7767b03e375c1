//! A program in a real terminal of a given size (tmux): what stands on its screen, and keys.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for something on the screen.
const DEADLINE: Duration = Duration::from_mins(1);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A terminal of its own server, which ends with this value.
pub(crate) struct Terminal {
    server: String,
}

impl Terminal {
    /// Whether tmux is installed.
    pub(crate) fn is_there() -> bool {
        Command::new("tmux").arg("-V").output().is_ok()
    }

    /// Runs a line of the shell with nothing but these variables: those of the tests are no settings.
    pub(crate) fn start(
        name: &str,
        (width, height): (u32, u32),
        environment: &str,
        line: &str,
    ) -> Self {
        // Tests of this process run side by side.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let server = format!("binpulse-{}-{number}-{name}", std::process::id());
        let line = format!("env -i PATH=\"$PATH\" {environment} {line}");
        let (width, height) = (width.to_string(), height.to_string());
        let mut command = Command::new("tmux");
        // What was printed last stays to be looked at, however soon the program ends.
        command.args(["-L", &server, "-f", "/dev/null", "start-server", ";"]);
        command.args(["set-option", "-g", "remain-on-exit", "on", ";", "new-session", "-d"]);
        command.args(["-x", &width, "-y", &height, &line]);
        assert!(command.status().expect("tmux").success());
        Self { server }
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        let output = command.args(["-L", &self.server]).args(arguments).output().expect("tmux");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The same with its escape sequences.
    pub(crate) fn colours(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// Types keys by their names in tmux.
    pub(crate) fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// The screen, once it has this text.
    pub(crate) fn until(&self, text: &str) -> String {
        self.until_so(text, |screen| screen.contains(text))
    }

    /// The screen, once it is so.
    pub(crate) fn until_so(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            assert!(Instant::now() < until, "never came: {what}\n{screen}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(Command::new("tmux").args(["-L", &self.server, "kill-server"]).status());
    }
}
