//! The whole judge on virtual time: properties of the table, and the fault catalogue.

mod catalogue;
mod edges;
mod properties;
mod recovery;
mod silence;
mod stopping;
mod truth;
mod world;
