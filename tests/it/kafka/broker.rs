//! A real broker for the tests of this process, started by `tests/kafka/broker.sh` and stopped when the process ends.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Exit code of the script: Java or Maven is missing.
const SKIP: i32 = 77;

/// A running broker.
#[derive(Debug)]
pub(super) struct Broker {
    folder: PathBuf,
    /// `HOST:PORT`.
    pub(super) bootstrap: String,
    /// What it was started with.
    action: &'static str,
    /// What the script finds in its environment.
    variable: Option<(&'static str, String)>,
}

/// The broker that most tests share; `None` = this test is skipped, and its name was printed.
pub(super) fn shared(test: &str) -> Option<&'static Broker> {
    static SHARED: OnceLock<Result<Broker, String>> = OnceLock::new();
    match SHARED.get_or_init(|| Broker::start("start")) {
        Ok(broker) => Some(broker),
        Err(reason) => {
            skipped(test, reason);
            None
        }
    }
}

/// A broker of one test's own, which it may stop.
pub(super) fn own(test: &str) -> Option<Broker> {
    Broker::start("start").map_err(|reason| skipped(test, &reason)).ok()
}

/// A broker of one test's own with a second listener that wants TLS and a login.
pub(super) fn secure(test: &str) -> Option<Broker> {
    Broker::start("secure").map_err(|reason| skipped(test, &reason)).ok()
}

pub(super) fn skipped(test: &str, reason: &str) {
    // Not eprintln: the harness would keep it to itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED kafka::{test}: {}", reason.trim());
}

/// A broker of one test's own that sends the clients of its second listener to a proxy on this port.
pub(super) fn proxied(test: &str, port: u16) -> Option<Broker> {
    Broker::start_with("proxied", Some(("PROXY_PORT", port.to_string()))).map_err(|reason| skipped(test, &reason)).ok()
}

fn script(action: &str, folder: &Path) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/broker.sh"));
    command.arg(action).arg(folder).stdin(Stdio::null());
    command
}

impl Broker {
    fn start(action: &'static str) -> Result<Broker, String> {
        Broker::start_with(action, None)
    }

    fn start_with(action: &'static str, variable: Option<(&'static str, String)>) -> Result<Broker, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kafka");
        remove_leftovers(&root);
        let folder = root.join(format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        let mut command = script(action, &folder);
        let output = command.arg(std::process::id().to_string()).envs(variable.clone()).output().expect("bash runs");
        if output.status.success() {
            let bootstrap = std::fs::read_to_string(folder.join("bootstrap")).expect("the script wrote it");
            return Ok(Broker { folder, bootstrap: bootstrap.trim().to_owned(), action, variable });
        }
        let reason = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(SKIP), "the broker did not start: {reason}");
        Err(reason)
    }

    /// A second broker of its cluster.
    pub(super) fn joined(&self) -> Broker {
        let cluster = self.folder.to_str().expect("a path of ours").to_owned();
        Broker::start_with("join", Some(("CLUSTER", cluster))).expect("where one broker runs, two can")
    }

    /// `HOST:PORT` of the listener that wants a login.
    pub(super) fn guarded(&self) -> String {
        std::fs::read_to_string(self.folder.join("secure")).expect("it was started so").trim().to_owned()
    }

    /// A file of the broker's folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Sends a signal such as `STOP` or `KILL` to the broker.
    pub(super) fn signal(&self, name: &str) {
        let pid = script("pid", &self.folder).output().expect("bash runs").stdout;
        signal(String::from_utf8_lossy(&pid).trim(), name);
    }

    /// Starts it again after a kill, on the same ports and data.
    pub(super) fn restart(&self) {
        while script("pid", &self.folder).output().expect("bash runs").status.success() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let mut command = script(self.action, &self.folder);
        command.arg(std::process::id().to_string()).envs(self.variable.clone());
        assert!(command.status().expect("bash runs").success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = script("stop", &self.folder).status();
        // After a failure the broker's files tell what happened; the next run clears them away.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// Runs Java with Kafka's class path, which was fetched when the broker was started.
pub(super) fn java(args: &[&str]) -> std::process::Output {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/broker.sh"));
    command.arg("java").args(args).stdin(Stdio::null()).output().expect("bash runs")
}

/// Sends a signal to a process.
pub(super) fn signal(pid: &str, name: &str) {
    assert!(!pid.is_empty());
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid).status().expect("kill runs");
    assert!(sent.success());
}

/// Folders of test processes that have ended; their brokers stopped with them.
fn remove_leftovers(root: &Path) {
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.split('-').next().unwrap_or_default().to_owned();
        if !Path::new("/proc").join(&pid).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
