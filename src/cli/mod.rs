//! What is typed: one file per command, and the only door to clap.

mod check;
mod decode;
mod demo;
mod exit;
mod flags;
mod generate;
mod health;
mod init;
mod lines;
mod picture;
