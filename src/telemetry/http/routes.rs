//! Which path answers what.

use std::net::IpAddr;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use super::access::{Guard, is_own_name};
use super::{Caller, Endpoints, Handler, switch};
use crate::platform;
use crate::telemetry::bundle::{Bundle, Part};
use crate::telemetry::page::PAGE;
use crate::telemetry::{last_lines, runbooks};

/// What a path that does not exist is answered with: what there is.
const NOT_FOUND: &str = "not found; available:\n\n\
    /         the status page, for people\n\
    /metrics  Prometheus metrics\n\
    /healthz  whether the program's own loops run (never the database's state)\n\
    /readyz   whether stream and sink are up\n\
    /status   everything at once, JSON\n\
    /history  changes of the verdict, and an hour of figures, JSON\n\
    /log      the last lines of the log\n\
    /bundle   all of these and more in one archive, to be sent to who helps\n\
    /maintenance  by POST: see `binpulse maintenance`\n\
    /snapshot  by POST: see `binpulse snapshot`\n\
    /replay   by POST: a relay asks for rows that it misses\n\
    /digests  digests of rows, for `binpulse shadow compare` (with shadow.digests = true)\n\
    /control  tables that are held back, JSON; by POST: see `binpulse suppress`\n\
    /runbooks/<alert>  what an alert means, and what to do; /runbooks/ lists them\n";

/// What a request by a name that may be a stranger's is answered with.
const OTHER_NAME: &str = "the Host header is neither an address nor localhost; \
    ask by 127.0.0.1 or localhost, or set http.token\n";

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const GZIP: &str = "application/gzip";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// No answer may load, run or be framed by anything; the page alone has a policy of its own.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// An answer, ready to be sent.
pub struct Answer(Response<Full<Bytes>>);

/// Whether it is answered whoever asks.
pub(super) fn is_open<B>(request: &Request<B>) -> bool {
    matches!(request.uri().path(), "/healthz" | "/readyz")
}

/// Answers one request. Bodies are not read: none of the paths takes one.
pub(super) fn answer<B>(
    request: &Request<B>,
    peer: IpAddr,
    handler: &dyn Handler,
    guard: &Guard,
) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let headers = request.headers();
    // Those who probe whether the process lives rarely have a secret, and learn nothing else.
    if !is_open(request) {
        match guard {
            Guard::Token(token) if !token.is_in(headers.get(AUTHORIZATION)) => return unknown(),
            Guard::Names if !is_own_name(headers) => {
                return plain(StatusCode::FORBIDDEN, TEXT, OTHER_NAME);
            }
            Guard::Token(_) | Guard::Names | Guard::Nothing => {}
        }
    }
    // With a token, whoever does not show it has been answered above.
    let caller = Caller { peer, has_token: matches!(guard, Guard::Token(_)) };
    if *request.method() == Method::POST
        && let Some(Answer(done)) = handler.act(path, headers, caller)
    {
        return done;
    }
    // A path that does not exist is not found by any method.
    let Some(Answer(answer)) = handler.answer(path) else {
        return plain(StatusCode::NOT_FOUND, TEXT, handler.contents());
    };
    // hyper itself leaves out the body of an answer to HEAD.
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer;
    }
    let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
    refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    refusal
}

/// Asks for the token, in both forms in which it is taken.
fn unknown() -> Response<Full<Bytes>> {
    let mut answer = plain(StatusCode::UNAUTHORIZED, TEXT, "a token is required (http.token)\n");
    let headers = answer.headers_mut();
    headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"binpulse\""));
    headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"binpulse\""));
    answer
}

impl Answer {
    /// A page of metrics, or why there is none.
    pub fn metrics(text: Result<String, impl std::fmt::Display>) -> Self {
        Self(match text {
            Ok(text) => plain(StatusCode::OK, METRICS, text),
            Err(error) => {
                plain(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("metrics: {error}\n"))
            }
        })
    }

    /// What a POST brought.
    pub fn told(done: Result<String, (StatusCode, String)>) -> Self {
        Self(match done {
            Ok(done) => plain(StatusCode::OK, TEXT, done + "\n"),
            Err((code, why)) => plain(code, TEXT, why + "\n"),
        })
    }

    /// A document of JSON, or why there is none.
    pub fn json(document: &impl serde::Serialize) -> Self {
        Self(match serde_json::to_string(document) {
            Ok(text) => plain(StatusCode::OK, JSON, text + "\n"),
            Err(error) => {
                plain(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("status: {error}\n"))
            }
        })
    }

