//! A message as a publisher sends it, and every rule that SNS has for it.

use std::collections::BTreeSet;

use super::form::{Form, decode};

/// An attribute as sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attribute {
    pub name: String,
    pub data_type: String,
    pub string: Option<String>,
    pub binary: Option<String>,
}

impl Attribute {
    pub fn value(&self) -> &str {
        self.string.as_deref().or(self.binary.as_deref()).unwrap_or_default()
    }
}

/// A message as sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    pub id: String,
    pub body: String,
    pub subject: Option<String>,
    pub group: Option<String>,
    pub deduplication: Option<String>,
    pub attributes: Vec<Attribute>,
}

/// Why something is refused: code and words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub status: u16,
    pub code: String,
    pub text: String,
}

impl Fault {
    pub fn new(status: u16, code: &str, text: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), text: text.into() }
    }
}

fn invalid(text: impl Into<String>) -> Fault {
    Fault::new(400, "InvalidParameter", format!("Invalid parameter: {}", text.into()))
}

impl Entry {
    /// Entries of a PublishBatch, in their order.
    pub fn batch(form: Form<'_>) -> Result<Vec<Self>, Fault> {
        let mut entries: Vec<Self> = Vec::new();
        for (key, value) in form.pairs() {
            let Some(key) = key.strip_prefix("PublishBatchRequestEntries.member.") else {
                continue;
            };
            let (number, field) = key.split_once('.').ok_or_else(|| invalid(key))?;
            let index = index(number).ok_or_else(|| invalid(key))?;
            grow(&mut entries, index).set(field, value)?;
        }
        Ok(entries)
    }

    /// The message of a Publish.
    pub fn single(form: Form<'_>) -> Result<Self, Fault> {
        let mut entry = Self::default();
        for (key, value) in form.pairs() {
            if key.starts_with("Message") || key == "Subject" {
                entry.set(key, value)?;
            }
        }
        Ok(entry)
    }

    fn set(&mut self, field: &str, value: &str) -> Result<(), Fault> {
        let text = || decode(value).map(String::from).ok_or_else(|| invalid("not UTF-8"));
        match field {
            "Id" => self.id = text()?,
            "Message" => self.body = text()?,
            "Subject" => self.subject = Some(text()?),
            "MessageGroupId" => self.group = Some(text()?),
            "MessageDeduplicationId" => self.deduplication = Some(text()?),
            _ => {
                let Some(rest) = field.strip_prefix("MessageAttributes.entry.") else {
                    return Ok(());
                };
                let (number, part) = rest.split_once('.').ok_or_else(|| invalid(field))?;
                let index = index(number).ok_or_else(|| invalid(field))?;
                let attribute = grow(&mut self.attributes, index);
                match part {
                    "Name" => attribute.name = text()?,
                    "Value.DataType" => attribute.data_type = text()?,
                    "Value.StringValue" => attribute.string = Some(text()?),
                    "Value.BinaryValue" => attribute.binary = Some(text()?),
                    _ => return Err(invalid(field)),
                }
            }
        }
        Ok(())
    }

    /// Size as SNS counts it.
    pub fn size(&self) -> usize {
        let attribute = |a: &Attribute| a.name.len() + a.data_type.len() + a.value().len();
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }

    /// Every rule for one message; `fifo` holds whether the topic hashes contents for deduplication.
    pub fn check(&self, limit: usize, fifo: Option<bool>) -> Result<(), Fault> {
        if self.body.is_empty() {
            return Err(invalid("Empty message"));
        }
        if !self.body.chars().all(is_xml) {
            return Err(invalid("Message contains characters that XML 1.0 does not allow"));
        }
        if self.size() > limit {
            return Err(invalid("Message too long"));
        }
        let names: BTreeSet<_> = self.attributes.iter().map(|attribute| &attribute.name).collect();
        if names.len() != self.attributes.len() {
            return Err(invalid("duplicate attribute names"));
        }
        self.attributes.iter().try_for_each(check_attribute)?;
        self.check_ids(fifo)
    }

