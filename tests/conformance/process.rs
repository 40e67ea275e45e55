//! A `tidegate server` in a process and a data directory of its own, for the cases that were made for the HTTP API.
//!
//! Everything reaches it as a client's requests do: statements and queries by ksqlDB's API, records by
//! `POST /api/v1/topics/{topic}/records`, progress by `GET /api/v1/queries`. Only topics are made before, in its directory.

use crate::layer::Taped;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidegate::error::{Error, Result};
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions};
use tidegate::log::{Header, Log, TopicSpec};
use tidegate::types::clock::SystemClock;

/// How long a server may take to listen, and its queries to read all records.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at the queries.
const STEP: Duration = Duration::from_millis(20);
/// Records that are read of a topic: more than any case has.
const RECORDS_MAX: usize = 1_000;

/// The process; it is killed with this.
pub(crate) struct Process {
    child: Child,
    _directory: TempDir,
    address: String,
    agent: ureq::Agent,
}

/// A record to be appended.
pub(crate) struct Raw<'a> {
    pub(crate) partition: i32,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    /// Base64 values.
    pub(crate) headers: Vec<(String, Option<String>)>,
}

fn io(what: &str, e: impl std::fmt::Display) -> Error {
    Error::io(format!("{what}: {e}"))
}

impl Process {
    /// Makes the topics in a new directory, then starts a server on it.
    pub(crate) fn start(topics: &[TopicSpec], settings: &BTreeMap<String, String>) -> Result<Process> {
        let directory = tempfile::tempdir()?;
        make_topics(directory.path(), topics)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(["server", "--listen", "127.0.0.1:0", "--data"]).arg(directory.path());
        for (name, value) in settings {
            command.arg("--set").arg(format!("{name}={value}"));
        }
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).stdin(Stdio::null()).spawn()?;
        let stderr = child.stderr.take().ok_or_else(|| Error::bug("standard error is a pipe"))?;
        let mut lines = BufReader::new(stderr).lines().map_while(std::result::Result::ok);
        let listening = lines.find_map(|line| Some(line.split_once("address=")?.1.split(' ').next()?.to_owned()));
        // Whatever else it says is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let agent = agent.build().new_agent();
        let mut process = Process { child, _directory: directory, address: String::new(), agent };
        process.address = listening.ok_or_else(|| Error::io("the server ended before it listened"))?;
        Ok(process)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Appends a record to a topic.
    pub(crate) fn produce(&self, topic: &str, record: &Raw<'_>) -> Result<()> {
        let text = |bytes: &[u8]| STANDARD.encode(bytes);
        let headers = record.headers.iter().map(|(key, value)| json!({ "key": key, "valueRaw": value }));
        let record = json!({
            "partition": record.partition,
            "time": record.timestamp,
            "key": record.key.map(text),
            "value": record.value.map(text),
            "headers": headers.collect::<Vec<_>>(),
            "as": "base64",
        });
        let url = format!("http://{}/api/v1/topics/{topic}/records", self.address);
        let body = json!({ "records": [record] }).to_string();
        let request = self.agent.post(url).header("content-type", "application/json");
        let response = request.send(body).map_err(|e| io("the records were not taken", e))?;
        if response.status() == 200 {
            return Ok(());
        }
        Err(Error::io(format!(
            "the records were not taken: {}",
            response.into_body().read_to_string().unwrap_or_default()
        )))
    }

    /// Waits until every persistent query has read, and committed, all there is. The queries are listed in the order of their
    /// creation, so that what the first has written counts for those behind it.
    #[expect(clippy::disallowed_methods, reason = "a process takes time of this machine")]
    pub(crate) fn settle(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let queries = self.queries()?;
            let settled = |query: &&Value| query["lag"].as_u64() == Some(0) || query["state"] == "ERROR";
            if queries.iter().filter(|q| q["persistent"] == true).all(|q| settled(&q)) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(Error::io(format!(
                    "time-out: the queries are not at the end of their topics: {queries:?}"
                )));
            }
            std::thread::sleep(STEP);
        }
    }

    fn queries(&self) -> Result<Vec<Value>> {
        let body: Value = serde_json::from_str(&self.get("queries")?).map_err(|e| io("no JSON", e))?;
        Ok(body["queries"].as_array().cloned().unwrap_or_default())
    }

    /// The records of a topic, by time.
    pub(crate) fn records(&self, topic: &str) -> Result<Vec<Taped>> {
        let lines = self.get(&format!("topics/{topic}/records?offset=0&as=hex&limit={RECORDS_MAX}"))?;
        let records = lines.lines().filter(|line| !line.is_empty()).map(|line| {
            let record: Value = serde_json::from_str(line).map_err(|e| io("no JSON", e))?;
            let bytes = |name: &str| record[name].as_str().map(|text| STANDARD.decode(text).unwrap_or_default());
            let headers = record["headers"].as_array().into_iter().flatten().map(|header| Header {
                key: header["key"].as_str().unwrap_or_default().to_owned(),
                value: header["valueRaw"].as_str().map(|text| STANDARD.decode(text).unwrap_or_default()),
            });
            Ok(Taped {
                partition: record["partition"].as_i64().unwrap_or_default() as i32,
                timestamp: record["time"].as_i64().unwrap_or_default(),
                key: bytes("keyRaw"),
                value: bytes("valueRaw"),
                headers: headers.collect(),
            })
        });
        let mut records = records.collect::<Result<Vec<_>>>()?;
        records.sort_by_key(|record| record.timestamp);
        Ok(records)
    }

    fn get(&self, path: &str) -> Result<String> {
        let response = self.agent.get(format!("http://{}/api/v1/{path}", self.address)).call();
        let response = response.map_err(|e| io("no answer", e))?;
        let (status, body) = (response.status(), response.into_body().read_to_string());
        let body = body.map_err(|e| io("no body", e))?;
        if status == 200 { Ok(body) } else { Err(Error::io(format!("{path}: {status}: {body}"))) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn make_topics(directory: &Path, topics: &[TopicSpec]) -> Result<()> {
    let log = EmbeddedLog::open(directory, EmbeddedOptions::default(), SystemClock::shared())?;
    topics.iter().try_for_each(|topic| log.create_topic(topic).map(|_| ()))
}
