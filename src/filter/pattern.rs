//! Names with wildcards, as filters use them: `shop.*`, `*.audit_?`, `shop.orders`.

/// A pattern over dotted names: `*` stands for any characters but dots, `?` for one; a backslash
/// takes the next character literally (names may hold dots and stars).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Vec<Token>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Exactly(char),
    One,
    Any,
}

impl Pattern {
    /// Reads a pattern of `parts` dotted parts (2: database.table, 3: with a column).
    pub fn parse(text: &str, parts: usize) -> Option<Self> {
        let mut found = vec![Vec::new()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let token = match character {
                '.' => {
                    found.push(Vec::new());
                    continue;
                }
                '*' => Token::Any,
                '?' => Token::One,
                '\\' => Token::Exactly(characters.next()?),
                other => Token::Exactly(other),
            };
            found.last_mut()?.push(token);
        }
        let complete = found.len() == parts && found.iter().all(|part| !part.is_empty());
        complete.then(|| Self { text: text.to_owned(), parts: found })
    }

    /// Whether the names, one for each part, match.
    pub fn matches(&self, names: &[&str]) -> bool {
        names.len() == self.parts.len()
            && self.parts.iter().zip(names).all(|(part, name)| part_matches(part, name))
    }

    /// Whether a name matches the first part.
    pub fn matches_first(&self, name: &str) -> bool {
        self.parts.first().is_some_and(|part| part_matches(part, name))
    }

    /// Whether its last part matches every name.
    pub fn ends_in_any(&self) -> bool {
        self.parts.last().is_some_and(|part| part.iter().all(|token| *token == Token::Any))
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Linear in `part.len() * name.len()`: remembers only the last star.
fn part_matches(part: &[Token], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut token) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while at < name.len() {
        match part.get(token) {
            Some(Token::Any) => {
                retry = Some((token + 1, at));
                token += 1;
                continue;
            }
            Some(Token::One) => {}
            Some(Token::Exactly(character)) if *character == name[at] => {}
            Some(Token::Exactly(_)) | None => {
                let Some((after_star, start)) = retry else { return false };
                retry = Some((after_star, start + 1));
                token = after_star;
                at = start + 1;
                continue;
            }
        }
        token += 1;
        at += 1;
    }
    part[token..].iter().all(|token| *token == Token::Any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stay_within_their_part() {
        for (pattern, names, expected) in [
            ("shop.orders", ["shop", "orders"], true),
            ("shop.*", ["shop", "orders"], true),
            ("shop.*", ["shops", "orders"], false),
            ("*.*", ["", ""], true),
            ("*.audit_?", ["a", "audit_1"], true),
            ("*.audit_?", ["a", "audit_12"], false),
            ("s*p.*_*_x", ["shop", "a_b_c_x"], true),
            (r"odd\.name.\*", ["odd.name", "*"], true),
            (r"odd\.name.\*", ["odd.name", "t"], false),
        ] {
            let parsed = Pattern::parse(pattern, 2).expect(pattern);
            assert_eq!(parsed.matches(&names), expected, "{pattern} {names:?}");
        }
    }

    #[test]
    fn a_pattern_has_as_many_parts_as_asked() {
        for (text, parts) in [("shop", 2), ("a.b.c", 2), ("shop.", 2), (".t", 2), ("a.b\\", 2)] {
            assert_eq!(Pattern::parse(text, parts), None, "{text}");
        }
        assert!(Pattern::parse("shop.users.email", 3).is_some());
    }
}
