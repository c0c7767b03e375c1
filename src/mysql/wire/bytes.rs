//! Reading a packet's bytes from front to back; `None` where they end too early.

/// What is left of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

/// A column of a row in the text protocol.
pub(super) enum Column<'a> {
    Null,
    Text(&'a [u8]),
}

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Bytes up to a zero, which is consumed; all the rest if there is none.
    pub(super) fn until_zero(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        let text = self.0.get(..end.unwrap_or(self.0.len())).unwrap_or_default();
        self.0 = self.0.get(text.len() + 1..).unwrap_or_default();
        text
    }

    /// A column of a text row; `None` where the bytes end too early.
    pub(super) fn column(&mut self) -> Option<Column<'a>> {
        if self.0.first() == Some(&0xfb) {
            self.take(1)?;
            return Some(Column::Null);
        }
        self.text().map(Column::Text)
    }

    /// Bytes behind their length.
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::try_from(length).ok()?)
    }

    /// A number in one to nine bytes.
    pub(super) fn number(&mut self) -> Option<u64> {
        Some(match self.byte()? {
            0xfb | 0xff => return None,
            0xfc => u64::from(u16::from_le_bytes(self.array()?)),
            0xfd => {
                let [a, b, c] = self.array()?;
                u64::from(u32::from_le_bytes([a, b, c, 0]))
            }
            0xfe => u64::from_le_bytes(self.array()?),
            short => u64::from(short),
        })
    }
}

/// The first bytes, for messages.
pub(super) fn quote(bytes: &[u8]) -> String {
    match bytes {
        [] => "an empty packet".to_owned(),
        bytes => format!("{} bytes {:02x?}", bytes.len(), bytes.get(..12).unwrap_or(bytes)),
    }
}
