//! Tests against real servers, which they start and stop themselves.

mod decode;
mod source;
mod types;
