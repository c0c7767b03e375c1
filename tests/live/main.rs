//! Against real servers: one binary for everything that needs one. Each module says which versions
//! its tests run on.

mod decode;
mod pulse;
mod source;
mod types;
