//! A document under change: borrowed, but for the containers on changed paths.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::diff::{Change, Diff};
use super::path::Leg;
use super::view::{Container, Value};
use super::{Budget, DEPTH_MAX, JsonError, text};

/// Members of an object, in the server's order: by length of the key, then by its bytes.
type Members<'a> = Vec<(Cow<'a, [u8]>, Node<'a>)>;

/// A value of a document under change.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// Untouched.
    View(Value<'a>),
    /// Members.
    Object(Members<'a>),
    /// Cells.
    Array(Vec<Node<'a>>),
}

impl<'a> Node<'a> {
    /// Applies one change.
    pub(super) fn apply(&mut self, diff: &Diff<'a>, budget: &mut Budget) -> Result<(), JsonError> {
        let mut legs = diff.legs()?;
        if let Change::Replace(value) = diff.change {
            *self.seek(&legs, budget)? = Node::View(value);
            return Ok(());
        }
        let last = legs.pop().ok_or(JsonError::NoSuchPath)?;
        let parent = self.seek(&legs, budget)?;
        parent.expand(budget)?;
        match (parent, last, diff.change) {
            (Node::Object(members), Leg::Member(name), Change::Insert(value)) => {
                let place = find(members, &name).err().ok_or(JsonError::NoSuchPath)?;
                members.insert(place, (name, Node::View(value)));
            }
            (Node::Object(members), Leg::Member(name), _) => {
                let place = find(members, &name).map_err(|_| JsonError::NoSuchPath)?;
                members.remove(place);
            }
            (Node::Array(cells), leg, change) => {
                let place = leg.place(cells.len()).ok_or(JsonError::NoSuchPath)?;
                if let Change::Insert(value) = change {
                    cells.insert(place.cell, Node::View(value));
                } else if place.exists {
                    cells.remove(place.cell);
                } else {
                    return Err(JsonError::NoSuchPath);
                }
            }
            _ => return Err(JsonError::NoSuchPath),
        }
        Ok(())
    }

    /// Appends the text.
    pub(super) fn write(
        &self,
        budget: &mut Budget,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        if depth >= DEPTH_MAX && !matches!(self, Self::View(_)) {
            return Err(JsonError::TooDeep);
        }
        match self {
            Self::View(value) => return text::write(value, budget, depth, out),
            Self::Object(members) => {
                out.push(b'{');
                for (index, (name, node)) in members.iter().enumerate() {
                    separate(index, out);
                    text::write_string(name, budget, out)?;
                    out.extend_from_slice(b": ");
                    node.write(budget, depth + 1, out)?;
                }
                out.push(b'}');
            }
            Self::Array(cells) => {
                out.push(b'[');
                for (index, node) in cells.iter().enumerate() {
                    separate(index, out);
                    node.write(budget, depth + 1, out)?;
                }
                out.push(b']');
            }
        }
        Ok(())
    }

    /// The value at a path. As in the server, what is no array is the only cell of one.
    fn seek(&mut self, legs: &[Leg<'_>], budget: &mut Budget) -> Result<&mut Self, JsonError> {
        let mut node = self;
        for leg in legs {
            node.expand(budget)?;
            node = match (node, leg) {
                (Self::Object(members), Leg::Member(name)) => {
                    let place = find(members, name).map_err(|_| JsonError::NoSuchPath)?;
                    members.get_mut(place).map(|(_, node)| node).ok_or(JsonError::NoSuchPath)?
                }
                (Self::Array(cells), leg) => {
                    let place = leg.place(cells.len()).filter(|place| place.exists);
                    let cell = place.and_then(|place| cells.get_mut(place.cell));
                    cell.ok_or(JsonError::NoSuchPath)?
                }
                (node, leg) if leg.place(1).is_some_and(|place| place.exists) => node,
                _ => return Err(JsonError::NoSuchPath),
            };
        }
        Ok(node)
    }

    /// Turns a borrowed container into one that can be changed.
    fn expand(&mut self, budget: &mut Budget) -> Result<(), JsonError> {
        let expanded = match self {
            Self::View(Value::Object(container)) => Self::Object(members(container, budget)?),
            Self::View(Value::Array(container)) => Self::Array(cells(container, budget)?),
            Self::View(_) | Self::Object(_) | Self::Array(_) => return Ok(()),
        };
        *self = expanded;
        Ok(())
    }
}

fn members<'a>(container: &Container<'a>, budget: &mut Budget) -> Result<Members<'a>, JsonError> {
    budget.spend(container.len())?;
    (0..container.len())
        .map(|index| {
            Ok((Cow::Borrowed(container.key(index)?), Node::View(container.value(index)?)))
        })
        .collect()
}

fn cells<'a>(container: &Container<'a>, budget: &mut Budget) -> Result<Vec<Node<'a>>, JsonError> {
    budget.spend(container.len())?;
    (0..container.len()).map(|index| container.value(index).map(Node::View)).collect()
}

fn find(members: &[(Cow<'_, [u8]>, Node<'_>)], name: &[u8]) -> Result<usize, usize> {
    members.binary_search_by(|(key, _)| in_key_order(key, name))
}

fn in_key_order(key: &[u8], other: &[u8]) -> Ordering {
    key.len().cmp(&other.len()).then_with(|| key.cmp(other))
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.extend_from_slice(b", ");
    }
}
