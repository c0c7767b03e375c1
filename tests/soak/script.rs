//! Which faults come, by number. A fault's number and the seed alone say what it is, so that some can
//! be left out without changing the others.

use crate::dice::Dice;
use crate::faults::{Kind, Place};
use crate::plan::Plan;

/// The faults of a seed.
pub(crate) struct Script {
    seed: u64,
    kinds: Vec<Kind>,
}

/// A fault, or a pair of them.
pub(crate) struct Step {
    pub(crate) kinds: Vec<Kind>,
    /// For its times and details.
    pub(crate) dice: Dice,
}

impl Script {
    pub(crate) fn new(plan: &Plan) -> Self {
        let kinds = plan.kinds.iter().copied().filter(|kind| kind.is_for(plan)).collect();
        Self { seed: plan.seed, kinds }
    }

    /// Each kind comes once before one comes again; a third of them together with one of another
    /// place.
    pub(crate) fn step(&self, number: u64) -> Step {
        let many = self.kinds.len() as u64;
        let mut round = self.kinds.clone();
        let mut dice = self.dice(1, number / many);
        for at in (1..round.len()).rev() {
            round.swap(at, index(dice.below(at as u64 + 1)));
        }
        let mut dice = self.dice(2, number);
        let mut kinds = vec![round[index(number % many)]];
        let other = *dice.pick(&self.kinds);
        let may_pair = [kinds[0], other].iter().all(|kind| kind.place() != Place::Alone);
        if dice.one_in(3) && may_pair && other.place() != kinds[0].place() {
            kinds.push(other);
        }
        Step { kinds, dice }
    }

    fn dice(&self, purpose: u64, number: u64) -> Dice {
        let mut dice = Dice::new(self.seed ^ (purpose << 56) ^ (number << 20));
        dice.fork()
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("below a length")
}
