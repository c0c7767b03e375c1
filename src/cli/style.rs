//! How text looks in a terminal.

pub(super) const GREEN: u8 = 32;
pub(super) const YELLOW: u8 = 33;
pub(super) const RED: u8 = 31;

pub(super) fn bold(colour: u8, text: &str) -> String {
    format!("\u{1b}[1;{colour}m{text}\u{1b}[0m")
}

/// Without control characters: names and errors come from outside, and a terminal obeys them.
pub(super) fn plain(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
