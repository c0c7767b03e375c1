//! What is concluded from a verdict's state beyond its hop and its grade.

/// Whether a state is one of those that change what is concluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StateKind {
    /// It is not.
    #[default]
    Usual,
    /// Nothing is known of any station: starting, or binpulse itself was suspended.
    Blind,
    /// Progress is not being saved: it is at the checkpoint.
    Unsaved,
    /// The position is lost: it says more exactly what to do than a halt does.
    PositionLost,
}
