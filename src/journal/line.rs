//! Lines with their checksums.

use std::io::{self, BufRead};

/// Digits of the checksum and the blank behind them.
const PREFIX_BYTES: usize = 9;

/// A line with this text, which has no line feed.
pub fn line(text: &str) -> String {
    format!("{:08x} {text}\n", crc32c::crc32c(text.as_bytes()))
}

/// The text of a line (without its line feed), if its checksum is right; else what is wrong.
pub fn check(line: &[u8]) -> Result<&[u8], String> {
    let Some((prefix, text)) = line.split_at_checked(PREFIX_BYTES) else {
        return Err(format!("{} bytes where a record should be", line.len()));
    };
    let stated = std::str::from_utf8(prefix)
        .ok()
        .and_then(|prefix| prefix.strip_suffix(' '))
        .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .ok_or("no checksum where a record should begin")?;
    let actual = crc32c::crc32c(text);
    if stated == actual {
        Ok(text)
    } else {
        Err(format!("the checksum says {stated:08x}, the text gives {actual:08x}"))
    }
}

/// What stands at one place of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line whose checksum is right: its text.
    Good(&'a [u8]),
    /// The rest of a line without its line feed, at the end of the file: a crash cut it short.
    Torn,
    /// A line that is not what was written.
    Bad {
        /// What is wrong with it.
        why: String,
        /// Whether it is the last one of the file.
        is_last: bool,
    },
}

/// The lines of a file, one after the other.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    line: Vec<u8>,
    /// Bytes of the good lines read so far.
    offset: u64,
}

impl<R: BufRead> Lines<R> {
    /// Reads from where the input stands, which is taken for the beginning.
    pub fn new(input: R) -> Self {
        Self { input, line: Vec::new(), offset: 0 }
    }

    /// Where the next line begins; behind a line that is not good, where that one does.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line; `None` at the end of the file. Nothing comes behind a line that is not good.
    pub fn read(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let length = self.input.read_until(b'\n', &mut self.line)?;
        if length == 0 {
            return Ok(None);
        }
        if self.line.pop() != Some(b'\n') {
            return Ok(Some(Line::Torn));
        }
        match check(&self.line) {
            Ok(text) => {
                self.offset += length as u64;
                Ok(Some(Line::Good(text)))
            }
            Err(why) => Ok(Some(Line::Bad { why, is_last: self.input.fill_buf()?.is_empty() })),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_checksum_is_eight_hexadecimal_digits_and_nothing_else() {
        // A sign would pass for a digit where the first digit is a zero.
        let texts = (0..).map(|number| format!("{{\"n\":{number}}}"));
        let small = |text: &String| crc32c::crc32c(text.as_bytes()) < 1 << 28;
        let text = texts.into_iter().find(small).expect("one in sixteen");
        let sum = crc32c::crc32c(text.as_bytes());
        assert_eq!(check(format!("{sum:08x} {text}").as_bytes()), Ok(text.as_bytes()));
        for line in
            [format!("+{sum:07x} {text}"), format!("{sum:08x}-{text}"), format!("{sum:07x} ")]
        {
            assert!(check(line.as_bytes()).is_err(), "{line}");
        }
    }

    /// What is read of a file up to the first line that is not good, and what that is.
    fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, u64, Option<&'static str>) {
        let mut lines = Lines::new(bytes);
        let mut good = Vec::new();
        loop {
            let end = match lines.read().expect("memory can be read") {
                Some(Line::Good(text)) => {
                    good.push(text.to_owned());
                    continue;
                }
                Some(Line::Torn) => Some("torn"),
                Some(Line::Bad { is_last: true, .. }) => Some("bad last"),
                Some(Line::Bad { is_last: false, .. }) => Some("bad"),
                None => None,
            };
            return (good, lines.offset(), end);
        }
    }

    proptest! {
        #[test]
        fn all_lines_before_a_cut_or_a_flipped_bit_are_read_and_none_behind(
            texts in proptest::collection::vec("[^\n]{0,20}", 1..5),
            at in any::<proptest::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let lines: Vec<_> = texts.iter().map(|text| line(text)).collect();
            let whole = lines.concat().into_bytes();
            let texts: Vec<_> = texts.iter().map(|text| text.clone().into_bytes()).collect();
            prop_assert_eq!(read(&whole), (texts.clone(), whole.len() as u64, None));

            let at = at.index(whole.len());
            let (mut before, mut start) = (0, 0);
            while start + lines[before].len() <= at {
                start += lines[before].len();
                before += 1;
            }
            let (good, offset, end) = read(&whole[..at]);
            prop_assert_eq!((&good[..], offset), (&texts[..before], start as u64));
            prop_assert_eq!(end, (at > start).then_some("torn"));

            // The digits of a checksum may be capitals.
            prop_assume!(bit != 5 || at - start >= PREFIX_BYTES);
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            let (good, offset, end) = read(&flipped);
            prop_assert_eq!((&good[..], offset), (&texts[..before], start as u64));
            prop_assert!(end.is_some());
        }
    }
}
