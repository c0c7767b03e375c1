//! How a server compares names.

/// How a server compares the names of databases and tables: its `lower_case_table_names`. (Names of
/// columns it compares without regard to case, always.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum NameCase {
    /// 0: names that differ in case are different.
    #[default]
    Sensitive,
    /// 1 and 2: names that differ in case are the same, whichever is stored.
    Insensitive,
}

impl NameCase {
    /// By the variable's value; a server that does not tell it distinguishes.
    pub fn of(lower_case_table_names: Option<&str>) -> Self {
        match lower_case_table_names {
            None | Some("0") => Self::Sensitive,
            Some(_) => Self::Insensitive,
        }
    }

    /// Whether two names are one to the server.
    pub fn same(self, one: &str, other: &str) -> bool {
        self == Self::Sensitive && one == other
            || self == Self::Insensitive && one.chars().map(fold).eq(other.chars().map(fold))
    }

    /// Whether two characters are one to the server.
    pub fn same_character(self, one: char, other: char) -> bool {
        one == other || self == Self::Insensitive && fold(one) == fold(other)
    }
}

/// The small letter; like the server's tables, one character for one.
fn fold(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    character.to_lowercase().next().unwrap_or(character)
}

#[cfg(test)]
mod tests {
    use super::NameCase::{Insensitive, Sensitive};
    use super::*;

    #[test]
    fn names_are_compared_as_the_variable_says() {
        assert_eq!([None, Some("0")].map(NameCase::of), [Sensitive; 2]);
        assert_eq!([Some("1"), Some("2")].map(NameCase::of), [Insensitive; 2]);
        for (one, other, same) in [
            ("Orders", "orders", true),
            ("GRÖSSE", "größe", false),
            ("GRÖßE", "größe", true),
            ("İd", "id", true),
            ("orders", "order", false),
            ("", "", true),
        ] {
            assert_eq!(Insensitive.same(one, other), same, "{one} {other}");
            assert_eq!(Sensitive.same(one, other), one == other);
        }
    }
}
