//! What is done about a row that does not fit into a message.

use std::fmt;
use std::str::FromStr;

/// The policy for a message over the topic's limit that holds a single row. Messages with several
/// rows are split first, whatever the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Oversize {
    /// The largest cells are replaced by their size and hash; the row and its key still flow.
    #[default]
    Omit,
    /// The body goes to S3 and a pointer to it into the message; see
    /// [`claim_check`](super::claim_check).
    ClaimCheck,
    /// The stream stops and says which row of which table it was.
    Halt,
}

/// Not a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a policy for oversize rows; expected omit, claim-check or halt")]
pub struct UnknownOversize(String);

impl Oversize {
    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Omit => "omit",
            Self::ClaimCheck => "claim-check",
            Self::Halt => "halt",
        }
    }
}

impl fmt::Display for Oversize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Oversize {
    type Err = UnknownOversize;

    fn from_str(text: &str) -> Result<Self, UnknownOversize> {
        [Self::Omit, Self::ClaimCheck, Self::Halt]
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| UnknownOversize(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_they_are_written() {
        for policy in [Oversize::Omit, Oversize::ClaimCheck, Oversize::Halt] {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        let error = "drop".parse::<Oversize>().expect_err("nothing is ever dropped");
        assert!(error.to_string().contains("omit, claim-check or halt"), "{error}");
    }
}
