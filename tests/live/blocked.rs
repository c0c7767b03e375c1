//! What stands in the way of writes, told apart on real servers.

use binpulse_demo::Options;
use mysql_async::prelude::Queryable;

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::suite::{Outcome, tests};
use crate::takeover::{is_healthy, verdict};

tests! {
    each_thing_that_stands_in_the_way_of_writes_has_its_own_name on [Mysql97, Mariadb1011];
    a_short_write_deadline_does_not_make_a_full_disk_of_a_lock on [Mysql97];
}

/// What a session does and holds, and what the verdict then is.
const HELD: [(&[&str], &str, &str); 4] = [
    (&["FLUSH TABLES WITH READ LOCK"], "writes_blocked", "ftwrl"),
    (&["LOCK TABLES binpulse.heartbeat WRITE"], "writes_blocked", "mdl"),
    (
        &["BEGIN", "SELECT * FROM binpulse.heartbeat", "UPDATE binpulse.heartbeat SET n = n"],
        "writes_blocked",
        "row_lock",
    ),
    (&["BEGIN", "SELECT * FROM binpulse.heartbeat FOR UPDATE"], "writes_blocked", "row_lock"),
];

async fn each_thing_that_stands_in_the_way_of_writes_has_its_own_name(bed: Bed) -> Outcome {
    // W must leave room for the server's own time-outs of a second.
    let settings = [
        ("heartbeat.interval", "2500ms".to_owned()),
        ("heartbeat.write_deadline", "2s".to_owned()),
    ];
    let mut rig = blocked_rig(&bed, &settings).await?;
    for (statements, state, reason) in HELD {
        held(&mut rig, statements, (state, reason)).await?;
    }
    let mut switches = vec!["read_only"];
    if !bed.version().starts_with("mariadb") {
        switches.push("super_read_only");
    }
    for switch in switches {
        rig.mysqld.execute(&[format!("SET GLOBAL {switch} = 1")]).await?;
        let what = format!("the verdict on {switch}");
        let found = |status: &_| verdict(status).0 == "source_read_only";
        rig.streamer.until(&what, SOON, found).await?;
        rig.mysqld.execute(&["SET GLOBAL read_only = 0"]).await?;
        rig.streamer.until("a healthy verdict again", SOON, is_healthy).await?;
    }
    Ok(())
}

async fn a_short_write_deadline_does_not_make_a_full_disk_of_a_lock(bed: Bed) -> Outcome {
    let settings =
        [("heartbeat.interval", "1s".to_owned()), ("heartbeat.write_deadline", "300ms".to_owned())];
    let mut rig = blocked_rig(&bed, &settings).await?;
    let (statements, state, reason) = HELD[3];
    held(&mut rig, statements, (state, reason)).await
}

async fn blocked_rig(
    bed: &Bed,
    settings: &[(&'static str, String)],
) -> Result<Rig, binpulse_demo::Error> {
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut rig = Rig::start(bed, mysqld, Topic::Standard, settings).await?;
    rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
    Ok(rig)
}

/// Holds what `statements` take until the verdict is `expected`, and lets go.
async fn held(rig: &mut Rig, statements: &[&str], expected: (&str, &str)) -> Outcome {
    let mut holder = rig.mysqld.connect().await?;
    for statement in statements {
        holder.query_drop(*statement).await?;
    }
    let status = rig
        .streamer
        .until(&format!("the verdict on {statements:?}"), SOON, |status| {
            !is_healthy(status) && verdict(status).0 != "indeterminate"
        })
        .await?;
    // The words that name the reason may be asked for a moment after the state is certain.
    let (state, _) = verdict(&status);
    assert_eq!(state, expected.0, "{statements:?}: {}", status["verdict"]);
    rig.streamer
        .until(&format!("{expected:?} on {statements:?}"), SOON, |status| {
            verdict(status) == (expected.0, Some(expected.1))
        })
        .await?;
    holder.disconnect().await?;
    rig.streamer.until("a healthy verdict again", SOON, is_healthy).await?;
    Ok(())
}
