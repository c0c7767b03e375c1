//! Asian character sets of several bytes a character: encoding_rs, corrected to what MySQL does.

use encoding_rs::DecoderResult;

use super::multi_byte::Exception;
use super::push;

/// A character set of several bytes a character, ASCII below 0x80.
#[derive(Debug)]
pub(super) struct Asian {
    form: Form,
    encoding: &'static encoding_rs::Encoding,
    exceptions: &'static [Exception],
}

/// Which byte sequences MySQL takes for characters (`strings/ctype-*.c` of the server).
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Big5,
    ShiftJis,
    EucKr,
    Gb2312,
    Gbk,
    Gb18030,
    EucJp,
}

impl Form {
    /// Length of the character at the front of `bytes`.
    fn len(self, bytes: &[u8]) -> Option<usize> {
        let lead = *bytes.first()?;
        if lead.is_ascii() {
            return Some(1);
        }
        let trail = bytes.get(1).copied();
        let trail_in_two =
            |low: u8, gap: u8| trail.is_some_and(|byte| byte >= low && byte != gap && byte < 0xff);
        let valid = match self {
            Self::Big5 => {
                let trail_fits = matches!(trail, Some(0x40..=0x7e | 0xa1..=0xfe));
                matches!(lead, 0xa1..=0xf9) && trail_fits
            }
            Self::ShiftJis if matches!(lead, 0xa1..=0xdf) => return Some(1),
            Self::ShiftJis => {
                let trail_fits = matches!(trail, Some(0x40..=0x7e | 0x80..=0xfc));
                matches!(lead, 0x81..=0x9f | 0xe0..=0xfc) && trail_fits
            }
            Self::EucKr => {
                let trail_fits = matches!(trail, Some(0x41..=0x5a | 0x61..=0x7a | 0x81..=0xfe));
                matches!(lead, 0x81..=0xfe) && trail_fits
            }
            Self::Gb2312 => matches!(lead, 0xa1..=0xf7) && trail_in_two(0xa1, 0xff),
            Self::Gb18030 if matches!(trail, Some(0x30..=0x39)) => {
                let fits = matches!(bytes.get(2..4)?, [0x81..=0xfe, 0x30..=0x39]);
                return (matches!(lead, 0x81..=0xfe) && fits).then_some(4);
            }
            Self::Gbk | Self::Gb18030 => matches!(lead, 0x81..=0xfe) && trail_in_two(0x40, 0x7f),
            Self::EucJp if lead == 0x8e => matches!(trail, Some(0xa1..=0xdf)),
            Self::EucJp if lead == 0x8f => {
                return matches!(bytes.get(1..3)?, [0xa1..=0xfe, 0xa1..=0xfe]).then_some(3);
            }
            Self::EucJp => matches!(lead, 0xa1..=0xfe) && trail_in_two(0xa1, 0xff),
        };
        valid.then_some(2)
    }
}

impl Asian {
    pub(super) const fn new(
        form: Form,
        encoding: &'static encoding_rs::Encoding,
        exceptions: &'static [Exception],
    ) -> Self {
        Self { form, encoding, exceptions }
    }

    /// Length of the character at the front of `bytes`, whether or not MySQL knows it.
    pub(super) fn len(&self, bytes: &[u8]) -> Option<usize> {
        self.form.len(bytes)
    }

    /// Appends `bytes` in UTF-8; `None` if they hold what MySQL knows no character for.
    pub(super) fn decode(&self, bytes: &[u8], scratch: &mut Vec<u8>) -> Option<()> {
        // Characters on which the library agrees are gathered and handed to it in one call.
        let (mut agreed, mut at) = (0, 0);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let len = self.form.len(rest)?;
            if let Some(point) = self.exception(rest.get(..len)?) {
                self.decode_agreed(bytes.get(agreed..at)?, scratch)?;
                push(scratch, char::from_u32(point).filter(|point| *point != '\0')?);
                agreed = at + len;
            }
            at += len;
        }
        self.decode_agreed(bytes.get(agreed..)?, scratch)
    }

    /// The code point of a character on which the library differs; 0 if MySQL has none.
    fn exception(&self, character: &[u8]) -> Option<u32> {
        if character.len() == 1 {
            return None;
        }
        let code = character.iter().fold(0, |code, byte| code << 8 | u32::from(*byte));
        let after = self.exceptions.partition_point(|(first, _, _)| *first <= code);
        let (first, last, point) = *self.exceptions.get(after.checked_sub(1)?)?;
        (code <= last).then(|| if point == 0 { 0 } else { point + (code - first) })
    }

    fn decode_agreed(&self, bytes: &[u8], scratch: &mut Vec<u8>) -> Option<()> {
        if bytes.is_empty() {
            return Some(());
        }
        let mut decoder = self.encoding.new_decoder_without_bom_handling();
        let start = scratch.len();
        let room = decoder.max_utf8_buffer_length_without_replacement(bytes.len())?;
        scratch.resize(start.checked_add(room)?, 0);
        let out = scratch.get_mut(start..)?;
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(bytes, out, true);
        scratch.truncate(start + written);
        let whole = result == DecoderResult::InputEmpty && read == bytes.len();
        whole.then_some(())
    }
}

#[cfg(test)]
impl Asian {
    pub(super) fn is_sorted(&self) -> bool {
        self.exceptions.iter().all(|(first, last, _)| first <= last)
            && self.exceptions.windows(2).all(|pair| pair[0].1 < pair[1].0)
    }
}
