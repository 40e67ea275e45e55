//! The pipelines of `examples/pipelines`, run as users run them, with the shared broker and the shared worker of Kafka Connect.

use super::*;
use std::process::{Command, Stdio};
use tidegate::config::environment;

/// Exit code of the script: Java, Maven or Go is missing.
const SKIP: i32 = 77;

/// What the pipeline shows; `None` = it is skipped, and its name was printed.
fn output(test: &str, pipeline: &str, worker: Option<&str>) -> Option<String> {
    let broker = broker::shared(test)?;
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pipelines/run.sh"));
    script.arg(pipeline).stdin(Stdio::null()).env("BROKERS", &broker.bootstrap);
    script.env("TIDEGATE", env!("CARGO_BIN_EXE_tidegate")).envs(worker.map(|url| ("CONNECT", url)));
    let output = script.output().expect("bash runs");
    let (shown, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(SKIP) {
        broker::skipped(test, &errors);
        return None;
    }
    assert!(output.status.success(), "{shown}{errors}");
    Some(shown.into_owned())
}

#[test]
fn words_are_counted_as_by_kafka_streams() {
    let Some(shown) = output("words_are_counted_as_by_kafka_streams", "word_count", None) else { return };
    let counts = "all,1\nhello,1\njoin,1\nkafka,3\nlead,1\nstreams,2\nsummit,1\nto,1\n";
    assert_eq!(shown, format!("by Kafka Streams and by SQL:\nWORD,TOTAL\n{counts}"));
}

#[test]
fn files_are_joined_through_connect() {
    let test = "files_are_joined_through_connect";
    let Some(worker) = connect::worker(test) else { return };
    let Some(shown) = output(test, "file_join", Some(worker)) else { return };
    assert_eq!(shown, "sold.csv:\n2,Grace,book,12.5\n1,Ada,lamp,30.0\n");
}

/// Filebeat is built for it, which takes minutes the first time: set TIDEGATE_TEST_LOG_SEARCH to run it.
#[test]
fn logs_of_filebeat_are_found_by_opensearch() {
    let test = "logs_of_filebeat_are_found_by_opensearch";
    if environment("TIDEGATE_TEST_LOG_SEARCH").is_none() {
        return broker::skipped(test, "TIDEGATE_TEST_LOG_SEARCH is not set");
    }
    let Some(shown) = output(test, "log_search", None) else { return };
    let indices: Vec<&str> = shown.lines().collect();
    assert!(
        indices[0].starts_with("search_web_1: ") && indices[0].matches("\"HOST\":\"web-1\"").count() == 2,
        "{shown}"
    );
    assert!(indices[1].starts_with("search_db_1: ") && indices[1].contains("slow query"), "{shown}");
    assert!(indices[2].contains("not JSON") && indices[2].contains("no host"), "{shown}");
}
