//! Live tests: real servers, the stand-in of SNS and SQS, and the real program between them.
//!
//! Each test names the versions that it runs on. Which versions ran is said before and after; a
//! version that always has to be there and is not fails its tests.

#[path = "../support/aws/mod.rs"]
mod aws;
#[path = "../support/dice.rs"]
#[allow(dead_code, reason = "the soak uses more of it")]
mod dice;
#[path = "../support/longest.rs"]
mod longest;
#[allow(dead_code, reason = "other tests look at more of it")]
#[path = "../support/terminal.rs"]
mod on_terminal;
#[path = "../../crates/relay/tests/databases/servers.rs"]
#[allow(dead_code, reason = "the relay's own tests use more of it")]
mod private;
#[path = "../faults/shim.rs"]
#[allow(dead_code, reason = "the experiment uses more of it")]
mod shim;
#[path = "../support/mod.rs"]
mod support;

mod agreement;
mod bed;
mod blocked;
mod cli;
mod clients;
mod controls;
mod credentials;
mod dashboards;
mod decode;
mod delivery;
mod demo;
mod echo;
mod failover;
mod fallback;
mod faults;
mod filters;
mod freshness;
mod history;
mod kubernetes;
mod mixed;
mod outbox;
mod paths;
mod probe;
mod processes;
mod quickstart;
mod rebuild;
mod receiving;
mod recorded;
mod relay;
mod relay_heal;
mod relay_operations;
mod relay_outbox;
mod relay_soak;
mod relay_verify;
mod reload;
mod replay;
mod resume;
mod rotation;
mod security;
mod servers;
mod shadow;
mod snapshot;
mod snapshot_faults;
mod snapshot_rows;
mod snapshot_types;
mod source;
mod standby;
mod standing;
mod start;
mod statements;
mod suite;
mod takeover;
mod takeover_times;
mod terminal;
mod types;
mod wire;

fn main() -> std::process::ExitCode {
    // This program is also the demo, for the tests that start it.
    if std::env::args().nth(1).as_deref() == Some(demo::AS_DEMO) {
        return binpulse_demo::cli::main(std::env::args_os().skip(1));
    }
    let tests: Vec<_> = [
        processes::tests(),
        servers::tests(),
        faults::tests(),
        filters::tests(),
        source::tests(),
        types::tests(),
        snapshot_types::tests(),
        failover::tests(),
        fallback::tests(),
        controls::tests(),
        decode::tests(),
        freshness::tests(),
        receiving::tests(),
        kubernetes::tests(),
        outbox::tests(),
        paths::tests(),
        reload::tests(),
        replay::tests(),
        shadow::tests(),
        probe::tests(),
        relay::tests(),
        relay_operations::tests(),
        relay_outbox::tests(),
        relay_verify::tests(),
        relay_heal::tests(),
        relay_soak::tests(),
        delivery::tests(),
        resume::tests(),
        mixed::tests(),
        rotation::tests(),
        security::tests(),
        snapshot::tests(),
        snapshot_faults::tests(),
        snapshot_rows::tests(),
        standby::tests(),
        standing::tests(),
        statements::tests(),
        history::tests(),
        start::tests(),
        agreement::tests(),
        takeover::tests(),
        takeover_times::tests(),
        terminal::tests(),
        blocked::tests(),
        rebuild::tests(),
        recorded::tests(),
        wire::tests(),
        demo::tests(),
        echo::tests(),
        quickstart::tests(),
        cli::tests(),
        clients::tests(),
        credentials::tests(),
        dashboards::tests(),
    ]
    .into_iter()
    .flatten()
    .collect();
    suite::run(&tests).exit_code()
}
