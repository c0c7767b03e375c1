//! The page at `/`: one document without any outside asset, which asks `/status` each second.
//!
//! Style and script stand inside the document and are allowed by their hashes alone; whatever the
//! status holds reaches the document as text, never as markup.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// In their order: what a status means, how it is drawn, what has been, when it is asked for.
const SCRIPT: [&str; 4] = [
    include_str!("model.js"),
    include_str!("draw.js"),
    include_str!("history.js"),
    include_str!("poll.js"),
];

/// The document and the policy that it is served with.
pub(super) struct Page {
    /// HTML, complete.
    pub(super) document: String,
    /// Value of `Content-Security-Policy`: printable ASCII.
    pub(super) policy: String,
}

/// Made once, at the first request.
pub(super) static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let script = SCRIPT.join("\n");
    let document = FRAME.replacen("/*{style}*/", STYLE, 1).replacen("/*{script}*/", &script, 1);
    // The pictures are the tab's icon, which is drawn by the script.
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(&script)
    );
    Page { document, policy }
});

/// How a policy names a style or script that stands in the document.
pub(super) fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_page_comes_from_elsewhere() {
        let document = &PAGE.document;
        for outside in ["http://", "https://", "//cdn", "@import", "url(", "<link rel=\"style"] {
            let allowed = ["http://www.w3.org/2000/svg"];
            let found = document.match_indices(outside).find(|(at, _)| {
                let rest = document.get(*at..).unwrap_or_default();
                !allowed.iter().any(|name| rest.starts_with(name))
            });
            assert_eq!(found, None, "{outside}");
        }
    }

    #[test]
    fn the_script_sets_text_and_never_markup() {
        let script = SCRIPT.join("\n");
        for door in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "srcdoc",
            "createContextualFragment",
        ] {
            assert!(!script.contains(door), "{door}");
        }
        // Neither may end its element early, nor may markup bring style or script of its own.
        assert!(!script.contains("</") && !STYLE.contains("</"));
        assert!(!FRAME.contains(" style=") && !FRAME.contains(" onclick="));
    }

    #[test]
    fn style_and_script_stand_where_they_belong() {
        let document = &PAGE.document;
        assert_eq!(document.matches("<style>").count(), 1);
        assert_eq!(document.matches("<script>").count(), 1);
        assert!(document.contains(&format!("<style>{STYLE}</style>")));
        assert!(PAGE.policy.contains("script-src 'sha256-") && PAGE.policy.is_ascii());
    }
}
