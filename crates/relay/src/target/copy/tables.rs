//! The copy's tables: what is there, made where it is missing.

use std::collections::HashMap;
use std::sync::Arc;

use binpulse_core::change::Table;

use super::SchemaPolicy;
use super::ddl::{self, POSTGRES_NAME_BYTES_MAX};
use super::dialect::Dialect;
use super::marks::own_tables;
use super::session::{Failure, Session, text};

/// Tables, and schemas of them, that are remembered.
const KNOWN_MAX: usize = 10_000;

/// A table of the copy, for one schema of the source's.
#[derive(Debug)]
pub(super) struct CopyTable {
    /// The schema. Its primary key is what rows are told apart by: of a table without one the UNIQUE key
    /// that snapshots go by.
    pub(super) source: Arc<Table>,
    /// Quoted, with its database or schema.
    pub(super) name: String,
    /// No statement has more bytes beside the values of its rows.
    pub(super) names_bytes: usize,
    /// Whether ranges of keys mean the same as at the source.
    pub(super) sorts_as_source: bool,
}

impl CopyTable {
    /// `shop.orders`, for messages.
    pub(super) fn shown(table: &Table) -> String {
        binpulse_core::excerpt::excerpt(&format!("{}.{}", table.database, table.name))
    }
}

/// A schema's place: database, table and fingerprint.
type Place = (Arc<str>, Arc<str>, u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Tables {
    policy: SchemaPolicy,
    known: HashMap<Place, Arc<CopyTable>>,
}

/// A column as it is in the copy: name, type and collation.
type Here = (String, String, String);

fn place_of(table: &Table) -> Place {
    (Arc::clone(&table.database), Arc::clone(&table.name), table.fingerprint)
}

impl Tables {
    pub(super) fn new(policy: SchemaPolicy) -> Self {
        Self { policy, known: HashMap::new() }
    }

    /// Everything is looked at anew.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    pub(super) fn get(&self, table: &Table) -> Result<&Arc<CopyTable>, Failure> {
        self.known.get(&place_of(table)).ok_or_else(Failure::none)
    }

    /// Makes the copy's own tables.
    pub(super) async fn make_own(&self, session: &mut Session) -> Result<(), Failure> {
        for (name, create) in own_tables(session.dialect) {
            match session.rows(format!("SELECT 1 FROM {name} LIMIT 0").as_bytes()).await {
                Err(Failure::Stale(_)) => run_ddl(session, &create).await?,
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Makes a table fit the schema, as far as the policy allows. `key` is what a snapshot goes by, if it
    /// is not the primary key.
    pub(super) async fn prepare(
        &mut self,
        session: &mut Session,
        table: &Arc<Table>,
        key: &[u32],
    ) -> Result<(), Failure> {
        let is_key = |known: &CopyTable| {
            let ours = &known.source.primary_key;
            key.is_empty()
                || ours.iter().map(|at| *at as u64).eq(key.iter().map(|at| u64::from(*at)))
        };
        if self.known.get(&place_of(table)).is_some_and(|known| is_key(known)) {
            return Ok(());
        }
        let shown = CopyTable::shown(table);
        check_source(session.dialect, table, &shown)?;
        let name = format!(
            "{}.{}",
            session.dialect.name(&table.database),
            session.dialect.name(&table.name)
        );
        let mut here = columns(session, table).await?;
        let place = place_of(table);
        let table = &with_key(session, table, key, &shown).await?;
        if here.is_empty() {
            self.create(session, table, &name, &shown).await?;
            here = columns(session, table).await?;
        } else {
            self.add_columns(session, table, &name, &here, &shown).await?;
        }
        check_keys(session, table, &shown).await?;
        let sorts_as_source = table.primary_key.iter().all(|ordinal| {
            let Some(column) = table.columns.get(*ordinal) else { return false };
            let found = here.iter().find(|(name, ..)| same(session.dialect, name, &column.name));
            found.is_some_and(|(_, kind, collation)| {
                ddl::sorts_as_source(
                    session.dialect,
                    &session.collations,
                    column,
                    (kind, collation),
                )
            })
        });
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        // A column's name stands three times in a statement, with quotes and words around it.
        let columns = table.columns.iter().map(|column| column.name.len() * 6 + 64);
        let names_bytes = name.len() * 2 + columns.sum::<usize>() + 256;
        let known = CopyTable { source: Arc::clone(table), name, names_bytes, sorts_as_source };
        self.known.insert(place, Arc::new(known));
        Ok(())
    }

    async fn create(
        &self,
        session: &mut Session,
        table: &Table,
        name: &str,
        shown: &str,
    ) -> Result<(), Failure> {
        let database = session.dialect.name(&table.database);
        let word = if session.dialect.is_postgres() { "SCHEMA" } else { "DATABASE" };
        let mut parts = definitions(session, table, shown, |_| true)?;
        let keys = table.primary_key.iter().filter_map(|ordinal| table.columns.get(*ordinal));
        let keys: Vec<_> = keys.map(|column| session.dialect.name(&column.name)).collect();
        parts.push(format!("PRIMARY KEY ({})", keys.join(", ")));
        let create = format!("CREATE TABLE IF NOT EXISTS {name} ({})", parts.join(", "));
        if self.policy == SchemaPolicy::Refuse {
            let found = format!("no table {shown} in the copy");
            return Err(Failure::unfit(found, "the table", format!("run: {create}")));
        }
        let known = if session.dialect.is_postgres() {
            format!(
                "SELECT 1 FROM pg_namespace WHERE nspname = {}",
                session.dialect.text(&table.database)
            )
        } else {
            let database = session.dialect.text(&table.database);
            format!("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {database}")
        };
        // Whoever may make tables need not have the right to make databases.
        if session.rows(known.as_bytes()).await?.is_empty() {
            run_ddl(session, &format!("CREATE {word} IF NOT EXISTS {database}")).await?;
        }
        run_ddl(session, &create).await
    }

    async fn add_columns(
        &self,
        session: &mut Session,
        table: &Table,
        name: &str,
        here: &[Here],
        shown: &str,
    ) -> Result<(), Failure> {
        let dialect = session.dialect;
        let is_missing =
            |column: &str| here.iter().all(|(known, ..)| !same(dialect, known, column));
        let missing = definitions(session, table, shown, is_missing)?;
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<_> = missing.iter().map(|column| format!("ADD COLUMN {column}")).collect();
        let alter = format!("ALTER TABLE {name} {}", missing.join(", "));
        if self.policy != SchemaPolicy::Add {
            let found = format!("table {shown} of the copy without columns that the source has");
            return Err(Failure::unfit(found, "the columns", format!("run: {alter}")));
        }
        run_ddl(session, &alter).await
    }
}

/// Whether two names of columns are one.
fn same(dialect: Dialect, one: &str, other: &str) -> bool {
    one == other || !dialect.is_postgres() && one.to_lowercase() == other.to_lowercase()
}

/// What a source's table needs to have a copy.
fn check_source(dialect: Dialect, table: &Table, shown: &str) -> Result<(), Failure> {
    if !table.named {
        return Err(Failure::refused(
            shown,
            "rows without names of columns",
            "names",
            "set binlog_row_metadata = FULL at the source",
        ));
    }
    let names = table.columns.iter().map(|column| column.name.as_str());
    let mut names = names.chain([&*table.database, &*table.name]);
    if dialect.is_postgres()
        && let Some(name) = names.find(|name| name.len() > POSTGRES_NAME_BYTES_MAX)
    {
        return Err(Failure::refused(
            shown,
            format!("the name `{}`", binpulse_core::excerpt::excerpt(name)),
            "names of at most 63 bytes, which PostgreSQL does not cut",
            "leave the table out with relay.filter.tables, or the column",
        ));
    }
    Ok(())
}

/// The table with the key that its rows are told apart by: its primary key, or else the UNIQUE key that a
/// snapshot goes by. The copy's table remembers that as its own primary key.
async fn with_key(
    session: &mut Session,
    table: &Arc<Table>,
    key: &[u32],
    shown: &str,
) -> Result<Arc<Table>, Failure> {
    if !table.primary_key.is_empty() {
        return Ok(Arc::clone(table));
    }
    let mut primary_key: Vec<usize> =
        key.iter().filter_map(|ordinal| usize::try_from(*ordinal).ok()).collect();
    if primary_key.is_empty() {
        let unique = unique_columns(session, table).await?;
        let unique = unique.iter().filter(|(index, _)| index == "PRIMARY");
        let place = |name: &str| {
            table.columns.iter().position(|column| same(session.dialect, &column.name, name))
        };
        primary_key = unique.filter_map(|(_, column)| place(column)).collect();
    }
    if primary_key.is_empty() {
        return Err(Failure::refused(
            shown,
            "no primary key",
            "a primary key, or a snapshot first that tells the table's UNIQUE key: without one rows \
             can't be told apart",
            "add one at the source, take a snapshot of the table, or leave it out with \
             relay.filter.tables",
        ));
    }
    Ok(Arc::new(Table { primary_key, ..Table::clone(table) }))
}

/// Definitions of those columns.
fn definitions(
    session: &Session,
    table: &Table,
    shown: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<String>, Failure> {
    let columns = table.columns.iter().enumerate().filter(|(_, column)| wanted(&column.name));
    let definitions = columns.map(|(ordinal, column)| {
        let is_key = table.primary_key.contains(&ordinal);
        let made = ddl::definition(session.dialect, &session.collations, column, is_key);
        made.map_err(|found| {
            let remedy = "make the table by hand, or leave it out with relay.filter.tables";
            Failure::refused(shown, found, "types that the copy knows", remedy)
        })
    });
    definitions.collect()
}

/// Changes a schema. Whoever may not is told what to run.
async fn run_ddl(session: &mut Session, sql: &str) -> Result<(), Failure> {
    let Err(failure) = session.run(sql.as_bytes()).await else { return Ok(()) };
    let said = match failure {
        Failure::Conflict(_) | Failure::Away(_) => return Err(failure),
        Failure::Said { code, words } => {
            format!("{code}: {}", binpulse_core::excerpt::excerpt(&words))
        }
        Failure::Stale(found) | Failure::Unfit { found, .. } | Failure::Refused { found, .. } => {
            found
        }
    };
    Err(Failure::unfit(said, "that this statement succeeds", format!("run: {sql}")))
}

async fn columns(session: &mut Session, table: &Table) -> Result<Vec<Here>, Failure> {
    let dialect = session.dialect;
    let (database, name) = (dialect.text(&table.database), dialect.text(&table.name));
    let columns = if dialect.is_postgres() {
        "column_name, data_type, ''"
    } else {
        "COLUMN_NAME, COLUMN_TYPE, COALESCE(COLLATION_NAME, '')"
    };
    let sql = format!(
        "SELECT {columns} FROM information_schema.columns \
         WHERE table_schema = {database} AND table_name = {name}"
    );
    let rows = session.rows(sql.as_bytes()).await?;
    let columns = rows.iter().filter_map(|row| match row.as_slice() {
        [name, kind, collation] => Some((text(name), text(kind), text(collation))),
        _ => None,
    });
    Ok(columns.collect())
}

/// Columns of the copy's unique indexes, each with its index; `PRIMARY` is the primary key.
async fn unique_columns(
    session: &mut Session,
    table: &Table,
) -> Result<Vec<(String, String)>, Failure> {
    let dialect = session.dialect;
    let (database, name) = (dialect.text(&table.database), dialect.text(&table.name));
    let sql = if dialect.is_postgres() {
        format!(
            "SELECT CASE WHEN i.indisprimary THEN 'PRIMARY' ELSE c.relname END, a.attname \
             FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
             JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace \
             JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = ANY (i.indkey) \
             WHERE i.indisunique AND n.nspname = {database} AND t.relname = {name} \
             ORDER BY 1, array_position(i.indkey::int2[], a.attnum)"
        )
    } else {
        format!(
            "SELECT INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS \
             WHERE NON_UNIQUE = 0 AND TABLE_SCHEMA = {database} AND TABLE_NAME = {name} \
             ORDER BY INDEX_NAME, SEQ_IN_INDEX"
        )
    };
    let rows = session.rows(sql.as_bytes()).await?;
    let columns = rows.iter().filter_map(|row| match row.as_slice() {
        [index, column] => Some((text(index), text(column))),
        _ => None,
    });
    Ok(columns.collect())
}

/// The copy tells rows apart as the source does: by the same primary key, and by nothing else.
async fn check_keys(session: &mut Session, table: &Table, shown: &str) -> Result<(), Failure> {
    let dialect = session.dialect;
    let mut key = Vec::new();
    for (index, column) in unique_columns(session, table).await? {
        if index != "PRIMARY" {
            let found = format!("the UNIQUE index {index} of table {shown} in the copy");
            let needed =
                "no UNIQUE index beside the primary key: rows of one transaction are joined";
            return Err(Failure::unfit(found, needed, "make it an index that is not UNIQUE"));
        }
        key.push(column);
    }
    let source = table.primary_key.iter().filter_map(|ordinal| table.columns.get(*ordinal));
    let source: Vec<_> = source.map(|column| column.name.as_str()).collect();
    let fits = key.len() == source.len()
        && source.iter().all(|column| key.iter().any(|known| same(dialect, known, column)));
    if fits {
        return Ok(());
    }
    let found = format!("the primary key ({}) of table {shown} in the copy", key.join(", "));
    let needed = format!("that of the source, ({})", source.join(", "));
    Err(Failure::unfit(found, needed, "change it, or drop the copy's table and take a snapshot"))
}
