//! How text looks in a terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use unicode_width::UnicodeWidthChar;

use super::Exit;

const FITS: &str = "a string has room";

pub(super) const GREEN: u8 = 32;
pub(super) const YELLOW: u8 = 33;
pub(super) const RED: u8 = 31;
/// Stands back.
pub(super) const DIM: u8 = 2;

/// Neither colours nor movements of the cursor are wanted, or understood.
static IS_PLAIN: LazyLock<bool> =
    LazyLock::new(|| wants_plain(std::env::var_os("NO_COLOR"), std::env::var_os("TERM")));

fn wants_plain(no_color: Option<std::ffi::OsString>, term: Option<std::ffi::OsString>) -> bool {
    no_color.is_some_and(|value| !value.is_empty()) || term.is_some_and(|value| value == "dumb")
}

/// Whether the terminal understands movements of the cursor.
pub(super) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// Text that stands out, where colours are wanted.
pub(super) fn bold(colour: u8, text: &str) -> String {
    if *IS_PLAIN { text.to_owned() } else { format!("\u{1b}[1;{colour}m{text}\u{1b}[0m") }
}

/// Columns and rows of the terminal.
pub(super) fn size() -> Option<(usize, usize)> {
    let (width, height) = terminal_size::terminal_size()?;
    Some((usize::from(width.0), usize::from(height.0)))
}

/// Without control characters: names and errors come from outside, and a terminal obeys them.
pub(super) fn plain(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// Text in another colour, where colours are wanted.
pub(super) fn coloured(colour: u8, text: &str) -> String {
    if *IS_PLAIN { text.to_owned() } else { format!("\u{1b}[{colour}m{text}\u{1b}[0m") }
}

/// Text that stands back, where that is wanted.
pub(super) fn dim(text: &str) -> String {
    coloured(DIM, text)
}

/// A bar across the screen, where that is wanted.
pub(super) fn reversed(text: &str) -> String {
    coloured(7, text)
}

/// As wide as the terminal is that standard output is; elsewhere as it is.
pub(super) fn fitted(text: &str) -> String {
    if !io::stdout().is_terminal() {
        return text.to_owned();
    }
    size().map_or_else(|| text.to_owned(), |(width, _)| wrapped(text, width))
}

/// Whether a line of progress stands where the next output would go.
static PROGRESS_IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// Shows a line in place of the one before.
pub(super) fn show_progress(line: &str) {
    PROGRESS_IS_SHOWN.store(true, Ordering::Relaxed);
    write_error(&["\r", line, "\u{1b}[K"].concat());
}

/// Takes the line away, so that something else can stand there. It comes again.
pub(super) fn erase_progress() {
    if PROGRESS_IS_SHOWN.swap(false, Ordering::Relaxed) {
        write_error("\r\u{1b}[K");
    }
}

/// Nothing can be done about a closed terminal.
fn write_error(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

/// Prints on standard output.
pub(super) fn print(text: &str) -> Exit {
    let mut output = io::stdout();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    if written.is_ok() { Exit::Done } else { Exit::Unavailable }
}

/// Written over the last picture, line by line, so that nothing flickers.
pub(super) fn over(text: &str) -> String {
    let (width, height) = size().unwrap_or((usize::MAX, usize::MAX));
    let text = clipped(&wrapped(text, width), height);
    format!("\u{1b}[H{}\u{1b}[J", text.replace('\n', "\u{1b}[K\n"))
}

/// A line on standard error: an error, a note. Broken between words on a terminal.
pub(super) fn tell(text: &str) {
    erase_progress();
    let mut error = io::stderr().lock();
    let width = terminal_size::terminal_size_of(&error).map(|(width, _)| usize::from(width.0));
    let text = match width.filter(|_| error.is_terminal()) {
        Some(width) => wrapped(text, width),
        None => format!("{text}\n"),
    };
    // Nothing can be done about a closed terminal.
    drop(error.write_all(text.as_bytes()));
}

/// Tells something on standard error.
macro_rules! say {
    ($($what:tt)*) => { crate::cli::style::tell(&format!($($what)*)) };
}
pub(super) use say;

/// Columns that a text takes: escape sequences take none, some letters take two.
pub(super) fn columns(text: &str) -> usize {
    let (mut count, mut is_escape) = (0, false);
    for letter in text.chars() {
        match (is_escape, letter) {
            (false, '\u{1b}') => is_escape = true,
            (true, 'm') => is_escape = false,
            (true, _) => {}
            (false, _) => count += letter.width().unwrap_or(0),
        }
    }
    count
}

/// Without escape sequences of colours.
pub(super) fn colourless(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out += part.split_once('m').map_or("", |(_, rest)| rest);
    }
    out
}

/// The front of a text, no wider than `width`; without escape sequences in it.
pub(super) fn cut(text: &str, width: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, letter)| {
        used += letter.width().unwrap_or(0);
        used > width
    });
    text.get(..end.map_or(text.len(), |(at, _)| at)).unwrap_or_default()
}

