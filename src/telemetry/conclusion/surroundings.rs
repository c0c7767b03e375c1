//! Where commands are typed, and what other pages there are.

/// What is known of the place where commands are typed, and of other pages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// What stands before each command: `page.command_prefix`.
    pub prefix: String,
    /// Where the settings are, for commands that ask the running service.
    pub asking: String,
    /// The same for commands that read all settings.
    pub all: String,
    /// Names of pages with their addresses, in which placeholders are to be filled.
    pub links: Vec<(&'static str, String)>,
    /// The time, microseconds since 1970 UTC.
    pub now_us: i64,
}
