//! Logs: to standard error; for people on a terminal, JSON lines elsewhere. Equal warnings become one.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{self as events, JsonFields};

use super::last_lines::{self, KeepingWriter};
use super::repeats::Repeats;

/// Level when nobody asks for another. The libraries' own chatter stays out.
const FILTER_DEFAULT: &str = "info,hyper=warn,rustls=warn,aws=warn";

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Text, coloured on a terminal.
    Text,
    /// One JSON document a line.
    Json,
}

/// Something else in this process has set up logs before.
#[derive(Debug, thiserror::Error)]
#[error("logs are set up already")]
pub struct Error;

/// Puts another level into force.
type SetLevel = Box<dyn Fn(EnvFilter) + Send + Sync>;

static SET_LEVEL: OnceLock<SetLevel> = OnceLock::new();

/// Logs at this level from here on, as [`init`] does.
pub fn set_level(level: Option<&str>) {
    if let Some(set) = SET_LEVEL.get() {
        set(filter(level));
    }
}

fn filter(level: Option<&str>) -> EnvFilter {
    EnvFilter::new(level.unwrap_or(FILTER_DEFAULT))
}

/// Calls this before each line of the log, to take away what stands in its place on a terminal.
pub fn before_each_line(make_room: fn()) {
    last_lines::before_each_line(make_room);
}

/// Starts logging, at `level` where one is given: what the libraries log too.
pub fn init(level: Option<&str>, format: Format) -> Result<(), Error> {
    let terminal = io::stderr().is_terminal();
    // A line that cannot be written is lost. Complaining about it on the same standard error, as is the
    // default, would panic: a full disk under the log must not stop the stream.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_writer(KeepingWriter)
        .log_internal_errors(false);
    let is_json = match format {
        Format::Auto => !terminal,
        Format::Text => false,
        Format::Json => true,
    };
    let (begun, set_level) = if is_json {
        let json = events::format().json().flatten_event(true).with_current_span(false);
        let builder = builder.fmt_fields(JsonFields::new()).event_format(Repeats::new(json));
        let builder = builder.with_filter_reloading();
        let handle = builder.reload_handle();
        (builder.try_init(), keep(move |filter| handle.reload(filter)))
    } else {
        // https://no-color.org: present and not empty, whatever its value.
        let colourless = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let builder = builder.with_ansi(terminal && !colourless);
        let builder = builder.event_format(Repeats::new(events::format()));
        let builder = builder.with_filter_reloading();
        let handle = builder.reload_handle();
        (builder.try_init(), keep(move |filter| handle.reload(filter)))
    };
    begun.map_err(|_| Error)?;
    // Set by nobody before, or logs were set up already.
    let _is_first = SET_LEVEL.set(set_level);
    Ok(())
}

fn keep<E>(set: impl Fn(EnvFilter) -> Result<(), E> + Send + Sync + 'static) -> SetLevel {
    // It fails only when there are no logs any more.
    Box::new(move |filter| drop(set(filter)))
}
