//! Slow looks, at what changes over minutes: the source's own replication, and its binary logs.
//!
//! With the account of the stream, on the server that is streamed from. Neither question may be asked
//! often: each can hang, and then leaves a thread on the server, since a deadline of ours ends nothing
//! there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::active_probe::Asked;
use super::purge::PurgeMargin;
use super::{Reporter, Shared};
use crate::freshness::schema::Dialect;
use crate::freshness::verdict::{Condition, Status, Topology};
use crate::freshness::{Observation, Periods, Upstream};
use crate::mysql::{ConnectOptions, Error, Session};
use crate::platform;
use crate::source::preflight;
use crate::source::retention::Retention;
use crate::source::{self, Identity};

/// Looks at the source's own replication that fail to connect in a row until it counts as broken: one
/// is a restart on the other side.
const CONNECTING_MAX: u32 = 2;
/// Longest pause after looks that got no answer.
const PAUSE_MAX: Duration = Duration::from_mins(10);

/// How often is looked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spacing {
    /// At the source's own replication.
    pub(crate) upstream: Duration,
    /// At its binary logs.
    pub(crate) logs: Duration,
}

impl Spacing {
    /// Three heartbeats (15 s by default), and four times that.
    pub(crate) fn of(periods: &Periods) -> Self {
        let upstream = periods.heartbeat_interval.saturating_mul(3);
        Self { upstream, logs: upstream.saturating_mul(4) }
    }
}

/// Who judges the source's settings, asked for now and then.
pub(crate) trait SettingsReview: Send + Sync {
    /// Told when a look is wanted.
    fn asked(&self) -> &Notify;
    /// Whether a look is wanted that was not taken yet.
    fn is_asked(&self) -> bool;
    /// How many looks were wanted so far, to be had before one begins.
    fn asks(&self) -> u64;
    /// Takes a look that began when so many had been wanted. Returned are databases that are
    /// published and not written to the binary log.
    fn looked(&self, facts: &preflight::Facts, asks: u64) -> Vec<String>;
}

/// Looks now and then.
#[derive(Clone)]
pub(crate) struct BackgroundProbe {
    pub(crate) connect: ConnectOptions,
    pub(crate) spacing: Spacing,
    pub(crate) topology: Topology,
    /// The server that is streamed from, once there is one.
    pub(crate) streamed: Arc<dyn Fn() -> Option<Identity> + Send + Sync>,
    pub(crate) verdict: Shared,
    pub(crate) reporter: Reporter,
    pub(crate) margin: PurgeMargin,
    /// Who asks for the source's settings, and is told.
    pub(crate) review: Arc<dyn SettingsReview>,
    /// When somebody suspects something.
    pub(crate) asked: watch::Receiver<Asked>,
}

/// Time to the next question after so many in a row that were not answered in time.
fn spaced(spacing: Duration, unanswered: u32) -> Duration {
    let doubled = spacing.saturating_mul(1 << unanswered.min(16));
    if unanswered == 0 { spacing } else { doubled.min(PAUSE_MAX.max(spacing)) }
}

/// What is remembered from look to look.
#[derive(Default)]
struct Memory {
    session: Option<Session>,
    connecting: u32,
    /// Questions in a row that were not answered in time.
    unanswered: u32,
    /// Why nothing was seen, as the log has it already.
    refusal: Option<String>,
    logs: Logs,
}

/// What is remembered of the questions for binary logs.
#[derive(Default)]
struct Logs {
    /// When they were last asked for.
    asked_at: Option<Instant>,
    /// Questions in a row that were not answered in time.
    unanswered: u32,
    /// Why they were not seen, as the log has it already.
    refusal: Option<String>,
}

impl Logs {
    fn are_due(&self, spacing: Duration) -> bool {
        let spacing = spaced(spacing, self.unanswered);
        self.asked_at.is_none_or(|at| platform::since(at) >= spacing)
    }

    /// Takes the answer; whether the session is still of use. What the source said of its own
    /// replication stands, whatever this is.
    fn told(&mut self, told: Result<Retention, Error>, margin: &PurgeMargin) -> bool {
        let error = match told {
            Ok(retention) => {
                (self.refusal, self.unanswered) = (None, 0);
                let now_us = platform::wall_us();
                margin.looked(platform::now(), now_us, &retention);
                return true;
            }
            Err(error) => error,
        };
        margin.unseen();
        let timed_out = u32::from(matches!(error, Error::TimedOut { .. }));
        self.unanswered = self.unanswered.saturating_add(timed_out);
        let text = error.to_string();
        if self.refusal.as_ref() != Some(&text) {
            tracing::info!(%error, "the source's binary logs can't be listed");
            self.refusal = Some(text);
        }
        !error.is_fatal()
    }
}

