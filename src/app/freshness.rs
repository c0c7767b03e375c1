//! Heartbeats, canaries and echoes: how they are set up and started.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::plan::{PathRoute, Plan, in_settings};
use super::supervise::{Supervisor, Task};
use super::{Unavailable, echo};
use crate::aws;
use crate::freshness::canary::CanaryWriter;
use crate::freshness::canary::path::CanaryPath;
use crate::freshness::heartbeat::HeartbeatWriter;
use crate::freshness::verdict::Parameters;
use crate::freshness::{FreshnessState, RoundTrips, WriterConfig};
use crate::mysql::SharedHost;

/// What the verdict goes by.
pub(super) fn parameters(plan: &Plan) -> Result<Parameters, Unavailable> {
    let defaults = Parameters::of(plan.freshness.periods);
    let parameters = Parameters {
        // Short periods want a quicker eye.
        tick: defaults.tick.min(defaults.receive_deadline / 2),
        heartbeats: plan.freshness.heartbeats,
        topology: plan.freshness.topology,
        consumers: plan.freshness.consumers(),
        path_accounts: plan.freshness.path_accounts(),
        ..defaults
    };
    Ok(parameters.checked().map_err(|conflict| in_settings(&conflict))?)
}

/// How heartbeats and canaries are written.
pub(super) fn writer_config(plan: &Plan, host: &SharedHost, instance: String) -> WriterConfig {
    WriterConfig {
        connect: plan.freshness.connect.clone(),
        host: host.clone(),
        schema: plan.freshness.schema.clone(),
        stream: plan.stream.clone(),
        instance,
        write_deadline: plan.freshness.periods.write_deadline,
        probe_timeout: plan.freshness.periods.probe_timeout,
    }
}

/// Starts the heartbeat writer, the canary writers and the readers that the plan asks for. They write to `host`, and end
/// with `stop`: with the process, or when another one has taken the stream over.
pub(super) fn spawn_freshness(
    plan: &Plan,
    host: &SharedHost,
    instance: &str,
    freshness_state: &Arc<FreshnessState>,
    shared: &aws::Shared,
    supervisor: &Supervisor,
    stop: &CancellationToken,
) {
    let freshness = &plan.freshness;
    let config = writer_config(plan, host, instance.to_owned());
    if freshness.heartbeats {
        let interval = freshness.periods.heartbeat_interval;
        let (config, observer) = (config.clone(), freshness_state.observer());
        let received = freshness_state.received().clone();
        supervisor.keep(Task::HeartbeatWriter, stop, move |stop| {
            let (config, observer, received) = (config.clone(), observer.clone(), received.clone());
            HeartbeatWriter::new(config, interval, observer, received).run(stop)
        });
    }
    if freshness.canaries {
        let interval = freshness.periods.canary_interval;
        for known in &freshness.routes {
            let Some(path) = walked(known) else { continue };
            let (config, mark, observer) =
                (config.clone(), freshness.mark.clone(), freshness_state.observer());
            let path = path.clone();
            let canary_writer = move || {
                CanaryWriter::through(
                    config.clone(),
                    &path,
                    mark.clone(),
                    interval,
                    observer.clone(),
                )
            };
            if canary_writer().is_none() {
                continue;
            }
            supervisor.keep(Task::CanaryPathWriter, stop, move |stop| {
                let canary_writer = canary_writer();
                async move {
                    if let Some(canary_writer) = canary_writer {
                        canary_writer.run(stop).await;
                    }
                }
            });
        }
        let observer = freshness_state.observer();
        supervisor.keep(Task::CanaryWriter, stop, move |stop| {
            CanaryWriter::built_in(config.clone(), interval, observer.clone()).run(stop)
        });
    }
    for (consumer, url) in &freshness.echoes {
        let queue = echo::queue(plan, shared, url);
        let keeps = echo::keeps_newest(plan, url);
        let (stream, consumer, freshness_state) =
            (plan.stream.clone(), Arc::clone(consumer), Arc::clone(freshness_state));
        supervisor.keep(Task::EchoReader, stop, move |stop| {
            let (stream, consumer, freshness_state) =
                (stream.clone(), Arc::clone(&consumer), Arc::clone(&freshness_state));
            echo::read(stream, consumer, queue.clone(), freshness_state, keeps, stop)
        });
    }
}

/// The book of this plan, without an entry.
pub(super) fn round_trips(plan: &Plan, instance: &str) -> RoundTrips {
    let (freshness, deadline) = (&plan.freshness, plan.freshness.periods.canary_deadline);
    let round_trips = RoundTrips::new(instance, freshness.consumers(), deadline);
    let routes = freshness.routes.iter().filter(|route| route.is_walked());
    routes.fold(round_trips, |round_trips, route| {
        round_trips.with_path(&route.path, &route.consumers, deadline)
    })
}

/// The path if canaries are to be written through it; says in the log why not.
fn walked(route: &PathRoute) -> Option<&CanaryPath> {
    let path = &route.path;
    if route.is_filtered_out {
        tracing::warn!(
            path = %path.name,
            table = path.table_name(),
            "the filters keep the path's table out: its canaries are not written"
        );
    }
    if path.steps.as_ref().is_some_and(|steps| steps.delete.is_none()) {
        tracing::warn!(
            path = %path.name,
            table = path.table_name(),
            "no canary.delete: the path's rows accumulate in the table"
        );
    }
    route.is_walked().then_some(path)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::SETTINGS;
    use crate::freshness::Periods;

    #[test]
    fn a_refused_parameter_is_told_in_settings_that_there_are() {
        let ms = Duration::from_millis;
        let defaults = Parameters::default;
        let with = |periods| Parameters { periods, ..defaults() };
        let broken = [
            Parameters { receive_deadline: ms(1_500), ..defaults() },
            Parameters { tick: ms(2_500), ..defaults() },
            with(Periods { protocol_heartbeat: ms(4_000), ..Periods::default() }),
            with(Periods { write_deadline: ms(9_000), ..Periods::default() }),
            with(Periods { canary_deadline: ms(9_000), ..Periods::default() }),
            with(Periods { canary_interval: ms(90_000), ..Periods::default() }),
            with(Periods { publish_deadline: ms(0), ..Periods::default() }),
        ];
        for parameters in broken {
            let text = in_settings(&parameters.checked().expect_err("a broken rule")).to_string();
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"._".contains(c));
            let keys: Vec<_> = words
                .filter(|word| {
                    word.contains('_') || word.starts_with("source.") || word.starts_with("canary.")
                })
                .collect();
            assert!(!keys.is_empty(), "{text}");
            for key in keys {
                assert!(SETTINGS.iter().any(|setting| setting.key == key), "`{key}` in: {text}");
            }
        }
    }
}
