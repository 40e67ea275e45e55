//! Connectors against a worker that does as it is told: what no real one does on demand. The real one is in `kafka::connect`.

use super::rights::House;
use super::*;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;

/// A worker of Kafka Connect with one connector, `X`, which ends with this.
pub(crate) struct Worker {
    pub(crate) url: String,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Shared {
    /// What the next requests get: the beginning of their line, status and body. Status 0 = no response.
    told: Mutex<VecDeque<(&'static str, u16, &'static str)>>,
    /// Method and path, headers and body of each request.
    requests: Mutex<Vec<(String, HeaderMap, Value)>>,
}

impl Worker {
    pub(crate) fn open() -> Worker {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::<Shared>::default();
        let app = axum::Router::new().fallback(respond).with_state(shared.clone());
        runtime.spawn(async move { axum::serve(listener, app).await });
        Worker { url, shared, runtime: Some(runtime) }
    }

    /// The next request whose line begins so gets this.
    fn tell(&self, line: &'static str, status: u16, body: &'static str) {
        self.shared.told.lock().unwrap().push_back((line, status, body));
    }

    /// Methods and paths of the requests so far, which are forgotten.
    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.requests.lock().unwrap()).into_iter().map(|(line, ..)| line).collect()
    }

    fn last(&self) -> (String, HeaderMap, Value) {
        self.shared.requests.lock().unwrap().last().unwrap().clone()
    }

    fn server(&self, settings: &[&str]) -> Server {
        let url = format!("ksql.connect.url={}", self.url);
        let settings = std::iter::once(url.as_str()).chain(settings.iter().copied());
        let flags: Vec<&str> = std::iter::once("--temp").chain(settings.flat_map(|set| ["--set", set])).collect();
        Server::at(&flags)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn respond(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let line = format!("{} {}", request.method(), request.uri().path_and_query().unwrap());
    let headers = request.headers().clone();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    shared.requests.lock().unwrap().push((line.clone(), headers, body.clone()));
    let told = {
        let mut told = shared.told.lock().unwrap();
        let fitting = told.iter().position(|(begin, ..)| line.starts_with(begin));
        fitting.and_then(|at| told.remove(at))
    };
    let (status, text) = match told {
        Some((_, 0, _)) => std::future::pending().await,
        Some((_, status, text)) => (status, text.to_owned()),
        None => usual(&line, &body),
    };
    Response::builder().status(status).header("content-type", "application/json").body(Body::from(text)).unwrap()
}

/// What a worker does when nothing is wrong.
fn usual(line: &str, body: &Value) -> (u16, String) {
    let info = |name: &Value, config: &Value| json!({ "name": name, "config": config, "tasks": [], "type": "sink" });
    let x = info(&json!("X"), &json!({ "connector.class": "x.Y", "password": "hunter2" }));
    let status = json!({
        "name": "X",
        "connector": { "state": "RUNNING", "worker_id": "w:8083" },
        "tasks": [{ "id": 0, "state": "RUNNING", "worker_id": "w:8083" }],
        "type": "sink",
    });
    let (status, body) = match line {
        "GET /connectors" => (200, json!(["X"])),
        "GET /connectors?expand=info&expand=status" => (200, json!({ "X": { "info": x, "status": status } })),
        "GET /connectors/X" => (200, x),
        "GET /connectors/X/status" => (200, status),
        "GET /connectors/X/topics" => (200, json!({ "X": { "topics": ["t", "s"] } })),
        "GET /connector-plugins" => (200, json!([{ "class": "x.Y", "type": "sink", "version": "1.0" }])),
        "DELETE /connectors/X" => return (204, String::new()),
        "POST /connectors" => (201, info(&body["name"], &body["config"])),
        _ if line.starts_with("PUT /connector-plugins/") => (200, json!({ "error_count": 0, "configs": [] })),
        _ => (404, json!({ "error_code": 404, "message": format!("Connector not found: {line}") })),
    };
    (status, body.to_string())
}

const SINK: &str = "CREATE SINK CONNECTOR c WITH ('connector.class' = 'x.Y', 'topics' = 't', 'tasks.max' = 2, 'password' = 'hunter2');";

#[test]
fn each_statement_has_ksqldbs_entity() {
    let worker = Worker::open();
    let server = worker.server(&[]);
    server.ksql("CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON', PARTITIONS=1);");
    let created = &server.ksql(SINK)[0];
    assert_eq!(created["@type"], "connector_info");
    let config =
        json!({ "connector.class": "x.Y", "topics": "t", "tasks.max": "2", "password": "hunter2", "name": "C" });
    assert_eq!(created["info"], json!({ "name": "C", "config": config, "tasks": [], "type": "sink" }));
    let shown = "CREATE SINK CONNECTOR C WITH ('connector.class' = 'x.Y', 'topics' = 't', 'tasks.max' = 2, 'password' = '[string]');";
    assert_eq!((&created["statementText"], &created["warnings"]), (&json!(shown), &json!([])));
    let lines = worker.lines();
    assert_eq!(lines, ["GET /connectors", "PUT /connector-plugins/x.Y/config/validate", "POST /connectors"]);

    let listed = &server.ksql("LIST CONNECTORS;")[0];
    let row = json!({ "name": "X", "type": "sink", "className": "x.Y", "state": "RUNNING (1/1 tasks RUNNING)" });
    assert_eq!((&listed["@type"], &listed["connectors"]), (&json!("connector_list"), &json!([row])));
    assert_eq!(server.ksql("SHOW SINK CONNECTORS;")[0]["connectors"].as_array().unwrap().len(), 1);
    assert_eq!(server.ksql("SHOW SOURCE CONNECTORS;")[0]["connectors"], json!([]));
    let plugins = &server.ksql("SHOW CONNECTOR PLUGINS;")[0];
    let plugin = json!({ "className": "x.Y", "type": "sink", "version": "1.0" });
    assert_eq!(plugins["@type"], "connector_plugins_list");
    assert_eq!(plugins["connectorsPlugins"], json!([plugin]));

    let described = &server.ksql("DESCRIBE CONNECTOR x;")[0];
    assert_eq!(described["@type"], "connector_description");
    assert_eq!((&described["connectorClass"], &described["topics"]), (&json!("x.Y"), &json!(["s", "t"])));
    assert_eq!(described["status"]["connector"], json!({ "state": "RUNNING", "worker_id": "w:8083" }));
    assert_eq!(described["status"]["tasks"][0]["id"], 0);
    assert_eq!((&described["sources"][0]["name"], &described["sources"][0]["topic"]), (&json!("S"), &json!("t")));
    let text = described.to_string();
    assert!(!text.contains("hunter2"), "{text}");

    let dropped = &server.ksql("DROP CONNECTOR x;")[0];
    assert_eq!((&dropped["@type"], &dropped["connectorName"]), (&json!("drop_connector"), &json!("X")));
    let warned = &server.ksql("DROP CONNECTOR IF EXISTS nosuch;")[0];
    assert_eq!(warned["@type"], "warning_entity");
    assert_eq!(warned["message"], "Connector 'NOSUCH' does not exist.");
    let warned = &server.ksql("CREATE SINK CONNECTOR IF NOT EXISTS `x` WITH ('connector.class' = 'x.Y');")[0];
    assert_eq!(
        (&warned["@type"], &warned["message"]),
        (&json!("warning_entity"), &json!("Connector x already exists"))
    );
}

/// Statements that fail: code and message.
fn refused(server: &Server, statement: &str, code: u32, message: &str) {
    let body = server.refused(statement);
    assert_eq!(body["error_code"], code, "{statement}: {body}");
    let text = body["message"].as_str().unwrap();
    assert!(text.contains(message), "{statement}: {text}");
    assert!(!body["statementText"].as_str().unwrap().contains("hunter2"), "{body}");
}

#[test]
fn errors_have_ksqldbs_texts_and_connects_status() {
    let worker = Worker::open();
    let server = worker.server(&[]);
    let refused = |statement: &str, code: u32, message: &str| refused(&server, statement, code, message);
    refused("CREATE SINK CONNECTOR x WITH ('connector.class' = 'x.Y');", 40_900, "Connector X already exists");
    let text = "Validation error: Connector config {name=C, foo=bar} contains no connector type";
    refused("CREATE SINK CONNECTOR c WITH ('foo' = 'bar');", 40_001, text);
    refused(
        "CREATE SINK CONNECTOR c WITH ('connector.class' = ' ');",
        40_001,
        "Validation error: Connector type cannot be empty",
    );
    let wrong = r#"{"configs":[{"value":{"name":"file","errors":["Missing it","really"]}},{"value":{"name":"n","errors":["no"]}}]}"#;
    worker.tell("PUT", 200, wrong);
    refused(SINK, 40_001, "Validation error: file - Missing it. really\nn - no");
    worker.tell("PUT", 400, r#"{"error_code":400,"message":"Failed to find any class"}"#);
    refused(SINK, 40_001, r#"Validation error: {"error_code":400,"message":"Failed to find any class"}"#);
    worker.tell("POST", 400, r#"{"error_code":400,"message":"no"}"#);
    refused(SINK, 40_000, r#"Failed to create connector: {"error_code":400,"message":"no"}"#);
    // What may have been executed is not sent twice.
    worker.lines();
    worker.tell("POST", 500, "{\"error_code\":500,\"message\":\"Request timed out\"}");
    refused(SINK, 50_000, "Failed to create connector: {\"error_code\":500,\"message\":\"Request timed out\"}");
    assert_eq!(worker.lines().iter().filter(|line| line.starts_with("POST")).count(), 1);
    // A worker that joins its group refuses for a moment.
    worker.tell("POST", 409, "{\"error_code\":409,\"message\":\"Cannot complete request momentarily\"}");
    assert_eq!(server.ksql(SINK)[0]["@type"], "connector_info");
    // This server's own statuses would tell the client to log in.
    worker.tell("GET", 401, "");
    refused("SHOW CONNECTORS;", 50_000, "Failed to list connectors: HTTP status 401");
    refused("DESCRIBE CONNECTOR nosuch;", 40_400, "Failed to query connector status: {\"error_code\":404");
    refused("DROP CONNECTOR nosuch;", 40_400, "Failed to drop connector: {\"error_code\":404");
    worker.tell("DELETE", 404, "{}");
    worker.tell("GET /connectors", 200, "[\"mixed\"]");
    refused("DROP CONNECTOR mixed;", 40_400, "did you mean `mixed`? Names without quotes are upper case");
    worker.tell("GET", 200, "<html>a proxy</html>");
    refused("SHOW CONNECTORS;", 50_300, "the response is none of Kafka Connect");
    // A request is validated as a whole: the stream is not created.
    let both = "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON', PARTITIONS=1); \
                CREATE SINK CONNECTOR c WITH ('foo' = 'bar');";
    let body = server.refused(both);
    assert!(body["message"].as_str().unwrap().contains("contains no connector type"), "{body}");
    assert_eq!(server.ksql("SHOW STREAMS;")[0]["streams"], json!([]));
}

#[test]
fn an_older_worker_lists_names_only() {
    let worker = Worker::open();
    let server = worker.server(&[]);
    let names = "[\"X\", \"gone\"]";
    worker.tell("GET /connectors?expand", 200, names);
    let listed = &server.ksql("SHOW CONNECTORS;")[0];
    let gone = json!({ "name": "gone", "type": "unknown", "className": null, "state": null });
    assert_eq!(listed["connectors"][1], gone);
    let warning = listed["warnings"][0]["message"].as_str().unwrap();
    assert!(warning.starts_with("Could not describe connector gone: {\"error_code\":404"), "{warning}");
    worker.tell("GET /connectors?expand", 200, names);
    let listed = &server.ksql("SHOW SINK CONNECTORS;")[0];
    assert_eq!((listed["connectors"].as_array().unwrap().len(), listed["warnings"].as_array().unwrap().len()), (1, 1));
    worker.tell("GET /connectors/X/topics", 500, "no");
    worker.tell("GET /connectors/X/topics", 500, "no");
    worker.tell("GET /connectors/X/topics", 500, "no");
    let described = &server.ksql("DESCRIBE CONNECTOR x;")[0];
    assert_eq!(described["warnings"][0]["message"], "Could not list related topics due to error: no");
}

#[test]
fn a_worker_that_is_away_is_named() {
    // The port of a listener that is closed.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let worker = Worker::open();
    let away = format!("http://127.0.0.1:{port}");
    let server = Server::at(&["--temp", "--set", &format!("ksql.connect.url={away}")]);
    refused(
        &server,
        "SHOW CONNECTORS;",
        50_300,
        &format!("Failed to list connectors: Kafka Connect does not respond: {away}: Connection refused"),
    );
    refused(&server, SINK, 50_300, "--set ksql.connect.url=http://HOST:8083");
    // A second URL takes its place.
    let urls = format!("ksql.connect.url={away},{}", worker.url);
    let server = Server::at(&["--temp", "--set", &urls, "--set", "ksql.connect.request.timeout.ms=1000"]);
    assert_eq!(server.ksql("SHOW CONNECTORS;")[0]["connectors"][0]["name"], "X");
    // Other statements are carried out while one waits.
    worker.tell("POST", 0, "");
    let url = format!("http://{}/ksql", server.address);
    let creating = std::thread::spawn(move || {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        answer(agent.post(url).send(json!({ "ksql": SINK }).to_string()).unwrap())
    });
    until("the worker is asked", || worker.lines().iter().any(|line| line.starts_with("POST")));
    server.ksql("CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON', PARTITIONS=1);");
    let (status, body) = creating.join().unwrap();
    let message = body["message"].as_str().unwrap();
    assert!(status == 503 && message.contains("whether it was created is not known"), "{status}: {message}");
    assert_eq!(worker.lines(), Vec::<String>::new(), "it was sent once");
}

#[test]
fn requests_are_authorized_by_the_file_of_now() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("connect.properties");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let worker = Worker::open();
    let named = format!("ksql.connect.basic.auth.credentials.file={}", file.display());
    let source = "ksql.connect.basic.auth.credentials.source=FILE";
    let server = worker.server(&[source, &named]);
    write("username=ada\npassword=one\n");
    server.ksql("SHOW CONNECTORS;");
    assert_eq!(worker.last().1["authorization"], "Basic YWRhOm9uZQ==");
    write("username=ada\npassword=two\n");
    server.ksql("SHOW CONNECTORS;");
    assert_eq!(worker.last().1["authorization"], "Basic YWRhOnR3bw==");
    write("");
    server.ksql("SHOW CONNECTORS;");
    assert_eq!(worker.last().1.get("authorization"), None);
    let strict = "ksql.connect.basic.auth.fail.on.unreadable.credentials=true";
    let server = worker.server(&[source, &named, strict]);
    let body = server.refused("SHOW CONNECTORS;");
    assert!(body["message"].as_str().unwrap().contains("doesn't provide username and password"), "{body}");
    let with_user = worker.url.replace("http://", "http://u:p%40s@");
    let server = Server::at(&["--temp", "--set", &format!("ksql.connect.url={with_user}")]);
    server.ksql("SHOW CONNECTORS;");
    assert_eq!(worker.last().1["authorization"], "Basic dTpwQHM=");
    let shown = server.ksql("SHOW PROPERTIES;")[0].to_string();
    assert!(shown.contains(&worker.url) && !shown.contains("p%40s") && !shown.contains("p@s"), "{shown}");
}

#[test]
fn roles_and_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let (audit, data) = (folder.path().join("audit.log"), folder.path().join("data"));
    let worker = Worker::open();
    let users = super::rights::Users::new(&["rita reader", "walter writer", "tina writer topics=t", "ada admin"]);
    let url = format!("ksql.connect.url={}", worker.url);
    let flags = ["--data", data.to_str().unwrap(), "--users", users.file(), "--audit-log", audit.to_str().unwrap()];
    let house = House { server: Server::at(&[&flags[..], &["--set", &url]].concat()), users };
    house.done("rita", "SHOW CONNECTORS;");
    house.done("rita", "DESCRIBE CONNECTOR x;");
    assert!(house.forbidden("rita", SINK).contains("CREATE SINK CONNECTOR requires role writer"));
    assert!(house.forbidden("walter", "DROP CONNECTOR x;").contains("DROP CONNECTOR requires role admin"));
    // Connect reads and writes any topic.
    assert!(house.forbidden("tina", SINK).contains("requires access to all topics"));
    assert!(house.forbidden("tina", "DESCRIBE CONNECTOR x;").contains("requires access to all topics"));
    house.done("walter", SINK);
    house.done("ada", "DROP CONNECTOR x;");
    worker.tell("PUT", 200, r#"{"configs":[{"value":{"name":"password","errors":["Invalid value hunter2"]}}]}"#);
    assert_eq!(house.say("walter", SINK).0, 400);
    until("it is recorded", || std::fs::read_to_string(&audit).unwrap().matches("CREATE SINK CONNECTOR").count() >= 8);
    let audited = std::fs::read_to_string(&audit).unwrap();
    assert!(audited.contains("'password' = '[string]'") && !audited.contains("hunter2"), "{audited}");
    // Neither the command log nor anything else on disk has it.
    let kept = Command::new("grep").args(["-r", "hunter2"]).arg(folder.path()).output().unwrap();
    assert_eq!(text(&kept.stdout), "");
}

/// Passwords are on no command line: the environment of ksqlDB's images, Tidegate's own, and the configuration file have them.
#[test]
fn settings_come_from_the_environment_and_from_a_file() {
    let worker = Worker::open();
    let with_user = worker.url.replace("http://", "http://ada:one@");
    let asks_as = |server: &Server, header: &str| {
        server.ksql("SHOW CONNECTORS;");
        assert_eq!(worker.last().1["authorization"], header);
    };
    for variable in ["KSQL_KSQL_CONNECT_URL", "TIDEGATE_SET_KSQL_CONNECT_URL"] {
        let mut command = Command::new(TIDEGATE);
        command.env(variable, &with_user);
        asks_as(&Server::of(command, &["--temp"]), "Basic YWRhOm9uZQ==");
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "[set]\n\"ksql.connect.url\" = \"{with_user}\"\n").unwrap();
    asks_as(&Server::at(&["--temp", "--config", file.path().to_str().unwrap()]), "Basic YWRhOm9uZQ==");
}
