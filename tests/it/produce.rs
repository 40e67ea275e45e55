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
