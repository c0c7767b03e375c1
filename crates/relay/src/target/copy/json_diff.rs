//! Partial JSON updates as SQL. Pure.
//!
//! MySQL's functions pass over a path that is not there. So each step comes with a condition under which
//! it does what it did at the source.

use super::dialect::Dialect;

/// Steps of one update.
const STEPS_MAX: usize = 1_000;
const NOT_READ: &str = "a partial JSON update that can't be read";

/// A column's new value, and what must hold of its old one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expression {
    pub(super) value: Vec<u8>,
    pub(super) holds: Vec<Vec<u8>>,
}

/// One step: `{"op": "replace", "path": "$.a", "value": 1}`.
struct Step<'d> {
    op: &'d str,
    path: String,
    /// As it stands in the text, so that no number loses digits.
    value: Option<&'d str>,
}

/// The steps, one applied to what the one before it left.
pub(super) fn expression(
    dialect: Dialect,
    column: &str,
    diff: &[u8],
) -> Result<Expression, &'static str> {
    let text = std::str::from_utf8(diff).map_err(|_| NOT_READ)?;
    let mut made = Expression { value: column.as_bytes().to_vec(), holds: Vec::new() };
    for step in steps(text)? {
        if dialect.is_postgres() {
            postgres_step(&mut made, &step)?;
        } else {
            mysql_step(&mut made, dialect, &step)?;
        }
    }
    Ok(made)
}

fn steps(text: &str) -> Result<Vec<Step<'_>>, &'static str> {
    let mut rest = text.trim().strip_prefix('[').ok_or(NOT_READ)?.trim_start();
    let mut steps = Vec::new();
    while !rest.starts_with(']') {
        if steps.len() >= STEPS_MAX {
            return Err("a partial JSON update of more than 1000 steps");
        }
        rest = rest.strip_prefix("{\"op\": \"").ok_or(NOT_READ)?;
        let (op, behind) = rest.split_once("\", \"path\": ").ok_or(NOT_READ)?;
        let (path, behind) = json_value(behind)?;
        let path: String = serde_json::from_str(path).map_err(|_| NOT_READ)?;
        let mut step = Step { op, path, value: None };
        rest = behind;
        if let Some(behind) = rest.strip_prefix(", \"value\": ") {
            let (value, behind) = json_value(behind)?;
            (step.value, rest) = (Some(value), behind);
        }
        rest = rest.strip_prefix('}').ok_or(NOT_READ)?;
        rest = rest.strip_prefix(", ").unwrap_or(rest);
        steps.push(step);
    }
    Ok(steps)
}

/// The JSON value that the text begins with, and what stands behind it.
fn json_value(text: &str) -> Result<(&str, &str), &'static str> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    values.next().and_then(Result::ok).ok_or(NOT_READ)?;
    text.split_at_checked(values.byte_offset()).ok_or(NOT_READ)
}

fn mysql_step(
    made: &mut Expression,
    dialect: Dialect,
    step: &Step<'_>,
) -> Result<(), &'static str> {
    let former = std::mem::take(&mut made.value);
    let mut path = Vec::new();
    dialect.put_text(&mut path, step.path.as_bytes());
    let has = [b"JSON_CONTAINS_PATH(", former.as_slice(), b",'one',", &path, b")"].concat();
    let function: &[u8] = match step.op {
        "replace" => b"JSON_REPLACE(",
        "remove" => b"JSON_REMOVE(",
        "insert" if step.path.ends_with(']') => b"JSON_ARRAY_INSERT(",
        "insert" => b"JSON_INSERT(",
        _ => return Err(NOT_READ),
    };
    match step.op {
        "insert" if step.path.ends_with(']') => {}
        "insert" => made.holds.push([b"NOT ", has.as_slice()].concat()),
        _ => made.holds.push(has),
    }
    made.value = [function, &former, b",", &path].concat();
    if let Some(value) = step.value {
        // Both servers know this form of a JSON literal.
        made.value.extend_from_slice(b",JSON_EXTRACT(");
        dialect.put_text(&mut made.value, value.as_bytes());
        made.value.extend_from_slice(b",'$')");
    } else if step.op != "remove" {
        return Err(NOT_READ);
    }
    made.value.push(b')');
    Ok(())
}

