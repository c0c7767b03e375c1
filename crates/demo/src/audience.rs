//! Who watches the demo decides how long it continues.

use std::time::Duration;

use super::Error;

const SECONDS_DEFAULT: u64 = 30;
/// A day.
pub(super) const SECONDS_MAX: u64 = 86_400;
/// When the table is altered and the big transaction comes, if the demo has no end of its own.
const ALTER_AFTER: Duration = Duration::from_secs(5);
const BULK_AFTER: Duration = Duration::from_secs(10);

/// Who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Somebody at a terminal: it continues until Ctrl-C.
    Terminal,
    /// A script: it ends by itself after this time.
    Script(Duration),
}

impl Audience {
    /// Chosen by whether standard output is a terminal; `DEMO_SECONDS` counts elsewhere.
    pub fn of_this_process() -> Result<Self, Error> {
        if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            return Ok(Self::Terminal);
        }
        let seconds = match std::env::var_os("DEMO_SECONDS") {
            None => SECONDS_DEFAULT,
            Some(text) => text
                .to_str()
                .and_then(|text| text.parse().ok())
                .filter(|seconds| *seconds <= SECONDS_MAX)
                .ok_or_else(|| Error::Seconds { found: text.to_string_lossy().into_owned() })?,
        };
        Ok(Self::Script(Duration::from_secs(seconds)))
    }

    /// When the table is altered and when the big transaction comes.
    pub(super) fn highlights(self) -> (Duration, Duration) {
        match self {
            Self::Terminal => (ALTER_AFTER, BULK_AFTER),
            Self::Script(whole) => (whole.min(ALTER_AFTER * 4) / 4, whole.min(BULK_AFTER * 2) / 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_a_short_demo_has_its_highlights() {
        for seconds in [1, 2, 30, 600] {
            let whole = Duration::from_secs(seconds);
            let (alter, bulk) = Audience::Script(whole).highlights();
            assert!(alter < bulk && bulk < whole, "{seconds} s: {alter:?}, {bulk:?}");
        }
    }
}
