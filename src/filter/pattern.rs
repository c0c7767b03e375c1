//! Names with wildcards, as filters use them: `shop.*`, `*.audit_?`, `shop.orders`.

use crate::change::NameCase;

/// The part that is a column's name: servers compare these without regard to case.
const COLUMN_AT: usize = 2;

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

    /// The pattern that only these names match, one for each part.
    pub fn exactly(names: &[&str]) -> Self {
        let parts = names.iter().map(|name| name.chars().map(Token::Exactly).collect());
        Self { text: names.join("."), parts: parts.collect() }
    }

    /// The pattern as text in which each wildcard stands for itself.
    pub fn literal(&self) -> String {
        let mut text = String::new();
        for (at, part) in self.parts.iter().enumerate() {
            text.push_str(if at == 0 { "" } else { "." });
            for token in part {
                match token {
                    Token::Exactly(letter) => {
                        if ['.', '*', '?', '\\'].contains(letter) {
                            text.push('\\');
                        }
                        text.push(*letter);
                    }
                    Token::One => text.push('?'),
                    Token::Any => text.push('*'),
                }
            }
        }
        text
    }

    /// Whether the names, one for each part, match on a server that compares them like this.
    pub fn matches(&self, names: &[&str], case: NameCase) -> bool {
        names.len() == self.parts.len() && self.matches_front(names, case)
    }

    /// Whether the names match as many of the first parts.
    pub fn matches_front(&self, names: &[&str], case: NameCase) -> bool {
        let part_case = |at| if at == COLUMN_AT { NameCase::Insensitive } else { case };
        let mut parts = self.parts.iter().zip(names).enumerate();
        names.len() <= self.parts.len()
            && parts.all(|(at, (part, name))| part_matches(part, name, part_case(at)))
    }

    /// Whether it matches whatever there is.
    pub fn is_any(&self) -> bool {
        self.parts.iter().flatten().all(|token| *token == Token::Any)
    }

    /// Whether its last part matches every name.
    pub fn ends_in_any(&self) -> bool {
        self.parts.last().is_some_and(|part| part.iter().all(|token| *token == Token::Any))
    }

    /// The database that it names, where that part has no wildcard.
    pub fn database(&self) -> Option<String> {
        let letters = self.parts.first()?.iter().map(|token| match token {
            Token::Exactly(character) => Some(*character),
            Token::One | Token::Any => None,
        });
        letters.collect()
    }

    /// How many parts it has.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Linear in `part.len() * name.len()`: remembers only the last star.
