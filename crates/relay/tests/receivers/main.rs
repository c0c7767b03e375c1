//! Receivers. Webhooks against the official libraries, a name server that changes its mind, and peers
//! that answer with whatever hurts; queues and topics against a stand-in of SQS and SNS.

mod addresses;
mod auth;
mod certificates;
mod connections;
mod docs;
mod hostile;
mod names;
mod proxy;
mod queues;
mod rate;
mod receiver;
mod signatures;
mod world;
