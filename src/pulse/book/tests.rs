use super::*;
use crate::pulse::echo::Echo;
use crate::pulse::path::{Steps, Template};

const L: Duration = Duration::from_secs(15);

/// A path without an update.
fn path() -> Path {
    let template = |phase, sql| Template::parse(phase, sql).expect("a template");
    Path {
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
    let book = Book::new("me", [Arc::clone(&billing)], L);
    let mut book = book.with_path(&path(), std::slice::from_ref(&billing), L);
    let leg = |phase| Leg { path: Some("orders".into()), number: 1, phase };
    let echo = |leg, is_genuine| Observation::Echoed {
        consumer: "billing".into(),
        leg,
        written_at_us: 0,
        is_genuine,
    };
    let echoed = |leg: Leg| echo(leg, true);

    let read = || Observation::EchoRead { consumer: "billing".into(), messages: 0 };
    book.observe(&read(), now);

    // Given the first canary of each, accepted by the topic
    for phase in [Phase::Insert, Phase::Delete] {
        book.observe(&Observation::CanaryStarted(leg(phase)), now);
        book.observe(&Observation::CanaryCommitted { leg: leg(phase), took: L }, now);
        let accepted = book.canary_accepted(&leg(phase), now);
        assert_eq!(accepted.len(), 1, "{accepted:?}");
        assert_eq!(&*accepted[0].0, "billing/orders");
    }
    assert!(book.is_last(&leg(Phase::Delete)) && !book.is_last(&leg(Phase::Update)));
    for phase in Phase::ALL {
        let leg = Leg { path: None, number: 1, phase };
        book.observe(&Observation::CanaryStarted(leg.clone()), now);
        book.canary_accepted(&leg, now);
    }

    // When somebody forges the echoes of the other, then nothing is settled
    for phase in Phase::ALL {
        let forged = echo(Leg { path: None, number: 1, phase }, false);
        let judged = book.observe(&forged, now).expect("it is known");
        assert_eq!(judged.echo, Echo::Forged);
    }

    // When only the path's come back, then only its account is settled
    for (phase, completes) in [(Phase::Insert, false), (Phase::Delete, true)] {
        let judged = book.observe(&echoed(leg(phase)), now).expect("it is known");
        assert_eq!((&*judged.account, judged.echo), ("billing/orders", Echo::InTime { completes }));
    }
    let late = now + L + Duration::from_secs(1);
    for at in [now + L, late] {
        book.observe(&read(), at);
    }
    assert_eq!(book.expire(late), [(billing, 1)]);
    let counts: Vec<_> = book.echoes().map(|(name, it)| (&**name, it.counts().lost)).collect();
    assert_eq!(counts, [("billing", 1), ("billing/orders", 0)]);
    assert_eq!(
        book.canaries(Some("orders")).map(|notes| (notes.walked, notes.failed)),
        Some((1, 0))
    );

    // And a failure is the path's alone, until it is walked again
    let failed = Observation::CanaryFailed {
        path: Some("orders".into()),
        reason: SqlFailure::SchemaMissing,
        message: "no table".into(),
    };
    book.observe(&failed, now);
    assert!(book.canaries(Some("orders")).is_some_and(|notes| notes.failure.is_some()));
    assert!(book.canaries(None).is_some_and(|notes| notes.failure.is_none()));
    book.observe(&Observation::CanaryCommitted { leg: leg(Phase::Delete), took: L }, now);
    assert!(book.canaries(Some("orders")).is_some_and(|notes| notes.failure.is_none()));
    let unknown = Leg { path: Some("gone".into()), number: 1, phase: Phase::Insert };
    assert_eq!(book.observe(&echoed(unknown), now), None);
}
