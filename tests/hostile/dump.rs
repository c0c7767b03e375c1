//! Streams of events as no server sends them: packets, events and rows that are damaged on the way or
//! made up.

use std::io;
use std::path::Path;
use std::sync::Arc;

use binpulse::change::Position;
use binpulse::decode::{Config, Decoder};
use binpulse::source::{Error, Liveness, Replica, Start};

use crate::dice::Dice;
use crate::server::{Fake, OK, Talk};
use crate::{command, source};

const HEADER_BYTES: usize = 19;
const CHECKSUM_BYTES: usize = 4;
const END: &[u8] = &[0xfe, 0, 0, 2, 0];

/// The events of a captured log.
fn events(log: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(log);
    let bytes = std::fs::read(path.join("binlog.000001")).expect("a captured log");
    let mut rest = &bytes[4..];
    let mut events = Vec::new();
    while let Some(length) = rest.get(9..13) {
        let length = u32::from_le_bytes(length.try_into().expect("four")) as usize;
        let (event, behind) = rest.split_at(length);
        events.push(event.to_vec());
        rest = behind;
    }
    events
}

impl Talk {
    /// Answers whatever a replica asks up to its request for the stream.
    async fn until_dump(&mut self) -> io::Result<()> {
        self.let_in().await?;
        loop {
            let asked = self.receive().await?;
            let sql = String::from_utf8_lossy(&asked).into_owned();
            match asked.first() {
                Some(0x12 | 0x1e) => return Ok(()),
                _ if sql.contains("server_uuid") => {
                    self.row(&["00bbe985-e52d-11f1-91a9-02fc00000001", "ON"]).await?;
                }
                _ if sql.contains("SELECT") => self.row(&["1", "8.0.31"]).await?,
                _ => self.send(OK).await?,
            }
        }
    }

    async fn row(&mut self, values: &[&str]) -> io::Result<()> {
        self.send(&[u8::try_from(values.len()).expect("few")]).await?;
        for _ in values {
            self.send(b"\x03def\0\0\0\x01c\0").await?;
        }
        self.send(END).await?;
        let value =
            |text: &&str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
        let row: Vec<u8> = values.iter().flat_map(value).collect();
        self.send(&row).await?;
        self.send(END).await
    }
}

/// A server that streams these payloads, whatever they are, and goes.
async fn streaming(payloads: Vec<Vec<u8>>) -> Fake {
    let payloads = Arc::new(payloads);
    Fake::start(move |talk| {
        let payloads = Arc::clone(&payloads);
        Box::pin(async move {
            talk.until_dump().await?;
            for payload in payloads.iter() {
                talk.send(payload).await?;
            }
            talk.flush().await
        })
    })
    .await
}

/// Reads and decodes a stream to its end; the number of its steps, or in what words it was refused.
async fn read(fake: &Fake) -> Result<usize, String> {
    let config = source(fake.address, false);
    let start = Start::Position(Position::new("binlog.000001", 4));
    let connected = Replica::connect(&config, 0, &start, &Liveness::new()).await;
    let mut replica = connected.map_err(|error| error.to_string())?;
    let mut decoder = Decoder::new(Config::default());
    decoder.start_at(Position::new("binlog.000001", 4));
    let mut count = 0;
    loop {
        let event = match replica.next().await {
            Ok(Some(event)) => event,
            Ok(None) | Err(Error::Closed { .. }) => return Ok(count),
            Err(error) => return Err(error.to_string()),
        };
        let mut steps = decoder.feed(event).map_err(|error| error.to_string())?;
        while steps.next().map_err(|error| error.to_string())?.is_some() {
            count += 1;
        }
    }
}

fn is_a_short_line(words: &str) -> bool {
    words.len() < 4_000 && !words.contains(|c: char| c.is_control())
}

/// As the wire has it: a mark, and the event.
fn marked(event: &[u8]) -> Vec<u8> {
    [&[0], event].concat()
}

/// The checksum made right again, so that the damage gets past it.
fn finalize(event: &mut [u8]) {
    let Some(end) = event.len().checked_sub(CHECKSUM_BYTES) else { return };
    let sum = crc32fast::hash(&event[..end]).to_le_bytes();
    event[end..].copy_from_slice(&sum);
}

