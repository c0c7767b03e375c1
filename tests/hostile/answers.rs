//! Answers of any size to statements.

use std::io;

use binpulse::mysql::{Error, Session};

use crate::options;
use crate::server::{Fake, OK, Talk};

/// Most that an answer may be, and what sockets may hold beside it.
const TAKEN_MAX: u64 = (64 << 20) + (16 << 20);

#[derive(Debug, Clone, Copy)]
enum Say {
    ColumnsAnnounced(&'static [u8]),
    ColumnsWithoutEnd,
    RowsWithoutEnd(usize),
    ErrorOfTenMegabytes,
    AnswersWithoutEnd,
    FileWanted,
    NotTheColumns,
}

fn column(name: &[u8]) -> Vec<u8> {
    [&b"\x03def\0\0\0"[..], &[u8::try_from(name.len()).expect("short")], name, &[0; 14]].concat()
}

impl Say {
    async fn tell(self, talk: &mut Talk) -> io::Result<()> {
        const END: &[u8] = &[0xfe, 0, 0, 2, 0];
        talk.let_in().await?;
        talk.receive().await?;
        match self {
            Self::ColumnsAnnounced(count) => talk.send(count).await?,
            Self::ColumnsWithoutEnd => {
                talk.send(&[0xfc, 0, 16]).await?;
                loop {
                    talk.send(&column(b"c")).await?;
                }
            }
            Self::RowsWithoutEnd(bytes) => {
                talk.send(&[1]).await?;
                talk.send(&column(b"c")).await?;
                talk.send(END).await?;
                let length = u32::try_from(bytes).expect("short").to_le_bytes();
                let row = [&[0xfd], &length[..3], &vec![b'x'; bytes]].concat();
                loop {
                    talk.send(&row).await?;
                }
            }
            Self::ErrorOfTenMegabytes => {
                talk.send(&[&b"\xff\x15\x04#42000"[..], &vec![b'\n'; 10 << 20]].concat()).await?;
            }
            Self::AnswersWithoutEnd => loop {
                talk.send(b"\0\0\0\x0a\0\0\0").await?;
            },
            Self::FileWanted => talk.send(b"\xfb/etc/passwd").await?,
            Self::NotTheColumns => {
                talk.send(&[2]).await?;
                talk.send(&column(b"a")).await?;
                talk.send(END).await?;
                talk.send(OK).await?;
            }
        }
        talk.receive().await.map(drop)
    }
}

#[tokio::test]
async fn an_answer_is_taken_up_to_its_largest_size_and_no_further() {
    for (say, words) in [
        // 2^31, 2^63, and one more than a server can have
        (Say::ColumnsAnnounced(b"\xfe\0\0\0\x80\0\0\0\0"), "4096"),
        (Say::ColumnsAnnounced(b"\xfe\0\0\0\0\0\0\0\x80"), "4096"),
        (Say::ColumnsAnnounced(b"\xfc\x01\x10"), "4096"),
        (Say::ColumnsWithoutEnd, "expected the end of the columns"),
        (Say::RowsWithoutEnd(10), "more than 67108864 bytes"),
        (Say::RowsWithoutEnd(1_000), "more than 67108864 bytes"),
        (Say::RowsWithoutEnd(9_000_000), "more than 67108864 bytes"),
        (Say::AnswersWithoutEnd, "more than 67108864 bytes"),
        (Say::FileWanted, "not a request for a file"),
        (Say::NotTheColumns, "expected a column"),
    ] {
        let fake = Fake::start(move |talk| Box::pin(say.tell(talk))).await;
        let mut session = Session::connect(&options(fake.address, false)).await.expect("let in");
        let error = session.query("SELECT 1").await.expect_err("too large, or malformed");
        assert!(matches!(error, Error::Protocol { .. }), "{say:?}: {error}");
        assert!(error.to_string().contains(words), "{say:?}: {error}");
        assert!(fake.sent() < TAKEN_MAX, "{say:?}: {} bytes", fake.sent());
        assert_eq!(session.id(), None, "the session is of no more use");
    }
}

#[tokio::test]
async fn a_refusal_of_ten_megabytes_becomes_a_line() {
    let fake = Fake::start(|talk| Box::pin(Say::ErrorOfTenMegabytes.tell(talk))).await;
    let mut session = Session::connect(&options(fake.address, false)).await.expect("let in");
    let error = session.query("SELECT 1").await.expect_err("refused");
    assert_eq!(error.code(), Some(1045));
    let text = error.to_string();
    assert!(text.len() < 4_000 && !text.contains('\n'), "{} bytes", text.len());
}
