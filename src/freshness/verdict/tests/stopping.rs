//! What is said while what is on its way is delivered, after a request to stop.

use super::world::{Faults, LOADS, Load, Sns, World};
use crate::freshness::Observation;
use crate::freshness::verdict::State;

#[test]
fn a_stop_under_a_stalled_sink_changes_nothing_about_the_verdict() {
    for load in LOADS {
        let mut world = World::new(load);
        world.run(100.0);
        world.faults = Faults { sns: Sns::Hangs, ..Faults::default() };
        world.run(40.0);
        assert_eq!(world.state(), State::SinkStalled, "{load:?}");
        world.tell(Observation::Stopping);
        world.fault_at = Some(world.now);
        world.stopping = true;
        world.run(60.0);
        assert_eq!(world.since_fault(), [], "{load:?}");
    }
}

#[test]
fn a_stop_of_a_healthy_stream_blames_nobody() {
    for load in [Load::Quiet, Load::Busy] {
        let mut world = World::new(load);
        world.run(104.0);
        world.tell(Observation::Stopping);
        world.fault_at = Some(world.now);
        world.stopping = true;
        world.run(60.0);
        // What is no longer renewed is no longer known.
        let states: Vec<_> = world.since_fault().into_iter().map(|(_, state, _)| state).collect();
        assert!(states.iter().all(|state| *state == State::Indeterminate), "{load:?}: {states:?}");
    }
}
