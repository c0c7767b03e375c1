//! What is known of the lease, for `/status`, the metrics and operators.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::lease::Row;
use crate::platform;
use crate::sink::Permit;
use crate::telemetry::metrics::{Kind, ScrapedFamily};
use crate::telemetry::status;
use crate::telemetry::words::Role;

/// Shared by who waits, who renews and who reads. It outlives one hold on the stream.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    stands_by: bool,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    role: Role,
    row: Option<Row>,
    /// When it was renewed: asked to be, where it is ours; else first seen to be.
    renewed: Option<Instant>,
    /// When a standby had its last answer.
    heard: Option<Instant>,
    /// Another process had it meanwhile.
    has_waited: bool,
    takeovers: u64,
}

impl Standing {
    pub(super) fn new(stands_by: bool) -> Self {
        Self { stands_by, known: Arc::default() }
    }

    pub(super) fn stands_by(&self) -> bool {
        self.stands_by
    }

    fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The lease is ours since a statement that was sent at `asked`.
    pub(super) fn holds(&self, row: &Row, asked: Instant) {
        self.with(|known| {
            known.takeovers += u64::from(std::mem::take(&mut known.has_waited));
            known.role = Role::Active;
            known.row = Some(row.clone());
            known.renewed = Some(asked);
        });
    }

    pub(super) fn renewed(&self, asked: Instant) {
        self.with(|known| known.renewed = Some(asked));
    }

    /// Whether a renewal was sent at `since` or later, and answered.
    pub(super) fn was_renewed_from(&self, since: Instant) -> bool {
        self.with(|known| known.role == Role::Active && known.renewed >= Some(since))
    }

    /// A standby saw this, for the first time at `since`.
    pub(super) fn waits_for(&self, row: Option<&Row>, since: Option<Instant>) {
        self.with(|known| {
            known.role = Role::Standby;
            known.has_waited |= row.is_some_and(|row| !row.is_given_up());
            known.row = row.cloned();
            known.renewed = since;
            known.heard = Some(platform::now());
        });
    }

    /// Another process has it.
    pub(super) fn lost(&self, row: &Row) {
        self.with(|known| {
            known.role = Role::None;
            known.row = Some(row.clone());
            known.renewed = None;
        });
    }

    /// It was given up.
    pub(super) fn rests(&self) {
        self.with(|known| known.role = Role::None);
    }

    pub(super) fn heard_within(&self, time: Duration) -> bool {
        self.with(|known| known.heard.is_some_and(|at| platform::since(at) < time))
    }
}

/// The same in the hands of who shows it, and of who yields.
#[derive(Clone)]
pub(super) struct LeaseHandle {
    standing: Standing,
    yields: CancellationToken,
    permit: Permit,
}

impl LeaseHandle {
    pub(super) fn new(standing: Standing, yields: CancellationToken, permit: Permit) -> Self {
        Self { standing, yields, permit }
    }

    /// The permission to publish that follows from the lease.
    pub(super) fn permit(&self) -> Permit {
        self.permit.clone()
    }

    /// Gives the stream to a standby. What will be done, or why nothing will be, in words.
    pub(super) fn yields(&self) -> Result<String, String> {
        if !self.standing.stands_by {
            return Err("ha.enabled is not set: there is no standby to yield to".to_owned());
        }
        if self.standing.with(|known| known.role) != Role::Active {
            return Err("this process does not run the stream".to_owned());
        }
        tracing::warn!("an operator wants another process to run the stream");
        self.yields.cancel();
        Ok("the lease is given up as soon as what is under way is delivered; if no standby takes it, \
            this process takes it again"
            .to_owned())
    }

    /// As `/status` shows it.
    pub(super) fn shown(&self, now: Instant) -> status::Lease {
        self.standing.with(|known| {
            let holder = known.row.as_ref().filter(|row| !row.is_given_up());
            let text = |of: fn(&Row) -> &String| holder.map(of).cloned().unwrap_or_default();
            let age = known.renewed.map(|at| now.saturating_duration_since(at).as_secs_f64());
            status::Lease {
                role: known.role,
                ha: self.standing.stands_by,
                host: text(|row| &row.holder.host),
                address: text(|row| &row.holder.address),
                version: text(|row| &row.holder.version),
                since: text(|row| &row.since),
                age_seconds: age.filter(|_| holder.is_some()),
                lifetime_seconds: holder.map_or(0.0, |row| row.lifetime.as_secs_f64()),
                fence: known.row.as_ref().map_or(0, |row| row.fence),
                takeovers: known.takeovers,
            }
        })
    }

    /// The metrics about it.
    pub(super) fn families(&self) -> [ScrapedFamily; 3] {
        let (roles, ages, takeovers) = (self.clone(), self.clone(), self.clone());
        let read_roles = move || {
            let shown = roles.shown(platform::now());
            let sample = |role: Role| {
                let is_it = shown.ha && shown.role == role;
                (vec![("role", role.name().to_owned())], f64::from(u8::from(is_it)))
            };
            [Role::Active, Role::Standby].map(sample).to_vec()
        };
        #[expect(clippy::cast_precision_loss, reason = "a float is what the format carries")]
        let read_takeovers =
            move || vec![(Vec::new(), takeovers.shown(platform::now()).takeovers as f64)];
        [
            ScrapedFamily {
                name: "binpulse_ha_role",
                help: "1 for what the process is to the stream, with ha.enabled: active, or standby; \
                       0 for the other, and for both without ha.enabled.",
                kind: Kind::Gauge,
                labels: &["role"],
                read: Arc::new(read_roles),
            },
            ScrapedFamily {
                name: "binpulse_lease_age_seconds",
                help: "Time since the lease on the stream was renewed, by the clock of this process; 0 \
                       while no lease is known.",
                kind: Kind::Gauge,
                labels: &[],
                read: Arc::new(move || {
                    let age = ages.shown(platform::now()).age_seconds;
                    vec![(Vec::new(), age.unwrap_or_default())]
                }),
            },
            ScrapedFamily {
                name: "binpulse_takeovers_total",
                help: "Times that this process took the stream as a standby.",
                kind: Kind::Counter,
                labels: &[],
                read: Arc::new(read_takeovers),
            },
        ]
    }
}
