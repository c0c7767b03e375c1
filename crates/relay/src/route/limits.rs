//! Times and bounds of a route.

use std::time::Duration;

/// How long a lease of a lane holds without being renewed.
pub(super) const LEASE: Duration = Duration::from_secs(10);
/// Time between two looks at leases, visibility, gaps and status.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// Ticks between two looks at lanes of which nothing arrives.
pub(super) const IDLE_LANES_TICKS: u64 = 15;
/// When a message whose lane another process holds is shown again.
pub(super) const HELD_PAUSE: Duration = Duration::from_secs(2);
/// When a message is shown again that was given back to make room, or whose object is away.
pub(super) const BACK_PAUSE: Duration = Duration::from_secs(10);
/// Requests that are begun and not answered, at most.
pub(super) const BEGUN_MAX: usize = 10_000;
/// Lanes at once: beyond it, messages of further lanes are given back.
pub(super) const LANES_MAX: usize = 100_000;
/// Messages taken in one turn.
pub(super) const TURN_MAX: usize = 256;

/// Time for requests under way when the route ends.
pub(super) const GRACE: Duration = Duration::from_secs(10);
