//! What a server sends in the client/server protocol, for the stand-ins of tests.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// OK: no row changed, autocommit.
pub(crate) const OK: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];
/// The end of column definitions, of rows, or of a stream.
pub(crate) const END: [u8; 5] = [0xfe, 0, 0, 2, 0];

/// The payload of a greeting, with `mysql_native_password` and no TLS.
pub(crate) fn greeting(version: &str) -> Vec<u8> {
    [
        b"\x0a",
        version.as_bytes(),
        b"\0\x07\0\0\0abcdefgh\0",
        &[0xff, 0xf7, 0xff, 2, 0, 0xff, 0xdf, 21],
        &[0; 10],
        b"ijklmnopqrst\0mysql_native_password\0",
    ]
    .concat()
}

/// The payloads of an answer with rows; a cell without text is NULL.
pub(crate) fn result_set<Name, Row, Cell>(
    names: impl IntoIterator<Item = Name, IntoIter: ExactSizeIterator>,
    rows: impl IntoIterator<Item = Row>,
) -> Vec<Vec<u8>>
where
    Name: AsRef<[u8]>,
    Row: IntoIterator<Item = Option<Cell>>,
    Cell: AsRef<[u8]>,
{
    let names = names.into_iter();
    let mut payloads = vec![vec![u8::try_from(names.len()).expect("few columns")]];
    for name in names {
        let mut definition = b"\x03def\0\0\0".to_vec();
        put_text(name.as_ref(), &mut definition);
        definition.push(0);
        payloads.push(definition);
    }
    payloads.push(END.to_vec());
    for row in rows {
        let mut payload = Vec::new();
        for cell in row {
            match cell {
                Some(text) => put_text(text.as_ref(), &mut payload),
                None => payload.push(0xfb),
            }
        }
        payloads.push(payload);
    }
    payloads.push(END.to_vec());
    payloads
}

/// A text with its length in front.
fn put_text(text: &[u8], into: &mut Vec<u8>) {
    match u8::try_from(text.len()) {
        Ok(short @ 0..=250) => into.push(short),
        _ => {
            into.push(0xfd);
            let length = u32::try_from(text.len()).expect("not that long").to_le_bytes();
            into.extend(&length[..3]);
        }
    }
    into.extend(text);
}

/// Payloads as packets, numbered from `first`.
pub(crate) fn packets(first: u8, payloads: impl IntoIterator<Item: AsRef<[u8]>>) -> Vec<u8> {
    let (mut bytes, mut sequence) = (Vec::new(), first);
    for payload in payloads {
        let payload = payload.as_ref();
        let length = u32::try_from(payload.len()).expect("small").to_le_bytes();
        bytes.extend(&length[..3]);
        bytes.push(sequence);
        bytes.extend(payload);
        sequence = sequence.wrapping_add(1);
    }
    bytes
}

/// The payload of the next packet.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await?;
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
    let mut payload = vec![0; usize::try_from(length).expect("32 bits")];
    stream.read_exact(&mut payload).await?;
    Ok(payload)
}
