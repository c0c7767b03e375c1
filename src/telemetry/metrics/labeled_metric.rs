//! A metric with one label whose values are all known.

/// What values that nobody thought of are counted under.
pub const OTHER: &str = "other";

/// One metric for each value of a label. All exist from the first scrape.
#[derive(Debug)]
pub struct LabeledMetric<M> {
    by_value: Vec<(String, M)>,
    other: M,
}

impl<M> LabeledMetric<M> {
    pub(super) fn new<E>(values: &[&str], make: impl Fn(&str) -> Result<M, E>) -> Result<Self, E> {
        let known = values.iter().filter(|value| **value != OTHER);
        let by_value = known.map(|value| Ok(((*value).to_owned(), make(value)?)));
        Ok(Self { by_value: by_value.collect::<Result<_, E>>()?, other: make(OTHER)? })
    }

    /// The metric of `value`, or that of [`OTHER`]. A search through a short list: on a hot path
    /// add up first.
    pub fn of(&self, value: &str) -> &M {
        let found = self.by_value.iter().find(|(known, _)| known == value);
        found.map_or(&self.other, |(_, metric)| metric)
    }
}
