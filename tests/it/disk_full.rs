//! A disk that is full: statements say so, queries wait, and with room again everything continues as if nothing had been.
//!
//! The data directory is a file system of one megabyte in memory, mounted in a name space of its own, so that no other process
//! sees it and it goes with its last process. Where that is not allowed the test says that it was skipped.

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tidegate::types::clock::SystemClock;

const TIDEGATE: &str = env!("CARGO_BIN_EXE_tidegate");
/// Longest time that anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// What one row of `big` holds; it is written twice, in its file and in the journal.
const BIG_BYTES: usize = 60_000;

/// A small disk: a process that holds its name space.
struct Disk {
    holder: Child,
    directory: PathBuf,
}

impl Disk {
    fn mount(directory: &Path) -> Option<Disk> {
        let script = "mount -t tmpfs -o size=1m tmpfs \"$0\" && echo mounted && exec sleep 600";
        let mut holder = Command::new("unshare")
            .args(["-rm", "sh", "-c", script])
            .arg(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take()?).read_line(&mut line).ok()?;
        let disk = Disk { holder, directory: directory.to_path_buf() };
        let seen = line == "mounted\n" && disk.program("true").status().is_ok_and(|s| s.success());
        seen.then_some(disk)
    }

    /// A program that sees the disk.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--user", "--mount", "--preserve-credentials", "-t", &self.holder.id().to_string(), name]);
        command
    }

    /// A file on it, from outside.
    fn file(&self, name: &str) -> PathBuf {
        let inside = self.directory.strip_prefix("/").unwrap();
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside).join(name)
    }

    fn free(&self) -> usize {
        let known = rustix::fs::statvfs(self.file("")).unwrap();
        usize::try_from(known.f_bavail * known.f_frsize).unwrap()
    }

    /// Fills it but for so many bytes.
    fn fill(&self, name: &str, left: usize) {
        let bytes = vec![b'#'; self.free().saturating_sub(left)];
        fs::write(self.file(name), bytes).unwrap();
        assert!(self.free() <= left, "{}", self.free());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A server whose data is on the disk.
struct Server<'a> {
    disk: &'a Disk,
    process: Child,
    url: String,
}

