//! Logs of real servers, decoded; and what damage to them does.
//!
//! `tests/fixtures/capture.py` made the logs.

mod damage;
mod fixture;
mod oracle;
mod pass;
mod replay;
mod tables;
mod transactions;
