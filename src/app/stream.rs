//! The stream's life: dial, run, judge what ended it, pause, dial again.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch::Receiver;
use tokio_util::sync::CancellationToken;

use super::Outcome;
use super::findings::Findings;
use super::halt::{ConsecutiveFailures, Decision, decide};
use super::label_values::{MOVED, STREAM_ENDED};
use super::lease::Hold;
use super::patience::{PAUSE_FIRST, PAUSE_MAX, random};
use super::source::Opened;
use super::source_rollback::SourceRollback;
use super::state::{Phase, State};
use crate::backoff::{Backoff, ReconnectBackoff};
use crate::decode::Decoder;
use crate::encode::Origin;
use crate::freshness::watch::Reporter;
use crate::freshness::{Observation, StreamFailure};
use crate::mysql::SharedHost;
use crate::pipeline::{Ended, Error, Pipeline};
use crate::platform;
use crate::source::resume::{self, Resolved, Saved, Wanted};
use crate::source::{self, Columns, Liveness, Replica};
use crate::telemetry::status::Halted;
use crate::telemetry::words::HaltReason;

/// How one connection ended without an error.
enum Turn {
    /// The stream ends with it.
    Ended,
    /// The next one is to be made to this host.
    LeadsTo(usize),
}

/// The stream, across all its connections.
pub(super) struct Stream {
    source: source::Config,
    schema_fallback: bool,
    host: usize,
    /// Where to begin while nothing has gone by.
    wanted: Wanted,
    /// The start that was resolved when the source was opened; used up by the first dial.
    resolved: Option<Resolved>,
    pipeline: Pipeline,
    decoder: Decoder,
    origin: Arc<RwLock<Origin>>,
    state: State,
    liveness: Liveness,
    reporter: Reporter,
    rollback: SourceRollback,
    /// Who is told where the stream comes from.
    followed_by: Option<SharedHost>,
    findings: Findings,
    /// The host that takes writes, told when it is not the one that is streamed from.
    leads_to: Receiver<usize>,
    tries: ConsecutiveFailures,
    /// A connection was_connected already: the settings are good.
    has_streamed: bool,
    /// The connection was established: its end is a break, not a failed attempt.
    is_connected: bool,
    /// When a connection last ended, this process's or the checkpoint's.
    streamed_at: Option<Instant>,
    redial: ReconnectBackoff,
    hold: Option<Hold>,
}

/// Whom the stream tells what it does.
pub(super) struct StreamContext {
    pub(super) state: State,
    pub(super) liveness: Liveness,
    pub(super) reporter: Reporter,
    pub(super) rollback: SourceRollback,
    /// Who is told where the stream comes from.
    pub(super) followed_by: Option<SharedHost>,
    /// Who is told of the source's settings.
    pub(super) findings: Findings,
    /// Who tells where it is to come from.
    pub(super) leads_to: Receiver<usize>,
    /// The lease, without which this process stands by; `None`: it halts.
    pub(super) hold: Option<Hold>,
}

impl Stream {
    pub(super) fn new(
        pipeline: Pipeline,
        decoder: Decoder,
        opened: Opened,
        origin: Arc<RwLock<Origin>>,
        context: StreamContext,
    ) -> Self {
        let StreamContext {
            state,
            liveness,
            reporter,
            rollback,
            followed_by,
            findings,
            leads_to,
            hold,
        } = context;
        let streamed_at = match &opened.wanted {
            Wanted::Saved(saved) => saved.age.and_then(|age| platform::now().checked_sub(age)),
            Wanted::Now
            | Wanted::Earliest
            | Wanted::Gtid(_)
            | Wanted::Maria(_)
            | Wanted::Position(_)
            | Wanted::Time(_) => None,
        };
        Self {
            source: opened.source,
            schema_fallback: opened.schema_fallback,
            host: opened.host,
            wanted: opened.wanted,
            resolved: Some(opened.resolved),
            pipeline,
            decoder,
            origin,
            state,
            liveness,
            reporter,
            rollback,
            followed_by,
            findings,
            leads_to,
            tries: ConsecutiveFailures::default(),
            has_streamed: false,
            is_connected: false,
            streamed_at,
            redial: ReconnectBackoff::new(Backoff::new(PAUSE_FIRST, PAUSE_MAX)),
            hold,
        }
    }

