//! Why AWS can't be asked with what the environment says.

/// What stands in the way of every request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The proxy for HTTPS can't be one.
    #[error(
        "{variable}: {found} is not a proxy URL: {why}; expected http://HOST:PORT or \
         https://HOST:PORT"
    )]
    Proxy {
        /// The variable of the environment.
        variable: &'static str,
        /// Its value, without a user and a password.
        found: String,
        /// What is wrong with it.
        why: String,
    },
    /// The region can't be one.
    #[error(
        "the AWS region {found:?}, of sns.region, AWS_REGION or the profile, is not valid: \
         expected letters, digits and dashes"
    )]
    Region {
        /// The region.
        found: String,
    },
}