    /// The runbook at this path, if it is one of a runbook, below what `top` says of the state; with the
    /// ending `.md` its text.
    pub(crate) fn runbook(path: &str, top: &dyn Fn(&str) -> String) -> Option<Self> {
        if path.strip_suffix(".md").is_some() {
            return runbooks::find(path).map(|text| Self(plain(StatusCode::OK, TEXT, text)));
        }
        let is_index = path == runbooks::PATH || path == runbooks::PATH.trim_end_matches('/');
        let runbooks::Shown { document, policy } =
            if is_index { runbooks::index(top) } else { runbooks::page(path, top)? };
        let mut answer = plain(StatusCode::OK, HTML, document);
        answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        Some(Self(answer))
    }

    /// 503 and a line for each complaint; without one 200 and `well`.
    pub fn health(complaints: impl IntoIterator<Item = String>, well: String) -> Self {
        let lines: String = complaints.into_iter().map(|complaint| complaint + "\n").collect();
        Self(if lines.is_empty() {
            plain(StatusCode::OK, TEXT, well)
        } else {
            plain(StatusCode::SERVICE_UNAVAILABLE, TEXT, lines)
        })
    }
}

impl Handler for Endpoints {
    fn answer(&self, path: &str) -> Option<Answer> {
        let well = || "ok\n".to_owned();
        Some(match path {
            "/" => page(),
            "/metrics" => Answer::metrics(self.metrics.text()),
            "/healthz" => {
                let stuck = self.loops.stuck(platform::now());
                Answer::health(stuck.iter().map(ToString::to_string), well())
            }
            "/readyz" => {
                Answer::health(self.readiness.missing().into_iter().map(str::to_owned), well())
            }
            "/status" => status(self),
            "/history" => Answer::json(&(self.history)()),
            "/log" => Answer(plain(StatusCode::OK, TEXT, self.hidden.hide(last_lines::text()))),
            "/bundle" => bundle(self),
            "/digests" => self.digests.as_ref()?(),
            super::switch::CONTROL_PATH => Answer::json(&self.status.status().controls),
            // The status is put together for a path that exists only.
            _ => {
                return Answer::runbook(path, &|path| {
                    runbooks::state(&self.status.status(), &(self.history)(), path)
                });
            }
        })
    }

    fn act(&self, path: &str, headers: &HeaderMap, caller: Caller) -> Option<Answer> {
        let done = switch::act(path, headers, caller, &*self.switch)?;
        Some(Answer::told(done))
    }

    fn contents(&self) -> &'static str {
        NOT_FOUND
    }
}

fn page() -> Answer {
    let mut answer = plain(StatusCode::OK, HTML, PAGE.document.as_str());
    // What can't be a header's value is not served without one.
    let policy = HeaderValue::from_str(&PAGE.policy).unwrap_or(NOTHING);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    Answer(answer)
}

fn status(pages: &Endpoints) -> Answer {
    Answer(match serde_json::to_vec_pretty(&pages.status.status()) {
        Ok(document) => plain(StatusCode::OK, JSON, document),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("status: {error}\n")),
    })
}

/// What the service knows. Its `check` is what it found at the source while it streams.
fn bundle(pages: &Endpoints) -> Answer {
    let status = pages.status.status();
    let json = |value: serde_json::Result<String>| value.map_err(|error| error.to_string());
    let mut bundle = Bundle::new(&status.stream, platform::wall_us(), pages.hidden.clone());
    bundle.add(Part::Status, json(serde_json::to_string_pretty(&status)));
    bundle.add(Part::History, json(serde_json::to_string(&(pages.history)())));
    bundle.add(Part::Metrics, pages.metrics.text().map_err(|error| error.to_string()));
    bundle.add(Part::Log, Ok(last_lines::text()));
    bundle.add(Part::ServiceSettings, json(serde_json::to_string_pretty(&status.config)));
    let found = status.findings.iter().map(|it| serde_json::to_string(it).map(|it| it + "\n"));
    bundle.add(Part::Check, json(found.collect()));
    bundle.add_versions(&format!("{} {}", status.source.flavor, status.source.version));
    let packed = match bundle.archive() {
        Ok(packed) => packed,
        Err(error) => {
            return Answer(plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                TEXT,
                format!("bundle: {error}\n"),
            ));
        }
    };
    let mut answer = plain(StatusCode::OK, GZIP, packed);
    let name = format!("attachment; filename=\"{}\"", bundle.file_name());
    if let Ok(name) = HeaderValue::from_str(&name) {
        answer.headers_mut().insert(CONTENT_DISPOSITION, name);
    }
    Answer(answer)
}

fn plain(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, NOTHING);
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    answer
}