fn postgres_step(made: &mut Expression, step: &Step<'_>) -> Result<(), &'static str> {
    let dialect = Dialect::Postgres;
    let former = std::mem::take(&mut made.value);
    let (legs, ends_in_array) = legs(&step.path)?;
    let mut path = b"ARRAY[".to_vec();
    for (index, leg) in legs.iter().enumerate() {
        if index > 0 {
            path.push(b',');
        }
        dialect.put_text(&mut path, leg.as_bytes());
    }
    path.extend_from_slice(b"]::text[]");
    let has = [b"(", former.as_slice(), b" #> ", &path, b") IS NOT NULL"].concat();
    let mut value = Vec::new();
    match step.value {
        Some(json) if json.contains("\\u0000") => {
            return Err("JSON with a NUL character, which PostgreSQL does not take");
        }
        Some(json) => dialect.put_text(&mut value, json.as_bytes()),
        None if step.op == "remove" => {}
        None => return Err(NOT_READ),
    }
    made.value = match step.op {
        "replace" => {
            [b"jsonb_set(", former.as_slice(), b",", &path, b",", &value, b",false)"].concat()
        }
        "remove" => [b"(", former.as_slice(), b" #- ", &path, b")"].concat(),
        "insert" => [b"jsonb_insert(", former.as_slice(), b",", &path, b",", &value, b")"].concat(),
        _ => return Err(NOT_READ),
    };
    match step.op {
        "insert" if ends_in_array => {}
        "insert" => made.holds.push([b"NOT (", has.as_slice(), b")"].concat()),
        _ => made.holds.push(has),
    }
    Ok(())
}

/// Legs of MySQL's path, and whether the last is an array's cell: `$.a[3]."b c"`.
fn legs(path: &str) -> Result<(Vec<String>, bool), &'static str> {
    let mut rest = path.strip_prefix('$').ok_or(NOT_READ)?;
    let (mut legs, mut is_cell) = (Vec::new(), false);
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix('[') {
            let (number, behind) = behind.split_once(']').ok_or(NOT_READ)?;
            number.parse::<u32>().map_err(|_| NOT_READ)?;
            legs.push(number.to_owned());
            (is_cell, rest) = (true, behind);
            continue;
        }
        rest = rest.strip_prefix('.').ok_or(NOT_READ)?;
        is_cell = false;
        if rest.starts_with('"') {
            let (name, behind) = json_value(rest)?;
            legs.push(serde_json::from_str(name).map_err(|_| NOT_READ)?);
            rest = behind;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (name, behind) = rest.split_at_checked(end).ok_or(NOT_READ)?;
            legs.push(name.to_owned());
            rest = behind;
        }
    }
    Ok((legs, is_cell))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &[u8] = br#"[{"op": "replace", "path": "$.a", "value": 1.10}, {"op": "remove", "path": "$.\"b c\"[3]"}]"#;

    fn parts(dialect: Dialect, diff: &[u8]) -> (String, Vec<String>) {
        let made = expression(dialect, "`j`", diff).expect("readable");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (text(made.value), made.holds.into_iter().map(text).collect())
    }

    #[test]
    fn steps_nest_and_keep_their_digits() {
        let (value, holds) = parts(Dialect::Mysql, DIFF);
        assert_eq!(
            value,
            r#"JSON_REMOVE(JSON_REPLACE(`j`,'$.a',JSON_EXTRACT('1.10','$')),'$."b c"[3]')"#
        );
        assert_eq!(holds[0], "JSON_CONTAINS_PATH(`j`,'one','$.a')");
        assert_eq!(holds.len(), 2);
        let (value, holds) = parts(Dialect::Postgres, DIFF);
        assert_eq!(
            value,
            "(jsonb_set(`j`,ARRAY['a']::text[],'1.10',false) #- ARRAY['b c','3']::text[])"
        );
        assert_eq!(holds.len(), 2);
    }

    #[test]
    fn what_is_no_update_is_refused() {
        for diff in [
            "",
            "[",
            "{}",
            r#"[{"op": "replace", "path": "$.a"}]"#,
            r#"[{"op": "x", "path": "$", "value": 1}]"#,
            r#"[{"op": "replace", "path": "$.a", "value": }]"#,
            r#"[{"op": "remove", "path": 1}]"#,
            "[1]",
        ] {
            for dialect in [Dialect::Mysql, Dialect::Postgres] {
                assert!(expression(dialect, "j", diff.as_bytes()).is_err(), "{diff}");
            }
        }
        assert!(expression(Dialect::Postgres, "j", br#"[{"op": "remove", "path": "a"}]"#).is_err());
    }
}
