//! Equal warnings become one with a count: a fault that lasts is said once a minute, and not as often as
//! it is met.
//!
//! Equal are those of the same place in the code with the same words; numbers may differ. Errors and
//! everything else are never held back.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::platform;

/// How long the same words are held back after they were said.
const WINDOW: Duration = Duration::from_mins(1);
/// Warnings that are told apart at a time; more than these are not held back.
const KNOWN_MAX: usize = 256;

/// Formats events as `inner` does, without repetitions.
pub(super) struct Repeats<F> {
    inner: F,
    known: Mutex<Known>,
}

impl<F> Repeats<F> {
    pub(super) fn new(inner: F) -> Self {
        Self { inner, known: Mutex::default() }
    }
}

impl<S, N, F> FormatEvent<S, N> for Repeats<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = platform::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for line in known.over(now) {
            writer.write_str(&line)?;
        }
        if *event.metadata().level() != Level::WARN {
            drop(known);
            return self.inner.format_event(context, writer, event);
        }
        let mut words = Words(DefaultHasher::new());
        event.metadata().callsite().hash(&mut words.0);
        event.record(&mut words);
        if known.is_news(words.0.finish(), now) {
            drop(known);
            return self.inner.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        known.hold(words.0.finish(), line);
        Ok(())
    }
}

/// The words of an event: its texts, not its numbers.
struct Words(DefaultHasher);

impl Visit for Words {
    fn record_f64(&mut self, _: &Field, _: f64) {}
    fn record_i64(&mut self, _: &Field, _: i64) {}
    fn record_u64(&mut self, _: &Field, _: u64) {}
    fn record_i128(&mut self, _: &Field, _: i128) {}
    fn record_u128(&mut self, _: &Field, _: u128) {}

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        field.name().hash(&mut self.0);
        // Ages and counts within a text are numbers too.
        for character in format!("{value:?}").chars().filter(|it| !it.is_ascii_digit()) {
            character.hash(&mut self.0);
        }
    }
}

/// What was said within the window.
#[derive(Debug, Default)]
struct Known(HashMap<u64, Held>);

#[derive(Debug)]
struct Held {
    until: Instant,
    count: u64,
    /// The last that was held back.
    line: String,
}

impl Known {
    /// Whether this has not been said lately; then it counts as said.
    fn is_news(&mut self, words: u64, now: Instant) -> bool {
        if self.0.contains_key(&words) {
            return false;
        }
        if self.0.len() < KNOWN_MAX {
            self.0.insert(words, Held { until: now + WINDOW, count: 0, line: String::new() });
        }
        true
    }

    fn hold(&mut self, words: u64, line: String) {
        if let Some(held) = self.0.get_mut(&words) {
            held.count += 1;
            held.line = line;
        }
    }

    /// Forgets what was said longer ago; the last of each that was held back meanwhile, with the count.
    fn over(&mut self, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        self.0.retain(|_, held| {
            let stays = held.until > now;
            if !stays && held.count > 0 {
                lines.push(counted(&held.line, held.count));
            }
            stays
        });
        lines
    }
}

/// The line with the count in it.
fn counted(line: &str, count: u64) -> String {
    match line.strip_prefix('{') {
        Some(rest) => format!("{{\"repeated\":{count},{rest}"),
        None => format!("{} repeated={count}\n", line.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use tracing_subscriber::fmt::format;
    use tracing_subscriber::fmt::format::JsonFields;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("one thread").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn equal_warnings_become_one_and_errors_are_all_said() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(JsonFields::new())
            .event_format(Repeats::new(format().json().flatten_event(true)))
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            for attempt in 0..1_000 {
                tracing::warn!(attempt, code = "Throttled", "publishing fails");
                tracing::warn!("{attempt} s have passed");
            }
            tracing::warn!(code = "InternalError", "publishing fails");
            for _ in 0..3 {
                tracing::error!("lost");
            }
        });
        let text = String::from_utf8(lines.0.lock().expect("one thread").clone()).expect("UTF-8");
        let count = |words: &str| text.lines().filter(|line| line.contains(words)).count();
        assert_eq!(count("Throttled"), 1, "{text}");
        assert_eq!(count("have passed"), 1, "{text}");
        assert_eq!(count("InternalError"), 1, "{text}");
        assert_eq!(count("lost"), 3, "{text}");
    }

    #[test]
    fn what_was_held_back_is_told_with_its_count_when_the_window_ends() {
        let (mut known, start) = (Known::default(), Instant::now());
        assert!(known.is_news(1, start));
        for number in 0..5 {
            assert!(!known.is_news(1, start + WINDOW / 2));
            known.hold(1, format!("{{\"level\":\"WARN\",\"number\":{number}}}\n"));
        }
        assert_eq!(known.over(start + WINDOW / 2), [] as [String; 0]);
        let told = known.over(start + WINDOW);
        assert_eq!(told, ["{\"repeated\":5,\"level\":\"WARN\",\"number\":4}\n"]);
        assert!(known.is_news(1, start + WINDOW));
        assert_eq!(counted("WARN x: y\n", 2), "WARN x: y repeated=2\n");
    }

    #[test]
    fn so_many_are_told_apart_and_the_rest_is_all_said() {
        let (mut known, start) = (Known::default(), Instant::now());
        for words in 0..1_000 {
            assert!(known.is_news(words, start));
        }
        assert_eq!(known.0.len(), KNOWN_MAX);
        assert!(known.is_news(999, start) && !known.is_news(0, start));
    }
}
