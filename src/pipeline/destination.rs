//! Which topic a draft goes to.

use crate::encode::{Destination, Draft};

/// Topics by table.
#[derive(Debug)]
pub(crate) struct Destinations {
    /// Where every draft goes while there is one topic.
    pub(crate) common: Destination,
}

impl Destinations {
    /// The topic of a draft.
    pub(crate) fn of(&mut self, _draft: &Draft) -> Destination {
        self.common.clone()
    }
}
