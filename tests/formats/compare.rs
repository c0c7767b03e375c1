//! Documents, field by field.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// A field that differs.
#[derive(Debug)]
pub(crate) struct Difference<'d> {
    pub(crate) table: &'d str,
    pub(crate) path: &'d str,
    pub(crate) ours: &'d Value,
    pub(crate) theirs: &'d Value,
}

impl Difference<'_> {
    /// Whether the field is a column of an image.
    pub(crate) fn is_column(&self, table: &str, column: &str) -> bool {
        self.table == table && self.path.rsplit('/').next() == Some(column)
    }
}

/// A difference that is documented.
pub(crate) struct Known {
    /// The beginning of its row in `docs/consume/formats.md`.
    pub(crate) words: &'static str,
    pub(crate) is: fn(&Difference<'_>) -> bool,
    /// Whether it depends on the clock, and so may not occur.
    pub(crate) is_by_chance: bool,
}

impl Known {
    pub(crate) const fn new(words: &'static str, is: fn(&Difference<'_>) -> bool) -> Self {
        Self { words, is, is_by_chance: false }
    }
}

const MISSING: Value = Value::Null;

/// Compares documents in their order; panics with what is not documented, and with what is documented
/// and did not occur. `table` finds a document's table.
pub(crate) fn compare(
    ours: &[Value],
    theirs: &[Value],
    table: fn(&Value) -> &Value,
    known: &[Known],
) -> String {
    let mut seen = vec![0_usize; known.len()];
    let mut unknown = Vec::new();
    let mut fields = 0;
    assert_eq!(ours.len(), theirs.len(), "rows");
    for (our, their) in ours.iter().zip(theirs) {
        let name = table(their).as_str().expect("a table");
        assert_eq!(table(our), name, "rows in another order");
        let (our, their) = (flat(our), flat(their));
        let paths = our.keys().chain(their.keys()).collect::<std::collections::BTreeSet<_>>();
        for path in paths {
            fields += 1;
            let (ours, theirs) =
                (our.get(path).unwrap_or(&MISSING), their.get(path).unwrap_or(&MISSING));
            let is_there = our.contains_key(path) == their.contains_key(path);
            let is_single = name == "vectors"
                || (name == "floats" && (path.ends_with("/f") || path.ends_with("/fu")));
            if is_there && same(ours, theirs, is_single) {
                continue;
            }
            let difference = Difference { table: name, path, ours, theirs };
            match known.iter().position(|known| (known.is)(&difference)) {
                Some(at) => seen[at] += 1,
                None => unknown.push(format!("{difference:?}")),
            }
        }
    }
    assert!(unknown.is_empty(), "not documented:\n{}", unknown.join("\n"));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/consume/formats.md");
    let page = fs::read_to_string(page).expect("the page");
    for (known, seen) in known.iter().zip(&seen) {
        assert!(*seen > 0 || known.is_by_chance, "documented, and did not occur: {}", known.words);
        assert!(page.contains(&format!("| {}", known.words)), "not on the page: {}", known.words);
    }
    let listed: usize = seen.iter().sum();
    format!("{} rows, {fields} fields, {listed} differ as documented", ours.len())
}

/// Singles are equal if they are once they are stored as such, however many digits they print.
fn same(ours: &Value, theirs: &Value, is_single: bool) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "the nearest single is meant")]
    let single = |value: &Value| value.as_f64().map(|value| (value as f32).to_bits());
    match (ours, theirs) {
        (Value::Array(ours), Value::Array(theirs)) if is_single => {
            let pairs = ours.iter().zip(theirs);
            ours.len() == theirs.len() && pairs.into_iter().all(|(a, b)| same(a, b, true))
        }
        (Value::Number(one), Value::Number(other)) if one.is_f64() && other.is_f64() => {
            // The parser of this test is off by one now and then.
            let near = |one: f64, other: f64| (one - other).abs() <= one.abs() * f64::EPSILON;
            let (a, b) = (one.as_f64().expect("a float"), other.as_f64().expect("a float"));
            near(a, b) || is_single && single(ours) == single(theirs)
        }
        _ => ours == theirs,
    }
}

/// Each value that is no object by its path; of a list of objects, the objects by their field or place.
fn flat(document: &Value) -> BTreeMap<String, Value> {
    let mut into = BTreeMap::new();
    put(document, String::new(), &mut into);
    into
}

fn put(value: &Value, path: String, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                put(value, format!("{path}/{name}"), into);
            }
        }
        Value::Array(items) if items.first().is_some_and(Value::is_object) => {
            for (at, item) in items.iter().enumerate() {
                let name = item["field"].as_str().map_or_else(|| at.to_string(), str::to_owned);
                put(item, format!("{path}/{name}"), into);
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            into.insert(path, value.clone());
        }
    }
}