/// One to three changes to a stream: of bytes, with the checksum made right or not; of the order; of
/// lengths.
fn damaged(events: &[Vec<u8>], dice: &mut Dice) -> Vec<Vec<u8>> {
    let mut stream = events.to_vec();
    let below =
        |dice: &mut Dice, end: usize| usize::try_from(dice.below(end as u64)).expect("small");
    for _ in 0..=dice.below(3) {
        let at = below(dice, stream.len());
        let event = &mut stream[at];
        let length = event.len();
        match dice.below(8) {
            0..=3 if length > HEADER_BYTES => {
                let byte = HEADER_BYTES + below(dice, length - HEADER_BYTES);
                event[byte] = *dice.pick(&[0, 1, 0x7f, 0x80, 0xfb, 0xfc, 0xff, event[byte] ^ 1]);
                finalize(event);
            }
            4 => {
                event[below(dice, length)] ^= 1 << dice.below(8);
                if dice.one_in(2) {
                    finalize(event);
                }
            }
            5 => {
                event.truncate(below(dice, length + 1));
                if let (Some(place), Ok(bytes)) = (event.get(9..13), u32::try_from(event.len()))
                    && place.len() == 4
                {
                    event[9..13].copy_from_slice(&bytes.to_le_bytes());
                    finalize(event);
                }
            }
            6 => {
                let other = below(dice, stream.len());
                stream.swap(at, other);
            }
            _ => {
                stream.remove(at);
                if stream.is_empty() {
                    return stream;
                }
            }
        }
    }
    stream
}

#[tokio::test]
async fn a_stream_that_was_damaged_ends_in_order_or_in_a_line_of_words() {
    for log in ["rows/mysql-9.7", "xa/mysql-9.7", "payload/mysql-9.7", "rows/mariadb-10.11"] {
        let events = events(log);
        let sound = streaming(events.iter().map(|event| marked(event)).collect()).await;
        let steps = read(&sound).await.expect("a sound stream");
        assert!(steps > 10, "{log}: {steps}");
        let mut refused = 0;
        for seed in 0..150 {
            let stream = damaged(&events, &mut Dice::new(seed));
            let fake = streaming(stream.iter().map(|event| marked(event)).collect()).await;
            if let Err(words) = read(&fake).await {
                assert!(is_a_short_line(&words), "{log}, seed {seed}: {words:?}");
                refused += 1;
            }
        }
        assert!(refused > 50, "{log}: the damage is noticed, {refused} of 150");
    }
}

#[tokio::test]
async fn what_is_no_stream_is_refused_in_a_line_by_the_library_and_by_tail() {
    let first = events("rows/mysql-9.7").swap_remove(0);
    let mut endless = first.clone();
    endless[9..13].copy_from_slice(&u32::MAX.to_le_bytes());
    let cases: [(&str, Vec<Vec<u8>>); 8] = [
        ("an empty packet", vec![vec![]]),
        ("no event", vec![vec![0]]),
        ("another mark", vec![vec![0x77; 400]]),
        ("half a header", vec![marked(&first[..10])]),
        ("an event that claims 4 GiB", vec![marked(&endless)]),
        ("events without a format", vec![marked(&[0x1e; 60])]),
        ("zeros", vec![marked(&[0; 4096])]),
        (
            "an error of ten megabytes",
            vec![[&b"\xff\xd4\x04#HY000"[..], &vec![b'\n'; 10 << 20]].concat()],
        ),
    ];
    for (name, payloads) in cases {
        let fake = streaming(payloads).await;
        let words = read(&fake).await.expect_err(name);
        assert!(is_a_short_line(&words), "{name}: {words:?}");
    }
    let fake = streaming(vec![marked(&endless)]).await;
    let output = command("tail", fake.address, false).await;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(matches!(output.status.code(), Some(65 | 69 | 75)), "{:?}\n{said}", output.status);
    assert!(said.len() < 6_000 && !said.contains("panicked"), "{said}");
}