    fn check_ids(&self, fifo: Option<bool>) -> Result<(), Fault> {
        for (what, id) in
            [("MessageGroupId", &self.group), ("MessageDeduplicationId", &self.deduplication)]
        {
            let Some(id) = id else { continue };
            let printable = id.bytes().all(|byte| byte.is_ascii_graphic());
            if id.is_empty() || id.len() > 128 || !printable {
                return Err(invalid(format!("The {what} {id:?} is not valid")));
            }
        }
        match fifo {
            None if self.deduplication.is_some() => {
                Err(invalid("MessageDeduplicationId is not supported on standard topics"))
            }
            Some(_) if self.group.is_none() => {
                Err(invalid("The MessageGroupId parameter is required for FIFO topics"))
            }
            Some(false) if self.deduplication.is_none() => Err(invalid(
                "The topic should either have ContentBasedDeduplication enabled or \
                 MessageDeduplicationId provided explicitly",
            )),
            None | Some(_) => Ok(()),
        }
    }
}

/// The rules for a whole PublishBatch.
pub fn check_batch(entries: &[Entry], limit: usize) -> Result<(), Fault> {
    if entries.is_empty() {
        return Err(Fault::new(400, "EmptyBatchRequest", "The batch request has no entries."));
    }
    if entries.len() > 10 {
        return Err(Fault::new(400, "TooManyEntriesInBatchRequest", "More than 10 entries."));
    }
    let well_formed = |id: &str| {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=80).contains(&id.len()) && id.bytes().all(valid)
    };
    if !entries.iter().all(|entry| well_formed(&entry.id)) {
        return Err(Fault::new(400, "InvalidBatchEntryId", "An entry's Id is not valid."));
    }
    let ids: BTreeSet<_> = entries.iter().map(|entry| &entry.id).collect();
    if ids.len() != entries.len() {
        return Err(Fault::new(400, "BatchEntryIdsNotDistinct", "Ids are not distinct."));
    }
    if entries.iter().map(Entry::size).sum::<usize>() > limit {
        return Err(Fault::new(400, "BatchRequestTooLong", "The batch is too long."));
    }
    Ok(())
}

fn check_attribute(attribute: &Attribute) -> Result<(), Fault> {
    let Attribute { name, data_type, string, binary } = attribute;
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let lower = name.to_ascii_lowercase();
    if !(1..=256).contains(&name.len())
        || !name.bytes().all(valid)
        || name.starts_with('.')
        || name.ends_with('.')
        || name.contains("..")
        || lower.starts_with("aws.")
        || lower.starts_with("amazon.")
    {
        return Err(invalid(format!("attribute name {name:?} is not valid")));
    }
    if attribute.value().is_empty() || string.is_some() == binary.is_some() {
        return Err(invalid(format!("attribute {name:?} must contain a non-empty value")));
    }
    let kind = data_type.split('.').next().unwrap_or_default();
    let value = attribute.value();
    let fits = match kind {
        "String" if data_type == "String.Array" => is_array(value),
        "String" => value.chars().all(is_xml),
        "Number" => value.parse::<f64>().is_ok(),
        "Binary" => string.is_none(),
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(invalid(format!("attribute {name:?} of type {data_type:?} has an invalid value")))
    }
}

fn is_array(value: &str) -> bool {
    let parsed: Result<Vec<serde_json::Value>, _> = serde_json::from_str(value);
    parsed.is_ok_and(|items| items.iter().all(|item| !item.is_array() && !item.is_object()))
}

/// Characters of XML 1.0.
pub fn is_xml(character: char) -> bool {
    matches!(character,
        '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn index(number: &str) -> Option<usize> {
    number.parse().ok().filter(|n| (1..=1000).contains(n)).map(|n: usize| n - 1)
}

fn grow<T: Default>(list: &mut Vec<T>, index: usize) -> &mut T {
    if list.len() <= index {
        list.resize_with(index + 1, T::default);
    }
    &mut list[index]
}
