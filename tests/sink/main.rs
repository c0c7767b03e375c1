//! The SNS sink against an endpoint that is strict and fails on demand, and against an independent
//! implementation.

#[path = "../support/aws/mod.rs"]
mod aws;
mod claim;
mod delivery;
mod failures;
mod limits;
mod ministack;
mod order;
mod redrive;
mod rig;
mod start;
