use super::*;
use crate::freshness::canary::echo::Echo;
use crate::freshness::canary::path::{Steps, Template};

const L: Duration = Duration::from_secs(15);

/// A path without an update.
fn path() -> CanaryPath {
    let template = |phase, sql| Template::parse(phase, sql).expect("a template");
    CanaryPath {
        name: "orders".into(),
        database: "billing".into(),
        table: "orders".into(),
        column: "reference".into(),
        steps: Some(Steps {
            insert: template(Phase::Insert, "INSERT '{mark}'"),
            update: None,
            delete: Some(template(Phase::Delete, "DELETE '{mark}'")),
        }),
    }
}

#[test]
fn a_path_and_the_built_in_canary_of_the_same_number_have_accounts_of_their_own() {
    let now = Instant::now();
    let billing: Arc<str> = "billing".into();
    let round_trips = RoundTrips::new("me", [Arc::clone(&billing)], L);
    let mut round_trips = round_trips.with_path(&path(), std::slice::from_ref(&billing), L);
    let step = |phase| CanaryStep { path: Some("orders".into()), number: 1, phase };
    let echo =
        |step, is_genuine| Observation::Echoed { consumer: "billing".into(), step, is_genuine };
    let echoed = |step: CanaryStep| echo(step, true);

    let read = || Observation::EchoRead { consumer: "billing".into() };
    round_trips.observe(&read(), now);

    // Given the first canary of each, accepted by the topic
    for phase in [Phase::Insert, Phase::Delete] {
        round_trips.observe(&Observation::CanaryStarted(step(phase)), now);
        round_trips.observe(&Observation::CanaryCommitted { step: step(phase) }, now);
        let accepted = round_trips.canary_accepted(&step(phase), now);
        assert_eq!(accepted.len(), 1, "{accepted:?}");
        assert_eq!(&*accepted[0].0, "billing/orders");
        assert_eq!(accepted[0].1.makes_whole, phase == Phase::Delete);
    }
    for phase in Phase::ALL {
        let step = CanaryStep { path: None, number: 1, phase };
        round_trips.observe(&Observation::CanaryStarted(step.clone()), now);
        round_trips.canary_accepted(&step, now);
    }

    // When somebody forges the echoes of the other, then nothing is settled
    for phase in Phase::ALL {
        let forged = echo(CanaryStep { path: None, number: 1, phase }, false);
        let evaluated = round_trips.observe(&forged, now).expect("it is known");
        assert_eq!(evaluated.echo, Echo::Forged);
    }

    // When only the path's come back, then only its account is settled
    for (phase, completes) in [(Phase::Insert, false), (Phase::Delete, true)] {
        let evaluated = round_trips.observe(&echoed(step(phase)), now).expect("it is known");
        assert_eq!(
            (&*evaluated.account, evaluated.echo),
            ("billing/orders", Echo::InTime { completes })
        );
    }
    let late = now + L + Duration::from_secs(1);
    for at in [now + L, late] {
        round_trips.observe(&read(), at);
    }
    assert_eq!(round_trips.expire(late), [(billing, 1)]);
    let counts: Vec<_> =
        round_trips.echoes().map(|(name, it)| (&**name, it.counts().lost)).collect();
    assert_eq!(counts, [("billing", 1), ("billing/orders", 0)]);
    assert_eq!(
        round_trips.canaries(Some("orders")).map(|state| (state.walked, state.failed)),
        Some((1, 0))
    );

    // And a failure is the path's alone, until it is walked again
    let failed = Observation::CanaryFailed {
        path: Some("orders".into()),
        reason: SqlFailure::SchemaMissing,
        message: "no table".into(),
    };
    round_trips.observe(&failed, now);
    assert!(round_trips.canaries(Some("orders")).is_some_and(|state| state.failure.is_some()));
    assert!(round_trips.canaries(None).is_some_and(|state| state.failure.is_none()));
    round_trips.observe(&Observation::CanaryCommitted { step: step(Phase::Delete) }, now);
    assert!(round_trips.canaries(Some("orders")).is_some_and(|state| state.failure.is_none()));
    let unknown = CanaryStep { path: Some("gone".into()), number: 1, phase: Phase::Insert };
    assert_eq!(round_trips.observe(&echoed(unknown), now), None);
}
