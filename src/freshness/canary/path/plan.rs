//! What is known of a path before it is walked.

use std::sync::Arc;

use super::Template;
use crate::freshness::Phase;

/// A table of the operator's with a column that marks rows as ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryPath {
    /// Its name: letters, digits, dashes, underscores.
    pub name: Arc<str>,
    /// Database of the table.
    pub database: String,
    /// The table.
    pub table: String,
    /// The column that carries the mark.
    pub column: String,
    /// How its canaries are written; `None`: they are not, marked rows are only kept out of
    /// users' rows.
    pub steps: Option<Steps>,
}

/// The operator's SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    /// Writes the row.
    pub insert: Template,
    /// Changes it.
    pub update: Option<Template>,
    /// Removes it; without it rows pile up.
    pub delete: Option<Template>,
}

impl Steps {
    /// The SQL of a step, if the path has that step.
    pub fn of(&self, phase: Phase) -> Option<&Template> {
        match phase {
            Phase::Insert => Some(&self.insert),
            Phase::Update => self.update.as_ref(),
            Phase::Delete => self.delete.as_ref(),
        }
    }

    /// The steps that the path has, in their order; never empty.
    pub fn phases(&self) -> Vec<Phase> {
        Phase::ALL.into_iter().filter(|phase| self.of(*phase).is_some()).collect()
    }
}

impl CanaryPath {
    /// The table, as people write it.
    pub fn table_name(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }

    /// The name of a consumer's account for the path, `billing/orders`.
    pub fn account(&self, consumer: &str) -> Arc<str> {
        format!("{consumer}/{}", self.name).into()
    }
}
