//! Words of others in our messages and logs: servers, AWS, whoever answers in their place. Pure.

use std::error::Error;

/// Characters that are kept: servers' longest messages have 1.1 KiB (a failed dump), and what tells
/// them apart may stand at the end.
const CHARACTERS_MAX: usize = 1_200;

/// The beginning of `text` on one line: what is longer is cut, and control characters are escaped,
/// so that nobody's answer fills a disk or looks like a line of our own log.
pub fn excerpt(text: &str) -> String {
    shorten(text, text.len())
}

/// The same for bytes that may be no UTF-8. Takes no more time or memory for long ones.
pub fn excerpt_bytes(bytes: &[u8]) -> String {
    // No character is longer than four bytes, so one that is cut here lies beyond what is kept.
    let front = bytes.get(..CHARACTERS_MAX * 4 + 4).unwrap_or(bytes);
    shorten(&String::from_utf8_lossy(front), bytes.len())
}

fn shorten(text: &str, bytes_in_all: usize) -> String {
    let mut short = String::new();
    let mut characters = text.chars();
    for character in characters.by_ref().take(CHARACTERS_MAX) {
        if character.is_control() {
            short.extend(character.escape_default());
        } else {
            short.push(character);
        }
    }
    match characters.next() {
        Some(_) => format!("{short}... ({bytes_in_all} bytes in all)"),
        None => short,
    }
}

/// An error and its sources on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Some errors say again what their sources say.
        if !words.ends_with(&cause) {
            words.push_str(": ");
            words.push_str(&cause);
        }
        source = error.source();
    }
    excerpt(&words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{CHARACTERS_MAX, excerpt, excerpt_bytes};

    #[test]
    fn short_words_stay_as_they_are_and_control_characters_show() {
        assert_eq!(excerpt("Access denied for 'é'@'%'"), "Access denied for 'é'@'%'");
        assert_eq!(
            excerpt("no\n2026-01-01 INFO all is well\u{1b}[2J"),
            "no\\n2026-01-01 INFO all is well\\u{1b}[2J"
        );
        assert_eq!(excerpt_bytes(b"caf\xe9"), "caf\u{fffd}");
    }

    #[test]
    fn ten_megabytes_become_a_line() {
        let long = "x".repeat(10_000_000);
        assert!(excerpt(&long).ends_with("xxx... (10000000 bytes in all)"));
        assert!(excerpt_bytes(long.as_bytes()).ends_with("xxx... (10000000 bytes in all)"));
    }

    proptest! {
        #[test]
        fn an_excerpt_is_one_short_line(bytes in proptest::collection::vec(any::<u8>(), 0..4_000)) {
            let text = excerpt_bytes(&bytes);
            prop_assert!(!text.contains(|c: char| c.is_control()));
            prop_assert!(text.chars().count() <= CHARACTERS_MAX * 10 + 40);
        }
    }
}