    /// Streams until `stop` is cancelled or it can't continue. When another process has taken the stream
    /// over, `ours` is cancelled: what only one may do ends with it.
    pub(super) async fn run(
        &mut self,
        stop: &CancellationToken,
        count: &dyn Fn(&'static str, bool),
        stays_when_halted: bool,
        ours: &CancellationToken,
    ) -> Outcome {
        loop {
            let error = match self.stream_once(stop).await {
                Ok(Turn::Ended) => return Outcome::Stopped,
                Ok(Turn::LeadsTo(host)) => {
                    self.pipeline.stream_broke();
                    self.host = host;
                    self.is_connected = false;
                    count(MOVED, true);
                    let why = "moving to the host that accepts writes".to_owned();
                    self.state.enter(Phase::Reconnecting(why));
                    continue;
                }
                Err(error) => error,
            };
            self.pipeline.stream_broke();
            self.report(&error);
            match self.decide_on(&error) {
                Decision::Halt(halted) => match self.is_dropped_by_mistake(&error, stop).await {
                    Ok(true) => tracing::warn!(
                        "another process connected as this stream's replica; this one has the lease"
                    ),
                    Ok(false) => return self.halt(halted, stop, stays_when_halted, ours).await,
                    Err(error) => {
                        if let Decision::Halt(halted) = decide(&error) {
                            return self.halt(halted, stop, stays_when_halted, ours).await;
                        }
                    }
                },
                Decision::NextHost => self.host = (self.host + 1) % self.source.hosts.len().max(1),
                // The same host again, after the pause below.
                Decision::Reconnect => {}
            }
            let reason = reason(&error);
            let was_connected = std::mem::take(&mut self.is_connected);
            count(reason, was_connected);
            let pause = self.redial.broke(platform::now(), random());
            tracing::warn!(
                reason, %error, was_connected, pause_seconds = pause.as_secs_f64(),
                "no replication connection; reconnecting"
            );
            self.state.enter(Phase::Reconnecting(error.to_string()));
            if let Err(error) = self.wait(pause, stop).await {
                let Decision::Halt(halted) = decide(&error) else { continue };
                return self.halt(halted, stop, stays_when_halted, ours).await;
            }
            if stop.is_cancelled() {
                return Outcome::Stopped;
            }
        }
    }

    /// Tells the verdict what ended the stream, where the source did.
    fn report(&self, error: &Error) {
        let failure = match error {
            Error::Source(error) => StreamFailure::of(error),
            Error::StreamEnded => StreamFailure::Ended,
            Error::Decode(_)
            | Error::Lost(_)
            | Error::TooLarge { .. }
            | Error::Refused { .. }
            | Error::SinkEnded
            | Error::Checkpoint(_)
            | Error::Quarantine(_)
            | Error::Misuse(_) => return,
        };
        self.reporter.report(Observation::StreamFailed(failure));
    }

    /// Delivers what is under way and saves; whether all of it was delivered.
    pub(super) async fn drain(&mut self, deadline: Instant) -> bool {
        match self.pipeline.drain(deadline).await {
            Ok(delivered) => delivered,
            Err(error) => {
                tracing::error!(
                    %error,
                    "not everything could be delivered; the rest is sent again after a restart"
                );
                false
            }
        }
    }

    /// What to do about the end of a connection.
    fn decide_on(&mut self, error: &Error) -> Decision {
        let denied = matches!(error, Error::Source(error)
            if error.recovery() == source::Recovery::Halt(source::Halt::Denied));
        if denied && self.has_streamed {
            // An account that was good is fixed at the server, and that is to be enough.
            return Decision::NextHost;
        }
        self.tries.decide(error, &self.pipeline.tracker().committed_place().position)
    }

    /// Whether the source has dropped this process for another of the same replica id, and this one has the
    /// lease: a former owner that was cut off can connect before it hears that it lost it.
    async fn is_dropped_by_mistake(
        &mut self,
        error: &Error,
        stop: &CancellationToken,
    ) -> Result<bool, Error> {
        let is_dropped = matches!(error, Error::Source(error)
            if error.recovery() == source::Recovery::Halt(source::Halt::Fenced));
        let Some(hold) = self.hold.clone().filter(|_| is_dropped) else { return Ok(false) };
        let mut is_kept = false;
        let asking = async {
            is_kept = stop.run_until_cancelled(hold.is_kept()).await.unwrap_or(false);
        };
        self.pipeline.idle(asking).await?;
        Ok(is_kept)
    }

    async fn stream_once(&mut self, stop: &CancellationToken) -> Result<Turn, Error> {
        let wanted = self.place();
        let (source, host, liveness) = (&self.source, self.host, &self.liveness);
        let rollback = &self.rollback;
        let first = self.resolved.take();
        let dialling = async {
            let (host, resolved) = match first {
                Some(resolved) => (host, resolved),
                None => resume::resolve_any(source, host, &wanted).await?,
            };
            let replica = Replica::connect(source, host, &resolved.start, liveness).await?;
            rollback.refuse(&replica.identity().host).await?;
            Ok::<_, source::Error>((host, replica, resolved))
        };
        // Messages on their way settle meanwhile.
        let mut dialled = None;
        let waiting = async {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                result = dialling => dialled = Some(result),
            }
        };
        Box::pin(self.pipeline.idle(waiting)).await?;
        let Some(dialled) = dialled else { return Ok(Turn::Ended) };
        let (host, mut replica, resolved) = dialled?;
        self.host = host;
        let name = replica.identity().name();
        if name != resolved.server {
            return Err(source::Error::Closed { step: source::Step::SetUp }.into());
        }
        self.enter(&replica, &name);
        self.pipeline.compare_names(resolved.facts.name_case());
        // No row has come since that could ask for a look.
        let unlogged = self.findings.looked(&resolved.facts, self.findings.asks());
        self.reporter.report(Observation::Unlogged(unlogged));
        let columns = || Columns::new(&self.source, host, name.as_str());
        self.pipeline.ask_for_schemas(self.schema_fallback.then(columns));
        self.pipeline.stream_began(&resolved.start);
        self.decoder.start_at(resolved.start.place());
        let (pipeline, decoder) = (&mut self.pipeline, &mut self.decoder);
        let turn = stop.child_token();
        let mut run = Box::pin(pipeline.run(&mut replica, decoder, &turn));
        let ended = tokio::select! {
            biased;
            ended = &mut run => ended,
            // Who tells it ends behind the stream.
            Ok(()) = self.leads_to.changed() => {
                turn.cancel();
                run.await
            }
        };
        self.streamed_at = Some(platform::now());
        match ended? {
            Ended::Stopped if !stop.is_cancelled() => {
                Ok(Turn::LeadsTo(*self.leads_to.borrow_and_update()))
            }
            Ended::Stopped | Ended::Reached => Ok(Turn::Ended),
        }
    }

