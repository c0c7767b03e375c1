//! Files beyond 4 GiB, where offsets no longer fit the 32 bits of an event's header.
//!
//! A server writes such a file only for a transaction of that size, so this one is synthetic: a
//! captured log with events between that carry nothing, through a pipe into `decode`.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use binpulse_demo::Error;
use tokio::task::spawn_blocking;

use crate::stage::{Figures, binary};
use crate::{rss, wrong};

const LOG: &[u8] = include_bytes!("../../fixtures/rows/mysql-9.7/binlog.000001");
/// An event that carries nothing and may be skipped: type `IGNORABLE` and its flag.
const IGNORABLE: (u8, [u8; 2]) = (28, [0x80, 0]);
/// Body of such an event.
const FILLER_BYTES: usize = 16 << 20;

fn events() -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    let mut at = 4;
    while let Some(header) = LOG.get(at..at + 19) {
        let length = u32::from_le_bytes([header[9], header[10], header[11], header[12]]);
        let length = usize::try_from(length).expect("32 bits");
        events.push(LOG[at..at + length].to_vec());
        at += length;
    }
    events
}

/// The event as it would stand so far into a file: its end, modulo 2^32, and its checksum.
fn put(mut event: Vec<u8>, offset: &mut u64, pipe: &mut impl Write) -> std::io::Result<()> {
    *offset += event.len() as u64;
    let end = u32::try_from(*offset & 0xffff_ffff).expect("masked").to_le_bytes();
    event[13..17].copy_from_slice(&end);
    let body = event.len() - 4;
    let checksum = crc32fast::hash(&event[..body]).to_le_bytes();
    event[body..].copy_from_slice(&checksum);
    pipe.write_all(&event)
}

fn filler() -> Vec<u8> {
    let mut event = vec![0; 19 + FILLER_BYTES + 4];
    event[4] = IGNORABLE.0;
    let length = u32::try_from(event.len()).expect("small").to_le_bytes();
    event[9..13].copy_from_slice(&length);
    event[17..19].copy_from_slice(&IGNORABLE.1);
    event
}

/// Writes the log with so many fillers behind its first two events; where the next one stood.
fn write(fillers: u64, pipe: &mut impl Write) -> std::io::Result<u64> {
    pipe.write_all(&LOG[..4])?;
    let mut events = events().into_iter();
    let mut offset = 4;
    // The format description is as it is: its checksum is of another kind of file in use.
    for event in events.by_ref().take(2) {
        offset += event.len() as u64;
        pipe.write_all(&event)?;
    }
    let filler = filler();
    for _ in 0..fillers {
        put(filler.clone(), &mut offset, pipe)?;
    }
    let from = offset;
    for event in events {
        put(event, &mut offset, pipe)?;
    }
    Ok(from)
}

pub(super) async fn offsets_beyond_4_gibibytes_are_counted(whole: bool) -> Result<Figures, Error> {
    let gibibytes = if whole { 9 } else { 5 };
    spawn_blocking(move || decode(gibibytes)).await.map_err(|e| Error::Message(e.to_string()))?
}

fn decode(gibibytes: u64) -> Result<Figures, Error> {
    let failed = |error: std::io::Error| Error::Message(error.to_string());
    let plain = run(0).map_err(failed)?;
    let far = run(gibibytes * 64).map_err(failed)?;
    if plain.lines.is_empty() || plain.lines.len() != far.lines.len() {
        return wrong(format!("{} lines and {}", plain.lines.len(), far.lines.len()));
    }
    let shift = far.from - plain.from;
    for (one, other) in plain.lines.iter().zip(&far.lines) {
        let mut moved = one.clone();
        let offset = one["position"]["offset"].as_u64().unwrap_or_default();
        moved["position"]["offset"] = (offset + shift).into();
        if offset == 0 || moved != *other {
            return wrong(format!("{one} became {other}"));
        }
    }
    Ok(Figures {
        rows: far.lines.len() as u64,
        messages: 0,
        peak_rss_bytes: far.peak_rss_bytes,
        note: format!("a synthetic file of {gibibytes} GiB through `decode -`"),
    })
}

struct Decoded {
    from: u64,
    lines: Vec<serde_json::Value>,
    peak_rss_bytes: u64,
}

fn run(fillers: u64) -> std::io::Result<Decoded> {
    let mut child = Command::new(binary())
        .args(["decode", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut pipe = child.stdin.take().expect("it is piped");
    let id = child.id();
    let writing = thread::spawn(move || {
        let from = write(fillers, &mut pipe)?;
        // While the pipe is open it runs.
        let peak = rss::peak_of_process(id);
        drop(pipe);
        Ok::<_, std::io::Error>((from, peak))
    });
    let output = child.wait_with_output()?;
    let (from, peak_rss_bytes) = writing.join().expect("the writer does not panic")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(std::io::Error::other(format!("decode ended with {}", output.status)));
    }
    let lines = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok(Decoded { from, lines, peak_rss_bytes })
}
