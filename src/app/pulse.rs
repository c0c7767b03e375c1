//! Heartbeats, canaries and echoes: how they are set up and started.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Unavailable;
use super::plan::Plan;
use super::sink::sns_config;
use super::vital::Vital;
use crate::aws;
use crate::mysql::SharedHost;
use crate::pulse::WriterConfig;
use crate::pulse::canary::CanaryWalker;
use crate::pulse::echo::{EchoReader, Sqs, open};
use crate::pulse::heartbeat::HeartbeatWriter;
use crate::pulse::verdict::Parameters;

/// What the verdict goes by.
pub(super) fn parameters(plan: &Plan) -> Result<Parameters, Unavailable> {
    let defaults = Parameters::of(&plan.pulse.periods);
    let parameters = Parameters {
        // Short periods want a quicker eye.
        tick: defaults.tick.min(defaults.receive_deadline / 2),
        heartbeats: plan.pulse.heartbeats,
        topology: plan.pulse.topology,
        consumers: plan.pulse.echoes.iter().map(|(name, _)| Arc::clone(name)).collect(),
        ..defaults
    };
    Ok(parameters.checked()?)
}

/// How heartbeats and canaries are written.
pub(super) fn writer_config(plan: &Plan, host: &SharedHost, instance: String) -> WriterConfig {
    WriterConfig {
        connect: plan.pulse.connect.clone(),
        host: host.clone(),
        schema: plan.pulse.schema.clone(),
        stream: plan.stream.clone(),
        instance,
        allowed_servers: Vec::new(),
        write_deadline: plan.pulse.periods.write_deadline,
        probe_timeout: plan.pulse.periods.probe_timeout,
    }
}

/// Starts the writer, the walker and the readers that the plan asks for. They write to `host`, and end
/// with `stop`: with the process, or when another one has taken the stream over.
pub(super) fn spawn_pulse(
    plan: &Plan,
    host: &SharedHost,
    instance: &str,
    vital: &Arc<Vital>,
    shared: &aws::Shared,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let pulse = &plan.pulse;
    let config = writer_config(plan, host, instance.to_owned());
    if pulse.heartbeats {
        let interval = pulse.periods.heartbeat_interval;
        let writer = HeartbeatWriter::new(config.clone(), interval, vital.observer());
        tasks.spawn(writer.run(stop.clone()));
    }
    if pulse.canaries {
        let walker = CanaryWalker::new(config, pulse.periods.canary_interval, vital.observer());
        tasks.spawn(walker.run(stop.clone()));
    }
    let sns = sns_config(plan);
    for (consumer, url) in &pulse.echoes {
        let reader = EchoReader {
            consumer: Arc::clone(consumer),
            queue: Sqs::connect(shared, sns.endpoint_url.as_deref(), url),
            stream: plan.stream.clone(),
            open: Arc::new(open),
            observer: vital.observer(),
        };
        tasks.spawn(reader.run(stop.clone()));
    }
}
