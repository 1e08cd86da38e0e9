//! A headless Chromium, spoken to over a pipe (its DevTools protocol), to look at the status page as a person does.

use crate::wait::tell;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long the browser may take for one answer; it starts slowly on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The protocol's messages come on descriptor 3 and go on 4; everything else of the browser is of no interest.
const PIPED: &str = r#"exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>/dev/null 2>&1"#;
/// Set to have a missing browser fail the test.
const REQUIRE_ALL: &str = "QUORATE_TEST_REQUIRE_ALL";

/// A browser with one page.
pub struct Browser {
    process: Child,
    requests: ChildStdin,
    answers: Receiver<Value>,
    last: u64,
    session: Option<String>,
}

impl Browser {
    /// Starts one with its files in `folder`; `None` when there is no Chromium here.
    ///
    /// # Panics
    /// When it does not start, or is missing though all is required.
    #[must_use]
    pub fn start(folder: &Path) -> Option<Self> {
        let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| is_there(name));
        let Some(program) = found else {
            let required = std::env::var_os(REQUIRE_ALL).is_some_and(|value| value != "0");
            assert!(!required, "{REQUIRE_ALL} is set, and there is no chromium");
            tell("SKIPPED: there is no chromium");
            return None;
        };
        let profile = format!("--user-data-dir={}", folder.join("browser").display());
        let mut process = Command::new("sh")
            .args(["-c", PIPED, program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--remote-debugging-pipe", &profile])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let requests = process.stdin.take().expect("a pipe");
        let mut messages = BufReader::new(process.stdout.take().expect("a pipe"));
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while messages.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                let answer = serde_json::from_slice::<Value>(message.strip_suffix(&[0]).unwrap_or(&message));
                // Events have no id; nobody waits for them.
                if answer.is_ok_and(|answer| answer["id"].is_u64() && sender.send(answer).is_err()) {
                    break;
                }
                message.clear();
            }
        });
        let mut browser = Self { process, requests, answers, last: 0, session: None };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser.call("Page.enable", json!({}));
        Some(browser)
    }

    /// Shows a page in a window so wide and high, in pixels, light or dark.
    pub fn open(&mut self, url: &str, (width, height): (u32, u32), dark: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", features);
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// The value of an expression in the page.
    ///
    /// # Errors
    /// What it threw.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value, String> {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", asked);
        match answer.get("exceptionDetails") {
            Some(thrown) => Err(thrown.to_string()),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// The text of the page as it is seen.
    ///
    /// # Errors
    /// When there is none.
    pub fn text(&mut self) -> Result<String, String> {
        let text = self.evaluate("document.body.innerText")?;
        text.as_str().map(str::to_owned).ok_or_else(|| "no page yet".to_owned())
    }

    /// Writes what is seen to a PNG file.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn screenshot(&mut self, path: &Path) {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let data = shot["data"].as_str().expect("a picture");
        let bytes = data_encoding::BASE64.decode(data.as_bytes()).expect("base64");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.requests.write_all(format!("{message}\0").as_bytes()).expect("the browser runs");
        self.requests.flush().expect("the browser runs");
        loop {
            let answer = self.answers.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{method}: {error}"));
            if answer["id"] == self.last {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
