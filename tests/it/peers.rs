//! Lookups that one process sends to the one that runs the query: two servers over one log, each with its engine, on real sockets.
//!
//! The readers of the process that is asked first are held, so that what it returns while they are comes from the other one.

#![allow(clippy::disallowed_methods, reason = "real threads and sockets go by real time")]

use crate::followed_views::{Pair, eventually, pair_with, rows, run};
use crate::http::TIDEGATE;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tidegate::config::{Config, LogConfig};
use tidegate::engine::Engine;
use tidegate::engine::query::pull::owners::{Owner, Owners, Peer};
use tidegate::engine::session::Session;
use tidegate::serve::{Access, serve};

const TABLE: &str = "
    CREATE STREAM s (k STRING KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=3);
    CREATE TABLE t AS SELECT k, SUM(n) AS total FROM s GROUP BY k;
    INSERT INTO s (k, n) VALUES ('a', 1);
    INSERT INTO s (k, n) VALUES ('b', 2);";
const LOOKUP: &str = "SELECT total FROM t WHERE k = 'a';";
const STANDBY: &str = "ksql.query.pull.enable.standby.reads";
const TIMEOUT: &str = "ksql.query.pull.forwarding.timeout.ms";
/// The longest that a lookup takes which waits for no timeout, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// Where the queries run, as a process is told. A test changes it.
#[derive(Debug)]
struct Told(Mutex<Owner>);

impl Told {
    fn set(&self, owner: Owner) {
        *self.0.lock() = owner;
    }
}

impl Owners for Told {
    fn is_alone(&self) -> bool {
        false
    }

    fn owner(&self, _query: &str) -> Owner {
        self.0.lock().clone()
    }
}

fn peer(address: &str) -> Owner {
    Owner::Peer(Peer { slot: "1".to_owned(), address: Some(address.into()), is_suspected: false })
}

