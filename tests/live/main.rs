//! Tests against real servers, which they start and stop themselves.

mod source;
mod types;
