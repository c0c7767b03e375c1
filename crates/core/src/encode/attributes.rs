//! Attributes: what subscriptions filter on.

use std::borrow::Cow;

use super::encoded_batch::EncodedBatch;
use super::lane::percent_encode_but;
use super::message::{Attribute, DataType};
use super::open::FORMAT_VERSION;
use super::origin::Origin;

/// Stands where a message has no database, table or operation: SNS takes no empty value, and
/// `anything-but` does not match an attribute that is not there. No name encodes to it.
pub const NONE: &str = "(none)";

/// The attributes of a message: `kind`, `stream`, `database`, `table`, `op`, `v`, all on each, and
/// `replay` where it is published again or is of a snapshot for somebody. Names have all but ASCII letters, digits and `_-$.`
/// percent-encoded.
pub(crate) fn attributes(batch: &EncodedBatch, origin: &Origin) -> Vec<Attribute> {
    let (database, table) = batch.subject();
    let mut attributes = Vec::with_capacity(8);
    attributes.push(text("kind", batch.kind().as_str().to_owned()));
    attributes.push(text("stream", name(&origin.stream)));
    attributes.push(text("database", name(database)));
    attributes.push(text("table", name(table)));
    attributes.push(Attribute {
        name: Cow::Borrowed("op"),
        data_type: DataType::StringArray,
        value: operations(batch),
    });
    attributes.push(text("v", FORMAT_VERSION.to_string()));
    let audience = origin.replay.as_ref().map(|replay| &replay.audience).or(batch.audience());
    attributes.extend(audience.map(|audience| text("replay", name(audience))));
    attributes
}

fn text(name: &'static str, value: String) -> Attribute {
    Attribute { name: Cow::Borrowed(name), data_type: DataType::String, value }
}

pub(super) fn name(name: &str) -> String {
    if name.is_empty() {
        return NONE.to_owned();
    }
    let mut encoded = String::with_capacity(name.len());
    percent_encode_but(name, b"_-$.", &mut encoded);
    encoded
}

fn operations(batch: &EncodedBatch) -> String {
    let mut list = String::from("[");
    for op in batch.ops().iter() {
        if list.len() > 1 {
            list.push(',');
        }
        list.push('"');
        list.push_str(op.as_str());
        list.push('"');
    }
    if list.len() == 1 {
        list.push('"');
        list.push_str(NONE);
        list.push('"');
    }
    list.push(']');
    list
}