impl<'a> Server<'a> {
    fn start(disk: &'a Disk) -> Server<'a> {
        Server::start_at(disk, &disk.directory, &[])
    }

    fn start_at(disk: &'a Disk, data: &Path, settings: &[String]) -> Server<'a> {
        let mut command = disk.program(TIDEGATE);
        command.args(["server", "--listen", "127.0.0.1:0", "--data"]).arg(data);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the server says where it listens").unwrap();
            if let Some((_, rest)) = line.split_once("address=") {
                break rest.split(' ').next().unwrap().to_owned();
            }
            eprintln!("{line}");
        };
        std::thread::spawn(move || lines.for_each(drop));
        Server { disk, process, url: format!("http://{address}") }
    }

    fn sql(&self, text: &str) -> Output {
        let mut command = Command::new(TIDEGATE);
        command.args(["--server", &self.url, "-o", "json", "sql", "-e", text]).output().unwrap()
    }

    fn rows(&self, text: &str) -> Vec<Value> {
        let out = self.sql(text);
        assert!(out.status.success(), "{text}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    fn states(&self) -> Vec<String> {
        self.rows("SHOW QUERIES;").iter().map(|q| q["Status"].as_str().unwrap().to_owned()).collect()
    }

    fn until_all(&self, what: &str, state: &str) {
        until(what, || {
            let states = self.states();
            assert!(states.iter().all(|s| !s.starts_with("ERROR")), "{states:?}");
            states.iter().all(|s| s.starts_with(state))
        });
    }

    /// Every row that was acknowledged is in `big` and in the counts, once.
    fn until_exact(&self, acknowledged: &[u32]) {
        let total: u32 = acknowledged.iter().sum();
        until("every row is there", || {
            let rows = self.rows("SELECT n FROM big;");
            assert!(rows.len() <= acknowledged.len(), "{rows:?}");
            rows.len() == acknowledged.len()
        });
        let mut there: Vec<u64> = self.rows("SELECT n FROM big;").iter().map(|r| r["N"].as_u64().unwrap()).collect();
        there.sort_unstable();
        assert_eq!(there, acknowledged.iter().map(|n| u64::from(*n)).collect::<Vec<_>>());
        until("every row is counted", || {
            let counted = self.rows("SELECT rows, total FROM counts WHERE k = 'a';");
            counted == [json!({ "ROWS": acknowledged.len(), "TOTAL": total })]
        });
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let clock = SystemClock::shared();
    let end = clock.monotonic() + PATIENCE;
    while !done() {
        assert!(clock.monotonic() < end, "{what}");
        clock.sleep(Duration::from_millis(100));
    }
}

fn skipped() {
    let _ = writeln!(std::io::stderr(), "skipped: a file system cannot be mounted here (unshare -rm, mount, nsenter)");
}

#[test]
fn a_full_disk_is_waited_for_and_nothing_is_lost_or_doubled() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(scratch.path()) else {
        return skipped();
    };
    let mut server = Server::start(&disk);
    let create = format!(
        "CREATE STREAM s (k VARCHAR KEY, n INT) WITH (KAFKA_TOPIC = 's', VALUE_FORMAT = 'JSON', PARTITIONS = 1);
         CREATE STREAM big AS SELECT k, n, LPAD('', {BIG_BYTES}, 'x') AS filler FROM s EMIT CHANGES;
         CREATE TABLE counts AS SELECT k, COUNT(*) AS rows, SUM(n) AS total FROM s GROUP BY k EMIT CHANGES;"
    );
    server.rows(&create);
    let insert = |server: &Server<'_>, n: u32| server.sql(&format!("INSERT INTO s VALUES ('a', {n});"));
    let mut acknowledged = vec![1, 2];
    for n in &acknowledged {
        assert!(insert(&server, *n).status.success());
    }
    server.until_exact(&acknowledged);

    // Room for a small row, not for what a query makes of it.
    disk.fill("ballast", 40_960);
    assert!(insert(&server, 3).status.success());
    acknowledged.push(3);
    let waits = || server.states().into_iter().find(|s| s.starts_with("WAITING"));
    until("the query that cannot write waits", || waits().is_some());
    let said = waits().unwrap_or_default();
    assert!(
        said.contains("no space left on the device of ") && said.contains(&*disk.directory.to_string_lossy()),
        "{said}"
    );

    // Room for nothing: what is refused was not written.
    disk.fill("more ballast", 0);
    for n in 4..200 {
        let refused = insert(&server, n);
        if refused.status.success() {
            acknowledged.push(n);
            continue;
        }
        assert_eq!(refused.status.code(), Some(1));
        let errors = String::from_utf8(refused.stderr).unwrap();
        for part in ["no space left on the device of ", &*disk.directory.to_string_lossy(), "free space"] {
            assert!(errors.contains(part), "{part}: {errors}");
        }
        break;
    }
    assert!(acknowledged.len() < 100, "the disk was not full");

    // Neither a kill nor a start on a full disk changes anything.
    drop(server);
    server = Server::start(&disk);
    until("the query waits again", || server.states().iter().any(|s| s.starts_with("WAITING")));

    // With room for some more, and then for all.
    for (ballast, more) in [("more ballast", 900), ("ballast", 901)] {
        fs::remove_file(disk.file(ballast)).unwrap();
        until("rows are taken again", || insert(&server, more).status.success());
        acknowledged.push(more);
    }
    server.until_all("the queries go on", "RUNNING");
    server.until_exact(&acknowledged);
    assert!(server.disk.free() > 0);
}

/// Rows of a join that go to files, and how many bytes one of them has.
const JOINED: u32 = 30;
const JOINED_BYTES: usize = 20_000;

/// The data directory has room; the directory for rows of joins has not.
#[test]
fn a_join_waits_for_room_for_its_files() {
    let (scratch, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(disk) = Disk::mount(scratch.path()) else {
        return skipped();
    };
    let directory = disk.directory.to_string_lossy();
    let settings = [format!("ksql.streams.state.dir={directory}"), "tidegate.join.memory.bytes=200000".to_owned()];
    let server = Server::start_at(&disk, data.path(), &settings);
    server.rows(
        "CREATE STREAM l (k INT KEY, filler VARCHAR) WITH (KAFKA_TOPIC = 'l', VALUE_FORMAT = 'JSON', PARTITIONS = 1);
         CREATE STREAM r (k INT KEY, n INT) WITH (KAFKA_TOPIC = 'r', VALUE_FORMAT = 'JSON', PARTITIONS = 1);
         CREATE STREAM j AS SELECT l.k AS k, LEN(filler) AS length, n FROM l JOIN r WITHIN 1 DAY ON l.k = r.k EMIT CHANGES;",
    );
    disk.fill("ballast", 8_192);
    for k in 0..JOINED {
        let inserted = server.sql(&format!("INSERT INTO l VALUES ({k}, LPAD('', {JOINED_BYTES}, 'x'));"));
        assert!(inserted.status.success(), "{}", String::from_utf8_lossy(&inserted.stderr));
    }
    let waits = || server.states().into_iter().find(|s| s.starts_with("WAITING"));
    until("the join waits", || waits().is_some());
    let said = waits().unwrap_or_default();
    assert!(said.contains("rows that do not fit into memory") && said.contains(&*directory), "{said}");
    for k in 0..JOINED {
        server.rows(&format!("INSERT INTO r VALUES ({k}, {});", k * 7));
    }
    fs::remove_file(disk.file("ballast")).unwrap();
    server.until_all("the join goes on", "RUNNING");
    let joined = || server.rows("SELECT k, length, n FROM j;");
    until("every row is joined", || joined().len() >= JOINED as usize);
    let mut rows = joined();
    rows.sort_by_key(|row| row["K"].as_u64());
    let row = |k: u32| json!({ "K": k, "LENGTH": JOINED_BYTES, "N": k * 7 });
    assert_eq!(rows, (0..JOINED).map(row).collect::<Vec<_>>());
    assert!(disk.free() < 900_000, "no row went to a file: {} bytes are free", disk.free());
}
