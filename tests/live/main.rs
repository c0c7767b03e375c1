//! Tests against real servers, which they start and stop themselves.

mod pulse;
mod source;
mod types;
