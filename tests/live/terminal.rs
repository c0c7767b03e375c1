//! Commands of a running stream in a real terminal (tmux), as people see them.

use binpulse::config::Setting;
use binpulse_demo::{Mysqld, Options};

use crate::bed::{Bed, Rig, Topic, binary};
use crate::on_terminal::Terminal;
use crate::replay::until_saved;
use crate::suite::{Outcome, tests};

tests! {
    tail_and_replay_print_for_people_on_a_terminal on [Mysql97, Mariadb118];
}

const SIZES: [(u32, u32); 2] = [(80, 24), (120, 40)];

/// A command with these settings in a terminal; it stays when the command has ended.
fn on_terminal(
    size: (u32, u32),
    arguments: &str,
    settings: &[(&'static str, String)],
    environment: &[(&'static str, String)],
) -> Terminal {
    let quoted = |value: &str| format!("'{}'", value.replace('\'', "'\\''"));
    let mut all = "TERM=xterm ".to_owned();
    for (key, value) in settings.iter().filter(|(key, _)| *key != "http.listen") {
        let name = Setting::find(key).expect("a setting").env();
        all.extend([&name, "=", &quoted(value), " "]);
    }
    for (name, value) in environment {
        all.extend([name, "=", &quoted(value), " "]);
    }
    let name = arguments.split(' ').next().unwrap_or_default();
    let line = format!("sh -c '\"$0\" {arguments}; cat' {}", binary().display());
    Terminal::start(name, size, &all, &line)
}

async fn write(mysqld: &Mysqld) -> Outcome {
    mysqld
        .execute(&[
            "CREATE DATABASE d",
            "CREATE TABLE d.orders (id INT PRIMARY KEY, total DECIMAL(9,2), note VARCHAR(200))",
            "INSERT INTO d.orders VALUES (1, 9.90, 'grüße an alle, die dies auf einem schmalen \
             Bildschirm lesen, und noch ein wenig mehr')",
            "UPDATE d.orders SET total = 8.90, note = NULL",
            "DELETE FROM d.orders",
        ])
        .await?;
    Ok(())
}

async fn tail_and_replay_print_for_people_on_a_terminal(bed: Bed) -> Outcome {
    if !Terminal::is_there() {
        println!("NOT RUN: no tmux");
        return Ok(());
    }
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &[]).await?;
    write(&rig.mysqld).await?;
    until_saved(&mut rig).await?;
    let service = rig.streamer.command_mut();
    let (settings, environment) = (service.settings.clone(), service.environment.clone());
    for size in SIZES {
        let line = "tail --source-start earliest --filter-tables \"d.*\"";
        let tail = on_terminal(size, line, &settings, &environment);
        let screen = tail.until("DELETE");
        println!("{size:?}\n{screen}");
        let width = usize::try_from(size.0)?;
        assert!(screen.lines().all(|line| line.chars().count() <= width), "{screen}");
        let words = screen.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "DDL CREATE TABLE d.orders (id",
            "INSERT d.orders id=1 total=9.90 note=\"grüße an alle",
            "UPDATE d.orders id=1 total=9.90->8.90 note=\"grüße",
            "mehr\"->NULL",
            "DELETE d.orders id=1 total=8.90 note=NULL",
        ] {
            assert!(words.contains(part), "{part} in {screen}");
        }
        // Words are whole at the ends of lines.
        assert!(!screen.lines().any(|line| line.ends_with("binlog.")), "{screen}");
        assert!(screen.contains(" UTC  ") && !screen.contains("{\"kind\""), "{screen}");

        let replay = on_terminal(size, "replay --since 1h --dry-run", &settings, &environment);
        let screen = replay.until("Nothing was published.");
        println!("{screen}");
        assert!(screen.contains("d.orders#0"), "{screen}");
        assert!(!screen.contains("{\"epoch\"") && !screen.contains("Counting"), "{screen}");
        let json = on_terminal(size, "replay --since 1h --dry-run --json", &settings, &environment);
        json.until_so("a JSON document", |screen| {
            screen.replace('\n', "").contains("\"published\":false")
        });
    }
    Ok(())
}
