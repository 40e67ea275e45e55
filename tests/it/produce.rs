//! `tidegate topic produce`: what is in the topic after good lines, a bad one, a pause, and Ctrl-C.

use crate::http::TIDEGATE;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn started(directory: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(TIDEGATE);
    command.arg("--data").arg(directory).arg("topic").args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn topic(directory: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut child = started(directory, args);
    // One that refuses what it gets does not read all of it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn values(directory: &Path, name: &str) -> String {
    let print = ["print", name, "-b", "--exit-at-end", "-o", "csv"];
    let csv = text(&topic(directory, &print, b"").stdout);
    csv.lines().skip(1).map(|line| format!("{} ", line.rsplit(',').next().unwrap())).collect()
}

#[test]
fn what_stands_before_a_bad_line_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let produce = |name: &str, input: &[u8]| {
        let out = topic(directory.path(), &["produce", name, "--partitions", "1", "-k", ":"], input);
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(1), String::new()));
        (text(&out.stderr), values(directory.path(), name))
    };
    let (errors, written) = produce("t", b"a:1\n\nb:2\nc3\nd:4\n");
    assert!(
        errors.contains("line 4 has no \":\"") && errors.contains("the 2 records before it were written"),
        "{errors}"
    );
    assert_eq!(written, "1 2 ");
    let (errors, written) = produce("u", b"a:1\nb:\xff\nc:3\n");
    assert!(errors.contains("line 2 is not UTF-8, from byte 3"), "{errors}");
    assert!(errors.contains("the record before it was written"), "{errors}");
    assert_eq!(written, "1 ");
    let endless = [b"a:1\n", vec![b'x'; 65 << 20].as_slice()].concat();
    let (errors, written) = produce("w", &endless);
    assert!(errors.contains("line 2 is longer than 64 MiB"), "{errors}");
    assert_eq!(written, "1 ");
    let (errors, written) = produce("v", b"a1\nb:2\n");
    assert!(errors.contains("line 1 has no \":\"") && errors.contains("nothing was written"), "{errors}");
    assert_eq!(written, "");
}

#[test]
fn the_last_line_needs_no_end_and_windows_lines_have_theirs_cut() {
    let directory = tempfile::tempdir().unwrap();
    let out = topic(directory.path(), &["produce", "t", "--partitions", "1"], b"1\r\n2\n\n3");
    assert_eq!(text(&out.stdout), "wrote 3 records to t\n", "{}", text(&out.stderr));
    assert_eq!(values(directory.path(), "t"), "1 2 3 ");
}

#[test]
fn a_line_is_written_before_the_next_one_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = started(directory.path(), &["produce", "t", "--partitions", "1"]);
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"1\n2\nhal").unwrap();
    // The topic is made before its first record is there, and its maker may still be on its way.
    while values(directory.path(), "t") != "1 2 " {
        assert_eq!(child.try_wait().unwrap(), None, "it waits for more");
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(130), "wrote 2 records to t\n"));
    drop(input);
}

fn sql(directory: &Path, statements: &str) -> String {
    let args = ["--data", directory.to_str().unwrap(), "sql", "-q", "-o", "csv", statements];
    let out = Command::new(TIDEGATE).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{statements}\n{}", text(&out.stderr));
    text(&out.stdout)
}

const DECLARED: &str = "
    CREATE STREAM i (id INT KEY, v DOUBLE, w STRING) WITH (kafka_topic='i', partitions=2, value_format='JSON');
    CREATE TABLE t (id BIGINT PRIMARY KEY, n INT) WITH (kafka_topic='t', partitions=1, format='JSON');
    CREATE STREAM d (a STRING KEY, b INT KEY, v INT, w STRING)
      WITH (kafka_topic='d', partitions=1, key_format='JSON', value_format='DELIMITED');
    CREATE STREAM h (v INT, hs ARRAY<STRUCT<key STRING, value BYTES>> HEADERS)
      WITH (kafka_topic='h', partitions=1, format='JSON');";

