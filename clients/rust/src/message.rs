//! A message, in whichever form it comes, to what it holds.
//!
//! | form | recognised by |
//! |---|---|
//! | raw: base64 of a frame, or a JSON document of `message.format = "json"` | |
//! | SNS's envelope around it | `{"Type": "Notification", "Message": ..}` |
//! | a pointer to an object that holds it | a JSON array, as Amazon's extended client writes it |
//! | an event of AWS Lambda, from SQS or SNS | [`lambda`](crate::lambda()) |
//!
//! Nothing that is read here is trusted: what decodes is whole and consistent (see [`DecodeError`]).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::content::Content;
use crate::document::{self, DocumentError, Members, Name};
use crate::frame::{self, FORMAT_VERSION, OpenError};
use crate::proto;

/// Largest content that is opened unless the caller says otherwise, bytes: the most that a message
/// has. A single row that came by way of an object may have more.
pub const CONTENT_BYTES_MAX: u64 = 64 << 20;

/// Why a message can't be decoded. No text of an error shows a value of a row.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The content is in an object store: fetch the object and give it to [`Pointer::decode`].
    #[error("the content is the object {} of bucket {}: fetch it", .0.key, .0.bucket)]
    Elsewhere(Pointer),
    /// The body is empty.
    #[error("the body is empty")]
    Empty,
    /// The body is no frame of ours, or a damaged one.
    #[error(transparent)]
    Frame(#[from] OpenError),
    /// The body is JSON, but no document of ours.
    #[error("the JSON document is not one of binpulse: {0}")]
    Document(#[from] DocumentError),
    /// The object is not the one that the message points to.
    #[error("the object {key} has {found}, expected {expected}")]
    Object {
        /// Key of the object.
        key: String,
        /// What it has.
        found: String,
        /// What the message says.
        expected: String,
    },
    /// It decodes, and contradicts itself.
    #[error("{place}: found {found}, expected {expected}")]
    Inconsistent {
        /// The member.
        place: &'static str,
        /// What is there.
        found: u64,
        /// What can be there.
        expected: &'static str,
    },
}

/// Decodes a body: raw, in SNS's envelope, or a pointer to an object.
pub fn decode(body: &str) -> Result<Content, DecodeError> {
    Message::new(body, BTreeMap::new())?.decode()
}

/// A message without what SNS put around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// The body as published.
    pub body: Cow<'a, str>,
    /// The attributes, by name.
    pub attributes: BTreeMap<String, String>,
}

