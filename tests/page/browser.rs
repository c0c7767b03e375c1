//! A headless Chromium, driven by the DevTools protocol over its own pipe: messages of JSON, each
//! ended by a zero byte.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

/// A browser to use, required: when it is named and can't be run, tests fail.
pub(crate) const CHROMIUM: &str = "BINPULSE_TEST_CHROMIUM";
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/// Longest wait for an answer or for something on the page.
const DEADLINE: Duration = Duration::from_secs(30);

/// The browser to run, if there is one.
pub(crate) fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(CHROMIUM) {
        return Some(named.into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fetched = [".deps/chromium/chromium", ".deps/chromium/bin/chromium"];
    let fetched = fetched.iter().map(|path| root.join(path));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let installed = NAMES.iter().flat_map(|name| folders.iter().map(move |dir| dir.join(name)));
    fetched.chain(installed).find(|program| program.is_file())
}

/// A running browser with one page open.
pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    next: u64,
    /// Errors that the page or the browser's policy reported, as text.
    pub(crate) errors: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts it and opens an empty page.
    pub(crate) fn start(program: &Path) -> Self {
        let there = program.is_file();
        assert!(there, "{}, which {CHROMIUM} requires, is no file", program.display());
        let profile = tempfile::tempdir().expect("a folder");
        // The pipe is file descriptors 3 and 4 of the browser.
        let script = "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(program).args([
            "--headless=new",
            "--remote-debugging-pipe",
            // Tests may run as root and in containers, where neither is to be had.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--no-proxy-server",
            "--hide-scrollbars",
            "--force-color-profile=srgb",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        let mut child = command
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in output.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("JSON of the browser");
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let errors = Vec::new();
        let mut browser =
            Self { child, input, messages, session: None, next: 0, errors, _profile: profile };
        browser.open();
        browser
    }

    fn open(&mut self) {
        let target = self.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.call("Target.attachToTarget", target);
        self.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            self.call(domain, json!({}));
        }
        self.size(1280, 900);
    }

    /// Calls a method of the protocol.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).expect("the browser listens");
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut answer = self
                .messages
                .recv_timeout(left)
                .unwrap_or_else(|error| panic!("no answer to {method}: {error}"));
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
            self.note(&answer);
        }
    }

    fn note(&mut self, event: &Value) {
        let parameters = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                self.errors.push(parameters["exceptionDetails"].to_string());
            }
            // A server that is not there is reported as an error of the network.
            Some("Log.entryAdded")
                if parameters["entry"]["level"] == "error"
                    && parameters["entry"]["source"] != "network" =>
            {
                self.errors.push(parameters["entry"].to_string());
            }
            _ => {}
        }
    }

    /// Loads an address.
    pub(crate) fn load(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// The value of an expression, awaited if it is a promise.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", parameters);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {}",
            answer["exceptionDetails"]
        );
        answer["result"]["value"].take()
    }

    /// The text of an expression.
    pub(crate) fn text(&mut self, expression: &str) -> String {
        match self.value(expression) {
            Value::String(text) => text,
            other => other.to_string(),
        }
    }

    /// The text of the element with this id.
    pub(crate) fn text_of(&mut self, id: &str) -> String {
        self.text(&format!("document.getElementById('{id}').textContent"))
    }

    /// Waits until an expression holds. One that throws, as for an element that is not drawn yet, does not hold.
    pub(crate) fn wait(&mut self, condition: &str) {
        let millis = DEADLINE.as_millis() / 2;
        let expression = format!(
            "new Promise((done) => {{ const end = Date.now() + {millis}; const look = () => {{ \
             let thrown = ''; try {{ if ({condition}) return done(null); }} \
             catch (error) {{ thrown = String(error); }} \
             if (Date.now() > end) done(thrown); else setTimeout(look, 20); }}; look(); }})"
        );
        let outcome = self.value(&expression);
        if !outcome.is_null() {
            let shown = self.text("document.body.innerText");
            panic!("never came: {condition} {outcome}\n{shown}");
        }
    }

    /// Sets the size of the window, CSS pixels.
    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Asks for a feature of the medium: `prefers-color-scheme` and its like.
    pub(crate) fn media(&mut self, features: &[(&str, &str)]) {
        let features: Vec<Value> =
            features.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Presses a key.
    pub(crate) fn press(&mut self, key: &str, code: u32) {
        for kind in ["rawKeyDown", "keyUp"] {
            let event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// A picture of the window, PNG.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let data = picture["data"].as_str().expect("a picture");
        base64::engine::general_purpose::STANDARD.decode(data).expect("base64")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // `sh` has become the browser, so its own process group of helpers ends with it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
