//! The binary that ships, as a stranger calls it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long one call may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(240);

/// The binary: `KEEL_BIN`, else what a build of this profile left behind.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("KEEL_BIN") {
        return PathBuf::from(path);
    }
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    let path = path.join("keel");
    assert!(path.exists(), "{} is not built: cargo build -p keel-tools, or set KEEL_BIN", path.display());
    path
}

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(args).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

pub fn start(args: &[&str]) -> Child {
    command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub fn keel(args: &[&str]) -> Output {
    finish(start(args))
}

/// Waits for the end, within reason.
pub fn finish(mut child: Child) -> Output {
    let since = Instant::now();
    let out = drain(child.stdout.take().unwrap());
    let err = drain(child.stderr.take().unwrap());
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Output { status, stdout: out.join().unwrap(), stderr: err.join().unwrap() };
        }
        if since.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("keel did not end within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn drain(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The one JSON object a call printed.
pub fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {}", text(&output.stdout)))
}

/// Sends a signal to a process this test started.
pub fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
}

/// Recorded data, or a visible line that it is not there.
pub fn shared(path: &str) -> Option<String> {
    let given = std::env::var_os("KEEL_SHARED").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let file = given.unwrap_or(beside).join(path);
    if file.exists() {
        return file.to_str().map(str::to_owned);
    }
    eprintln!("SKIPPED: recorded data not found ({path})");
    None
}