#[test]
fn lines_are_written_into_a_stream_by_its_formats() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    sql(directory, DECLARED);
    let into = |name: &str, more: &[&str], lines: &str| {
        let args: Vec<&str> = ["produce", "--into", name].iter().chain(more).copied().collect();
        let out = topic(directory, &args, lines.as_bytes());
        (out.status.code(), text(if out.status.success() { &out.stdout } else { &out.stderr }))
    };
    let wrote =
        |n: i32, name: &str| (Some(0), format!("wrote {n} record{} to {name}\n", if n == 1 { "" } else { "s" }));
    // Keys are INTs of four bytes, where a text of four digits would be read as another number.
    let lines = "1000:{\"v\":1.5,\"W\":\"a\"}\n-7:{\"v\":2}\n1000:{\"v\":3,\"rowtime\":77}\n";
    assert_eq!(into("i", &["-k", ":"], lines), wrote(3, "i"));
    let rows = sql(directory, "SELECT id, v, w, ROWTIME = 77 AS early FROM i ORDER BY v;");
    assert_eq!(rows.lines().skip(1).collect::<Vec<_>>(), ["1000,1.5,a,false", "-7,2.0,,false", "1000,3.0,,true"]);
    assert_eq!(into("i", &["--timestamp", "5", "-p", "1"], "{\"v\":9}\n"), wrote(1, "i"));
    let rows = sql(directory, "SELECT id, v, ROWTIME, ROWPARTITION FROM i WHERE v = 9.0;");
    assert_eq!(rows.lines().nth(1), Some(",9.0,5,1"));
    // A tombstone deletes the row of its key.
    assert_eq!(into("t", &["-k", "=", "--null", ""], "1=7\n2={\"N\":8}\n1=\n"), wrote(3, "t"));
    assert_eq!(sql(directory, "SELECT * FROM t ORDER BY id;").lines().skip(1).collect::<Vec<_>>(), ["2,8"]);
    assert_eq!(into("d", &["-k", "|"], "{\"a\":\"x\",\"b\":3}|5,y\n"), wrote(1, "d"));
    assert_eq!(sql(directory, "SELECT * FROM d;").lines().nth(1), Some("x,3,5,y"));
    assert_eq!(into("h", &["-H", "k=v w", "-H", "e="], "{\"v\":1}\n"), wrote(1, "h"));
    let rows =
        sql(directory, "SELECT hs[1]->key AS k, FROM_BYTES(hs[1]->value, 'utf8') AS v, ARRAY_LENGTH(hs) AS n FROM h;");
    assert_eq!(rows.lines().nth(1), Some("k,v w,2"));
    // The lines before a bad one are written.
    let (code, errors) = into("i", &["-k", ":"], "4:{\"v\":4}\nfive:{\"v\":5}\n6:{\"v\":6}\n");
    assert!(
        code == Some(1) && errors.contains("in line 2") && errors.contains("the record before it was written"),
        "{errors}"
    );
    assert!(sql(directory, "SELECT id FROM i WHERE v >= 4.0 AND v < 9.0;").lines().skip(1).eq(["4"]));
    let (code, errors) = into("nowhere", &[], "{}\n");
    assert!(code == Some(1) && errors.contains("unknown stream/table: `NOWHERE`"), "{errors}");
    let (code, errors) = into("i", &["-p", "2"], "{}\n");
    assert!(code == Some(1) && errors.contains("topic i has no partition 2"), "{errors}");
    let (code, errors) = into("t", &[], "{\"n\":1}\n");
    assert!(code == Some(1) && errors.contains("a record of table T has a key"), "{errors}");
}

#[test]
fn records_have_the_key_format_partition_time_and_headers_that_are_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    // The owner of the directory is another process: what is written goes through it.
    let mut owner = started(directory, &["produce", "other", "--partitions", "1"]);
    while !directory.join("owner").exists() {
        assert_eq!(owner.try_wait().unwrap(), None);
    }
    sql(
        directory,
        "CREATE STREAM s (id INT KEY, v INT, h BYTES HEADER('a')) WITH (kafka_topic='s', partitions=3, value_format='JSON');",
    );
    let produce = |args: &[&str], lines: &str| topic(directory, args, lines.as_bytes());
    let args =
        ["produce", "s", "-k", ":", "--key-format", "int", "--null", "-", "-p", "2", "--timestamp", "9", "-H", "a=b"];
    let out = produce(&args, "17:{\"V\":1}\n-:{\"V\":2}\n18:-\n");
    assert_eq!(text(&out.stdout), "wrote 3 records to s\n", "{}", text(&out.stderr));
    let rows = sql(
        directory,
        "SELECT id, v, ROWTIME, ROWPARTITION, FROM_BYTES(h, 'utf8') AS h FROM s WHERE v > 0 ORDER BY v;",
    );
    assert_eq!(rows.lines().skip(1).collect::<Vec<_>>(), ["17,1,9,2,b", ",2,9,2,b"]);
    let printed = text(&produce(&["print", "s", "-b", "-e", "-f", "%p %o %K %S"], "").stdout);
    assert_eq!(printed, "2 0 4 7\n2 1 -1 7\n2 2 4 -1\n");
    let out = produce(&["produce", "s", "-k", ":", "--key-format", "int"], "1:{}\nx:{}\n");
    let errors = text(&out.stderr);
    assert!(errors.contains("the key \"x\" is not an INT") && errors.contains("in line 2"), "{errors}");
    // Into a stream through the owner, which opens its engine for it.
    let out = produce(&["produce", "--into", "s", "-k", ":", "-H", "a=c"], "99:{\"V\":5}\n");
    assert_eq!(text(&out.stdout), "wrote 1 record to s\n", "{}", text(&out.stderr));
    let rows = sql(directory, "SELECT id, FROM_BYTES(h, 'utf8') AS h FROM s WHERE v = 5;");
    assert_eq!(rows.lines().nth(1), Some("99,c"));
    drop(owner.stdin.take());
    owner.wait().unwrap();
}
