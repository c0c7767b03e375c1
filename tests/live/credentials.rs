//! What the environment says of AWS: credentials, region, proxy.

use std::time::Duration;

use binpulse::config::Setting;
use binpulse_demo::{Command, Standin, Streamer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process;
use tokio::time::{Instant, sleep, timeout};

use crate::aws::Endpoint;
use crate::bed::{Bed, SOON, binary};
use crate::suite::{Outcome, tests};

tests! {
    what_no_header_takes_is_refused_by_the_name_of_its_variable on [];
    requests_to_aws_go_through_the_proxy_or_it_is_refused_by_name on [];
    rotated_credentials_are_read_again on [];
}

/// Nobody listens there: of AWS alone is asked here.
const SETTINGS: [(&str, &str); 5] = [
    ("source.hosts", "127.0.0.1:1"),
    ("source.user", "nobody"),
    ("source.password", "none"),
    ("http.listen", "127.0.0.1:0"),
    ("sns.topic", "arn:aws:sns:us-east-1:000000000000:changes"),
];

/// Runs a command to its end in this environment: exit code, and all that it says.
async fn run(name: &str, folder: &std::path::Path, environment: &[(&str, &str)]) -> (i32, String) {
    let mut command = process::Command::new(binary());
    for (name, _) in std::env::vars() {
        let name_upper = name.to_ascii_uppercase();
        if ["AWS_", "BINPULSE_"].iter().any(|it| name_upper.starts_with(it))
            || name_upper.ends_with("_PROXY")
        {
            command.env_remove(name);
        }
    }
    for (key, value) in SETTINGS {
        command.env(Setting::find(key).expect("a setting").env(), value);
    }
    let checkpoint = folder.join("checkpoint");
    command.env(Setting::find("checkpoint.path").expect("a setting").env(), checkpoint);
    command.env("HOME", folder).envs(environment.iter().copied()).arg(name).kill_on_drop(true);
    let output = timeout(SOON, command.output()).await.expect("in time").expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

async fn what_no_header_takes_is_refused_by_the_name_of_its_variable(_: Bed) -> Outcome {
    let folder = tempfile::tempdir()?;
    let good = [
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("AWS_SESSION_TOKEN", "token"),
    ];
    for (variable, _) in good {
        // The SDK itself cuts a line break off a token.
        let ends = if variable == "AWS_SESSION_TOKEN" { "hunter2\u{7f}" } else { "hunter2\n" };
        for bad in [ends, "hun\u{1}ter2", "hunt\u{e9}r2"] {
            let mut environment = good;
            for (name, value) in &mut environment {
                if *name == variable {
                    *value = bad;
                }
            }
            for (command, codes) in [("check", &[1][..]), ("run", &[69])] {
                let (code, text) = run(command, folder.path(), &environment).await;
                assert!(codes.contains(&code), "{command} {variable}: {code}: {text}");
                assert!(text.contains(variable), "{command} {variable}: {text}");
                assert!(!text.contains("hunter2") && !text.contains("panicked"), "{text}");
            }
        }
    }
    Ok(())
}

async fn requests_to_aws_go_through_the_proxy_or_it_is_refused_by_name(_: Bed) -> Outcome {
    // Given a proxy that lets nobody through
    let folder = tempfile::tempdir()?;
    let proxy = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", proxy.local_addr()?);
    let (told, mut asked) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = proxy.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or_default();
            told.send(String::from_utf8_lossy(&request[..read]).into_owned()).ok();
            stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.ok();
        }
    });
    let keys = [("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
    let with = |name, value| [keys[0], keys[1], (name, value)];

    // Then it is asked for SNS, and its answer is told
    let (_, text) = run("check", folder.path(), &with("HTTPS_PROXY", &url)).await;
    let request = asked.recv().await.expect("a request");
    assert!(request.starts_with("CONNECT sns.us-east-1.amazonaws.com:443 "), "{request}");
    assert!(text.contains("407") || text.to_ascii_lowercase().contains("proxy"), "{text}");

    // And one that can't be one is refused by name, its password unseen
    for command in ["check", "run"] {
        let bad = "socks5://user:hunter2@127.0.0.1:1080";
        let (code, text) = run(command, folder.path(), &with("HTTPS_PROXY", bad)).await;
        assert!(matches!(code, 1 | 69), "{command}: {code}: {text}");
        assert!(text.contains("HTTPS_PROXY: socks5://***@127.0.0.1:1080"), "{command}: {text}");
        assert!(!text.contains("hunter2"), "{command}: {text}");
    }
    Ok(())
}

async fn rotated_credentials_are_read_again(_: Bed) -> Outcome {
    // Given a probe with credentials from the shared file
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("credentials");
    let write = |key: &str| {
        let text = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n");
        std::fs::write(&file, text)
    };
    write("AKIAFIRST")?;
    let endpoint = Endpoint::start().await;
    Standin::REGION.clone_into(&mut endpoint.shared.store().region);
    let url = endpoint.url();
    let _probe = Streamer::start(Command {
        binary: binary().to_owned(),
        command: "probe".to_owned(),
        settings: vec![
            ("probe.queue", format!("{url}/000000000000/none")),
            ("sns.endpoint_url", url),
            ("sns.region", Standin::REGION.to_owned()),
        ],
        arguments: Vec::new(),
        environment: vec![
            ("AWS_SHARED_CREDENTIALS_FILE", file.display().to_string()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ],
    })?;
    let until = async |key: &str| {
        let give_up = Instant::now() + SOON;
        while !endpoint.shared.store().keys.contains(key) {
            assert!(Instant::now() < give_up, "never signed with {key}");
            sleep(Duration::from_millis(50)).await;
        }
    };
    until("AKIAFIRST").await;

    // When they are rotated, then the next requests are signed with the new ones
    write("AKIASECOND")?;
    until("AKIASECOND").await;
    Ok(())
}
