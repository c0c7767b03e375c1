//! Logs: to standard error; for people on a terminal, JSON lines elsewhere. Equal warnings become one.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{self as events, JsonFields};

use super::repeats::Repeats;

/// Environment variable that is looked at when no filter is given.
pub const FILTER_VARIABLE: &str = "BINPULSE_LOG";

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

/// The logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter's syntax is wrong.
    #[error(
        "log filter `{filter}`: {message}; expected a level (error, warn, info, debug, trace) or \
         `target=level`, separated by commas"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        message: String,
    },
    /// Something else in this process has set up logs before.
    #[error("logs are set up already")]
    Twice,
}

/// Starts logging. `filter` is a level or a list of `target=level`; without one the environment
/// variable [`FILTER_VARIABLE`] is looked at.
pub fn init(filter: Option<&str>, format: Format) -> Result<(), Error> {
    let from_environment = std::env::var(FILTER_VARIABLE).ok().filter(|text| !text.is_empty());
    let filter = filter.or(from_environment.as_deref()).unwrap_or(FILTER_DEFAULT);
    let filter = parse(filter)?;
    let terminal = io::stderr().is_terminal();
    // A line that cannot be written is lost. Complaining about it on the same standard error, as is the
    // default, would panic: a full disk under the log must not stop the stream.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .log_internal_errors(false);
    let is_json = match format {
        Format::Auto => !terminal,
        Format::Text => false,
        Format::Json => true,
    };
    if is_json {
        let json = events::format().json().flatten_event(true).with_current_span(false);
        builder.fmt_fields(JsonFields::new()).event_format(Repeats::new(json)).try_init()
    } else {
        // https://no-color.org: present and not empty, whatever its value.
        let colourless = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let builder = builder.with_ansi(terminal && !colourless);
        builder.event_format(Repeats::new(events::format())).try_init()
    }
    .map_err(|_| Error::Twice)
}

fn parse(filter: &str) -> Result<EnvFilter, Error> {
    // A lone word that is no level would be taken for the name of a target and silence the rest.
    let is_word = filter.chars().all(char::is_alphanumeric);
    let is_level =
        !filter.is_empty() && filter.parse::<tracing::level_filters::LevelFilter>().is_ok();
    if is_word && !is_level {
        let message = "no such level".to_owned();
        return Err(Error::Filter { filter: filter.to_owned(), message });
    }
    EnvFilter::try_new(filter)
        .map_err(|error| Error::Filter { filter: filter.to_owned(), message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn filters_are_checked_before_anything_is_lost_silently() {
        for filter in ["info", "WARN", "off", "debug,hyper=warn", "binpulse::sink=trace"] {
            assert!(parse(filter).is_ok(), "{filter}");
        }
        for filter in ["verbose", "binpulse=loud", ""] {
            let error = parse(filter).expect_err(filter).to_string();
            assert!(error.contains("expected a level"), "{error}");
        }
    }
}
