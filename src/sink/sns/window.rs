//! When the oldest message entered that is not settled. Pure.

use std::collections::VecDeque;
use std::time::Instant;

/// Messages are numbered in the order in which they came; each is settled once, in any order.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Number of the first in `entered`.
    base: u64,
    /// `None`: settled.
    entered: VecDeque<Option<Instant>>,
    held: usize,
}

impl Window {
    /// Adds a message; its number.
    pub(super) fn enter(&mut self, at: Instant) -> u64 {
        let number = self.base.saturating_add(self.entered.len() as u64);
        self.entered.push_back(Some(at));
        self.held += 1;
        number
    }

    /// Removes a message.
    pub(super) fn leave(&mut self, number: u64) {
        let index = number.checked_sub(self.base).and_then(|index| usize::try_from(index).ok());
        let slot = index.and_then(|index| self.entered.get_mut(index));
        if slot.and_then(Option::take).is_some() {
            self.held -= 1;
        }
        while self.entered.pop_front_if(|entered| entered.is_none()).is_some() {
            self.base += 1;
        }
    }

    /// When the oldest came.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.entered.front().copied().flatten()
    }

    /// How many there are.
    pub(super) fn held(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_is_known_whatever_the_order_of_settling() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut window = Window::default();
        let numbers: Vec<u64> = (0..4).map(|ms| window.enter(at(ms))).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        window.leave(1);
        window.leave(2);
        assert_eq!((window.oldest(), window.held()), (Some(at(0)), 2));
        window.leave(0);
        assert_eq!((window.oldest(), window.held()), (Some(at(3)), 1));
        assert_eq!(window.enter(at(9)), 4);
        window.leave(3);
        window.leave(3);
        assert_eq!((window.oldest(), window.held()), (Some(at(9)), 1));
        window.leave(4);
        assert_eq!((window.oldest(), window.held()), (None, 0));
    }
}
