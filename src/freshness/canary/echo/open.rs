//! From a message's body to the canary in it. Trusts nothing that it reads; pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::encode::open::{self, OpenError};
use crate::encode::proto::{self, frame::Content};
use crate::freshness::Phase;

/// Largest content that is opened, bytes. A canary has a few kilobytes; what states more is rows.
const BYTES_MAX: u64 = 1 << 20;

/// Longest name of a stream or server that is believed, bytes.
const NAME_BYTES_MAX: usize = 128;

/// A canary's message, as far as those who await it care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// Its stream.
    pub stream: String,
    /// `server_uuid` of the server that the row was read from.
    pub server_uuid: String,
    /// Epoch of `sequence`.
    pub epoch: u64,
    /// Number of the message in its path's lane of canaries, contiguous within the epoch.
    pub sequence: u64,
    /// The path through an operator's table; empty for the built-in canary.
    pub path: String,
    /// Number of the canary, of its path.
    pub number: u64,
    /// The step.
    pub phase: Phase,
    /// When the row was written, microseconds since 1970 UTC; 0 when not known.
    pub written_at_us: i64,
    /// When its watermark was taken, microseconds since 1970 UTC; 0 without one.
    pub watermark_at_us: i64,
    /// What its watermark says of the source; empty when it says nothing.
    pub verdict: String,
    /// What its publisher gave it so that its echo is known; empty for nothing.
    pub nonce: Vec<u8>,
}

/// What a body holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// A canary.
    Canary(Box<Canary>),
    /// Anything else that is well formed.
    Other,
}

/// Opens a body in either format; the error is for people.
pub fn open(body: &str) -> Result<Opened, String> {
    let content = match open::content_within(body, BYTES_MAX) {
        Ok(content) => content,
        // The `json` format: the canary's facts stand in the document.
        Err(OpenError::Json) => return document(body),
        Err(OpenError::Size { .. }) => return Ok(Opened::Other),
        Err(error) => return Err(error.to_string()),
    };
    let Content::Canary(canary) = content else { return Ok(Opened::Other) };
    let batch = canary.batch.unwrap_or_default();
    let source = batch.source.unwrap_or_default();
    let watermark = canary.watermark.unwrap_or_default();
    believed(Canary {
        stream: source.stream,
        server_uuid: source.server_uuid,
        epoch: source.epoch,
        sequence: batch.sequence_first,
        path: canary.path,
        number: canary.number,
        phase: match proto::CanaryPhase::try_from(canary.phase) {
            Ok(proto::CanaryPhase::Insert) => Phase::Insert,
            Ok(proto::CanaryPhase::Update) => Phase::Update,
            Ok(proto::CanaryPhase::Delete) => Phase::Delete,
            Ok(proto::CanaryPhase::Unspecified) | Err(_) => {
                return Err(format!("canary phase {} is not known", canary.phase));
            }
        },
        written_at_us: canary.written_at_us,
        watermark_at_us: watermark.taken_at_us,
        verdict: watermark.verdict,
        nonce: canary.nonce,
    })
}

fn document(body: &str) -> Result<Opened, String> {
    let document: serde_json::Value =
        serde_json::from_str(body).map_err(|error| error.to_string())?;
    if document["kind"] != "canary" {
        return Ok(Opened::Other);
    }
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let phase = document["phase"].as_str();
    let phase = Phase::ALL.into_iter().find(|known| Some(known.as_str()) == phase);
    let written_at = document["written_at"].as_str().unwrap_or_default();
    believed(Canary {
        stream: text(&document["source"]["stream"]),
        server_uuid: text(&document["source"]["server_uuid"]),
        epoch: document["source"]["epoch"].as_u64().unwrap_or_default(),
        sequence: document["sequence_first"].as_u64().unwrap_or_default(),
        path: text(&document["path"]),
        number: document["number"].as_u64().ok_or("the canary has no number")?,
        phase: phase.ok_or("the canary has no phase that is known")?,
        written_at_us: chrono::DateTime::parse_from_rfc3339(written_at)
            .map_or(0, |time| time.timestamp_micros()),
        watermark_at_us: document["watermark"]["taken_at_us"].as_i64().unwrap_or_default(),
        verdict: text(&document["watermark"]["verdict"]),
        nonce: STANDARD.decode(text(&document["nonce"])).unwrap_or_default(),
    })
}

