//! ksqlDB's clients as people install them, unmodified, against a server process: each script in `tests/clients` lists,
//! creates, inserts, pushes, creates a table, pulls, terminates and fails. Without node, Python or the registries' answers
//! the tests say that they were skipped, and why.
//!
//! The Go clients (thmeitz/ksqldb-go, rmoff/ksqldb-go) are not among them: Go's module proxy has none of their versions.

use crate::http::Server;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Exit code of the script that installs: what it needs is not there.
const SKIP: i32 = 77;
/// Longest time that a script may take, waits for a busy machine included.
const SCRIPT_SECONDS: &str = "180";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// What `prepare.sh` prints; `None` = skipped, which was printed.
pub(crate) fn prepared(test: &str, arguments: &[&str]) -> Option<String> {
    /// One installation at a time.
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _alone = INSTALLING.lock();
    let output =
        Command::new(folder().join("prepare.sh")).args(arguments).stdin(Stdio::null()).output().expect("bash runs");
    let reason = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(SKIP) {
        // Not eprintln: the harness would keep it to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED clients::{test}: {}", reason.trim());
        return None;
    }
    assert!(output.status.success(), "{reason}");
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A jar (`group:artifact:version`), from a folder of the cache or Maven's repository; `None` = skipped, which was printed.
pub(crate) fn maven_jar(test: &str, name: &str, artifact: &str) -> Option<PathBuf> {
    let skip = |why: &str| {
        // Not eprintln: the harness would keep it to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
    };
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let folder = home.join("tidegate/clients").join(name);
    let file = artifact.split(':').skip(1).collect::<Vec<_>>().join("-") + ".jar";
    let jar = folder.join(file);
    let works =
        |program: &str| Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !works("java") {
        skip("java is not installed");
        return None;
    }
    if !jar.exists() {
        if !works("mvn") {
            skip("mvn (Maven) is not installed");
            return None;
        }
        let copied = limited("mvn")
            .args(["-q", "-B", "-ntp", "dependency:copy"])
            .arg(format!("-Dartifact={artifact}"))
            .arg(format!("-DoutputDirectory={}", folder.display()))
            .stdin(Stdio::null())
            .output();
        if !copied.is_ok_and(|output| output.status.success()) || !jar.exists() {
            skip("Maven's repository does not answer");
            return None;
        }
    }
    Some(jar)
}

/// Runs a script against a server of its own.
fn passes(mut command: Command, script: &str) {
    let server = Server::start();
    let port = server.address.rsplit(':').next().expect("an address has a port");
    let output = command.arg(folder().join(script)).arg(port).stdin(Stdio::null()).output().expect("it runs");
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} against a server:\n{out}\n{errors}");
}

fn limited(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args([SCRIPT_SECONDS, program]);
    command
}

fn node(test: &str, script: &str) {
    let Some(packages) = prepared(test, &["node"]) else { return };
    let mut command = limited("node");
    command.env("NODE_PATH", packages);
    passes(command, script);
}

fn python(test: &str, requirements: &str, script: &str) {
    let Some(interpreter) = prepared(test, &["python", requirements]) else { return };
    let mut command = limited(&interpreter);
    // No compiled files beside the scripts.
    command.arg("-B");
    passes(command, script);
}

#[test]
fn npm_ksqldb_client() {
    node("npm_ksqldb_client", "ksqldb-client.js");
}

#[test]
fn npm_ksqldb_client_node() {
    node("npm_ksqldb_client_node", "ksqldb-client-node.js");
}

#[test]
fn npm_ksqlient() {
    node("npm_ksqlient", "ksqlient.js");
}

#[test]
fn npm_ksqldb_rx_client() {
    node("npm_ksqldb_rx_client", "ksqldb-rx-client.js");
}

#[test]
fn pypi_ksqldb() {
    python("pypi_ksqldb", "requirements-ksqldb.txt", "ksqldb_py.py");
}

#[test]
fn pypi_ksql() {
    python("pypi_ksql", "requirements-ksql.txt", "ksql_py.py");
}
