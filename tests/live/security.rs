//! Least privilege, and what must be in no output.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use binpulse::encode::open;
use binpulse::local_http::exchange_over;
use binpulse_demo::{
    Aws, Command, Folder, Mysqld, Options, Standin, Streamer, prepare, settings_for,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::aws::Endpoint;
use crate::aws::faults::{Effect, Pick, When};
use crate::bed::{Bed, SOON, binary, command};
use crate::suite::{Outcome, tests};

tests! {
    a_stream_runs_with_exactly_the_documented_rights on [Mysql97, Mysql80, Mariadb1011];
    secrets_and_masked_values_are_in_no_output on [Mysql97];
    the_service_is_asked_over_tls_with_its_token_and_by_nobody_else on [Mysql97];
}

/// The first block of this language in a document, behind this heading.
fn documented(document: &str, heading: &str, language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = std::fs::read_to_string(path).expect("the document");
    let section = text.split(heading).nth(1).expect(heading);
    let block = section.split(&format!("```{language}\n")).nth(1).expect(language);
    block.split("```").next().expect("an end").to_owned()
}

/// The grants as written there, with a password.
fn documented_grants(password: &str) -> Vec<String> {
    let sql = documented("docs/setup/mysql.md", "## Accounts", "sql")
        .replace("<password>", &format!("'{password}'"));
    sql.split(";\n").map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// The actions of the policy as written there.
fn documented_actions() -> Vec<String> {
    let policy: Value =
        serde_json::from_str(&documented("docs/setup/aws.md", "## Permissions", "json"))
            .expect("the policy is JSON");
    let statements = policy["Statement"].as_array().expect("statements");
    let actions = statements.iter().filter_map(|statement| statement["Action"].as_array());
    actions.flatten().map(|action| action.as_str().expect("text").to_owned()).collect()
}

/// Makes the schema, as somebody who may.
async fn init(mysqld: &Mysqld) -> Outcome {
    let mut settings = settings_for(mysqld);
    settings.retain(|(key, _)| !matches!(*key, "source.user" | "source.password"));
    settings.push(("source.user", "root".to_owned()));
    let (code, log) = command("init", settings).run_to_end(SOON).await?;
    assert_eq!(code, Some(0), "{log}");
    Ok(())
}

fn with(settings: &mut Vec<(&'static str, String)>, others: &[(&'static str, &str)]) {
    settings.retain(|(key, _)| !others.iter().any(|(other, _)| other == key));
    settings.extend(others.iter().map(|(key, value)| (*key, (*value).to_owned())));
}

async fn endpoint() -> Endpoint {
    let endpoint = Endpoint::start().await;
    Standin::REGION.clone_into(&mut endpoint.shared.store().region);
    endpoint
}

async fn a_stream_runs_with_exactly_the_documented_rights(bed: Bed) -> Outcome {
    // Given a server and a cloud that allow what the documentation says, and no more
    let mysqld = bed.mysqld(Options::default()).await?;
    init(&mysqld).await?;
    mysqld.execute(&documented_grants("of-the-test")).await?;
    let endpoint = endpoint().await;
    let aws = Aws::at(&endpoint.url());
    let topic = aws.create_topic("rights").await?;
    let queue = aws.subscribe_queue(&topic, "rights-echo", &["canary"]).await?;
    let actions = documented_actions();
    {
        let mut store = endpoint.shared.store();
        let queue = store.queues.get_mut("rights-echo").expect("it was made");
        let policy = r#"{"Effect": "Allow", "Action": "sqs:SendMessage"}"#;
        queue.attributes.insert("Policy".to_owned(), policy.to_owned());
        store.took.clear();
        store.may = Some(actions.clone());
    }
    let (url, echo) = (endpoint.url(), format!("echo={queue}"));
    let mut settings = settings_for(&mysqld);
    let own = [
        ("source.user", "binpulse"),
        ("source.password", "of-the-test"),
        ("heartbeat.user", "binpulse_writer"),
        ("heartbeat.password", "of-the-test"),
        ("source.heartbeat_period", "200ms"),
        ("heartbeat.interval", "500ms"),
        ("heartbeat.write_deadline", "400ms"),
        ("canary.interval", "1s"),
        ("canary.echo", &echo),
        ("checkpoint.store", "table"),
        ("sns.topic", &topic),
        ("sns.endpoint_url", &url),
    ];
    with(&mut settings, &own);

    // When rows are written
    let mut streamer = Streamer::start(command("run", settings))?;
    streamer.until_ready(SOON).await?;
    let rows = ["CREATE DATABASE d", "CREATE TABLE d.t (i INT)", "INSERT INTO d.t VALUES (1), (2)"];
    mysqld.execute(&rows).await?;

    // Then everything works: rows, heartbeats, canaries, their echo, the checkpoint in its table
    streamer
        .until("a stream that is live, with a canary's echo and a saved checkpoint", SOON, |now| {
            now["verdict"]["state"] == "live"
                && now["progress"]["changes_published"].as_u64() >= Some(2)
                && now["consumers"][0]["last"].is_u64()
                && now["checkpoint"]["age_seconds"].is_number()
                && now["checkpoint"]["failures"] == 0
        })
        .await?;
    assert_eq!(streamer.stop().await?, Some(0), "{}", streamer.log_tail());
    // And no action is allowed that is not needed
    let documented: BTreeSet<String> = actions.into_iter().collect();
    assert_eq!(endpoint.shared.store().took, documented);
    Ok(())
}

/// Outputs by name, or one.
type Found<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What must never be seen. The words are in nothing else.
const SECRETS: [(&str, &str); 5] = [
    ("source.password", "planted-source-password"),
    ("heartbeat.password", "planted-writer-password"),
    ("filter.hash_key", "planted-hash-key"),
    ("http.token", "planted-http-token"),
    ("AWS_SECRET_ACCESS_KEY", "planted-aws-secret"),
];
const MASKED: [&str; 3] = ["planted-card", "planted-mail", "planted-other-mail"];

async fn secrets_and_masked_values_are_in_no_output(bed: Bed) -> Outcome {
    // Given a stream with secrets, whose topic refuses what is published first, and rows with columns
    // that must not leave
    let mysqld = bed.mysqld(Options::default()).await?;
    init(&mysqld).await?;
    let mut grants = documented_grants(SECRETS[0].1);
    grants.push(format!("ALTER USER 'binpulse_writer'@'%' IDENTIFIED BY '{}'", SECRETS[1].1));
    mysqld.execute(&grants).await?;
    mysqld
        .execute(&[
            "CREATE DATABASE d",
            "CREATE TABLE d.people (id INT PRIMARY KEY, card TEXT, mail TEXT, note TEXT)",
        ])
        .await?;
    let endpoint = endpoint().await;
    let topic = endpoint.topic("secrets", &[]);
    let folder = tempfile::tempdir()?;
    let quarantine = folder.path().join("quarantine").display().to_string();
    let checkpoint = folder.path().join("checkpoint").display().to_string();
    let url = endpoint.url();
    let mut settings = settings_for(&mysqld);
    let own = [
        ("source.user", "binpulse"),
        ("heartbeat.user", "binpulse_writer"),
        ("source.start", "earliest"),
        ("filter.tables", "d.*"),
        ("filter.drop_columns", "d.people.card"),
        ("filter.hash_columns", "*.people.mail"),
        ("message.schema_changes", "false"),
        ("message.target_bytes", "1024"),
        ("sink.rejected", "quarantine"),
        ("sink.quarantine", &quarantine),
        ("checkpoint.path", &checkpoint),
        ("checkpoint.interval", "50ms"),
        ("sns.topic", &topic),
        ("sns.endpoint_url", &url),
        ("log.level", "trace"),
    ];
    with(&mut settings, &own);
    with(&mut settings, &SECRETS[..4]);
    let refuse = Effect::FailEntries(Pick::All, "InvalidParameter", true);
    endpoint.fault("PublishBatch", When::Always, refuse.clone());
    endpoint.fault("Publish", When::Always, refuse);
    let planted = |name: &str| {
        let mut command = command(name, settings.clone());
        command.environment.retain(|(name, _)| *name != "AWS_SECRET_ACCESS_KEY");
        command.environment.push((SECRETS[4].0, SECRETS[4].1.to_owned()));
        command
    };

    // When it runs
    let mut streamer = Streamer::start(planted("run"))?;
    let insert = |id: u32| {
        format!(
            "INSERT INTO d.people VALUES ({id}, 'planted-card', 'planted-mail', 'visible-{id}')"
        )
    };
    mysqld.execute(&[insert(1)]).await?;
    // A canary may come first: the row itself must be refused.
    let refused = async {
        let read = || std::fs::read_to_string(&quarantine).unwrap_or_default();
        while !quarantined(&read()).contains("visible-1") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let is_kept = tokio::time::timeout(SOON, refused).await;
    assert!(is_kept.is_ok(), "the row is not in the quarantine: {}", streamer.log_tail());
    endpoint.heal();
    mysqld
        .execute(&[
            insert(2),
            "UPDATE d.people SET mail = 'planted-other-mail', card = REVERSE(card)".to_owned(),
            "DELETE FROM d.people WHERE id = 1".to_owned(),
        ])
        .await?;
    let arrived = |store: &crate::aws::store::Store| {
        let bodies: String =
            store.accepted.iter().map(|message| opened(&message.entry.body)).collect();
        bodies.contains("visible-2") && bodies.matches("visible-1").count() > 1
    };
    endpoint.until("the rows", arrived).await;

    // Then none of it is in anything that it shows, sends, keeps or logs
    let mut outputs = shown(&streamer, &planted("settings")).await?;
    outputs.extend(bundles(&streamer, planted("bundle"), folder.path()).await?);
    let refused = refused_login(planted("run"), folder.path()).await?;
    outputs.push(("a refused login".to_owned(), refused));
    streamer.stop().await?;
    let log = streamer.folder().path().join("log");
    outputs.extend(kept(&[&log, Path::new(&checkpoint), Path::new(&quarantine)])?);
    let bodies: String =
        endpoint.shared.store().accepted.iter().map(|m| opened(&m.entry.body)).collect();
    outputs.push(("messages".to_owned(), bodies));
    for (name, text) in &outputs {
        for word in SECRETS.iter().map(|(_, secret)| *secret).chain(MASKED) {
            assert!(!text.contains(word), "`{word}` is in {name}: {}", around(text, word));
        }
    }
    Ok(())
}

/// What the running service shows, and what the commands say that know its settings.
async fn shown(streamer: &Streamer, command: &Command) -> Found<Vec<(String, String)>> {
    let mut outputs = Vec::new();
    for path in ["/", "/status", "/metrics", "/healthz", "/readyz", "/history", "/log"] {
        for headers in ["", "Authorization: Bearer planted-http-token\r\n"] {
            let stream = TcpStream::connect(streamer.address()).await?;
            let answer = exchange_over(stream, "GET", streamer.address(), path, headers).await?;
            outputs.push((format!("{path} {}", headers.len()), answer));
        }
    }
    let has_settings = outputs.iter().any(|(_, answer)| answer.contains("filter.hash_key"));
    assert!(has_settings, "the settings are among what is shown");
    let words = command_line(streamer.address());
    assert!(words.contains("--source-user"), "{words}");
    outputs.push(("command line".to_owned(), words));
    for name in ["settings", "check"] {
        let command = Command { command: name.to_owned(), ..command.clone() };
        let (_, text) = command.run_to_end(SOON).await?;
        outputs.push((name.to_owned(), text));
    }
    Ok(outputs)
}

/// The files of the bundle that the service makes, and of the one that the command makes.
async fn bundles(
    streamer: &Streamer,
    mut command: Command,
    folder: &Path,
) -> Found<Vec<(String, String)>> {
    let (served, made) = (folder.join("served.tar.gz"), folder.join("made.tar.gz"));
    let mut stream = TcpStream::connect(streamer.address()).await?;
    let request = "GET /bundle HTTP/1.0\r\nAuthorization: Bearer planted-http-token\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("no answer")?;
    std::fs::write(&served, &answer[end + 4..])?;
    with(&mut command.settings, &[("http.listen", streamer.address())]);
    command.arguments = vec![format!("--out={}", made.display())];
    let (code, said) = command.run_to_end(SOON).await?;
    assert_eq!(code, Some(0), "{said}");
    let mut outputs = vec![("bundle".to_owned(), said)];
    for (archive, count) in [(served, 8), (made, 9)] {
        let into = archive.with_extension("folder");
        std::fs::create_dir(&into)?;
        let mut tar = std::process::Command::new("tar");
        assert!(tar.arg("-xzf").arg(&archive).arg("-C").arg(&into).status()?.success());
        let inner = std::fs::read_dir(&into)?.next().ok_or("empty")??.path();
        let before = outputs.len();
        for file in std::fs::read_dir(inner)? {
            let path = file?.path();
            outputs.push((path.display().to_string(), std::fs::read_to_string(&path)?));
        }
        assert_eq!(outputs.len() - before, count, "{outputs:?}");
    }
    let log = outputs.iter().find(|(name, _)| name.ends_with("log.txt"));
    assert!(log.is_some_and(|(_, text)| text.contains("listening for HTTP")), "{log:?}");
    let check = outputs.iter().rfind(|(name, _)| name.ends_with("check.jsonl"));
    assert!(check.is_some_and(|(_, text)| text.contains("\"what\":\"lease\"")), "{check:?}");
    Ok(outputs)
}

/// What it says when its password is refused.
async fn refused_login(mut command: Command, folder: &Path) -> Found<String> {
    let spare = folder.join("spare").display().to_string();
    let spare_quarantine = format!("{spare}-quarantine");
    let others = [
        ("source.password", "planted-wrong"),
        ("checkpoint.path", &spare),
        ("sink.quarantine", &spare_quarantine),
        ("http.listen", "127.0.0.1:0"),
    ];
    with(&mut command.settings, &others);
    let (code, text) = command.run_to_end(SOON).await?;
    assert_eq!(code, Some(69), "{text}");
    assert!(!text.contains("planted-wrong"), "{text}");
    Ok(text)
}

/// What is in these files, and in the messages of the last, which is the quarantine.
fn kept(files: &[&Path]) -> Found<Vec<(String, String)>> {
    let mut outputs = Vec::new();
    for path in files {
        let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
        assert!(!text.is_empty(), "{}", path.display());
        outputs.push((path.display().to_string(), text));
    }
    let (_, quarantine) = outputs.last().expect("files");
    let messages = quarantined(quarantine);
    assert!(messages.contains("visible-"), "the refused message was kept");
    outputs.push(("messages in quarantine".to_owned(), messages));
    Ok(outputs)
}

/// The messages in the text of a quarantine, opened.
fn quarantined(text: &str) -> String {
    let records = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.get(line.find('{')?..)?).ok());
    records.map(|record| opened(record["body"].as_str().unwrap_or_default())).collect()
}

