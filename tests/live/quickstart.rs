//! The quick start works as it is printed: its commands are read from the document and run.

use std::fmt::Write;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use binpulse_demo::{Folder, Options, Process, Program, Standin};

use crate::bed::{Bed, binary};
use crate::suite::{Outcome, tests};

tests! {
    the_quick_start_leads_from_nothing_to_a_verdict_and_a_change on [Mysql97];
}

/// The whole page takes about 30 s; the limit is for a slow machine.
const DEADLINE: Duration = Duration::from_mins(4);
const ADMIN_PASSWORD: &str = "the administrator's";

/// The blocks of shell commands.
fn blocks(document: &str) -> Vec<&str> {
    let mut blocks = Vec::new();
    for part in document.split("```sh\n").skip(1) {
        blocks.push(part.split("```").next().expect("an end"));
    }
    blocks
}

/// The page as one script. Its first block holds the reader's own names: the test has others.
fn script(document: &str, folder: &str, names: &[(&str, String)]) -> String {
    let blocks = blocks(document);
    let (own, rest) = blocks.split_first().expect("blocks");
    assert!(rest.len() > 5, "{rest:?}");
    let declared = own.lines().filter(|line| line.starts_with("export ")).count();
    assert_eq!(declared, names.len(), "each name of the first block has a value here: {own}");
    let mut script = format!(
        "cd '{folder}'\nset -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n"
    );
    for (name, value) in names {
        assert!(own.contains(&format!("export {name}=")), "{name}");
        writeln!(script, "export {name}={value:?}").expect("text");
    }
    for block in rest {
        script.push_str(block);
    }
    script
}

async fn the_quick_start_leads_from_nothing_to_a_verdict_and_a_change(bed: Bed) -> Outcome {
    let folder = Folder::create()?;
    // Column names in the log are the reader's first step.
    let options = Options { full_metadata: false, ..Options::default() };
    let mysqld = bed.mysqld(options).await?;
    mysqld
        .execute(&[
            format!(
                "CREATE USER 'admin'@'%' IDENTIFIED BY '{}'",
                ADMIN_PASSWORD.replace('\'', "''")
            ),
            "GRANT ALL ON *.* TO 'admin'@'%' WITH GRANT OPTION".to_owned(),
        ])
        .await?;
    let standin = bed.standin().await?;

    let here = folder.path().display().to_string();
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/quickstart.md");
    let names = [
        ("AWS_REGION", Standin::REGION.to_owned()),
        ("DB_HOST", "127.0.0.1".to_owned()),
        ("DB_PORT", mysqld.port().to_string()),
        ("DB_ADMIN", "admin".to_owned()),
        ("MYSQL_PWD", ADMIN_PASSWORD.to_owned()),
        ("READER_PASSWORD", "reads the log".to_owned()),
        ("WRITER_PASSWORD", "writes heartbeats".to_owned()),
        ("STATE_DIR", format!("{here}/state")),
    ];
    fs::write(folder.path().join("script"), script(&fs::read_to_string(document)?, &here, &names))?;

    // Where the reader has `mysql`, `aws` and `binpulse`.
    let tools = folder.path().join("bin");
    fs::create_dir(&tools)?;
    let python = bed.python()?;
    let client = bed.server().client.as_deref().ok_or("no mysql client")?;
    // Version 1 of the AWS command line takes the address of SQS from nowhere else.
    let aws =
        format!("'{}' --endpoint-url {}", python.with_file_name("aws").display(), standin.url());
    let quoted = |program: &Path| format!("'{}'", program.display());
    for (name, program) in [("mysql", quoted(client)), ("aws", aws), ("binpulse", quoted(binary()))]
    {
        // Not a link: the client finds its libraries beside itself.
        fs::write(tools.join(name), format!("#!/bin/sh\nexec {program} \"$@\"\n"))?;
        make_executable(&tools.join(name))?;
    }
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH")?);
    let mut process = Process::start(
        &Program {
            name: "the quick start".to_owned(),
            command: vec!["bash".into(), folder.path().join("script").into()],
            environment: [
                ("PATH", path),
                ("HOME", here.clone()),
                ("BINPULSE_HTTP_LISTEN", format!("127.0.0.1:{port}")),
                ("BINPULSE_SNS_ENDPOINT_URL", standin.url()),
                ("AWS_ACCESS_KEY_ID", "any".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "any".to_owned()),
            ]
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec(),
            without: vec!["AWS_", "BINPULSE_", "MYSQL_"],
            log: folder.path().join("log"),
        },
        &folder,
    )?;
    let status = process.wait(DEADLINE).await?;
    let log = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    assert_eq!(status.code(), Some(0), "{}\n{}", log("log"), log("binpulse.log"));
    assert!(log("log").contains(r#""state":"live"#) || log("log").contains(r#""state":"quiet"#));
    Ok(())
}

fn make_executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
