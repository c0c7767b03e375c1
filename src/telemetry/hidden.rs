//! What must be in nothing that leaves the machine. No part shows a secret; this is the second lock.

use std::fmt;

/// Texts shorter than this are not looked for: they are parts of other words.
const LENGTH_MIN: usize = 6;

/// What stands in the place of a secret.
const MARK: &str = "***";

/// Secrets that are taken out of texts.
#[derive(Clone, Default)]
pub struct Hidden(Vec<String>);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hidden({})", self.0.len())
    }
}

impl Hidden {
    /// These, as they are and as JSON has them.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut texts = Vec::new();
        for secret in secrets.into_iter().filter(|secret| secret.len() >= LENGTH_MIN) {
            let quoted = serde_json::Value::from(secret).to_string();
            let inner = quoted.get(1..quoted.len() - 1).unwrap_or(secret).to_owned();
            texts.extend([secret.to_owned(), inner]);
        }
        // A secret that holds another one goes first, or a part of it would stay.
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        texts.dedup();
        Self(texts)
    }

    /// The text without them.
    pub fn hide(&self, text: String) -> String {
        let is_in = |text: &String, secret: &String| text.contains(secret.as_str());
        self.0.iter().fold(text, |text, secret| {
            if is_in(&text, secret) { text.replace(secret.as_str(), MARK) } else { text }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_as_they_are_and_as_json_has_them() {
        let hidden = Hidden::new(["pass\"word", "pass\"word-and-more", "root", ""]);
        let json = serde_json::json!({"a": "x pass\"word y", "b": "pass\"word-and-more"});
        let text = format!("{json} pass\"word root");
        assert_eq!(hidden.hide(text), r#"{"a":"x *** y","b":"***"} *** root"#);
        assert!(!format!("{hidden:?}").contains("word"));
    }
}
