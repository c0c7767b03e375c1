//! File, environment and flags become one checked [`Values`]; each part then reads its own share.
//!
//! Every setting is one row of [`SETTINGS`]: from it come the key in the TOML file, the flag, the
//! environment variable, `--help`, the reference in the docs, and the checks. A wrong value is
//! refused with the place where it stands, what was found, and what is allowed; an unknown key with
//! the nearest valid one. After this part a wrong configuration cannot be represented.
//!
//! It does not know what the parts do with their settings, and not how flags are parsed (`cli`).

mod credentials;
mod diff;
mod error;
mod kind;
mod load;
mod settings;
mod values;

pub use diff::{Difference, Takes};
pub use error::Error;
pub use kind::Kind;
pub use load::{Environment, load};
pub use settings::{SETTINGS, Setting};
pub use values::{Origin, Value, Values};
