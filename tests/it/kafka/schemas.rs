//! Schemas in a real registry (Apicurio) and in the server's own: Confluent's serializers, as people install them, write what we
//! read and read what we write. What the registry refuses, and what becomes of a query while it is away.

use super::*;
use crate::clients::prepared;
use crate::http::Server;
use crate::wire::{Schema, SchemaKind};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Exit code of the script: Java or Maven is missing.
const SKIP: i32 = 77;
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest time that a client may take, waits for a busy machine included.
const CLIENT_SECONDS: &str = "150";

/// A running registry.
struct Registry {
    folder: PathBuf,
    url: String,
}

impl Registry {
    fn script(action: &str, folder: &Path) -> Command {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/registry.sh"));
        command.arg(action).arg(folder).stdin(Stdio::null());
        command
    }

    /// One of this test's own; the reason why there is none.
    fn start() -> std::result::Result<Registry, String> {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(fresh("registry"));
        // A process of an earlier time may have had this one's number.
        let _ = std::fs::remove_dir_all(&folder);
        let output = Registry::launch(&folder);
        if output.status.success() {
            let url = std::fs::read_to_string(folder.join("url")).expect("the script wrote it").trim().to_owned();
            return Ok(Registry { folder, url });
        }
        let reason = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(SKIP), "the registry did not start: {reason}");
        Err(reason)
    }

    fn launch(folder: &Path) -> std::process::Output {
        Registry::script("start", folder).arg(std::process::id().to_string()).output().expect("bash runs")
    }

    fn kill(&self) {
        assert!(Registry::script("kill", &self.folder).status().expect("bash runs").success());
    }

    /// Starts it again with its port and its schemas.
    fn restart(&self) {
        assert!(Registry::launch(&self.folder).status.success());
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let url = format!("{}{path}", self.url);
        let request = if method == "PUT" { agent.put(url) } else { agent.post(url) };
        let response = request.header("content-type", "application/json").send(body.to_string()).unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.into_body().read_to_string().unwrap()).unwrap_or_default())
    }

    /// Registers an Avro schema; its id.
    fn register(&self, subject: &str, schema: &str) -> u32 {
        let (status, body) = self.send("POST", &format!("/subjects/{subject}/versions"), &json!({ "schema": schema }));
        assert_eq!(status, 200, "{body}");
        body["id"].as_u64().unwrap() as u32
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = Registry::script("stop", &self.folder).status();
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// The broker and the registry that most tests share.
fn parts(test: &str) -> Option<(&'static broker::Broker, &'static Registry)> {
    static SHARED: OnceLock<std::result::Result<Registry, String>> = OnceLock::new();
    let broker = broker::shared(test)?;
    match SHARED.get_or_init(Registry::start) {
        Ok(registry) => Some((broker, registry)),
        Err(reason) => {
            broker::skipped(test, reason);
            None
        }
    }
}

/// A server of its own name on the cluster; without a URL among the settings it uses its own registry.
fn server(broker: &broker::Broker, settings: &[String]) -> Server {
    let service = fresh("schemas_");
    let mut place = vec!["--bootstrap-servers", &broker.bootstrap, "--service-id", &service];
    place.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    Server::at(&place)
}

fn url_of(registry: &Registry) -> String {
    format!("ksql.schema.registry.url={}", registry.url)
}

/// A client of registries: its interpreter and its script.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    Python,
    JavaScript,
    /// Apicurio's serializers: they speak the interface of its own registry, and frame PROTOBUF in a way of their own.
    Java,
}