    /// Where the next connection continues.
    fn place(&self) -> Wanted {
        let tracker = self.pipeline.tracker();
        let (gtids, place) = (tracker.committed_gtids(), tracker.redial_place());
        if gtids.is_empty() && place.position.file.is_empty() && place.maria.is_empty() {
            return self.wanted.clone();
        }
        Wanted::Saved(Saved {
            server: tracker.server().to_owned(),
            position: place.position.clone(),
            gtids,
            maria: place.maria.clone(),
            age: self.streamed_at.map(platform::since),
        })
    }

    fn enter(&mut self, replica: &Replica, name: &str) {
        let identity = replica.identity();
        tracing::info!(
            host = %identity.host,
            server = name,
            version = %identity.version,
            tls = identity.secured,
            replica_server_id = identity.replica_server_id,
            "streaming"
        );
        self.pipeline.moved_to(name);
        let mut origin = self.origin.write().unwrap_or_else(PoisonError::into_inner);
        name.clone_into(&mut origin.server_uuid);
        origin.server_id = identity.server_id;
        drop(origin);
        if let Some(host) = &self.followed_by {
            host.move_to(&identity.host);
        }
        self.reporter.report(Observation::StreamConnected { server: name.parse().ok() });
        self.has_streamed = true;
        self.is_connected = true;
        self.redial.connected(platform::now());
        self.state.update(|inner| inner.identity = Some(identity.clone()));
        self.state.enter(Phase::Running);
    }

    async fn wait(&mut self, pause: Duration, stop: &CancellationToken) -> Result<(), Error> {
        let until = async {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        };
        self.pipeline.idle(until).await
    }

    /// Another process has taken the lease on the stream: this one halts, as one that is fenced.
    pub(super) async fn loses_lease(
        &mut self,
        stop: &CancellationToken,
        stays: bool,
        ours: &CancellationToken,
    ) -> Outcome {
        let halted = Halted {
            reason: HaltReason::Fenced,
            message: "another process has taken the lease on the stream".to_owned(),
            remedy:
                "let one process run the stream; `lease` in /status says which one does now, and \
                     `binpulse run --takeover` takes it back"
                    .to_owned(),
        };
        self.halt(halted, stop, stays, ours).await
    }

    /// Stands and explains until told to stop, or ends at once.
    async fn halt(
        &mut self,
        halted: Halted,
        stop: &CancellationToken,
        stays: bool,
        ours: &CancellationToken,
    ) -> Outcome {
        if self.hold.is_some() && halted.reason == HaltReason::Fenced {
            tracing::warn!("fenced: {}", halted.message);
            return Outcome::StandsDown;
        }
        tracing::error!(
            reason = halted.reason.name(),
            remedy = halted.remedy,
            "halted: {}",
            halted.message
        );
        let is_bug = halted.reason == HaltReason::Bug;
        if halted.reason == HaltReason::Fenced {
            tracing::warn!(
                "heartbeats, canaries and echo readers stop: another process runs this stream"
            );
            ours.cancel();
        }
        // What is wrong with the position was reported, and is evaluated by what the source says of it.
        let of_position = [HaltReason::PositionLost, HaltReason::Diverged];
        if !of_position.contains(&halted.reason) {
            self.reporter.report(Observation::StreamFailed(StreamFailure::Halted));
        }
        self.state.enter(Phase::Halted(halted));
        if stays {
            // What is on its way may still be delivered, and saved.
            self.pipeline.deliver_until(stop.cancelled()).await;
        }
        if is_bug { Outcome::Bug } else { Outcome::NeedsOperator }
    }
}

/// A name for the end of a stream, for metrics.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::Source(error) => error.name(),
        Error::StreamEnded
        | Error::Decode(_)
        | Error::Lost(_)
        | Error::TooLarge { .. }
        | Error::Refused { .. }
        | Error::SinkEnded
        | Error::Checkpoint(_)
        | Error::Quarantine(_)
        | Error::Misuse(_) => STREAM_ENDED,
    }
}