/// Names become labels of metrics and words of logs: what could be none is refused.
fn believed(canary: Canary) -> Result<Opened, String> {
    for (what, name) in
        [("stream", &canary.stream), ("server", &canary.server_uuid), ("path", &canary.path)]
    {
        let is_none = |c: char| c.is_control() || c == '/';
        if name.len() > NAME_BYTES_MAX || name.chars().any(is_none) {
            return Err(format!("the canary's {what} has a name that cannot be one"));
        }
    }
    let is_word = |text: &str| {
        text.len() <= NAME_BYTES_MAX
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let verdict = Some(canary.verdict).filter(|word| is_word(word)).unwrap_or_default();
    Ok(Opened::Canary(Box::new(Canary { verdict, ..canary })))
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn body(content: Content) -> String {
        let frame = proto::Frame { content: Some(content), ..proto::Frame::default() };
        let plain = frame.encode_to_vec();
        let frame = proto::Frame {
            format_version: 1,
            uncompressed_size: plain.len() as u64,
            crc32c: crc32c::crc32c(&plain),
            codec: proto::Codec::Zstd.into(),
            content: Some(Content::Payload(zstd::bulk::compress(&plain, 1).expect("memory"))),
        };
        STANDARD.encode(frame.encode_to_vec())
    }

    fn canary(stream: &str) -> proto::Canary {
        let source = proto::Source {
            stream: stream.to_owned(),
            server_uuid: "aa".to_owned(),
            epoch: 3,
            ..proto::Source::default()
        };
        proto::Canary {
            number: 7,
            phase: proto::CanaryPhase::Update.into(),
            written_at_us: 17_000_000,
            batch: Some(proto::ChangeBatch {
                source: Some(source),
                sequence_first: 20,
                ..proto::ChangeBatch::default()
            }),
            watermark: Some(proto::Watermark {
                verdict: "quiet".to_owned(),
                taken_at_us: 18_000_000,
                ..proto::Watermark::default()
            }),
            path: "orders".to_owned(),
            nonce: vec![0, 1, 2],
            ..proto::Canary::default()
        }
    }

    fn expected() -> Canary {
        Canary {
            stream: "shop".to_owned(),
            server_uuid: "aa".to_owned(),
            epoch: 3,
            sequence: 20,
            path: "orders".to_owned(),
            number: 7,
            phase: Phase::Update,
            written_at_us: 17_000_000,
            watermark_at_us: 18_000_000,
            verdict: "quiet".to_owned(),
            nonce: vec![0, 1, 2],
        }
    }

    #[test]
    fn a_canary_is_the_same_in_both_formats() {
        let opened = open(&body(Content::Canary(canary("shop"))));
        assert_eq!(opened, Ok(Opened::Canary(Box::new(expected()))));
        let document = r#"{"kind":"canary","number":7,"path":"orders","phase":"update","written_at":
            "1970-01-01T00:00:17Z","source":{"stream":"shop","server_uuid":"aa","epoch":3},
            "sequence_first":20,"nonce":"AAEC","watermark":{"verdict":"quiet","taken_at_us":18000000}}"#;
        assert_eq!(open(document), Ok(Opened::Canary(Box::new(expected()))));
    }

    #[test]
    fn rows_are_told_from_damage_and_large_ones_are_not_even_opened() {
        let mut batch = proto::ChangeBatch::default();
        assert_eq!(open(&body(Content::Batch(batch.clone()))), Ok(Opened::Other));
        batch.lane = "x".repeat(2 << 20);
        assert_eq!(open(&body(Content::Batch(batch))), Ok(Opened::Other));
        assert_eq!(open(r#"{"kind":"change"}"#), Ok(Opened::Other));
        for damaged in ["", "hello", "{", r#"{"kind":"canary"}"#, "AAAA", "[1]x"] {
            open(damaged).expect_err(damaged);
        }
        let whole = body(Content::Canary(canary("shop")));
        for length in 0..whole.len() {
            assert!(!matches!(open(&whole[..length]), Ok(Opened::Canary(_))), "{length}");
        }
    }

    #[test]
    fn names_that_could_be_no_label_are_refused_and_odd_verdicts_are_none() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for name in [long.as_str(), "a\nb", "\u{1b}[2J", "a/b"] {
            open(&body(Content::Canary(canary(name)))).expect_err(name);
        }
        let mut odd = canary("shop");
        odd.watermark = Some(proto::Watermark {
            verdict: "<script>".to_owned(),
            ..proto::Watermark::default()
        });
        let Ok(Opened::Canary(opened)) = open(&body(Content::Canary(odd))) else {
            panic!("it is a canary");
        };
        assert_eq!(opened.verdict, "");
    }
}
