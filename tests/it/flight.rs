//! Arrow Flight SQL on the port of the HTTP API: through Arrow's own client, and through the drivers that people install,
//! unmodified (`tests/flight`): ADBC with pandas, and the Flight SQL JDBC driver. Without a driver its test says that it was
//! skipped, and why.

use crate::clients::{maven_jar, prepared};
use crate::http::Server;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandGetTables, CommandStatementIngest, TableDefinitionOptions};
use arrow_flight::{Action, CancelFlightInfoRequest, FlightInfo};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tidegate::engine::access::Role;
use tidegate::serve::auth::users::{password_line, token_line};
use tidegate::types::clock::SystemClock;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

/// Longest time that a script may take, waits for a busy machine included.
const SCRIPT_SECONDS: &str = "120";

type Client = FlightSqlServiceClient<Channel>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flight")
}

/// A server with the streams of `tests/postgres/setup.sql`.
fn server(flags: &[&str]) -> Server {
    let server = Server::at(&[&["--temp"], flags].concat());
    let text = std::fs::read_to_string(folder().join("../postgres/setup.sql")).unwrap();
    let statements = text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty());
    statements.for_each(|statement| drop(server.ksql(&format!("{statement};"))));
    server
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(future)
}

async fn client(server: &Server) -> Client {
    let channel = Endpoint::new(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
    let mut client = FlightSqlServiceClient::new_from_inner(FlightServiceClient::new(channel));
    client.set_header("auto.offset.reset", "earliest");
    client
}

async fn rows_of(client: &mut Client, info: FlightInfo) -> Result<Vec<RecordBatch>, FlightError> {
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    client.do_get(ticket).await?.try_collect().await
}

async fn query(client: &mut Client, sql: &str) -> Result<Vec<RecordBatch>, FlightError> {
    let info = client.execute(sql.to_owned(), None).await?;
    rows_of(client, info).await
}

/// The status and the message of a failure.
fn refusal<T>(result: Result<T, FlightError>) -> (Code, String) {
    match result.map(drop).unwrap_err() {
        FlightError::Tonic(status) => (status.code(), status.message().to_owned()),
        other => panic!("{other}"),
    }
}

fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

#[test]
fn statements_parameters_and_errors() {
    let server = server(&[]);
    block_on(async {
        let mut client = client(&server).await;
        let all = query(&mut client, "SELECT * FROM all_types").await.unwrap();
        assert_eq!(count(&all), 2);
        let schema = all[0].schema();
        assert_eq!(schema.field_with_name("N").unwrap().metadata()["ARROW:FLIGHT:SQL:TYPE_NAME"], "DECIMAL(12, 3)");
        let long = all[0].column_by_name("L").unwrap().as_primitive::<Int64Type>().value(0);
        assert_eq!(long, 9_007_199_254_740_993);

        // A statement without rows is carried out by the call that sends it, either way.
        let created = "CREATE STREAM made (id STRING KEY, n INTEGER) WITH (KAFKA_TOPIC = 'made', VALUE_FORMAT = 'JSON', PARTITIONS = 1)";
        assert_eq!(query(&mut client, created).await.unwrap().len(), 0);
        let inserted = "INSERT INTO made VALUES ('a', 1); INSERT INTO made VALUES ('b', 2)";
        assert_eq!(client.execute_update(inserted.to_owned(), None).await.unwrap(), 2);
        let shown = query(&mut client, "SHOW STREAMS").await.unwrap();
        assert!(format!("{shown:?}").contains("MADE"), "{shown:?}");

        // Parameters, in either form.
        for sql in ["SELECT n FROM made WHERE id = ? LIMIT ?", "SELECT n FROM made WHERE id = $1 LIMIT $2"] {
            let mut statement = client.prepare(sql.to_owned(), None).await.unwrap();
            assert_eq!(statement.dataset_schema().unwrap().field(0).name(), "N");
            assert_eq!(statement.parameter_schema().unwrap().fields().len(), 2);
            let (_, unbound) = refusal(statement.execute().await);
            assert!(unbound.contains("none was bound"), "{unbound}");
            let values: [(&str, ArrayRef); 2] =
                [("id", Arc::new(StringArray::from(vec!["b"]))), ("limit", Arc::new(Int64Array::from(vec![1])))];
            statement.set_parameters(RecordBatch::try_from_iter(values).unwrap()).unwrap();
            let info = statement.execute().await.unwrap();
            let found = rows_of(&mut client, info).await.unwrap();
            assert_eq!(found[0].column(0).as_primitive::<Int32Type>().values(), &[2]);
            statement.close().await.unwrap();
        }
        let mut insert = client.prepare("INSERT INTO made (id, n) VALUES (?, ?)".to_owned(), None).await.unwrap();
        let values: [(&str, ArrayRef); 2] = [
            ("id", Arc::new(StringArray::from(vec!["it's", "d'; DROP"]))),
            ("n", Arc::new(Int64Array::from(vec![Some(3), None]))),
        ];
        insert
            .set_parameters(RecordBatch::try_from_iter_with_nullable(values.map(|(n, v)| (n, v, true))).unwrap())
            .unwrap();
        assert_eq!(insert.execute_update().await.unwrap(), 2);
        assert_eq!(
            count(&query(&mut client, "SELECT * FROM made WHERE id = 'd''; DROP' AND n IS NULL").await.unwrap()),
            1
        );

        // Errors have their place in the text that was sent, whatever was put into it.
        let (code, message) =
            refusal(client.prepare("SELECT n\n, '차', sped FROM made WHERE id = ?".to_owned(), None).await);
        assert_eq!(code, Code::InvalidArgument);
        assert!(message.contains("'SPED' cannot be resolved") && message.contains("at line 2, column 8"), "{message}");
        let (_, message) = refusal(query(&mut client, "SELECT n FROM mad").await);
        assert!(message.contains("hint: ") && message.contains("MADE"), "{message}");
        let (_, message) = refusal(query(&mut client, "SET 'auto.offset.reset' = 'earliest'").await);
        assert!(message.contains("each call has a session of its own"), "{message}");
        client.set_header("auto.offset.reset", "latest");
        let set = "SET 'auto.offset.reset' = 'earliest'; SELECT n FROM made EMIT CHANGES LIMIT 1";
        assert_eq!(count(&query(&mut client, set).await.unwrap()), 1);
    });
    let (_, metrics) = text(&server, "/metrics");
    for method in ["GetFlightInfo", "DoGet", "DoPut", "DoAction"] {
        let counted = format!("route=\"/arrow.flight.protocol.FlightService/{method}\",code=\"200\"");
        assert!(metrics.contains(&counted), "{counted}");
    }
}

fn text(server: &Server, path: &str) -> (u16, String) {
    let mut response = ureq::get(format!("http://{}{path}", server.address)).call().unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}

#[test]
fn rows_are_pushed_ended_and_counted() {
    let (server, clock) = (server(&[]), SystemClock::shared());
    block_on(async {
        let mut client = client(&server).await;
        // Rows of a push query leave as they come.
        let info =
            client.execute("SELECT n FROM events WHERE id = 'push' EMIT CHANGES".to_owned(), None).await.unwrap();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let mut pushed = client.do_get(ticket.clone()).await.unwrap();
        let mut times = Vec::new();
        for n in 0..4 {
            let begun = clock.monotonic();
            server.ksql(&format!("INSERT INTO events (id, n) VALUES ('push', {n});"));
            let batch = pushed.next().await.unwrap().unwrap();
            assert_eq!(batch.column(0).as_primitive::<Int32Type>().values(), &[n]);
            times.push(clock.monotonic() - begun);
        }
        // The first one waits for the query to start, and one that is late may have met a busy machine.
        assert!(times[1..].iter().any(|took| *took < Duration::from_secs(1)), "{times:?}");
        // Cancel: the result ends, and its ticket with it.
        let cancel = CancelFlightInfoRequest::new(info.clone()).encode_to_vec();
        let mut action = client.do_action(Action::new("CancelFlightInfo", cancel)).await.unwrap();
        assert_eq!(action.next().await.unwrap().unwrap().body, vec![8, 1], "cancelled");
        let (code, _) = refusal(pushed.next().await.unwrap());
        assert_eq!(code, Code::Cancelled);
        assert_eq!(refusal(client.do_get(ticket).await).0, Code::NotFound);
        // A client that leaves ends its query.
        let left = client.execute("SELECT n FROM events EMIT CHANGES".to_owned(), None).await.unwrap();
        let left = client.do_get(left.endpoint[0].ticket.clone().unwrap()).await.unwrap();
        assert!(text(&server, "/metrics").1.contains("tidegate_push_queries 1"));
        drop(left);
        let begun = clock.monotonic();
        while !text(&server, "/metrics").1.contains("tidegate_push_queries 0") {
            assert!(clock.monotonic() - begun < Duration::from_secs(20), "the query continues");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Deletions are rows for clients that ask for them.
        server.ksql("INSERT INTO totals VALUES ('t', 1);");
        server.ksql("INSERT INTO totals (id) VALUES ('t');");
        client.set_header("tidegate-op", "true");
        let changes = query(&mut client, "SELECT id, amount FROM totals EMIT CHANGES LIMIT 1").await.unwrap();
        let change = changes.iter().find(|batch| batch.num_rows() > 0).unwrap();
        assert_eq!(change.schema().field(0).name(), "tidegate_op");
        assert_eq!(change.column(0).as_string::<i32>().value(0), "upsert");
    });
}

#[test]
fn rows_in_bulk_and_the_catalogue() {
    let server = server(&[]);
    block_on(async {
        let mut client = client(&server).await;
        let rows = |ids: Vec<&str>, n: Vec<Option<i64>>| {
            let columns: [(&str, ArrayRef, bool); 2] =
                [("id", Arc::new(StringArray::from(ids)), true), ("n", Arc::new(Int64Array::from(n)), true)];
            RecordBatch::try_from_iter_with_nullable(columns).unwrap()
        };
        let into = |table: &str, options: [i32; 2]| CommandStatementIngest {
            table_definition_options: Some(TableDefinitionOptions { if_not_exist: options[0], if_exists: options[1] }),
            table: table.to_owned(),
            ..CommandStatementIngest::default()
        };
        let append = [2, 2];
        let two = || {
            futures::stream::iter([Ok(rows(vec!["x", "y"], vec![Some(1), None])), Ok(rows(vec!["z"], vec![Some(3)]))])
        };
        assert_eq!(client.execute_ingest(into("events", append), two()).await.unwrap(), 3);
        assert_eq!(count(&query(&mut client, "SELECT id FROM events").await.unwrap()), 3);
        let (_, message) = refusal(client.execute_ingest(into("nothing", append), two()).await);
        assert!(message.contains("NOTHING does not exist"), "{message}");
        assert_eq!(client.execute_ingest(into("created", [1, 1]), two()).await.unwrap(), 3);
        assert_eq!(count(&query(&mut client, "SELECT n FROM created WHERE n = 3").await.unwrap()), 1);
        let (_, message) = refusal(client.execute_ingest(into("created", [1, 1]), two()).await);
        assert!(message.contains("already exists"), "{message}");
        // A value that does not fit names its column, and what was written before it is counted.
        let large =
            futures::stream::iter([Ok(rows(vec!["v"], vec![Some(1)])), Ok(rows(vec!["w"], vec![Some(1 << 40)]))]);
        let (code, message) = refusal(client.execute_ingest(into("events", append), large).await);
        assert_eq!(code, Code::InvalidArgument);
        assert!(message.contains("column n of the data") && message.contains("1 rows were inserted"), "{message}");

        let tables = CommandGetTables {
            table_name_filter_pattern: Some("ev%".to_owned()),
            include_schema: true,
            ..Default::default()
        };
        let info = client.get_tables(tables).await.unwrap();
        let tables = rows_of(&mut client, info).await.unwrap();
        assert_eq!(tables[0].column(2).as_string::<i32>().value(0), "EVENTS");
        let info = client.get_xdbc_type_info(Default::default()).await.unwrap();
        assert_eq!(count(&rows_of(&mut client, info).await.unwrap()), 10);
    });
}

/// A users file, with `alice` and `bert`, who has some topics alone, and a token of `robot` in it.
fn users() -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let (token, tokens) = token_line("robot", Role::Reader).unwrap();
    let limited = password_line("bert", Role::Writer, "secret 2").unwrap() + " topics=b*";
    let lines = [password_line("alice", Role::Admin, "secret 1").unwrap(), limited, tokens];
    file.write_all(lines.join("\n").as_bytes()).unwrap();
    (file, token)
}

#[test]
fn users_log_in_as_over_http_and_have_their_roles() {
    let (file, token) = users();
    let server = Server::at(&["--temp", "--users", file.path().to_str().unwrap()]);
    block_on(async {
        let mut nobody = client(&server).await;
        let (code, message) = refusal(query(&mut nobody, "SHOW STREAMS").await);
        assert_eq!(code, Code::Unauthenticated, "{message}");
        let mut alice = client(&server).await;
        assert!(alice.handshake("alice", "wrong").await.is_err());
        alice.handshake("alice", "secret 1").await.unwrap();
        assert_ne!(alice.token().map(String::as_str), Some("secret 1"));
        let created = "CREATE STREAM s (n INTEGER) WITH (KAFKA_TOPIC = 's', VALUE_FORMAT = 'JSON', PARTITIONS = 1)";
        query(&mut alice, created).await.unwrap();
        let mut robot = client(&server).await;
        robot.set_token(token);
        let (code, message) = refusal(query(&mut robot, "INSERT INTO s VALUES (1)").await);
        assert_eq!(code, Code::PermissionDenied);
        assert!(message.contains("requires role writer"), "{message}");
        let (code, _) = refusal(insert_one(&mut robot, "s").await);
        assert_eq!(code, Code::PermissionDenied);
        // A user of some topics finds the others nowhere.
        let mut bert = client(&server).await;
        bert.handshake("bert", "secret 2").await.unwrap();
        let all = CommandGetTables::default();
        let info = bert.get_tables(all.clone()).await.unwrap();
        assert_eq!(count(&rows_of(&mut bert, info).await.unwrap()), 0);
        let info = alice.get_tables(all).await.unwrap();
        assert_eq!(count(&rows_of(&mut alice, info).await.unwrap()), 1);
        assert!(query(&mut bert, "SELECT * FROM s").await.is_err());
        assert!(insert_one(&mut bert, "s").await.is_err());
        let insert = bert.prepare("INSERT INTO s VALUES (?)".to_owned(), None).await.unwrap();
        assert_eq!(insert.parameter_schema().unwrap().field(0).data_type(), &DataType::Utf8, "not that of N");
        query(&mut bert, &created.replace("STREAM s", "STREAM b").replace("'s'", "'b'")).await.unwrap();
        assert_eq!(insert_one(&mut bert, "b").await.unwrap(), 1);
        // Handles are of the user who got them.
        let info = alice.execute("SELECT * FROM s".to_owned(), None).await.unwrap();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        assert_eq!(refusal(robot.do_get(ticket.clone()).await).0, Code::NotFound);
        assert!(alice.do_get(ticket).await.is_ok());
    });
    let server = Server::at(&["--temp", "--read-only", "--users", file.path().to_str().unwrap()]);
    block_on(async {
        let mut alice = client(&server).await;
        alice.handshake("alice", "secret 1").await.unwrap();
        let (code, message) = refusal(query(&mut alice, "CREATE TYPE x AS INTEGER").await);
        assert_eq!(code, Code::PermissionDenied);
        assert!(message.contains("the server is read-only"), "{message}");
    });
}

#[test]
fn a_read_only_server_takes_no_rows_in_bulk() {
    let folder = tempfile::tempdir().unwrap();
    let data = ["--data", folder.path().to_str().unwrap()];
    let created = "CREATE STREAM s (n INTEGER) WITH (KAFKA_TOPIC = 's', VALUE_FORMAT = 'JSON', PARTITIONS = 1);";
    let writable = Server::at(&data);
    writable.ksql(created);
    drop(writable);
    let server = Server::at(&[&data[..], &["--read-only"]].concat());
    block_on(async {
        let mut client = client(&server).await;
        let (code, message) = refusal(insert_one(&mut client, "s").await);
        assert_eq!(code, Code::PermissionDenied, "{message}");
        assert!(message.contains("the server is read-only"), "{message}");
        let options = TableDefinitionOptions { if_not_exist: 1, if_exists: 2 };
        let ingest = CommandStatementIngest {
            table_definition_options: Some(options),
            table: "made".to_owned(),
            ..Default::default()
        };
        let one = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
        let (code, message) = refusal(client.execute_ingest(ingest, futures::stream::iter([Ok(one)])).await);
        assert_eq!(code, Code::PermissionDenied, "{message}");
        let mut insert = client.prepare("INSERT INTO s VALUES (7)".to_owned(), None).await.unwrap();
        let refused = insert.execute_update().await.map_err(|e| e.to_string()).unwrap_err();
        assert!(refused.contains("the server is read-only"), "{refused}");
        assert_eq!(count(&query(&mut client, "SELECT * FROM s").await.unwrap()), 0, "nothing was written");
    });
}

/// Takes as long as the server's patience with a reader.
#[test]
fn a_reader_that_stalls_gets_the_end_of_its_stream() {
    let (server, clock) = (server(&[]), SystemClock::shared());
    block_on(async {
        let mut client = client(&server).await;
        // More than the windows of the connection hold.
        let sql = "SELECT LPAD('x', 1000, 'x') AS wide FROM generate_series(1, 200000)";
        let info = client.execute(sql.to_owned(), None).await.unwrap();
        let mut stalled = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
        let first = stalled.next().await.unwrap().unwrap();
        assert!(first.num_rows() > 0);
        let begun = clock.monotonic();
        while !text(&server, "/metrics").1.contains("tidegate_push_queries_dropped_total 1") {
            assert!(clock.monotonic() - begun < Duration::from_secs(60), "the reader keeps its query");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // What was on its way comes, and behind it why there is no more.
        let mut rows = first.num_rows();
        let last = loop {
            match stalled.next().await {
                Some(Ok(batch)) => rows += batch.num_rows(),
                last => break last.expect("an end that is not OK"),
            }
        };
        assert!(rows < 200_000, "{rows} rows");
        let (code, message) = refusal(last);
        assert_eq!(code, Code::ResourceExhausted, "{message}");
        assert!(message.contains("the client did not read for 10 s"), "{message}");
        // Others are served.
        assert_eq!(count(&query(&mut client, "SELECT 1 AS one").await.unwrap()), 1);
    });
}

/// A row in bulk.
async fn insert_one(client: &mut Client, table: &str) -> Result<i64, FlightError> {
    let one = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    let ingest = CommandStatementIngest { table: table.to_owned(), ..Default::default() };
    client.execute_ingest(ingest, futures::stream::iter([Ok(one)])).await
}

fn limited(program: &str) -> Command {
    let mut command = Command::new("timeout");
    // SIGQUIT: Java and the Python script print what their threads are doing.
    command.args(["-s", "QUIT", "-k", "5", SCRIPT_SECONDS, program]).stdin(Stdio::null());
    command
}

fn passes(command: &mut Command, script: &str) {
    let output = command.output().expect("it runs");
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // `timeout` ends with 124 or 137 where the script did not end in time.
    assert!(output.status.success(), "{script} against a server, {}:\n{out}\n{errors}", output.status);
}

/// A server without users, one with users, and one with TLS besides; what follows a script's name.
fn three_servers() -> (Vec<Server>, Vec<String>, tempfile::NamedTempFile) {
    let (file, token) = users();
    let users = ["--users", file.path().to_str().unwrap()];
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/http/tls");
    let (certificate, key) = (tls.join("test-cert.pem"), tls.join("test-key.pem"));
    let tls = ["--temp", "--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let servers = vec![
        server(&[]),
        Server::at(&[&["--temp"], &users[..]].concat()),
        Server::at(&[&tls[..], &users[..]].concat()),
    ];
    let port = |server: &Server| server.address.rsplit(':').next().unwrap().to_owned();
    let mut arguments: Vec<String> = servers.iter().map(port).collect();
    arguments.push(token);
    (servers, arguments, file)
}

#[test]
fn pypi_adbc_and_pandas() {
    let Some(interpreter) = prepared("pypi_adbc", &["python", "../flight/requirements.txt"]) else { return };
    let (_servers, arguments, _users) = three_servers();
    let mut command = limited(&interpreter);
    // No compiled files beside the scripts.
    passes(command.arg("-B").arg(folder().join("adbc_py.py")).args(arguments), "adbc_py.py");
}

#[test]
fn maven_flight_sql_jdbc() {
    const ARTIFACT: &str = "org.apache.arrow:flight-sql-jdbc-driver:18.3.0";
    let Some(jar) = maven_jar("flight::maven_flight_sql_jdbc", "flight-sql-jdbc", ARTIFACT) else { return };
    let (_servers, arguments, _users) = three_servers();
    let mut command = limited("java");
    command.arg("--add-opens=java.base/java.nio=ALL-UNNAMED").arg("-cp").arg(jar);
    passes(command.arg(folder().join("Jdbc.java")).args(arguments), "Jdbc.java");
}
