//! The SNS sink against an endpoint that is strict and fails on demand.

#[path = "../support/aws/mod.rs"]
mod aws;
mod failures;
mod limits;
mod order;
mod rig;
mod start;