impl<'a> Message<'a> {
    /// A message as a queue gives it. Where its body is SNS's envelope, body and attributes are those
    /// in it; attributes that came beside it take precedence.
    pub fn new(body: &'a str, attributes: BTreeMap<String, String>) -> Result<Self, DecodeError> {
        let raw = |attributes| Self { body: Cow::Borrowed(body), attributes };
        if !body.starts_with('{') {
            return Ok(raw(attributes));
        }
        let members = Members::of(body)?;
        let is_envelope = matches!(members.optional::<Name<'_>>("Type"),
            Ok(Some(name)) if name.0 == "Notification");
        if !is_envelope {
            return Ok(raw(attributes));
        }
        let mut all = texts(&members, "MessageAttributes", "Value")?;
        all.extend(attributes);
        Ok(Self { body: members.required::<Name<'_>>("Message")?.0, attributes: all })
    }

    /// The attribute `kind`: `change`, `canary` ...
    pub fn kind(&self) -> Option<&str> {
        self.attributes.get("kind").map(String::as_str)
    }

    /// The attribute `replay`, as it stands there (percent-encoded): for whom the rows are published
    /// again, or a snapshot is. A consumer that is not the one named passes over the message.
    pub fn replay(&self) -> Option<&str> {
        self.attributes.get("replay").map(String::as_str)
    }

    /// What it holds.
    pub fn decode(&self) -> Result<Content, DecodeError> {
        self.decode_within(CONTENT_BYTES_MAX)
    }

    /// As [`Message::decode`], with another bound of the content's size.
    pub fn decode_within(&self, bytes_max: u64) -> Result<Content, DecodeError> {
        let content = match self.body.bytes().next() {
            None => return Err(DecodeError::Empty),
            Some(b'[') => return Err(DecodeError::Elsewhere(self.pointer()?)),
            Some(b'{') => {
                let cells_max = frame::element_bytes_max(bytes_max) / CELL_BYTES;
                let cells_max = usize::try_from(cells_max).unwrap_or(usize::MAX);
                let document = Members::of(&self.body)?;
                let version: u32 = document.required("v")?;
                if version != FORMAT_VERSION {
                    return Err(OpenError::Version(version).into());
                }
                document::content(&document, cells_max)?
            }
            Some(_) => match frame::content_within(&self.body, bytes_max) {
                Ok(content) => of_frame(content)?,
                Err(OpenError::Unknown) => {
                    Content::Unknown { kind: self.kind().unwrap_or_default().to_owned() }
                }
                Err(error) => return Err(error.into()),
            },
        };
        consistent(content)
    }

    /// `["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": .., "s3Key": ..}]`.
    /// The class has had other packages: only its name counts.
    fn pointer(&self) -> Result<Pointer, DecodeError> {
        #[derive(Deserialize)]
        struct Place {
            #[serde(rename = "s3BucketName")]
            bucket: String,
            #[serde(rename = "s3Key")]
            key: String,
        }
        let unfit = || DocumentError::new("the array", "another form", "a pointer to an object");
        let (Name(class), place): (Name<'_>, Place) =
            serde_json::from_str(&self.body).map_err(|_| unfit())?;
        if class.rsplit('.').next() != Some("PayloadS3Pointer") {
            return Err(unfit().into());
        }
        let size = ["ExtendedPayloadSize", "SQSLargePayloadSize"];
        let size = size.iter().find_map(|name| self.attributes.get(*name));
        Ok(Pointer {
            bucket: place.bucket,
            key: place.key,
            size_bytes: size.and_then(|size| size.parse().ok()),
            sha256: None,
        })
    }
}

/// What a cell of a document takes in memory.
const CELL_BYTES: u64 = size_of::<proto::Value>() as u64;

fn of_frame(content: proto::frame::Content) -> Result<Content, DecodeError> {
    use proto::frame::Content as Of;
    Ok(match content {
        Of::Batch(batch) => Content::Rows(batch),
        Of::SnapshotPart(part) => Content::Part(part),
        Of::SnapshotMark(mark) => Content::Mark(mark),
        Of::Canary(canary) => Content::Canary(canary),
        Of::Heartbeat(heartbeat) => Content::Heartbeat(heartbeat),
        Of::SchemaChange(change) => Content::Schema(change),
        Of::Suppressed(suppressed) => Content::Suppressed(suppressed),
        Of::TransactionEnd(end) => Content::TransactionEnd(end),
        Of::ClaimCheck(claim) => {
            let proto::ClaimCheck { bucket, key, size_bytes, sha256, .. } = claim;
            // Reserved, and so not known to set all its fields.
            let (size_bytes, sha256) = (Some(size_bytes).filter(|size| *size > 0), sha256);
            let sha256 = if sha256.is_empty() { None } else { Some(sha256) };
            return Err(DecodeError::Elsewhere(Pointer { bucket, key, size_bytes, sha256 }));
        }
        Of::Payload(_) => Content::Unknown { kind: String::new() },
    })
}

/// Where the content of a message lies. The object is not the consumer's to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// Bucket of the object.
    pub bucket: String,
    /// Key of the object.
    pub key: String,
    /// Length of the object, where the message tells it: look at it before fetching.
    pub size_bytes: Option<u64>,
    /// SHA-256 of the object, where the message tells it.
    pub sha256: Option<Vec<u8>>,
}

impl Pointer {
    /// What the message holds that pointed here; `object` is the object's text.
    pub fn decode(&self, object: &str) -> Result<Content, DecodeError> {
        self.decode_within(object, frame::UNCOMPRESSED_BYTES_MAX)
    }

    /// As [`Pointer::decode`], with another bound of the content's size.
    pub fn decode_within(&self, object: &str, bytes_max: u64) -> Result<Content, DecodeError> {
        let unfit = |found: String, expected: String| {
            Err(DecodeError::Object { key: self.key.clone(), found, expected })
        };
        let size = object.len() as u64;
        if let Some(stated) = self.size_bytes.filter(|stated| *stated != size) {
            return unfit(format!("{size} bytes"), format!("{stated}"));
        }
        if self.sha256.as_ref().is_some_and(|stated| Sha256::digest(object)[..] != stated[..]) {
            return unfit("another SHA-256".to_owned(), "the stated one".to_owned());
        }
        let message = Message { body: Cow::Borrowed(object), attributes: BTreeMap::new() };
        match message.decode_within(bytes_max) {
            Err(DecodeError::Elsewhere(_)) => {
                unfit("a pointer to another object".to_owned(), "the content".to_owned())
            }
            decoded => decoded,
        }
    }
}

/// The texts of attributes: each an object with the text under one name, and others beside it.
pub(crate) fn texts(
    members: &Members<'_>,
    name: &'static str,
    text: &str,
) -> Result<BTreeMap<String, String>, DecodeError> {
    let forms: Option<BTreeMap<String, BTreeMap<String, Option<&RawValue>>>> =
        members.optional(name)?;
    let forms = forms.unwrap_or_default().into_iter();
    let value = |form: BTreeMap<String, Option<&RawValue>>| {
        serde_json::from_str(form.get(text).copied().flatten()?.get()).ok()
    };
    Ok(forms.filter_map(|(name, form)| Some((name, value(form)?))).collect())
}

/// Refuses what contradicts itself, so that those who read it need not look.
fn consistent(content: Content) -> Result<Content, DecodeError> {
    match &content {
        Content::Rows(batch) => {
            if batch.rows.is_empty() {
                return Err(inconsistent("rows", 0, "at least one"));
            }
            batch_is_consistent(batch, true)?;
        }
        Content::Canary(canary) => {
            if let Some(batch) = &canary.batch {
                batch_is_consistent(batch, true)?;
            }
        }
        Content::Part(part) => {
            let (Some(batch), Some(_)) = (&part.batch, &part.anchor) else {
                return Err(inconsistent("snapshot_part", 0, "a batch and an anchor"));
            };
            batch_is_consistent(batch, false)?;
            let columns = batch.table.as_ref().map_or(0, |table| table.columns.len());
            all_are_columns("key_columns", &part.key_columns, columns)?;
        }
        Content::Suppressed(suppressed) => {
            numbers(suppressed.sequence_first, suppressed.count)?;
        }
        Content::Mark(_)
        | Content::Heartbeat(_)
        | Content::Schema(_)
        | Content::TransactionEnd(_)
        | Content::Unknown { .. } => {}
    }
    Ok(content)
}

fn inconsistent(place: &'static str, found: u64, expected: &'static str) -> DecodeError {
    DecodeError::Inconsistent { place, found, expected }
}

fn numbers(first: u64, count: u64) -> Result<(), DecodeError> {
    match first.checked_add(count) {
        Some(_) if first > 0 => Ok(()),
        _ => Err(inconsistent(
            "sequence_first",
            first,
            "a number from 1 on that leaves room for the rows",
        )),
    }
}

fn all_are_columns(
    place: &'static str,
    ordinals: &[u32],
    columns: usize,
) -> Result<(), DecodeError> {
    let is_outside = |ordinal: &&u32| usize::try_from(**ordinal).is_ok_and(|at| at >= columns);
    match ordinals.iter().find(is_outside) {
        Some(ordinal) => Err(inconsistent(place, (*ordinal).into(), "the ordinal of a column")),
        None => Ok(()),
    }
}

fn batch_is_consistent(
    batch: &proto::ChangeBatch,
    has_transactions: bool,
) -> Result<(), DecodeError> {
    let (Some(_), Some(table)) = (&batch.source, &batch.table) else {
        return Err(inconsistent("batch", 0, "a source and a table"));
    };
    let columns = table.columns.len();
    all_are_columns("primary_key", &table.primary_key, columns)?;
    if has_transactions {
        numbers(batch.sequence_first, batch.rows.len() as u64)?;
    }
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let (transactions, files) = (count(batch.transactions.len()), count(batch.files.len()));
    let outside = batch.transactions.iter().find(|transaction| transaction.file >= files);
    if let Some(transaction) = outside {
        return Err(inconsistent("file", transaction.file.into(), "one of the files"));
    }
    for row in &batch.rows {
        if has_transactions && row.transaction >= transactions {
            let expected = "one of the transactions";
            return Err(inconsistent("transaction", row.transaction.into(), expected));
        }
        let fits = match row.op() {
            proto::Op::Insert | proto::Op::Read => row.before.is_none() && row.after.is_some(),
            proto::Op::Update => row.before.is_some() && row.after.is_some(),
            proto::Op::Delete => row.before.is_some() && row.after.is_none(),
            proto::Op::Unspecified => true,
        };
        if !fits {
            return Err(inconsistent(
                "op",
                u64::from(row.op.unsigned_abs()),
                "the images of the op",
            ));
        }
        for image in row.before.iter().chain(&row.after) {
            if image.values.len() > columns {
                return Err(inconsistent(
                    "values",
                    image.values.len() as u64,
                    "no more than columns",
                ));
            }
        }
    }
    Ok(())
}