struct Both {
    pair: Pair,
    /// What the process without queries is told, and the one that runs them.
    told: Arc<Told>,
    owner_told: Arc<Told>,
    owner_address: String,
    other_address: String,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Both {
    fn drop(&mut self) {
        self.pair.release();
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Both {
    fn new(owner_config: Config, other_config: Config, users: Option<&str>) -> Both {
        let (told, owner_told) = (Arc::new(Told(Mutex::new(Owner::Unknown))), Arc::new(Told(Mutex::new(Owner::Here))));
        let pair = pair_with(TABLE, (owner_config, owner_told.clone()), (other_config, told.clone()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let start = |engine: &Engine, users: Option<&str>| {
            let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
            let address = listener.local_addr().unwrap();
            let access = Access { users: users.map(Into::into), ..Access::default() };
            let doors = access.open(address).unwrap();
            runtime.spawn(serve(engine.clone(), listener, doors, std::future::pending()));
            format!("http://{address}")
        };
        let (owner_address, other_address) = (start(&pair.owner, users), start(&pair.other, None));
        let both = Both { pair, told, owner_told, owner_address, other_address, runtime: Some(runtime) };
        eventually("the owner has the rows", || rows(&both.pair.owner, "SELECT * FROM t;") == ["a | 1", "b | 2"]);
        eventually("the server is there", || ureq::get(format!("{}/livez", both.other_address)).call().is_ok());
        both.told.set(peer(&both.owner_address));
        both
    }

    fn plain() -> Both {
        let config = || Config::new(LogConfig::Temporary);
        Both::new(config(), config(), None)
    }

    /// A lookup in the process that does not run the query, with these properties.
    fn look(&self, properties: &[(&str, &str)]) -> Result<Vec<String>, tidegate::error::Error> {
        let mut session = Session::default();
        properties.iter().for_each(|(name, value)| session.set(name, value).unwrap());
        run(&self.pair.other, LOOKUP, &mut session)
    }

    fn post(&self, path: &str, body: &Value) -> Vec<Value> {
        let text = ureq::post(format!("{}{path}", self.other_address)).send(body.to_string()).unwrap();
        let text = text.into_body().read_to_string().unwrap();
        serde_json::from_str::<Value>(&text)
            .map(|all| all.as_array().cloned().unwrap_or_default())
            .unwrap_or_else(|_| text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}

#[test]
fn a_lookup_is_served_by_the_process_that_runs_the_query() {
    let both = Both::plain();
    // Nothing can be read here.
    both.pair.hold();
    assert_eq!(both.look(&[]).unwrap(), ["1"]);
    assert_eq!(rows(&both.pair.other, "SELECT * FROM t;"), ["a | 1", "b | 2"]);
    assert_eq!(rows(&both.pair.other, "SELECT k FROM t WHERE k = 'nothing';"), Vec::<String>::new());
    let lines = both.post("/query-stream", &json!({ "sql": "SELECT * FROM t WHERE k = 'b';", "properties": {} }));
    assert_eq!((lines.len(), &lines[1]), (2, &json!(["b", 2])), "{lines:?}");
    assert_eq!(lines[0]["columnNames"], json!(["K", "TOTAL"]));
    let older = both.post("/query", &json!({ "ksql": "SELECT * FROM t WHERE k = 'b';", "streamsProperties": {} }));
    assert_eq!(older[1]["row"]["columns"], json!(["b", 2]), "{older:?}");
    assert!(older[0]["header"]["schema"].as_str().unwrap().contains("KEY"), "{older:?}");
    // The next commit of the owner is seen at once.
    rows(&both.pair.owner, "INSERT INTO s (k, n) VALUES ('a', 1);");
    eventually("a later row", || both.look(&[]).unwrap() == ["2"]);
}

#[test]
fn without_an_owner_the_followed_view_serves_unless_that_is_forbidden() {
    let both = Both::plain();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let suspected = match peer(&both.owner_address) {
        Owner::Peer(peer) => Owner::Peer(Peer { is_suspected: true, ..peer }),
        other => other,
    };
    let nameless = Owner::Peer(Peer { slot: "1".to_owned(), address: None, is_suspected: false });
    for (owner, reason) in [
        (Owner::Unknown, "no process is known to run query CTAS_T_"),
        (suspected, "process 1 does not respond"),
        (nameless, "process 1 has no address"),
        (peer(&format!("http://{closed}")), "process 1 does not serve it: "),
    ] {
        both.told.set(owner);
        let began = Instant::now();
        assert_eq!(both.look(&[]).unwrap(), ["1"], "{reason}");
        assert!(began.elapsed() < SOON, "{reason}");
        let refused = both.look(&[(STANDBY, "false")]).unwrap_err();
        assert_eq!(refused.code(), 40001);
        let said = refused.message();
        assert!(said.starts_with("Unable to execute pull query. [Partition 0 failed to find valid host."), "{said}");
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn a_lookup_that_was_forwarded_is_not_forwarded_again() {
    let both = Both::plain();
    // Each takes the other one for the owner.
    both.owner_told.set(peer(&both.other_address));
    let began = Instant::now();
    assert_eq!(both.look(&[]).unwrap(), ["1"]);
    assert!(began.elapsed() < SOON);
    let said = both.look(&[(STANDBY, "false")]).unwrap_err().message().to_owned();
    assert!(said.contains("does not run in the process that was asked"), "{said}");
}

#[test]
fn an_error_of_the_statement_is_no_reason_to_look_elsewhere() {
    let both = Both::plain();
    let error = run(&both.pair.other, "SELECT nothing FROM t WHERE k = 'a';", &mut Session::default()).unwrap_err();
    assert!(error.message().contains("NOTHING"), "{error}");
}

/// Passes bytes on, and counts connections. While it is silent nothing comes back.
struct Proxy {
    address: String,
    connections: Arc<AtomicUsize>,
}

impl Proxy {
    fn new(to: &str, is_silent: bool) -> Proxy {
        let (to, listener) = (to.trim_start_matches("http://").to_owned(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (address, connections) =
            (format!("http://{}", listener.local_addr().unwrap()), Arc::<AtomicUsize>::default());
        let counted = connections.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::SeqCst);
                let server = TcpStream::connect(&to).unwrap();
                let (from, into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || copy(from, Some(into)));
                std::thread::spawn(move || copy(server, (!is_silent).then_some(client)));
            }
        });
        Proxy { address, connections }
    }
}

fn copy(mut from: TcpStream, mut into: Option<TcpStream>) {
    let mut buffer = [0; 4_096];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        if into.as_mut().is_some_and(|into| into.write_all(&buffer[..bytes]).is_err()) {
            break;
        }
    }
    into.iter().for_each(|into| _ = into.shutdown(std::net::Shutdown::Both));
}

#[test]
fn connections_between_processes_are_kept() {
    let both = Both::plain();
    both.pair.hold();
    let proxy = Proxy::new(&both.owner_address, false);
    both.told.set(peer(&proxy.address));
    let began = Instant::now();
    for _ in 0..50 {
        assert_eq!(both.look(&[]).unwrap(), ["1"]);
    }
    let _ = writeln!(std::io::stderr(), "50 lookups through another process: {:?}", began.elapsed());
    assert!(proxy.connections.load(Ordering::SeqCst) <= 3, "{:?}", proxy.connections);
}

#[test]
fn an_owner_that_is_silent_is_waited_for_until_the_timeout_or_a_suspicion() {
    let both = Both::plain();
    let proxy = Proxy::new(&both.owner_address, true);
    both.told.set(peer(&proxy.address));
    let began = Instant::now();
    assert_eq!(both.look(&[(TIMEOUT, "300")]).unwrap(), ["1"]);
    assert!(began.elapsed() > Duration::from_millis(300) && began.elapsed() < SOON, "{:?}", began.elapsed());
    // The default is 20 s; what is suspected meanwhile is not waited for.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            both.told.set(Owner::Unknown);
        });
        let began = Instant::now();
        assert_eq!(both.look(&[]).unwrap(), ["1"]);
        assert!(began.elapsed() > Duration::from_millis(200) && began.elapsed() < SOON, "{:?}", began.elapsed());
    });
}

#[test]
fn processes_with_users_know_each_other_by_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (right, wrong) = (file("a", &"right".repeat(10)), file("b", &"wrong".repeat(10)));
    let made = Command::new(TIDEGATE).args(["user", "ada", "admin", "--token"]).output().unwrap();
    let users = file("users", std::str::from_utf8(&made.stdout).unwrap());
    let config = |secret: Option<&str>| {
        let mut config = Config::new(LogConfig::Temporary);
        secret.iter().for_each(|secret| config.set("tidegate.cluster.secret.file", secret).unwrap());
        config
    };
    for (owner, other, is_known) in [
        (Some(right.as_str()), Some(right.as_str()), true),
        (Some(right.as_str()), Some(wrong.as_str()), false),
        (Some(right.as_str()), None, false),
        (None, Some(right.as_str()), false),
    ] {
        let both = Both::new(config(owner), config(other), Some(&users));
        let forwarded = both.look(&[(STANDBY, "false")]);
        match is_known {
            true => assert_eq!(forwarded.unwrap(), ["1"]),
            false => {
                let said = forwarded.unwrap_err().message().to_owned();
                assert!(said.contains("it returned 401 Unauthorized"), "{said}");
            }
        }
        assert_eq!(both.look(&[]).unwrap(), ["1"], "read here in any case");
        // The secret is no password: it opens nothing else.
        let token = config(Some(&right)).cluster_secret().unwrap().unwrap().token();
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let info = agent.get(format!("{}/info", both.owner_address)).header("x-tidegate-node", &token).call().unwrap();
        assert_eq!(info.status().as_u16(), 401);
    }
}
