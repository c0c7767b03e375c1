//! `status --watch`: asks each second, also while nobody answers, and says so: an old picture is never left
//! to stand. On a terminal the verdict stays in sight, and keys move the rest.

mod view;

use std::io::{self, IsTerminal, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crossterm::cursor::{Hide, Show};
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use serde_json::Value;

use super::service::Service;
use super::service::{ask, ask_all, complain};
use super::style::print;
use super::style::{self, fitted};
use super::{Exit, runtime, terminal};
use crate::platform::wall_us;
use crate::shutdown::Signals;
use view::{Said, View, keys};

/// Between two looks.
const REFRESH: Duration = Duration::from_secs(1);
/// The size of the terminal is looked at so often.
const LOOK: Duration = Duration::from_millis(200);
/// Keys that are read at once.
const KEYS_MAX: usize = 256;

/// Watches until somebody ends it.
pub(super) fn watch(service: Service, only: Option<&str>) -> Exit {
    match (io::stdout().is_terminal(), style::is_dumb()) {
        (true, false) => screen(service, only),
        (true, true) => each_second(|| pictures(&service, only)),
        (false, _) => each_second(|| match ask(&service) {
            Ok(status) => print(&format!("{status}\n")),
            Err(error) => {
                complain(error);
                Exit::Done
            }
        }),
    }
}

/// Does it each second, until its output is gone.
fn each_second(mut show: impl FnMut() -> Exit) -> Exit {
    loop {
        let asked = Instant::now();
        if show() != Exit::Done {
            return Exit::Done;
        }
        std::thread::sleep(REFRESH.saturating_sub(asked.elapsed()));
    }
}

/// One picture after the other, where a terminal can't write over the last.
fn pictures(service: &Service, only: Option<&str>) -> Exit {
    let text = match ask_all(service) {
        Ok(status) => terminal::status(&status, wall_us(), only),
        Err(error) => terminal::silence(&error, None),
    };
    print(&(fitted(&text) + "\n"))
}

/// What happens beside the screen.
enum Event {
    /// The service answered, or did not.
    Answer(Result<Value, String>),
    /// Somebody typed.
    Typed(Vec<u8>),
    /// It is told to end.
    Stop,
}

/// The whole terminal, with keys.
fn screen(service: Service, only: Option<&str>) -> Exit {
    let (sender, events) = channel();
    let screen = Screen::enter();
    ask_on_and_on(service, sender.clone());
    if screen.has_keys {
        read_keys(sender.clone());
    }
    stop_on_signal(sender);
    let mut view = View::new(only);
    let mut said = Said { status: None, failure: "no answer yet".to_owned(), at: Instant::now() };
    let mut drawn = None;
    loop {
        let size = style::size().unwrap_or((80, 24));
        match next(&events) {
            Some(Event::Stop) => return Exit::Done,
            Some(Event::Typed(bytes)) => {
                let is_end = keys(&bytes).into_iter().any(|key| view.press(key));
                if is_end {
                    return Exit::Done;
                }
            }
            Some(Event::Answer(Ok(status))) => {
                said = Said { status: Some(status), failure: String::new(), at: Instant::now() };
            }
            Some(Event::Answer(Err(failure))) => said.failure = failure,
            None if drawn == Some(size) && said.status.is_some() => continue,
            None => {}
        }
        drawn = Some(size);
        let lines = view.lines(&said, wall_us(), size);
        // In raw mode a line does not begin at the left by itself.
        let text = format!("\u{1b}[H{}\u{1b}[K\u{1b}[J", lines.join("\u{1b}[K\r\n"));
        if print(&text) != Exit::Done {
            return Exit::Done;
        }
    }
}

/// What happens next, or nothing for a while.
fn next(events: &Receiver<Event>) -> Option<Event> {
    match events.recv_timeout(LOOK) {
        Ok(event) => Some(event),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => Some(Event::Stop),
    }
}

/// Asks each second: keys do not wait for a service that hangs.
fn ask_on_and_on(service: Service, events: Sender<Event>) {
    std::thread::spawn(move || {
        loop {
            let asked = Instant::now();
            if events.send(Event::Answer(ask_all(&service))).is_err() {
                return;
            }
            std::thread::sleep(REFRESH.saturating_sub(asked.elapsed()));
        }
    });
}

/// Reads what is typed; the process ends with or without it.
fn read_keys(events: Sender<Event>) {
    std::thread::spawn(move || {
        let mut bytes = [0; KEYS_MAX];
        loop {
            let typed = match io::stdin().lock().read(&mut bytes) {
                Ok(count @ 1..) => bytes.get(..count).unwrap_or_default().to_vec(),
                // The terminal is gone.
                Ok(_) | Err(_) => return drop(events.send(Event::Stop)),
            };
            if events.send(Event::Typed(typed)).is_err() {
                return;
            }
        }
    });
}

/// The terminal is put back to what it was, also by a signal.
fn stop_on_signal(events: Sender<Event>) {
    let Ok(runtime) = runtime() else { return };
    std::thread::spawn(move || {
        runtime.block_on(async {
            if let Ok(mut signals) = Signals::new() {
                signals.next().await;
                drop(events.send(Event::Stop));
            }
        });
    });
}

/// The terminal as a whole; put back to what it was when this is dropped.
struct Screen {
    /// Whether keys come one by one.
    has_keys: bool,
}

impl Screen {
    fn enter() -> Self {
        let has_keys = io::stdin().is_terminal() && enable_raw_mode().is_ok();
        // What can't be written is found when the first picture can't.
        drop(crossterm::execute!(io::stdout(), EnterAlternateScreen, Hide));
        Self { has_keys }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        drop(crossterm::execute!(io::stdout(), Show, LeaveAlternateScreen));
        if self.has_keys {
            drop(disable_raw_mode());
        }
        drop(io::stdout().flush());
    }
}
