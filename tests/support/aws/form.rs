//! The Query protocol's request body: `application/x-www-form-urlencoded`, taken apart by hand
//! since it carries megabytes in benches.

use std::borrow::Cow;

/// Pairs of a form, still encoded.
#[derive(Debug, Clone, Copy)]
pub struct Form<'a> {
    body: &'a str,
}

impl<'a> Form<'a> {
    pub fn new(body: &'a str) -> Self {
        Self { body }
    }

    /// Keys (which AWS's clients send plain) and encoded values, in order.
    pub fn pairs(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.body.split('&').filter_map(|pair| pair.split_once('='))
    }

    /// The decoded value of `key`.
    pub fn get(self, key: &str) -> Option<Cow<'a, str>> {
        self.pairs().find(|(name, _)| *name == key).and_then(|(_, value)| decode(value))
    }

    /// The decoded pairs of `Attributes.entry.N.key` and `.value`, in the order of N.
    pub fn map(self, prefix: &str) -> Vec<(String, String)> {
        let text = |key: String| self.get(&key).map(Cow::into_owned);
        (1..)
            .map_while(|n| {
                let name = text(format!("{prefix}.entry.{n}.key"))?;
                Some((name, text(format!("{prefix}.entry.{n}.value")).unwrap_or_default()))
            })
            .collect()
    }
}

/// Decodes percent signs and pluses; `None` when that gives no UTF-8.
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    let bytes = text.as_bytes();
    let Some(first) = bytes.iter().position(|byte| matches!(byte, b'%' | b'+')) else {
        return Some(Cow::Borrowed(text));
    };
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(&bytes[..first]);
    let mut rest = &bytes[first..];
    loop {
        match rest {
            [] => return String::from_utf8(out).ok().map(Cow::Owned),
            [b'%', high, low, after @ ..] => {
                out.push(digit(*high)? << 4 | digit(*low)?);
                rest = after;
            }
            [b'+', after @ ..] => {
                out.push(b' ');
                rest = after;
            }
            [..] => {
                let plain = rest.iter().position(|byte| matches!(byte, b'%' | b'+'));
                let (plain, after) = rest.split_at(plain.unwrap_or(rest.len()).max(1));
                out.extend_from_slice(plain);
                rest = after;
            }
        }
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