async fn the_service_is_asked_over_tls_with_its_token_and_by_nobody_else(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    let file = |name: &str| format!("{}/tests/certificates/{name}", env!("CARGO_MANIFEST_DIR"));
    let folder = Folder::create()?;
    let inside = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = (inside("page.crt"), inside("page.key"));
    let put = |name: &str, into: &str| std::fs::copy(file(name), into).map(drop);
    put("page.crt", &certificate)?;
    put("page.key", &key)?;
    let mut settings = settings_for(&mysqld);
    let own = [
        ("sink.kind", "null"),
        ("source.heartbeat_period", "200ms"),
        ("heartbeat.interval", "500ms"),
        ("heartbeat.write_deadline", "400ms"),
        ("http.token", "a-token-of-some-length"),
        ("http.tls_certificate", &certificate),
        ("http.tls_key", &key),
    ];
    with(&mut settings, &own);
    let streamer = Streamer::start(command("run", settings.clone()))?;
    let ask = async |name: &str, others: &[(&'static str, &str)]| {
        let mut command = command(name, settings.clone());
        with(&mut command.settings, &[("http.listen", streamer.address())]);
        with(&mut command.settings, others);
        command.run_to_end(SOON).await
    };

    // It lives as soon as it answers
    let give_up = tokio::time::Instant::now() + SOON;
    while ask("health", &[]).await?.0 != Some(0) {
        assert!(tokio::time::Instant::now() < give_up, "{}", streamer.log_tail());
    }
    let (code, status) = ask("status", &[]).await?;
    assert!(code == Some(0) && status.contains("\"version\""), "{code:?} {status}");
    let (code, said) = ask("verdict", &[("http.token", "another-token-of-length")]).await?;
    assert!(code == Some(2) && said.contains("http.token"), "{code:?} {said}");
    let other = file("other.crt");
    let (code, said) = ask("status", &[("http.tls_certificate", &other)]).await?;
    assert!(code == Some(2) && said.contains("its certificate is not the one"), "{code:?} {said}");

    // A renewal is served, and asked for, without a restart; half of one harms nothing
    put("renewed.crt", &certificate)?;
    assert_eq!(ask("health", &[]).await?.0, Some(0));
    put("renewed.key", &key)?;
    for name in ["health", "status"] {
        let (code, said) = ask(name, &[]).await?;
        assert_eq!(code, Some(0), "{name}: {said}");
    }
    let stream = TcpStream::connect(streamer.address()).await?;
    let plain =
        exchange_over(stream, "GET", streamer.address(), "/healthz", "").await.unwrap_or_default();
    assert!(!plain.contains("ok"), "{plain}");
    Ok(())
}

/// A message's content in words; what is none stays as it is.
fn opened(body: &str) -> String {
    open::content(body).map_or_else(|_| body.to_owned(), |content| format!("{content:?}"))
}

/// The words by which the program with this checkpoint was started, as everybody on the machine may
/// read them.
fn command_line(checkpoint: &str) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if words.contains(checkpoint) {
            writeln!(all, "{words}").expect("writing to a String cannot fail");
        }
    }
    all
}

/// The surroundings of a word.
fn around(text: &str, word: &str) -> String {
    let at = text.find(word).unwrap_or_default();
    let start = text[..at].char_indices().rev().nth(200).map_or(0, |(start, _)| start);
    text[start..].chars().take(400).collect()
}
