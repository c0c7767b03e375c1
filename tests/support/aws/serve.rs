//! HTTP: requests in, faults applied, answers out.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::entry::{Entry, Fault};
use super::faults::{After, Before, Doom};
use super::form::Form;
use super::{Shared, sns, sqs};

/// Largest request, bytes: ten messages of 1 MiB, form-encoded.
const REQUEST_BYTES_MAX: usize = 32 << 20;

type Answer = Response<Full<Bytes>>;

/// Accepts connections for ever.
pub async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&shared)));
            // An error is a connection that one side has closed.
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

/// An `Err` closes the connection without an answer.
async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Answer, io::Error> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await.map_err(io::Error::other)?;
    let body = body.to_bytes();
    let signed = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some((_, key)) = signed.and_then(|text| text.split_once("Credential=")) {
        let key = key.split('/').next().unwrap_or_default().to_owned();
        shared.store().keys.insert(key);
    }
    let target = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    let access = match signed {
        None => Err(Fault::new(403, "MissingAuthenticationToken", "no signature")),
        Some(text) if !text.contains(&format!("/{}/", shared.store().region)) => {
            Err(Fault::new(400, "InvalidParameter", "Invalid parameter: TopicArn (region)"))
        }
        Some(_) => Ok(()),
    };
    if head.method == Method::PUT {
        return objects(&shared, head.uri.path(), &body, access).await;
    }
    let text = std::str::from_utf8(&body).map_err(io::Error::other)?;
    let outcome = match target.and_then(|target| target.strip_prefix("AmazonSQS.")) {
        Some(action) => queues(&shared, action, text, access).await?,
        None => topics(&shared, text, access).await?,
    };
    shared.changed.notify_waiters();
    Ok(outcome)
}

/// S3, as far as a claim check needs it: PUT of an object.
async fn objects(
    shared: &Shared,
    path: &str,
    body: &[u8],
    access: Result<(), Fault>,
) -> io::Result<Answer> {
    let refuse = |fault: &Fault| {
        let Fault { status, code, text } = fault;
        xml(*status, format!("<Error><Code>{code}</Code><Message>{text}</Message></Error>"))
    };
    if let Err(fault) = access.and_then(|()| shared.store().permit("s3", "PutObject")) {
        return Ok(refuse(&fault));
    }
    let doom = shared.faults().judge("PutObject", &[], shared.now());
    if let Some(answer) = before(&doom, refuse).await? {
        return Ok(answer);
    }
    let bucket = path.split('/').nth(1).unwrap_or_default();
    let mut store = shared.store();
    if !store.objects.contains_key(&format!("/{bucket}/")) {
        return Ok(refuse(&Fault::new(404, "NoSuchBucket", "The bucket does not exist")));
    }
    store.objects.insert(path.to_owned(), body.to_vec());
    Ok(xml(200, String::new()))
}

async fn topics(shared: &Shared, body: &str, access: Result<(), Fault>) -> io::Result<Answer> {
    let form = Form::new(body);
    let action = form.get("Action").unwrap_or_default().into_owned();
    let entries = match action.as_str() {
        "Publish" => Entry::single(form).map(|entry| vec![entry]),
        "PublishBatch" => Entry::batch(form),
        _ => Ok(Vec::new()),
    };
    let access = access.and_then(|()| shared.store().permit("sns", &action));
    let entries = match access.and(entries) {
        Ok(entries) => entries,
        Err(fault) => return Ok(xml(fault.status, sns::error(&fault))),
    };
    let doom = shared.faults().judge(&action, &entries, shared.now());
    if let Some(answer) = before(&doom, |fault| xml(fault.status, sns::error(fault))).await? {
        return Ok(answer);
    }
    let result = {
        let now = shared.now();
        let mut store = shared.store();
        if action.starts_with("Publish") {
            sns::publish(&mut store, &action, form, entries, &doom, now)
        } else {
            sns::call(&mut store, &action, form)
        }
    };
    shared.changed.notify_waiters();
    after(&doom).await?;
    if matches!(doom.after, Some(After::Gibberish)) {
        return Ok(xml(200, "<html>it works!".to_owned()));
    }
    Ok(match result {
        Ok(body) => xml(200, body),
        Err(fault) => xml(fault.status, sns::error(&fault)),
    })
}

async fn queues(
    shared: &Shared,
    action: &str,
    body: &str,
    access: Result<(), Fault>,
) -> io::Result<Answer> {
    let input: Value = serde_json::from_str(body).unwrap_or_default();
    if let Err(fault) = access.and_then(|()| shared.store().permit("sqs", action)) {
        return Ok(refused(&fault));
    }
    let doom = shared.faults().judge(action, &[], shared.now());
    if let Some(answer) = before(&doom, refused).await? {
        return Ok(answer);
    }
    let patience = match action {
        "ReceiveMessage" => sqs::patience(&mut shared.store(), &input),
        _ => std::time::Duration::ZERO,
    };
    let deadline = tokio::time::Instant::now() + patience;
    let result = loop {
        let changed = shared.changed.notified();
        let now = shared.now();
        let result = sqs::call(&mut shared.store(), &shared.base, action, &input, now);
        let is_empty = result.as_ref().is_ok_and(|value| *value == json!({}));
        if action != "ReceiveMessage" || !is_empty {
            break result;
        }
        // Also looks now and then: visibility ends by time alone.
        let tick = tokio::time::Instant::now() + std::time::Duration::from_millis(100);
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep_until(deadline.min(tick)) => {}
        }
        if tokio::time::Instant::now() >= deadline {
            break result;
        }
    };
    after(&doom).await?;
    Ok(match result {
        Ok(value) => response(200, "application/x-amz-json-1.0", value.to_string()),
        Err(fault) => refused(&fault),
    })
}

/// What happens before the call is looked at; an answer ends it.
async fn before(doom: &Doom, refuse: impl Fn(&Fault) -> Answer) -> io::Result<Option<Answer>> {
    if let Some(delay) = doom.delay {
        tokio::time::sleep(delay).await;
    }
    match &doom.before {
        None => Ok(None),
        Some(Before::Refuse(fault)) => Ok(Some(refuse(fault))),
        Some(Before::Gibberish(status)) => Ok(Some(xml(*status, "it broke".to_owned()))),
        Some(Before::Hang) => Ok(hang().await),
        Some(Before::Reset) => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

async fn after(doom: &Doom) -> io::Result<()> {
    match doom.after {
        None | Some(After::Gibberish) => Ok(()),
        Some(After::Hang) => hang().await,
        Some(After::Reset) => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

async fn hang<T>() -> T {
    let never: Result<T, Infallible> = std::future::pending().await;
    match never {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

fn refused(fault: &Fault) -> Answer {
    let body =
        json!({"__type": format!("com.amazonaws.sqs#{}", fault.code), "message": fault.text});
    response(fault.status, "application/x-amz-json-1.0", body.to_string())
}

fn xml(status: u16, body: String) -> Answer {
    response(status, "text/xml", body)
}

fn response(status: u16, kind: &'static str, body: String) -> Answer {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .header("x-amzn-requestid", "00000000-0000-0000-0000-000000000000")
        .body(Full::new(Bytes::from(body)))
        .expect("status and headers are valid")
}
