//! JSON in one pass, and errors that show nothing of what they are about.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// What is wrong with a document, and where. It has names of members and columns, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: found {found}, expected {expected}")]
pub struct DocumentError {
    /// The member: `rows[3].after.total`.
    pub place: String,
    /// What is there.
    pub found: String,
    /// What should be there.
    pub expected: &'static str,
}

impl DocumentError {
    pub(crate) fn new(
        place: impl Into<String>,
        found: impl Into<String>,
        expected: &'static str,
    ) -> Self {
        Self { place: place.into(), found: found.into(), expected }
    }

    /// The same, seen from outside of `place`.
    pub(super) fn within(mut self, place: &str) -> Self {
        self.place = format!("{place}.{}", self.place);
        self
    }
}

/// A string, borrowed where it has no escapes.
#[derive(Debug, Deserialize, PartialEq, Eq, Hash)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// The members of an object, each as it is written.
#[derive(Debug)]
pub(crate) struct Members<'a>(HashMap<Name<'a>, &'a RawValue>);

impl<'a> Members<'a> {
    /// Those of an object that is a whole text.
    pub(crate) fn of(json: &'a str) -> Result<Self, DocumentError> {
        let mut members = HashMap::new();
        each_member(json, &mut |name, value| match members.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(DocumentError::new("the object", "a member twice", "each once")),
        })?;
        Ok(Self(members))
    }

    /// The only one.
    pub(super) fn only(&self) -> Option<(&str, &'a RawValue)> {
        let mut members = self.0.iter();
        let (name, value) = members.next()?;
        members.next().is_none().then_some((&*name.0, *value))
    }

    pub(crate) fn raw(&self, name: &'static str) -> Option<&'a RawValue> {
        self.0.get(&Name(Cow::Borrowed(name))).copied().filter(|raw| raw.get() != "null")
    }

    /// A member that may be missing or null.
    pub(crate) fn optional<T: Deserialize<'a>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, DocumentError> {
        self.raw(name).map(|raw| typed(name, raw)).transpose()
    }

    /// A member that must be there.
    pub(crate) fn required<T: Deserialize<'a>>(
        &self,
        name: &'static str,
    ) -> Result<T, DocumentError> {
        self.optional(name)?
            .ok_or_else(|| DocumentError::new(name, "nothing", "this member of the contract"))
    }
}

fn typed<'a, T: Deserialize<'a>>(place: &str, raw: &'a RawValue) -> Result<T, DocumentError> {
    serde_json::from_str(raw.get()).map_err(|error| wrong(place, &error))
}

/// An error of the reader's without its words: these show values.
fn wrong(place: &str, error: &serde_json::Error) -> DocumentError {
    let found = if error.is_data() { "another form" } else { "no JSON" };
    let at = format!("{found} (line {}, column {})", error.line(), error.column());
    DocumentError::new(place, at, "the form of the contract")
}

/// What takes a member.
pub(super) type TakeMember<'f, 'a> =
    dyn FnMut(Name<'a>, &'a RawValue) -> Result<(), DocumentError> + 'f;

/// Gives each member of an object away, in its order.
pub(super) fn each_member<'a>(
    json: &'a str,
    take: &mut TakeMember<'_, 'a>,
) -> Result<(), DocumentError> {
    struct Each<'f, 'g, 'a>(&'f mut TakeMember<'g, 'a>, &'f mut Option<DocumentError>);
    impl<'a> Visitor<'a> for Each<'_, '_, 'a> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some((name, value)) = map.next_entry()? {
                if let Err(error) = (self.0)(name, value) {
                    *self.1 = Some(error);
                    return Err(A::Error::custom(""));
                }
            }
            Ok(())
        }
    }
    let mut failed = None;
    let mut reader = serde_json::Deserializer::from_str(json);
    let read = reader.deserialize_map(Each(take, &mut failed)).and_then(|()| reader.end());
    read.map_err(|error| failed.unwrap_or_else(|| wrong("the object", &error)))
}

/// Gives each element of an array away, in its order: none is kept longer than needed.
pub(super) fn each<'a, T: Deserialize<'a>>(
    place: &str,
    raw: &'a RawValue,
    take: impl FnMut(T) -> Result<(), DocumentError>,
) -> Result<(), DocumentError> {
    struct Each<'f, T, F>(F, &'f mut Option<DocumentError>, PhantomData<T>);
    impl<'a, T: Deserialize<'a>, F: FnMut(T) -> Result<(), DocumentError>> Visitor<'a>
        for Each<'_, T, F>
    {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'a>>(mut self, mut list: A) -> Result<(), A::Error> {
            while let Some(element) = list.next_element()? {
                if let Err(error) = (self.0)(element) {
                    *self.1 = Some(error);
                    return Err(A::Error::custom(""));
                }
            }
            Ok(())
        }
    }
    let mut failed = None;
    let mut reader = serde_json::Deserializer::from_str(raw.get());
    let read = reader.deserialize_seq(Each(take, &mut failed, PhantomData));
    read.map_err(|error| failed.unwrap_or_else(|| wrong(place, &error)))
}
