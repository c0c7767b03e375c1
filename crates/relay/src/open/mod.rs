//! From a message of the queue to what it holds. Trusts nothing that it reads.
//!
//! A message is raw or in SNS's envelope; a frame, a JSON document, or a pointer to an object that
//! holds one. What can't be opened is [`Unreadable`] for good, and is parked; an object that can't be
//! fetched just now is [`Failure::Away`], and the message stays in the queue.

use std::collections::BTreeMap;

use binpulse_client::{DecodeError, Message};

pub use binpulse_client::{Content as Opened, Pointer};

use crate::outbox::OUTBOX;

/// Bounds of what is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest content once decompressed, bytes. Its rows and values may take eight times as much in memory,
    /// at most 512 MiB.
    pub content_bytes_max: u64,
    /// Largest object that is fetched, and largest content in it, bytes.
    pub object_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            content_bytes_max: binpulse_client::message::CONTENT_BYTES_MAX,
            object_bytes_max: binpulse_client::frame::UNCOMPRESSED_BYTES_MAX,
        }
    }
}

/// A message of the queue, opened.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenMessage {
    /// What it holds.
    pub opened: Opened,
    /// For whom its rows are published again, or its snapshot is: the attribute `replay` as it is.
    pub replay: Option<String>,
}

/// What a message is.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart at once, and most are the large one"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// One of binpulse's.
    Ours(OpenMessage),
    /// One of an application, by way of an outbox: its payload, and its attributes.
    Outbox(String, BTreeMap<String, String>),
}

/// Why a message is parked.
#[derive(Debug, thiserror::Error)]
#[error("the message can't be opened: {0}")]
pub struct Unreadable(#[from] UnreadableReason);

impl Unreadable {
    /// Which kind of fault it is: the value of a label.
    pub fn reason(&self) -> &'static str {
        match &self.0 {
            UnreadableReason::Decode(error) => reason(error),
            UnreadableReason::ObjectTooLarge { .. } | UnreadableReason::Object(_) => "object",
        }
    }
}

/// See [`Unreadable`]. No text of it shows a value of a row.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableReason {
    /// The body, or the object, is not what the contract says.
    #[error(transparent)]
    Decode(DecodeError),
    /// The object is larger than allowed.
    #[error("the object {key} of bucket {bucket} has {found} bytes, at most {max} are fetched")]
    ObjectTooLarge {
        /// Bucket of the object.
        bucket: String,
        /// Key of the object.
        key: String,
        /// Its length.
        found: u64,
        /// The length allowed.
        max: u64,
    },
    /// The object is gone, or is no text.
    #[error("{0}")]
    Object(String),
}

fn reason(error: &DecodeError) -> &'static str {
    use binpulse_client::frame::OpenError;
    match error {
        DecodeError::Frame(OpenError::Version(_)) => "version",
        DecodeError::Frame(OpenError::Checksum { .. }) => "checksum",
        DecodeError::Frame(OpenError::Codec(_)) => "codec",
        DecodeError::Frame(OpenError::Size { .. } | OpenError::Memory { .. }) => "size",
        DecodeError::Frame(OpenError::Length { .. } | OpenError::Zstd(_)) => "payload",
        DecodeError::Frame(
            OpenError::Json | OpenError::Base64(_) | OpenError::Protobuf(_) | OpenError::Unknown,
        )
        | DecodeError::Empty => "frame",
        DecodeError::Document(_) => "document",
        DecodeError::Elsewhere(_) | DecodeError::Object { .. } => "object",
        DecodeError::Inconsistent { .. } => "inconsistent",
    }
}

/// Why an object was not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// It may be there later: the store can't be reached, or refuses for now.
    #[error("{0}")]
    Away(String),
    /// It never will be: it is gone, larger than allowed, or no text.
    #[error("{0}")]
    Gone(String),
}

/// Why a message was not opened.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It can't be, ever: it is parked.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Its object can't be fetched now: the message stays in the queue.
    #[error("{0}")]
    Away(String),
}

/// Opens a message. `fetch` gives the text of an object, at most so many bytes of it.
pub async fn open<F>(
    body: &str,
    attributes: BTreeMap<String, String>,
    limits: &Limits,
    fetch: F,
) -> Result<Found, Failure>
where
    F: AsyncFnOnce(&Pointer, u64) -> Result<String, FetchError>,
{
    let is_outbox = |attributes: &BTreeMap<String, String>| {
        attributes.get("kind").is_some_and(|kind| kind == OUTBOX)
    };
    // A payload is whatever the application wrote: beside its attributes nothing is looked for in it.
    let message = if is_outbox(&attributes) {
        Message { body: body.into(), attributes }
    } else {
        Message::new(body, attributes).map_err(unreadable)?
    };
    if is_outbox(&message.attributes) {
        return of_outbox(message, limits, fetch).await;
    }
    let replay = message.replay().map(str::to_owned);
    let opened = match message.decode_within(limits.content_bytes_max) {
        Err(DecodeError::Elsewhere(pointer)) => {
            let object = object_of(&pointer, limits, fetch).await?;
            pointer.decode_within(&object, limits.object_bytes_max).map_err(unreadable)?
        }
        decoded => decoded.map_err(unreadable)?,
    };
    Ok(Found::Ours(OpenMessage { opened, replay }))
}

/// A payload that was put elsewhere is fetched.
async fn of_outbox<F>(message: Message<'_>, limits: &Limits, fetch: F) -> Result<Found, Failure>
where
    F: AsyncFnOnce(&Pointer, u64) -> Result<String, FetchError>,
{
    let is_elsewhere = message.attributes.contains_key("ExtendedPayloadSize");
    let body = match is_elsewhere.then(|| message.decode_within(limits.content_bytes_max)) {
        Some(Err(DecodeError::Elsewhere(pointer))) => {
            let object = object_of(&pointer, limits, fetch).await?;
            let (found, key) = (object.len() as u64, pointer.key);
            if let Some(stated) = pointer.size_bytes.filter(|stated| *stated != found) {
                let (found, expected) = (format!("{found} bytes"), stated.to_string());
                return Err(unreadable(DecodeError::Object { key, found, expected }));
            }
            object
        }
        Some(_) | None => message.body.into_owned(),
    };
    Ok(Found::Outbox(body, message.attributes))
}

async fn object_of<F>(pointer: &Pointer, limits: &Limits, fetch: F) -> Result<String, Failure>
where
    F: AsyncFnOnce(&Pointer, u64) -> Result<String, FetchError>,
{
    let max = limits.object_bytes_max;
    let too_large = |found| {
        let (bucket, key) = (pointer.bucket.clone(), pointer.key.clone());
        let reason = UnreadableReason::ObjectTooLarge { bucket, key, found, max };
        Err(Failure::Unreadable(reason.into()))
    };
    if let Some(found) = pointer.size_bytes.filter(|size| *size > max) {
        return too_large(found);
    }
    match fetch(pointer, max).await {
        Ok(object) if object.len() as u64 > max => too_large(object.len() as u64),
        Ok(object) => Ok(object),
        Err(FetchError::Away(why)) => Err(Failure::Away(why)),
        Err(FetchError::Gone(why)) => {
            Err(Failure::Unreadable(UnreadableReason::Object(why).into()))
        }
    }
}

fn unreadable(error: DecodeError) -> Failure {
    Failure::Unreadable(UnreadableReason::Decode(error).into())
}

#[cfg(test)]
pub(crate) mod tests;
