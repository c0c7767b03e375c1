//! When a lease may be taken.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Holder, Look, Row, Unrenewed, Watch};

const LIFETIME: Duration = Duration::from_secs(2);

fn row(fence: u64, renewals: u64, age: Option<Duration>) -> Row {
    Row {
        fence,
        renewals,
        lifetime: LIFETIME,
        age,
        since: String::new(),
        holder: Holder { instance: "another".to_owned(), ..Holder::default() },
    }
}

fn look(watch: &mut Watch, row: Option<&Row>, at: Instant) -> Look {
    watch.look(row, at, at)
}

#[test]
fn what_nobody_has_is_free_at_once() {
    let now = Instant::now();
    let mut given_up = row(4, 9, Some(Duration::ZERO));
    given_up.holder.instance.clear();
    assert_eq!(look(&mut Watch::newcomer(), None, now), Look::Free);
    assert_eq!(look(&mut Watch::newcomer(), Some(&given_up), now), Look::Free);
    // Also for one who has watched its holder.
    let mut watch = Watch::newcomer();
    let fresh = row(4, 8, Some(Duration::ZERO));
    assert_eq!(look(&mut watch, Some(&fresh), now), Look::Waits);
    assert_eq!(look(&mut watch, Some(&given_up), now), Look::Free);
}

#[test]
fn a_newcomer_waits_two_lifetimes_for_a_renewal_and_believes_an_age_beyond_them() {
    let now = Instant::now();
    let ms = Duration::from_millis;
    // A holder that crashed just now, and one whose server's clock was put back since.
    for age in [Some(Duration::ZERO), Some(ms(3_999)), None] {
        let mut watch = Watch::newcomer();
        let silent = row(4, 9, age);
        assert_eq!(look(&mut watch, Some(&silent), now), Look::Waits, "{age:?}");
        assert_eq!(look(&mut watch, Some(&silent), now + ms(3_999)), Look::Waits, "{age:?}");
        assert_eq!(look(&mut watch, Some(&silent), now + LIFETIME * 2), Look::Free, "{age:?}");
    }
    let long_dead = row(4, 9, Some(LIFETIME * 2));
    assert_eq!(look(&mut Watch::newcomer(), Some(&long_dead), now), Look::Free);
    // A renewal, or another holder.
    for seen in [row(4, 10, Some(Duration::ZERO)), row(5, 9, Some(Duration::ZERO))] {
        let mut watch = Watch::newcomer();
        assert_eq!(look(&mut watch, Some(&row(4, 9, None)), now), Look::Waits);
        assert_eq!(look(&mut watch, Some(&seen), now + ms(3_999)), Look::Renewed);
    }
}

#[test]
fn a_slow_answer_is_no_time_without_a_renewal() {
    let now = Instant::now();
    let mut watch = Watch::newcomer();
    let seen = row(4, 9, Some(Duration::ZERO));
    // The answer took long to come: it may have been renewed just before that.
    assert_eq!(watch.look(Some(&seen), now, now + LIFETIME * 3), Look::Waits);
    assert_eq!(watch.look(Some(&seen), now + LIFETIME * 3, now + LIFETIME * 9), Look::Waits);
    assert_eq!(watch.look(Some(&seen), now + LIFETIME * 5, now + LIFETIME * 9), Look::Free);
}

#[test]
fn a_holder_yields_to_a_later_fence_only() {
    assert_eq!(Unrenewed::of(None, 5), Unrenewed::WentBack);
    assert_eq!(Unrenewed::of(Some(&row(4, 1, None)), 5), Unrenewed::WentBack);
    for fence in [5, 6] {
        assert_eq!(Unrenewed::of(Some(&row(fence, 1, None)), 5), Unrenewed::Lost);
    }
}

proptest! {
    #[test]
    fn while_it_is_renewed_in_time_nobody_takes_it(
        pauses in proptest::collection::vec(0_u64..4_000, 1..40),
        phase in 0_u64..2_000,
        // What a stepped clock of the server makes of the age.
        ages in proptest::collection::vec(proptest::option::of(0_u64..3_999), 40),
    ) {
        let (start, mut at) = (Instant::now(), 0);
        let mut watch = Watch::newcomer();
        for (pause, age) in pauses.iter().zip(&ages) {
            at += pause;
            // Renewed each lifetime.
            let renewals = (at + phase) / 2_000;
            let seen = row(4, renewals, age.map(Duration::from_millis));
            let found = look(&mut watch, Some(&seen), start + Duration::from_millis(at));
            prop_assert_ne!(found, Look::Free, "at {} ms", at);
        }
    }
}