impl Client {
    /// Runs its script; what it printed. `None` = it cannot be had here.
    fn run(self, test: &str, words: &[&str]) -> Option<String> {
        let mut command = Command::new("timeout");
        command.arg(CLIENT_SECONDS).stdin(Stdio::null());
        let script = match self {
            Client::Python => {
                command.arg(prepared(test, &["python", "requirements-schemas.txt"])?).arg("-B");
                "schemas.py"
            }
            Client::JavaScript => {
                command.env("NODE_PATH", prepared(test, &["node", "registry"])?).arg("node");
                "schemas.js"
            }
            Client::Java => {
                command.args(["java", "-cp", &prepared(test, &["java", "java"])?]);
                "Schemas.java"
            }
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
        let output = command.arg(script).args(words).output().expect("it runs");
        let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{words:?}:\n{out}\n{errors}");
        Some(out.into_owned())
    }

    /// What it wrote, as the scripts say.
    fn cars(self) -> [(&'static str, f64, i64, bool, &'static [&'static str]); 3] {
        let large = if self == Client::JavaScript { 70_000_000_000 } else { 9_007_199_254_740_993 };
        [("a", 1.5, 1, true, &["x", "y"]), ("ü", -2.25, large, false, &[]), ("", 0.1, -3, true, &["z"])]
    }
}

/// Numbers that are equal are written alike.
fn normal(value: Value) -> Value {
    match value {
        Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (None, Some(x)) if x.fract() == 0.0 => json!(x as i64),
            _ => Value::Number(n),
        },
        Value::Array(all) => all.into_iter().map(normal).collect(),
        Value::Object(all) => all.into_iter().map(|(name, value)| (name, normal(value))).collect(),
        other => other,
    }
}

fn round_trip(test: &str, client: Client, broker: &broker::Broker, server: &Server, url: &str, formats: &[&str]) {
    round_trip_by(test, (client, "write"), broker, server, url, formats);
}

/// The client writes a topic of each format, the server reads them by their schemas and writes as many, the client reads those.
/// `formats` are the ones that are read back.
fn round_trip_by(
    test: &str,
    (client, verb): (Client, &str),
    broker: &broker::Broker,
    server: &Server,
    url: &str,
    formats: &[&str],
) {
    let prefix = fresh("cars");
    let name = |format: &str| format!("{prefix}-{format}");
    if client.run(test, &[verb, &broker.bootstrap, url, &prefix]).is_none() {
        return;
    }
    for (format, key, with) in [
        ("avro", "ROWKEY", "FORMAT='AVRO'"),
        ("protobuf", "k", "VALUE_FORMAT='PROTOBUF'"),
        ("json", "k", "VALUE_FORMAT='JSON_SR'"),
    ] {
        if client == Client::Java && format == "protobuf" {
            continue;
        }
        let columns = if key == "k" { "(k STRING KEY)" } else { "" };
        server.ksql(&format!(
            "CREATE STREAM {format}_in {columns} WITH (KAFKA_TOPIC='{}', {with});
             CREATE STREAM {format}_out WITH (KAFKA_TOPIC='{}') AS
               SELECT {key}, id, speed * 2 AS speed, n + 1 AS n, ok, tags FROM {format}_in;",
            name(format),
            name(&format!("{format}-out")),
        ));
    }
    let formats_read = formats.join(",");
    let out = client.run(test, &["read", &broker.bootstrap, url, &prefix, &formats_read]).expect("it ran before");
    let mut read: Vec<String> =
        out.lines().map(|line| normal(serde_json::from_str(line).expect("a line of JSON")).to_string()).collect();
    let mut expected = Vec::new();
    for format in formats {
        for (id, speed, n, ok, tags) in client.cars() {
            let value = json!({ "ID": id, "N": n + 1, "OK": ok, "SPEED": speed * 2.0, "TAGS": tags });
            let record = json!({ "key": id, "topic": format!("{format}-out"), "value": value });
            expected.push(normal(record).to_string());
        }
    }
    read.sort();
    expected.sort();
    assert_eq!(read, expected);
}

#[test]
fn python_serializers_with_a_real_registry() {
    let test = "python_serializers_with_a_real_registry";
    let Some((broker, registry)) = parts(test) else { return };
    let server = server(broker, &[url_of(registry)]);
    round_trip(test, Client::Python, broker, &server, &registry.url, &["avro", "protobuf", "json"]);
}

#[test]
fn python_serializers_with_our_registry() {
    let test = "python_serializers_with_our_registry";
    let Some(broker) = broker::shared(test) else { return };
    let server = server(broker, &[]);
    let url = format!("http://{}/schema-registry", server.address);
    round_trip(test, Client::Python, broker, &server, &url, &["avro", "protobuf", "json"]);
}

#[test]
fn python_serializers_that_name_schemas_in_headers() {
    let test = "python_serializers_that_name_schemas_in_headers";
    let Some(broker) = broker::shared(test) else { return };
    let server = server(broker, &[]);
    let url = format!("http://{}/schema-registry", server.address);
    round_trip_by(test, (Client::Python, "write-headers"), broker, &server, &url, &["avro", "protobuf", "json"]);
}

/// Its deserializer of PROTOBUF asks for a descriptor in the place of a text, which Apicurio does not make.
#[test]
fn javascript_serializers_with_a_real_registry() {
    let test = "javascript_serializers_with_a_real_registry";
    let Some((broker, registry)) = parts(test) else { return };
    let server = server(broker, &[url_of(registry)]);
    round_trip(test, Client::JavaScript, broker, &server, &registry.url, &["avro", "json"]);
}

#[test]
fn javascript_serializers_with_our_registry() {
    let test = "javascript_serializers_with_our_registry";
    let Some(broker) = broker::shared(test) else { return };
    let server = server(broker, &[]);
    let url = format!("http://{}/schema-registry", server.address);
    round_trip(test, Client::JavaScript, broker, &server, &url, &["avro", "protobuf", "json"]);
}

#[test]
fn java_serializers_with_a_real_registry() {
    let test = "java_serializers_with_a_real_registry";
    let Some((broker, registry)) = parts(test) else { return };
    let server = server(broker, &[url_of(registry)]);
    round_trip(test, Client::Java, broker, &server, &registry.url, &["avro", "json"]);
}

/// A gate in front of a registry, as operators place one: it lets requests of one user pass, each on a connection of its own.
fn gate(registry: &Registry, credentials: &'static str) -> String {
    let gate = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gate.local_addr().unwrap();
    let rest = registry.url.strip_prefix("http://").unwrap().to_owned();
    let behind = rest.split('/').next().unwrap().to_owned();
    std::thread::spawn(move || {
        for client in gate.incoming() {
            let behind = behind.clone();
            std::thread::spawn(move || pass(client.unwrap(), &behind, credentials));
        }
    });
    format!("http://{}", rest.replacen(rest.split('/').next().unwrap(), &address.to_string(), 1))
}

/// One request: refused without the credentials, else sent on. What goes wrong ends the connection.
fn pass(client: TcpStream, behind: &str, credentials: &str) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let (mut head, mut length, mut allowed) = (String::new(), 0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let (name, value) = line.split_once(':').unwrap_or((line.trim_end(), ""));
        match name.to_ascii_lowercase().as_str() {
            "" => break,
            "content-length" => length = value.trim().parse().ok()?,
            "authorization" => allowed = value.trim() == credentials,
            "connection" => continue,
            _ => {}
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut client = client;
    if !allowed {
        let text = r#"{"error_code":401,"message":"no user of this registry"}"#;
        let head = "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nconnection: close";
        return write!(client, "{head}\r\ncontent-length: {}\r\n\r\n{text}", text.len()).ok();
    }
    let mut server = TcpStream::connect(behind).ok()?;
    write!(server, "{head}connection: close\r\n\r\n").ok()?;
    server.write_all(&body).ok()?;
    std::io::copy(&mut server, &mut client).ok().map(|_| ())
}

#[test]
fn a_real_registry_behind_a_password_is_used_by_those_who_have_it() {
    let test = "a_real_registry_behind_a_password_is_used_by_those_who_have_it";
    let Some((broker, registry)) = parts(test) else { return };
    let gated = gate(registry, "Basic YWRhOm9uZTp0d28=");
    let in_url = gated.replacen("http://", "http://ada:one%3Atwo@", 1);
    let user_info = "ksql.schema.registry.basic.auth.user.info=ada:one:two";
    let source = "ksql.schema.registry.basic.auth.credentials.source=";
    for (n, settings) in [
        vec![format!("ksql.schema.registry.url={gated}"), format!("{source}USER_INFO"), user_info.to_owned()],
        vec![format!("ksql.schema.registry.url={in_url}"), format!("{source}URL")],
    ]
    .iter()
    .enumerate()
    {
        let server = server(broker, settings);
        let (from, to) = (fresh("from"), fresh("to"));
        server.ksql(&format!(
            "CREATE STREAM f (v BIGINT) WITH (KAFKA_TOPIC='{from}', VALUE_FORMAT='AVRO', PARTITIONS=1);
             CREATE STREAM t WITH (KAFKA_TOPIC='{to}') AS SELECT v * 2 AS v FROM f; INSERT INTO f VALUES ({n});"
        ));
        let declared = r#"{"type":"record","name":"R","fields":[{"name":"V","type":["null","long"],"default":null}]}"#;
        let (ours, log) = (Schema::parse(SchemaKind::Avro, declared, &[]).unwrap(), connect(&broker.bootstrap));
        until("the record comes", PATIENCE, || (numbers(&log, &to, &ours) == [json!(2 * n)]).then_some(()));
    }
    let wrong = "ksql.schema.registry.basic.auth.user.info=ada:one".to_owned();
    let url = format!("ksql.schema.registry.url={gated}");
    let server = server(broker, &[url, format!("{source}USER_INFO"), wrong]);
    let (from, with) = (fresh("from"), "VALUE_FORMAT='AVRO', PARTITIONS=1");
    let message = refused(&server, &format!("CREATE STREAM f (v BIGINT) WITH (KAFKA_TOPIC='{from}', {with});"));
    assert!(message.contains("no user of this registry"), "{message}");
}

/// A refused statement's message.
fn refused(server: &Server, sql: &str) -> String {
    let (status, body) = server.post("/ksql", &json!({ "ksql": sql }));
    assert_eq!(status, 400, "{body}");
    body["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_real_registry_refuses_what_is_absent_and_what_is_incompatible() {
    let test = "a_real_registry_refuses_what_is_absent_and_what_is_incompatible";
    let Some((broker, registry)) = parts(test) else { return };
    let server = server(broker, &[url_of(registry)]);
    let log = connect(&broker.bootstrap);
    let (absent, sink) = (topic(&log, "absent", 1).name, fresh("sink"));
    let message = refused(&server, &format!("CREATE STREAM s WITH (KAFKA_TOPIC='{absent}', VALUE_FORMAT='AVRO');"));
    let expected = format!("Schema for message values on topic '{absent}' does not exist in the Schema Registry.");
    assert!(message.contains(&expected), "{message}");

    let subject = format!("{sink}-value");
    registry.register(&subject, r#"{"type":"record","name":"R","fields":[{"name":"V","type":"string"}]}"#);
    let (status, body) = registry.send("PUT", &format!("/config/{subject}"), &json!({ "compatibility": "BACKWARD" }));
    assert_eq!(status, 200, "{body}");
    let from = fresh("from");
    server.ksql(&format!("CREATE STREAM r (v INT) WITH (KAFKA_TOPIC='{from}', VALUE_FORMAT='AVRO', PARTITIONS=1);"));
    let message = refused(&server, &format!("CREATE STREAM o WITH (KAFKA_TOPIC='{sink}') AS SELECT * FROM r;"));
    assert!(message.contains("Could not register schema for topic"), "{message}");
    assert_eq!(server.ksql("SHOW QUERIES;")[0]["queries"], json!([]));
}

/// Values of a topic that have come, by the schema of the declared columns.
fn numbers(log: &KafkaLog, topic: &str, schema: &Schema) -> Vec<Value> {
    let records = read_all(log, topic, 0, Isolation::ReadCommitted);
    let number = |r: OwnedRecord| schema.decode(&r.value.unwrap()[5..]).unwrap()["V"].clone();
    records.into_iter().map(number).collect()
}

#[test]
fn records_wait_for_a_registry_that_was_killed() {
    let test = "records_wait_for_a_registry_that_was_killed";
    let Some(broker) = broker::shared(test) else { return };
    let registry = match Registry::start() {
        Ok(registry) => registry,
        Err(reason) => return broker::skipped(test, &reason),
    };
    let (server, log) = (server(broker, &[url_of(&registry)]), connect(&broker.bootstrap));
    let (from, to) = (fresh("from"), fresh("to"));
    server.ksql(&format!(
        "CREATE STREAM f (v BIGINT) WITH (KAFKA_TOPIC='{from}', VALUE_FORMAT='AVRO', PARTITIONS=1);
         CREATE STREAM t WITH (KAFKA_TOPIC='{to}') AS SELECT * FROM f; INSERT INTO f VALUES (1);"
    ));
    let declared = r#"{"type":"record","name":"R","fields":[{"name":"V","type":["null","long"],"default":null}]}"#;
    let ours = Schema::parse(SchemaKind::Avro, declared, &[]).unwrap();
    until("the first record comes", PATIENCE, || (numbers(&log, &to, &ours).len() == 1).then_some(()));

    // Two more schemas of other writers, the first of which nobody has read; then an id that no registry gave.
    let text = |field: &str| {
        format!(
            r#"{{"type":"record","name":"{field}","fields":[{{"name":"v","type":"int"}},{{"name":"{field}","type":"string","default":""}}]}}"#
        )
    };
    let ids = ["A", "B"].map(|name| (name, registry.register(&format!("{from}-value"), &text(name))));
    registry.kill();
    let mut records = RecordSet::default();
    for (n, (name, id)) in ids.iter().enumerate() {
        let writer = Schema::parse(SchemaKind::Avro, &text(name), &[]).unwrap();
        let bytes = writer.encode(*id, None, &json!({ "v": n + 2, "A": "a", "B": "b" })).unwrap();
        records.push(0, 1, None, Some(&bytes));
    }
    let unknown = ours.encode(987_654, None, &json!({ "V": 98 })).unwrap();
    records.push(0, 1, None, Some(&unknown));
    log.append(&from, &records).unwrap();

    let waits = || {
        let trouble = server.ksql("SHOW QUERIES;")[0]["queries"][0]["trouble"].clone();
        trouble.is_string().then_some(())
    };
    until("the query says what it waits for", PATIENCE, waits);
    assert_eq!(numbers(&log, &to, &ours), [json!(1)]);
    registry.restart();
    until("what waited is read", PATIENCE, || (numbers(&log, &to, &ours).len() >= 3).then_some(()));
    server.ksql("INSERT INTO f VALUES (4);");
    until("the unknown id is passed over", PATIENCE, || (numbers(&log, &to, &ours).len() >= 4).then_some(()));
    assert_eq!(numbers(&log, &to, &ours), [json!(1), json!(2), json!(3), json!(4)]);
}
