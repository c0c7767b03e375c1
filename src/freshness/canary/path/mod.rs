//! Canaries through a table of the operator's own: they take the filters, the masks and the topic of
//! that table, which the built-in canary does not.
//!
//! A *path* is a table, the column that carries a [`Mark`], and the operator's SQL for the steps. A row
//! whose column begins with the mark's prefix is never a user's change, whoever wrote it. Pure: its
//! canaries are written by [`super::canary`].

mod mark;
mod plan;
mod row_origin;
mod template;

pub use mark::{Mark, Marked};
pub use plan::{CanaryPath, Steps};
pub use row_origin::{MarkedTable, Marks, RowOrigin};
pub use template::{Template, TemplateError};
