//! Paths of canaries through the operator's tables: filters, column, SQL and privileges, without a row
//! being written.

use super::Report;
use crate::app::plan::{PathRoute, Plan};
use crate::freshness::canary::path::{CanaryPath, Mark};
use crate::freshness::schema::{literal, path_grant};
use crate::freshness::{Phase, SqlFailure, WriteSession};

/// Types of columns that can carry a mark.
const TEXTS: [&str; 8] =
    ["char", "varchar", "tinytext", "text", "mediumtext", "longtext", "binary", "varbinary"];

/// Looks at one path. Nothing here keeps `run` from starting: the stream does not need it.
pub(super) async fn check(
    plan: &Plan,
    route: &PathRoute,
    writer: &mut WriteSession,
    reports: &mut Vec<Report>,
) {
    let path = &route.path;
    let (what, table) = (format!("canary path {}", path.name), path.table_name());
    let wrong = |found: String, needed: &str, remedy: &str| Report {
        refuses: false,
        ..Report::wrong(&what, found, needed, remedy)
    };
    let Some(steps) = &path.steps else {
        let found =
            format!("marked rows of {table} are left out of the changes; no canaries are written");
        reports.push(Report::fine(&what, found));
        return;
    };
    if route.is_filtered_out {
        let found = format!("filter.tables and filter.exclude keep {table} out");
        let needed = "a published table: canaries of an excluded table never reach the consumers";
        reports.push(wrong(
            found,
            needed,
            "include the table, or remove the path from canary.paths",
        ));
        return;
    }
    let before = reports.len();
    for phase in Phase::ALL {
        let Some(template) = steps.of(phase) else { continue };
        // A server tells what is wrong with a statement without running it.
        let sql = format!("EXPLAIN {}", template.fill(&plan.freshness.mark.of(0), 0));
        if let Err(error) = writer.session.query(&sql).await {
            let remedy = remedy(plan, path, phase, &error);
            let needed = format!("a canary.{} that the server accepts", phase.as_str());
            reports.push(wrong(error.to_string(), &needed, &remedy));
        }
    }
    if reports.len() == before
        && let Err((found, remedy)) = column(path, &plan.freshness.mark, writer).await
    {
        reports.push(wrong(found, "a text column with room for the mark", &remedy));
    }
    if steps.delete.is_none() {
        let found = format!("no canary.delete: the path's rows accumulate in {table}");
        let remedy = format!(
            "add \"{}=DELETE FROM {table} WHERE {} = '{{mark}}'\" to canary.delete",
            path.name, path.column
        );
        reports.push(wrong(found, "SQL that removes the row", &remedy));
    }
    if reports.len() == before {
        let steps: Vec<_> = steps.phases().into_iter().map(Phase::as_str).collect();
        let found = format!("{} into {table}, marked in {}", steps.join(", "), path.column);
        reports.push(Report::fine(&what, found));
    }
}

/// Whether the column can hold the mark; what it is and what fixes it, if not.
async fn column(
    path: &CanaryPath,
    mark: &Mark,
    writer: &mut WriteSession,
) -> Result<(), (String, String)> {
    let CanaryPath { database, table, column, .. } = path;
    let sql = format!(
        "SELECT LOWER(data_type), character_maximum_length FROM information_schema.columns \
         WHERE table_schema = {} AND table_name = {} AND column_name = {}",
        literal(database),
        literal(table),
        literal(column)
    );
    let row = match writer.session.query_first(&sql).await {
        Ok(row) => row,
        Err(error) => return Err((error.to_string(), "check again".to_owned())),
    };
    let name = format!("{}.{column}", path.table_name());
    let Some(row) = row else {
        let remedy = "name the column that canary.insert writes '{mark}' into".to_owned();
        return Err((format!("there is no column {name}"), remedy));
    };
    let data_type = row.text(0).unwrap_or_default();
    let room = row.unsigned(1).ok().flatten().unwrap_or(0);
    let needed = u64::try_from(mark.bytes_max()).unwrap_or(u64::MAX);
    if !TEXTS.contains(&data_type.as_str()) {
        let remedy = "choose a column of type CHAR, VARCHAR or TEXT".to_owned();
        return Err((format!("{name} is of type {data_type}"), remedy));
    }
    if room < needed {
        let found = format!("{name} has room for {room} characters, a mark has up to {needed}");
        return Err((found, "choose a wider column, or a shorter canary.mark".to_owned()));
    }
    Ok(())
}

fn remedy(plan: &Plan, path: &CanaryPath, phase: Phase, error: &crate::mysql::Error) -> String {
    let writer = (plan.freshness.connect.user.clone(), "%".to_owned());
    let is_about_table = error.to_string().contains(&format!("'{}'", path.table));
    match path_grant(path, &writer) {
        Some(grant) if is_about_table && SqlFailure::of(error) == SqlFailure::Denied => {
            format!("{grant};")
        }
        _ => {
            let (step, name, user) = (phase.as_str(), &path.name, &plan.freshness.connect.user);
            format!("correct canary.{step} of path {name}, or grant what it needs to {user}")
        }
    }
}