impl BackgroundProbe {
    /// Looks until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut memory = Memory::default();
        let review = Arc::clone(&self.review);
        loop {
            let pause = spaced(self.spacing.upstream, memory.unanswered);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = review.asked().notified() => {}
                () = self.until_due(pause, memory.unanswered == 0) => {}
            }
            let Some(identity) = (self.streamed)() else { continue };
            if let Err(error) = self.probe(&identity, &mut memory).await {
                memory.session = None;
                let timed_out = matches!(error, Error::TimedOut { .. });
                memory.unanswered = memory.unanswered.saturating_add(u32::from(timed_out));
                self.unseen(&error, &mut memory);
            } else {
                memory.unanswered = 0;
            }
        }
    }

    /// Until the pause is over, or something is suspected of a replica that answers: it may be its own
    /// replication that fails, and not the stream behind it.
    async fn until_due(&mut self, pause: Duration, answers: bool) {
        let due = tokio::time::Instant::now() + pause;
        loop {
            let asked = tokio::select! {
                biased;
                () = tokio::time::sleep_until(due) => return,
                changed = self.asked.changed() => changed.map(|()| *self.asked.borrow_and_update()),
            };
            match asked {
                Ok(asked) => {
                    if asked.on_suspicion && answers && self.topology == Topology::Replica {
                        return;
                    }
                }
                // The verdict's loop has ended, and with it the program.
                Err(_) => return tokio::time::sleep_until(due).await,
            }
        }
    }

    fn unseen(&self, error: &Error, memory: &mut Memory) {
        let text = error.to_string();
        if memory.refusal.as_ref() != Some(&text) {
            tracing::info!(%error, "the status of the source's own replication can't be read");
            memory.refusal = Some(text.clone());
        }
        self.reporter.report(Observation::Upstream(Upstream::Unseen(text)));
    }

    async fn probe(&self, identity: &Identity, memory: &mut Memory) -> Result<(), Error> {
        let kept = memory.session.take().filter(|session| *session.host() == identity.host);
        let mut session = match kept {
            Some(session) => session,
            None => {
                let host = identity.host.clone();
                Session::connect(&ConnectOptions { host, ..self.connect.clone() }).await?
            }
        };
        let version = Dialect::of_version(&identity.version).version;
        match source::upstream(&mut session, identity.flavor, version).await {
            Ok(upstream) => {
                memory.refusal = None;
                self.reporter.report(Observation::Upstream(self.classify(upstream, memory)));
            }
            Err(error) if error.is_fatal() => return Err(error),
            // A privilege may be missing for one and not for the other.
            Err(error) => self.unseen(&error, memory),
        }
        if self.review.is_asked() {
            let asks = self.review.asks();
            let facts = preflight::collect(&mut session).await?;
            self.reporter.report(Observation::Unlogged(self.review.looked(&facts, asks)));
        }
        if self.logs_are_due(memory) {
            memory.logs.asked_at = Some(platform::now());
            let told = source::retention(&mut session).await;
            if !memory.logs.told(told, &self.margin) {
                return Ok(());
            }
        }
        memory.session = Some(session);
        Ok(())
    }

    fn classify(&self, upstream: source::Upstream, memory: &mut Memory) -> Upstream {
        let connecting = matches!(upstream, source::Upstream::Connecting(_));
        memory.connecting = if connecting { memory.connecting.saturating_add(1) } else { 0 };
        match upstream {
            source::Upstream::None => Upstream::None,
            source::Upstream::Running => Upstream::Running,
            source::Upstream::Left if self.topology == Topology::Primary => Upstream::None,
            source::Upstream::Left => Upstream::Broken("both threads were stopped".to_owned()),
            source::Upstream::Connecting(_) if memory.connecting < CONNECTING_MAX => {
                Upstream::Running
            }
            source::Upstream::Connecting(error) | source::Upstream::Stopped(error) => {
                Upstream::Broken(error)
            }
        }
    }

    /// Not while writes hang or may hang: the list would hang with them.
    fn logs_are_due(&self, memory: &Memory) -> bool {
        let view = memory.logs.are_due(self.spacing.logs).then(|| self.verdict.read());
        view.is_some_and(|view| {
            view.status(Condition::WritesCommit) == Status::True
                || view.status(Condition::HeartbeatsAllowed) == Status::False
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Position;
    use crate::freshness::Progress;
    use crate::freshness::watch::purge_families;

    #[test]
    fn logs_that_cannot_be_seen_leave_no_margin_and_take_the_session_along_only_where_it_is_broken()
    {
        let (mut logs, margin) = (Logs::default(), PurgeMargin::default());
        margin.progressed(&Progress { needed: Position::new("b.1", 4), ..Progress::default() });
        let families = purge_families(&margin);
        let seconds = || (families[0].read)()[0].1;
        let expires_after = Some(Duration::from_hours(1));
        let kept = || Ok(Retention { expires_after, logs: vec!["b.1".to_owned()] });
        let denied = Error::Server {
            code: 1227,
            state: "42000".to_owned(),
            message: "Access denied".to_owned(),
        };
        assert!(logs.told(kept(), &margin) && seconds() > 3_000.0);
        assert!(logs.told(Err(denied), &margin), "other questions are still answered");
        assert!(seconds().is_nan() && logs.refusal.is_some());
        assert!(logs.told(kept(), &margin) && seconds() > 3_000.0 && logs.refusal.is_none());

        // A question that hangs leaves a thread on the server: it is put less and less often.
        for unanswered in 1..=2 {
            let late = Error::TimedOut { step: "SHOW".to_owned(), after: Duration::from_secs(5) };
            assert!(!logs.told(Err(late), &margin) && seconds().is_nan());
            assert_eq!(logs.unanswered, unanswered);
        }
        let minute = Duration::from_mins(1);
        assert_eq!(spaced(minute, logs.unanswered), minute * 4);
        assert_eq!((spaced(minute, 0), spaced(minute, 40)), (minute, PAUSE_MAX));
        assert_eq!(
            spaced(PAUSE_MAX * 2, 3),
            PAUSE_MAX * 2,
            "never more often than it is asked for"
        );
        assert!(logs.told(kept(), &margin) && logs.unanswered == 0);
    }
}
