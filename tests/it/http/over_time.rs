//! A query that is over its time really ends: its thread and its files are gone soon after its error, in whichever operator it
//! was.

use super::*;

/// Rows of the numbers from 1 to 20,000 in each of these, compared, sorted or counted for hours.
const LONG: &[&str] = &[
    "SELECT a.n FROM p a JOIN p b ON a.n >= 0 JOIN p c ON b.n >= 0 ORDER BY a.n;",
    "SELECT a.n FROM p a JOIN p b ON a.n + b.n < 0 JOIN p c ON a.n + c.n < b.n;",
    "SELECT a.n FROM p a JOIN p b ON a.n % 1 = b.n % 1 AND a.n + b.n < 0 CROSS JOIN p c;",
    "SELECT COUNT(*) AS rows FROM p a CROSS JOIN p b CROSS JOIN p c WHERE a.n + b.n + c.n < 0;",
    "SELECT a.n FROM p a CROSS JOIN p b CROSS JOIN p c LIMIT 1 OFFSET 1000000000000;",
    "SELECT DISTINCT a.n + b.n AS n FROM p a CROSS JOIN p b CROSS JOIN p c;",
    "SELECT a.n FROM p a WHERE NOT EXISTS (SELECT b.n FROM p b CROSS JOIN p c WHERE a.n + b.n + c.n < 0);",
    "SELECT MEDIAN(a.n + b.n) OVER (ORDER BY a.n ROWS BETWEEN 5000 PRECEDING AND CURRENT ROW) AS m \
     FROM p a CROSS JOIN p b;",
    "SELECT RANK() OVER (PARTITION BY a.n % 3 ORDER BY b.n) AS r FROM p a CROSS JOIN p b CROSS JOIN p c;",
    "SELECT a.n FROM p a CROSS JOIN p b CROSS JOIN p c EXCEPT SELECT a.n FROM p a CROSS JOIN p b CROSS JOIN p c;",
];

/// Threads of queries without EMIT, and files without a name.
fn left(server: &Server) -> (usize, usize) {
    let of = |what: &str, is: &dyn Fn(&std::path::Path) -> bool| {
        let all = std::fs::read_dir(format!("/proc/{}/{what}", server.process.id())).unwrap();
        all.filter(|one| one.as_ref().is_ok_and(|one| is(&one.path()))).count()
    };
    let is_query =
        |task: &std::path::Path| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "batch\n");
    let is_nameless = |file: &std::path::Path| {
        std::fs::read_link(file).is_ok_and(|target| target.to_string_lossy().ends_with("(deleted)"))
    };
    (of("task", &is_query), of("fd", &is_nameless))
}

#[test]
fn a_query_that_is_over_its_time_leaves_no_thread_and_no_file() {
    if !std::path::Path::new("/proc/self/task").exists() {
        eprintln!("skipped: this system does not show the threads of a process");
        return;
    }
    let limits = ["--set", "tidegate.batch.timeout.ms=400", "--set", "tidegate.batch.memory.bytes=33554432"];
    let server = Server::at(&[&["--temp"], &limits[..]].concat());
    server.ksql("CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    server.ksql("INSERT INTO s VALUES (1);");
    for sql in LONG {
        let (_, said) =
            server.query(&format!("WITH p AS (SELECT EXPLODE(GENERATE_SERIES(1, 20000)) AS n FROM s) {sql}"));
        assert!(said.contains("ran longer than") || said.contains("holds more than"), "{sql}: {said}");
        let clock = SystemClock::shared();
        let end = clock.monotonic() + PATIENCE;
        while left(&server) != (0, 0) {
            assert!(clock.monotonic() < end, "{sql}: threads and files: {:?}", left(&server));
            clock.sleep(Duration::from_millis(20));
        }
    }
}
