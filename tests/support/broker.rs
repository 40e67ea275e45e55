//! One real Kafka broker for all tests of this process, started when the first one asks for it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) enum Broker {
    /// It listens at `HOST:PORT`.
    At(String),
    /// Java or Maven is missing: tests are skipped, by name.
    Missing(String),
    /// It should have started and did not: tests fail.
    Broken(String),
}

/// `broker.sh` says by this exit code that something it needs is not installed.
const MISSING: i32 = 77;

static STARTED: OnceLock<(Broker, Option<tempfile::TempDir>)> = OnceLock::new();

fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/broker.sh")
}

/// The broker, which ends with this process.
pub(crate) fn bootstrap() -> Broker {
    STARTED.get_or_init(start).0.clone()
}

fn start() -> (Broker, Option<tempfile::TempDir>) {
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(e) => return (Broker::Broken(e.to_string()), None),
    };
    // Output goes to a file: the broker outlives the script and would keep a pipe open.
    let errors = folder.path().join("start.log");
    let output = match std::fs::File::create(&errors) {
        Ok(file) => file,
        Err(e) => return (Broker::Broken(e.to_string()), None),
    };
    let status = Command::new("bash")
        .arg(script())
        .arg("start")
        .arg(folder.path().join("broker"))
        .arg(std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .status();
    let said = std::fs::read_to_string(&errors).unwrap_or_default().trim().to_owned();
    let broker = match status.map(|s| s.code()) {
        Ok(Some(0)) => match std::fs::read_to_string(folder.path().join("broker/bootstrap")) {
            Ok(text) => Broker::At(text.trim().to_owned()),
            Err(e) => Broker::Broken(format!("the broker's address is not known: {e}")),
        },
        Ok(Some(MISSING)) => Broker::Missing(said),
        Ok(_) => Broker::Broken(said),
        Err(e) => Broker::Broken(format!("bash does not start: {e}")),
    };
    (broker, Some(folder))
}

/// Stops it, if it was started. Its folder goes with it.
pub(crate) fn stop() {
    if let Some((Broker::At(_), Some(folder))) = STARTED.get() {
        let path = folder.path();
        // The broker also ends by itself when this process does; nothing is left to be done about a failure.
        let _ = Command::new("bash").arg(script()).arg("stop").arg(path.join("broker")).status();
        let _ = std::fs::remove_dir_all(path);
    }
}

/// Its process id, if it runs.
#[allow(dead_code, reason = "only measurements ask for it")]
pub(crate) fn pid() -> Option<String> {
    let (_, folder) = STARTED.get()?;
    let text = std::fs::read_to_string(folder.as_ref()?.path().join("broker/pid")).ok()?;
    Some(text.trim().to_owned())
}
