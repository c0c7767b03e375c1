//! JSON documents: MySQL's binary form to the text that MySQL prints.

mod error;

pub use error::JsonError;
