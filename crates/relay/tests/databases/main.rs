//! State and copies against real servers: MySQL, MariaDB, PostgreSQL and Redis, as `make deps` fetched
//! them. A server that is not there is named on standard error, as skipped.

#![allow(clippy::wildcard_enum_match_arm, reason = "what a test does not expect is one case")]

mod copy;
#[path = "../../../../tests/support/dice.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod dice;
mod servers;
mod state;
