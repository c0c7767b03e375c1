//! What the docs say of the settings is made from the code; here it is compared with it.

use std::fs;
use std::path::Path;

/// `BINPULSE_TEST_REGENERATE=1 cargo test --test docs` writes it anew.
#[test]
fn the_reference_of_settings_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let reference = binpulse::cli::reference();
    if std::env::var_os("BINPULSE_TEST_REGENERATE").is_some() {
        fs::write(&path, &reference).expect("docs/configuration.md is writable");
    }
    let written = fs::read_to_string(&path).expect("docs/configuration.md");
    assert!(written == reference, "docs/configuration.md is out of date; see tests/docs.rs");
}
