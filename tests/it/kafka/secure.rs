//! A cluster that wants TLS and a login, reached with a file of client settings.

use super::*;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use tidegate::config::kafka::ClientProperties;

/// A refused login is reported without waiting for anything else. Starting the process is in it, on a busy machine.
const REFUSED_MAX: Duration = Duration::from_secs(20);

fn file(broker: &broker::Broker, name: &str, mechanism: &str, user: &str, password: &str, ca: &str) -> String {
    let path = broker.file(name);
    let text = format!(
        "bootstrap.servers={}\nsecurity.protocol=SASL_SSL\nsasl.mechanism={mechanism}\nsasl.username={user}\n\
         sasl.password={password}\nssl.ca.location={}\n",
        broker.guarded(),
        broker.file("certs").join(ca).display()
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn tidegate(file: &str, service: &str, sql: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["--kafka-config", file, "--service-id", service, "-o", "json", "sql", "-e", sql]).output().unwrap()
}

fn texts(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn settings(file: &str) -> KafkaSettings {
    let mut properties = ClientProperties::read(&std::fs::read_to_string(Path::new(file)).unwrap(), file).unwrap();
    KafkaSettings { bootstrap: properties.take_bootstrap().unwrap(), properties }
}

#[test]
fn a_cluster_with_tls_and_a_login() {
    let Some(broker) = broker::secure("a_cluster_with_tls_and_a_login") else { return };
    let alice = file(&broker, "alice", "SCRAM-SHA-512", "alice", "alice-secret", "ca.crt");
    let bob = file(&broker, "bob", "PLAIN", "bob", "bob-secret", "ca.crt");

    // Statements through the program; what they leave is there for another user and mechanism.
    let create = "CREATE STREAM s (k STRING KEY, n INT) WITH (KAFKA_TOPIC='s', PARTITIONS=2, VALUE_FORMAT='JSON');\
                  INSERT INTO s (k, n) VALUES ('a', 1); INSERT INTO s (k, n) VALUES ('b', 2);\
                  SHOW PROPERTIES;";
    let (out, err) = texts(&tidegate(&alice, "safe_", create));
    assert!(out.contains("kafka.sasl.username") && out.contains("alice") && out.contains("[hidden]"), "{out}{err}");
    assert!(!out.contains("alice-secret") && !err.contains("alice-secret"), "{out}{err}");
    let (out, err) = texts(&tidegate(&bob, "safe_", "SELECT k, n FROM s WHERE n > 1;"));
    assert_eq!(out.trim(), "{\"K\":\"b\",\"N\":2}", "{err}");

    // A query with transactions, over a restart.
    for round in 1..=2 {
        let engine = engine(settings(&alice), "safe_");
        if round == 1 {
            run(&engine, "CREATE TABLE c WITH (KAFKA_TOPIC='c') AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;");
        }
        run(&engine, "INSERT INTO s (k, n) VALUES ('a', 3);");
        let log = engine.log().clone();
        let counts = || {
            let end = |p| log.watermarks(&at("c", p)).unwrap().stable;
            end(0) + end(1)
        };
        // Each epoch ends with a marker; what is asked for is the last row.
        until("the count", Duration::from_secs(60), || {
            let consumed = engine.queries()[0].1.counts().consumed;
            (counts() > 0 && consumed >= if round == 1 { 3 } else { 1 }).then_some(())
        });
        engine.close();
    }
    let log = connect(&broker.bootstrap);
    let all: Vec<String> = (0..2).flat_map(|p| values(&read_settled(&log, "c", p))).collect();
    assert!(all.contains(&"{\"N\":3}".to_owned()) && !all.contains(&"{\"N\":4}".to_owned()), "{all:?}");

    let refused = |name: &str, mechanism: &str, user: &str, password: &str, ca: &str, expected: &[&str]| {
        let begin = Instant::now();
        let output = tidegate(&file(&broker, name, mechanism, user, password, ca), "safe_", "SHOW STREAMS;");
        let took = begin.elapsed();
        let (out, err) = texts(&output);
        assert!(!output.status.success() && took < REFUSED_MAX, "{took:?} {out}{err}");
        for text in expected {
            assert!(err.contains(text), "{name}: {text:?} is not in {err}");
        }
        assert!(!err.contains(password), "{err}");
        let _ = writeln!(std::io::stderr(), "{name} refused after {took:.1?}");
    };
    let login = ["refused the login", "sasl.password"];
    refused("wrong-scram", "SCRAM-SHA-512", "alice", "wrong-word", "ca.crt", &login);
    refused("wrong-plain", "PLAIN", "bob", "wrong-word", "ca.crt", &login);
    refused("wrong-ca", "PLAIN", "bob", "bob-secret", "other.crt", &["no TLS connection", "ssl.ca.location"]);
    let unknown = broker.file("unknown");
    std::fs::write(&unknown, "sasl.pasword=hush-hush\n").unwrap();
    let (_, err) = texts(&tidegate(&unknown.display().to_string(), "safe_", "SHOW STREAMS;"));
    assert!(
        err.contains("unknown client setting sasl.pasword") && err.contains("did you mean sasl.password?"),
        "{err}"
    );
    assert!(!err.contains("hush-hush"), "{err}");
}