fn part_matches(part: &[Token], name: &str, case: NameCase) -> bool {
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
            Some(Token::Exactly(character)) if case.same_character(*character, name[at]) => {}
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
    use proptest::prelude::*;

    use super::*;

    /// The same by trying all that each star could stand for.
    fn is_match(tokens: &[Token], name: &[char], case: NameCase) -> bool {
        let Some((token, tokens)) = tokens.split_first() else { return name.is_empty() };
        let rest = name.get(1..).unwrap_or_default();
        match (token, name.first()) {
            (Token::Any, _) => (0..=name.len()).any(|from| is_match(tokens, &name[from..], case)),
            (_, None) => false,
            (Token::One, Some(_)) => is_match(tokens, rest, case),
            (Token::Exactly(expected), Some(found)) => {
                let is_same = match case {
                    NameCase::Sensitive => expected == found,
                    NameCase::Insensitive => expected.to_lowercase().eq(found.to_lowercase()),
                };
                is_same && is_match(tokens, rest, case)
            }
        }
    }

    fn character() -> impl Strategy<Value = char> {
        prop_oneof![
            6 => prop::sample::select(vec!['a', 'b']),
            2 => prop::sample::select(vec!['A', '.', '*', '?', '\\', 'ä', 'Ä']),
        ]
    }

    fn part() -> impl Strategy<Value = Vec<Token>> {
        let token = prop_oneof![
            2 => Just(Token::Any),
            1 => Just(Token::One),
            4 => character().prop_map(Token::Exactly),
        ];
        prop::collection::vec(token, 1..6)
    }

    fn written(part: &[Token]) -> String {
        let token = |token: &Token| match token {
            Token::Any => "*".to_owned(),
            Token::One => "?".to_owned(),
            Token::Exactly(special @ ('.' | '*' | '?' | '\\')) => format!("\\{special}"),
            Token::Exactly(other) => other.to_string(),
        };
        part.iter().map(token).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_pattern_means_what_it_says_part_by_part(
            parts in prop::collection::vec(part(), 2..=3),
            names in prop::collection::vec(prop::collection::vec(character(), 0..6), 0..=4),
            // Names that are near to it are found by putting something for each wildcard
            near in any::<bool>(),
            case in prop_oneof![Just(NameCase::Sensitive), Just(NameCase::Insensitive)],
        ) {
            let texts: Vec<_> = parts.iter().map(|part| written(part)).collect();
            let text = texts.join(".");
            let pattern = Pattern::parse(&text, parts.len()).expect("a pattern");
            prop_assert_eq!(pattern.as_str(), &text);
            prop_assert_eq!(pattern.parts(), parts.len());
            prop_assert_eq!(Pattern::parse(&text, parts.len() + 1), None);
            prop_assert_eq!(Pattern::parse(&text, parts.len() - 1), None);
            let names: Vec<Vec<char>> = if near {
                let put = |token: &Token, filler: &[char]| match token {
                    Token::Any => filler.to_vec(),
                    Token::One => vec!['b'],
                    Token::Exactly(character) => vec![*character],
                };
                let filler = names.first().cloned().unwrap_or_default();
                parts.iter().map(|part| part.iter().flat_map(|it| put(it, &filler)).collect()).collect()
            } else {
                names
            };
            let cases = [case, case, NameCase::Insensitive];
            let each: Vec<_> = parts.iter().zip(&names).zip(cases)
                .map(|((part, name), case)| is_match(part, name, case))
                .collect();
            let names: Vec<String> = names.iter().map(|name| name.iter().collect()).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let is_front = names.len() <= parts.len() && each.iter().all(|it| *it);
            prop_assert_eq!(pattern.matches_front(&names, case), is_front, "{} {:?}", text, names);
            let is_whole = is_front && names.len() == parts.len();
            prop_assert_eq!(pattern.matches(&names, case), is_whole, "{} {:?}", text, names);
            let is_any = |text: &String| text.chars().all(|character| character == '*');
            prop_assert_eq!(pattern.ends_in_any(), is_any(&texts[parts.len() - 1]));
            prop_assert_eq!(pattern.is_any(), texts.iter().all(is_any));
            let has_wildcard = parts[0].iter().any(|token| matches!(token, Token::Any | Token::One));
            let letters: String = parts[0].iter()
                .filter_map(|token| if let Token::Exactly(it) = token { Some(*it) } else { None })
                .collect();
            prop_assert_eq!(pattern.database(), (!has_wildcard).then_some(letters));
        }
    }

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
            let matches = parsed.matches(&names, NameCase::Sensitive);
            assert_eq!(matches, expected, "{pattern} {names:?}");
        }
    }

    #[test]
    fn names_are_compared_as_the_server_does_and_columns_without_regard_to_case() {
        let (exact, folded) = (NameCase::Sensitive, NameCase::Insensitive);
        for (pattern, names, case, expected) in [
            ("Shop.Orders.Secret", ["shop", "orders", "secret"], folded, true),
            ("Shop.Orders.Secret", ["shop", "orders", "secret"], exact, false),
            ("shop.orders.Secret", ["shop", "orders", "SECRET"], exact, true),
            ("*.Ord?rs.s*T", ["x", "ORDERS", "Secret"], folded, true),
            ("*.Ord?rs.s*T", ["x", "ORDERS", "Secret"], exact, false),
        ] {
            let parsed = Pattern::parse(pattern, 3).expect(pattern);
            assert_eq!(parsed.matches(&names, case), expected, "{pattern} {names:?} {case:?}");
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
