//! A column's type as DDL has it, read.
//!
//! The text is that of `information_schema.COLUMNS.COLUMN_TYPE`: `int(10) unsigned`,
//! `enum('a','it''s')`. Seen on MySQL 5.6 to 9.7 and MariaDB 10.11 and 11.8: labels are quoted so that
//! an apostrophe is doubled; a backslash, NUL and the ends of lines are escaped as in a string literal.

/// What the text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared {
    /// The type's name in lower case, without anything around it.
    pub(super) kind: String,
    /// Length, precision and scale, fraction digits, bits: the numbers in parentheses.
    pub(super) numbers: Vec<u32>,
    /// Labels of ENUM and SET in UTF-8.
    pub(super) members: Vec<Vec<u8>>,
    pub(super) unsigned: bool,
    /// MariaDB's COMPRESSED, which its servers write into a comment.
    pub(super) compressed: bool,
}

impl Declared {
    /// `None` for text that is not understood: then nothing is to be made of it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let name_end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        let (kind, rest) = text.split_at_checked(name_end)?;
        let mut declared = Self {
            kind: kind.to_ascii_lowercase(),
            numbers: Vec::new(),
            members: Vec::new(),
            unsigned: false,
            compressed: false,
        };
        let rest = match rest.strip_prefix('(') {
            None => rest,
            Some(inside) if matches!(declared.kind.as_str(), "enum" | "set") => {
                let (members, rest) = labels(inside)?;
                declared.members = members;
                rest
            }
            Some(inside) => {
                let (numbers, rest) = inside.split_once(')')?;
                let numbers = numbers.split(',').map(|number| number.trim().parse());
                declared.numbers = numbers.collect::<Result<_, _>>().ok()?;
                rest
            }
        };
        declared.compressed = rest.to_ascii_lowercase().contains("compressed");
        for word in without_comments(rest)?.split_ascii_whitespace() {
            match word.to_ascii_lowercase().as_str() {
                "unsigned" | "zerofill" => declared.unsigned = true,
                "signed" | "compressed" => {}
                _ => return None,
            }
        }
        Some(declared)
    }

    /// Fraction digits of a temporal type.
    pub(super) fn digits(&self) -> u32 {
        self.numbers.first().copied().unwrap_or(0)
    }

    /// Whether these labels are those of the table for sure. `information_schema` knows no character
    /// beyond the Basic Multilingual Plane, and shows a question mark for it.
    pub(super) fn may_have_lost_characters(&self) -> bool {
        self.members.iter().any(|member| member.contains(&b'?'))
    }
}

/// Labels up to the closing parenthesis, and what is behind it.
fn labels(text: &str) -> Option<(Vec<Vec<u8>>, &str)> {
    let mut members = Vec::new();
    let mut rest = text;
    loop {
        let (member, behind) = label(rest.strip_prefix('\'')?)?;
        members.push(member);
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Some((members, behind.strip_prefix(')')?)),
        }
    }
}

/// One label behind its first apostrophe, and what is behind its last.
fn label(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut member = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '\'' => match characters.as_str().strip_prefix('\'') {
                Some(rest) => {
                    member.push('\'');
                    characters = rest.chars();
                }
                None => return Some((member.into_bytes(), characters.as_str())),
            },
            '\\' => member.push(match characters.next()? {
                'n' => '\n',
                'r' => '\r',
                '0' => '\0',
                '\\' => '\\',
                _ => return None,
            }),
            other => member.push(other),
        }
    }
}

/// MariaDB and old servers add notes: `/*M!100301 COMPRESSED*/`, `/* 5.5 binary format */`.
fn without_comments(mut text: &str) -> Option<String> {
    let mut plain = String::new();
    while let Some((before, comment)) = text.split_once("/*") {
        plain.push_str(before);
        plain.push(' ');
        text = comment.split_once("*/")?.1;
    }
    plain.push_str(text);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(text: &str) -> Option<Vec<String>> {
        let members = Declared::parse(text)?.members;
        Some(members.into_iter().map(|m| String::from_utf8(m).expect("UTF-8")).collect())
    }

    #[test]
    fn a_comment_parts_words_as_a_space_does() {
        for (text, unsigned) in [
            ("int/* old */unsigned", true),
            ("int /*M!100301 COMPRESSED*/ unsigned", true),
            ("int/* unsigned */", false),
        ] {
            let declared = Declared::parse(text).expect(text);
            assert_eq!((&*declared.kind, declared.unsigned), ("int", unsigned), "{text}");
        }
        assert!(Declared::parse("int /* never closed").is_none());
    }

    #[test]
    fn types_of_every_server_are_read() {
        for (text, kind, numbers, unsigned) in [
            ("int", "int", vec![], false),
            ("int(11)", "int", vec![11], false),
            ("int(10) unsigned zerofill", "int", vec![10], true),
            ("bigint unsigned", "bigint", vec![], true),
            ("decimal(65,30) unsigned", "decimal", vec![65, 30], true),
            ("datetime(6)", "datetime", vec![6], false),
            ("time /* 5.5 binary format */", "time", vec![], false),
            ("varchar(300) /*M!100301 COMPRESSED*/", "varchar", vec![300], false),
            ("geomcollection", "geomcollection", vec![], false),
        ] {
            let declared = Declared::parse(text).expect(text);
            assert_eq!((declared.kind.as_str(), declared.numbers), (kind, numbers), "{text}");
            assert_eq!(declared.unsigned, unsigned, "{text}");
            assert_eq!(declared.compressed, text.contains("COMPRESSED"), "{text}");
        }
    }

    #[test]
    fn labels_are_read_as_they_were_declared() {
        let labels = members(r"enum('a\\b','it''s','n\nl','','c,d)','tab	','é')").expect("labels");
        assert_eq!(labels, [r"a\b", "it's", "n\nl", "", "c,d)", "tab\t", "é"]);
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        for text in [
            "int(",
            "int(x)",
            "int(1) sideways",
            "enum('a'",
            "enum('a",
            "enum(a)",
            r"enum('a\q')",
            "set('a',)",
            "int /* unsigned",
        ] {
            assert_eq!(Declared::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_label_survives(labels in proptest::collection::vec(any::<String>(), 1..5)) {
            let quoted = labels.iter().map(|label| {
                let label = label.replace('\\', r"\\").replace('\n', r"\n").replace('\r', r"\r");
                format!("'{}'", label.replace('\0', r"\0").replace('\'', "''"))
            });
            let text = format!("enum({})", quoted.collect::<Vec<_>>().join(","));
            prop_assert_eq!(members(&text).expect("labels"), labels);
        }

        #[test]
        fn no_text_panics(text in any::<String>(), head in "(enum\\(|set\\('|int\\()?") {
            Declared::parse(&format!("{head}{text}"));
        }
    }
}
