//! Heartbeats, canaries and echoes: how they are set up and started.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Unavailable;
use super::plan::{Plan, in_settings};
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
    Ok(parameters.checked().map_err(|conflict| in_settings(&conflict))?)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::SETTINGS;

    #[test]
    fn a_refused_parameter_is_told_in_settings_that_there_are() {
        let ms = Duration::from_millis;
        let defaults = Parameters::default;
        let broken = [
            Parameters { receive_deadline: ms(1_500), ..defaults() },
            Parameters { tick: ms(2_500), ..defaults() },
            Parameters { protocol_heartbeat: ms(4_000), ..defaults() },
            Parameters { write_deadline: ms(9_000), ..defaults() },
            Parameters { canary_deadline: ms(9_000), ..defaults() },
            Parameters { canary_interval: ms(90_000), ..defaults() },
            Parameters { publish_deadline: ms(0), ..defaults() },
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