/// Indents deeper than this are not kept on the lines that follow.
const INDENT_MAX: usize = 14;

/// The same text with no line longer than `width`, broken between words. What follows stands under the
/// begin of the value.
pub(super) fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        wrap(&mut out, line, width.max(20));
    }
    out
}

fn wrap(out: &mut String, line: &str, width: usize) {
    if columns(line) <= width {
        *out += &[line, "\n"].concat();
        return;
    }
    let label = line.find("  ").map_or(0, |at| {
        let rest = line.get(at..).unwrap_or_default();
        at + rest.len() - rest.trim_start().len()
    });
    let (head, rest) = line.split_at_checked(label).unwrap_or(("", line));
    let indent = columns(head);
    let (head, rest, indent) =
        if indent <= INDENT_MAX { (head, rest, indent) } else { ("", line, 0) };
    let mut used = columns(head);
    out.push_str(head);
    for (at, word) in rest.split(' ').enumerate() {
        let is_first = at == 0;
        let wide = columns(word);
        if !is_first && used + 1 + wide > width {
            write!(out, "\n{:indent$}", "").expect(FITS);
            used = indent;
        } else if !is_first {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += wide;
    }
    out.push('\n');
}

/// The first lines, as many as the terminal has, and how many more there are.
pub(super) fn clipped(text: &str, height: usize) -> String {
    let count = text.lines().count();
    if count < height {
        return text.to_owned();
    }
    let kept = height.saturating_sub(2).max(1);
    let mut out: String = text.lines().take(kept).flat_map(|line| [line, "\n"]).collect();
    write!(out, "... {} more lines: `binpulse status` prints them", count - kept).expect(FITS);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_continue_under_their_value() {
        let text = "consumer   billing: silent (1 of 5: billing/orders), last echo never\nshort\n";
        assert_eq!(
            wrapped(text, 40),
            "consumer   billing: silent (1 of 5:\n           billing/orders), last echo\n           \
             never\nshort\n"
        );
        let red = format!("\u{1b}[1;31m{}\u{1b}[0m b\n", "a".repeat(38));
        assert_eq!(wrapped(&red, 40), red, "what is not seen takes no columns");
        let word = format!("{}\n", "x".repeat(90));
        assert_eq!(wrapped(&word, 40), word, "a word is never broken");
        let wide = "名前 は 商品 の 表 です 今 は ここ に\n";
        assert!(wrapped(wide, 20).lines().all(|line| columns(line) <= 20), "{}", wrapped(wide, 20));
        assert_eq!((cut("名前です", 5), cut("abc", 5)), ("名前", "abc"));
    }

    #[test]
    fn what_does_not_fit_is_counted_and_the_first_lines_stay() {
        let text = "verdict\n".repeat(30);
        let shown = clipped(&text, 24);
        assert_eq!(shown.lines().count(), 23);
        assert!(shown.ends_with("... 8 more lines: `binpulse status` prints them"), "{shown}");
        assert_eq!(clipped("one\n", 24), "one\n");
    }

    #[test]
    fn colours_are_left_out_where_they_are_not_wanted() {
        for (no_color, term, is_plain) in [
            (Some("1"), "xterm", true),
            (Some(""), "xterm", false),
            (None, "dumb", true),
            (None, "xterm", false),
        ] {
            let told = wants_plain(no_color.map(Into::into), Some(term.into()));
            assert_eq!(told, is_plain, "{no_color:?} {term}");
        }
    }
}
