//! The lease's statements. Each is one transaction, and asks for what it relies on.

use std::time::Duration;

use super::{Holder, Row};
use crate::mysql::{Error, Session, Value};

/// Bounds of a lifetime that a row may name.
const LIFETIME: (Duration, Duration) = (Duration::from_millis(100), Duration::from_mins(2));

/// Where the row is.
#[derive(Debug, Clone)]
pub struct Tables {
    /// Quoted and qualified name of the leases' table.
    pub lease: String,
    /// The same of the checkpoints' table, whose owners' numbers a fence exceeds.
    pub checkpoint: String,
    /// The stream.
    pub stream: String,
}

/// Reads the row.
pub async fn read(session: &mut Session, tables: &Tables) -> Result<Option<Row>, Error> {
    let sql = format!(
        "SELECT fence, renewals, lifetime_ms, \
         TIMESTAMPDIFF(MICROSECOND, renewed_at, UTC_TIMESTAMP(6)), \
         DATE_FORMAT(taken_at, '%Y-%m-%dT%H:%i:%sZ'), instance, address, host, version, place \
         FROM {} WHERE stream = ?",
        tables.lease
    );
    let rows = session.exec(&sql, vec![tables.stream.clone().into()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let text = |column| row.text(column).unwrap_or_default();
    let lifetime = Duration::from_millis(row.unsigned(2)?.unwrap_or_default());
    let age = row.signed(3)?.and_then(|age| u64::try_from(age).ok());
    Ok(Some(Row {
        fence: row.unsigned(0)?.unwrap_or_default(),
        renewals: row.unsigned(1)?.unwrap_or_default(),
        lifetime: lifetime.clamp(LIFETIME.0, LIFETIME.1),
        age: age.map(Duration::from_micros),
        since: text(4),
        holder: Holder {
            instance: text(5),
            address: text(6),
            host: text(7),
            version: text(8),
            place: text(9),
        },
    }))
}

/// Takes the lease if the row is still as it was `seen`; the row then. `None`: it is another's meanwhile.
pub async fn take(
    session: &mut Session,
    tables: &Tables,
    holder: &Holder,
    lifetime: Duration,
    seen: Option<&Row>,
) -> Result<Option<Row>, Error> {
    let Tables { lease, checkpoint, stream } = tables;
    // Above the number of any owner of the checkpoint, whichever version it has. Read apart from the writing,
    // so that a save that stands still keeps nobody waiting.
    let owner = format!("SELECT owner FROM {checkpoint} WHERE stream = ?");
    let owner = session.exec(&owner, vec![stream.clone().into()]).await?;
    let owner = owner.first().map(|row| row.unsigned(0)).transpose()?.flatten().unwrap_or(0);
    let stream = || Value::from(stream.clone());
    let [instance, address, host, version, place] = texts(holder);
    let lifetime = millis(lifetime);
    if let Some(seen) = seen {
        let sql = format!(
            "UPDATE {lease} SET fence = GREATEST(fence, {owner}) + 1, renewals = renewals + 1, \
             renewed_at = UTC_TIMESTAMP(6), taken_at = UTC_TIMESTAMP(6), lifetime_ms = ?, \
             instance = ?, address = ?, host = ?, version = ?, place = ? \
             WHERE stream = ? AND fence = ? AND renewals = ?"
        );
        let row = [stream(), seen.fence.into(), seen.renewals.into()];
        let values = [lifetime, instance, address, host, version, place];
        session.exec(&sql, values.into_iter().chain(row).collect()).await?;
    } else {
        let sql = format!(
            "INSERT INTO {lease} (stream, fence, renewals, renewed_at, taken_at, lifetime_ms, \
             instance, address, host, version, place) VALUES \
             (?, {owner} + 1, 1, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?, ?, ?, ?, ?, ?) \
             ON DUPLICATE KEY UPDATE fence = fence"
        );
        let values = vec![stream(), lifetime, instance, address, host, version, place];
        session.exec(&sql, values).await?;
    }
    if session.affected_rows() == 0 {
        return Ok(None);
    }
    let row = read(session, tables).await?;
    Ok(row.filter(|row| row.holder.instance == holder.instance))
}

/// Renews the lease; whether it was there to be renewed.
pub async fn renew(
    session: &mut Session,
    tables: &Tables,
    holder: &Holder,
    fence: u64,
) -> Result<bool, Error> {
    let sql = format!(
        "UPDATE {} SET renewals = renewals + 1, renewed_at = UTC_TIMESTAMP(6) \
         WHERE stream = ? AND fence = ? AND instance = ?",
        tables.lease
    );
    let values = vec![tables.stream.clone().into(), fence.into(), holder.instance.clone().into()];
    session.exec(&sql, values).await?;
    Ok(session.affected_rows() > 0)
}

/// Writes the lease as it is held, unless a later fence is there; whether it was written.
pub async fn write(
    session: &mut Session,
    tables: &Tables,
    holder: &Holder,
    lifetime: Duration,
    fence: u64,
) -> Result<bool, Error> {
    let Tables { lease, stream, .. } = tables;
    let newer =
        |column: &str| format!("{column} = IF(fence < VALUES(fence), VALUES({column}), {column})");
    let columns = ["instance", "address", "host", "version", "place", "lifetime_ms"].map(newer);
    // Assignments run from left to right, so `fence` must be the last.
    let sql = format!(
        "INSERT INTO {lease} (stream, fence, renewals, renewed_at, taken_at, lifetime_ms, instance, \
         address, host, version, place) VALUES \
         (?, ?, 1, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?, ?, ?, ?, ?, ?) \
         ON DUPLICATE KEY UPDATE renewals = renewals + 1, \
         {}, {}, fence = GREATEST(fence, VALUES(fence))",
        newer("renewed_at"),
        columns.join(", ")
    );
    let [instance, address, host, version, place] = texts(holder);
    let values = vec![
        stream.clone().into(),
        fence.into(),
        millis(lifetime),
        instance,
        address,
        host,
        version,
        place,
    ];
    session.exec(&sql, values).await?;
    let row = read(session, tables).await?;
    Ok(row.is_some_and(|row| row.fence == fence && row.holder.instance == holder.instance))
}

/// Gives the lease up, if it is still held.
pub async fn give_up(
    session: &mut Session,
    tables: &Tables,
    holder: &Holder,
    fence: u64,
) -> Result<(), Error> {
    let sql = format!(
        "UPDATE {} SET instance = '', renewals = renewals + 1 \
         WHERE stream = ? AND fence = ? AND instance = ?",
        tables.lease
    );
    let values = vec![tables.stream.clone().into(), fence.into(), holder.instance.clone().into()];
    session.exec(&sql, values).await.map(drop)
}

/// The holder's columns, as far as they have room.
fn texts(holder: &Holder) -> [Value; 5] {
    let Holder { instance, address, host, version, place } = holder;
    let cut = |text: &String| text.chars().take(190).collect::<String>().into();
    [cut(instance), cut(address), cut(host), cut(version), cut(place)]
}

fn millis(duration: Duration) -> Value {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into()
}
