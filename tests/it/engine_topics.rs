//! Topics of the engine: no statement writes them, and what is in the command log all the same is never carried out.
//!
//! The model is short: commands come from statements and from nothing else. So whatever is written into the topic of
//! commands by other means, a service starts with the catalogue that its statements have made, says what it has skipped,
//! and `tidegate repair` ends that.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tidegate::catalog::topics::TopicRules;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::query::persistent::State;
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::error::Result;
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions};
use tidegate::log::{Assignment, Header, Isolation, Log, RecordSet, Start, TopicSpec};
use tidegate::types::clock::{ManualClock, SystemClock};

const TIDEGATE: &str = env!("CARGO_BIN_EXE_tidegate");
const COMMANDS: &str = "_confluent-ksql-default__command_topic";
const FORGED: &str = r#"{"format":1,"engine":"0.1.0","sequence":99,"statement":"DROP STREAM readings","properties":{},"effect":{"drop":{"name":"READINGS"}}}"#;
const STATEMENTS: &str = "
CREATE STREAM readings (v STRING) WITH (KAFKA_TOPIC='readings', VALUE_FORMAT='KAFKA', PARTITIONS=1);
CREATE STREAM src (v STRING) WITH (KAFKA_TOPIC='inj', VALUE_FORMAT='KAFKA', PARTITIONS=1);
CREATE STREAM copied AS SELECT v FROM readings;
CREATE STREAM js (v STRING) WITH (KAFKA_TOPIC='js', VALUE_FORMAT='JSON', PARTITIONS=1);";

fn in_memory() -> Arc<dyn Log> {
    EmbeddedLog::in_memory(ManualClock::at(0)).unwrap()
}

fn over(log: &Arc<dyn Log>) -> Engine {
    let config = Config::new(LogConfig::Temporary);
    Engine::over(log.clone(), config, ManualClock::at(0), Drive::ByHand).unwrap()
}

fn run(engine: &Engine, sql: &str) -> Result<()> {
    engine.run(sql, &mut Session::default()).map(drop)
}

fn refusal(engine: &Engine, sql: &str) -> String {
    run(engine, sql).expect_err(sql).message().to_owned()
}

/// Everything that statements have made.
fn made(engine: &Engine) -> String {
    let catalog = engine.catalog();
    let sources: Vec<_> = catalog.all().map(|s| format!("{} {} {}", s.name, s.topic, s.schema)).collect();
    let queries: Vec<_> = engine.queries().into_iter().map(|(id, query)| format!("{id} {:?}", query.state())).collect();
    format!("{sources:?} {queries:?}")
}

/// The records of a topic's first partition: key, value, headers.
fn records(log: &dyn Log, topic: &str) -> Vec<(Vec<u8>, Vec<u8>, Vec<Header>)> {
    let all = vec![Assignment { topic: topic.into(), partition: 0, start: Start::Earliest }];
    let mut reader = log.reader(all, Isolation::ReadCommitted).unwrap();
    let mut found = Vec::new();
    loop {
        let fetched = reader.poll(1000, Duration::ZERO).unwrap();
        if fetched.is_empty() {
            return found;
        }
        for run in fetched.runs() {
            run.for_each(|r| {
                let bytes = |b: Option<&[u8]>| b.unwrap_or_default().to_vec();
                found.push((bytes(r.key), bytes(r.value), r.headers.to_vec()));
            });
        }
    }
}

fn write(log: &dyn Log, topic: &str, value: &[u8], headers: Vec<Header>) {
    let mut set = RecordSet::default();
    if !headers.is_empty() {
        set.headers.push((0, headers));
    }
    set.push(0, 0, None, Some(value));
    log.append(topic, &set).unwrap();
}

/// The log as an earlier build has written it: the same commands without marks, each changed by `change`.
fn as_written_earlier(log: &dyn Log, change: impl Fn(String) -> String) -> Arc<dyn Log> {
    let earlier = in_memory();
    for topic in log.topics().unwrap() {
        earlier.create_topic(&TopicSpec::new(&topic.name, topic.partitions)).unwrap();
    }
    for (_, value, headers) in records(log, COMMANDS) {
        if headers.iter().all(|h| h.key != "tidegate-epoch") {
            write(&*earlier, COMMANDS, change(String::from_utf8(value).unwrap()).as_bytes(), Vec::new());
        }
    }
    earlier
}

fn directory(dir: &Path) -> Arc<dyn Log> {
    EmbeddedLog::open(dir, EmbeddedOptions::default(), SystemClock::shared()).unwrap()
}

#[test]
fn a_writer_does_not_reach_the_command_log() {
    let dir = TempDir::new().unwrap();
    let before = {
        let log = directory(dir.path());
        let engine = over(&log);
        run(&engine, STATEMENTS).unwrap();
        for attack in [
            "CREATE STREAM `_confluent-ksql-default__command_topic` WITH (VALUE_FORMAT='KAFKA') AS SELECT v FROM src;",
            "CREATE TABLE `_confluent-ksql-default__command_topic` AS SELECT v, COUNT(*) AS n FROM js GROUP BY v;",
            "CREATE STREAM x WITH (KAFKA_TOPIC='_confluent-ksql-default__command_topic') AS SELECT v FROM src;",
            "CREATE STREAM x (v STRING) WITH (KAFKA_TOPIC='_confluent-ksql-default__command_topic', VALUE_FORMAT='KAFKA');",
            "SET 'ksql.output.topic.name.prefix' = '_confluent-ksql-default__';
             CREATE STREAM `command_topic` AS SELECT v FROM src;",
            "CREATE TABLE late WITH (LATE_TOPIC='_confluent-ksql-default__command_topic') AS
               SELECT v, COUNT(*) AS n FROM js WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY v;",
        ] {
            assert_eq!(refusal(&engine, attack), format!("Cannot use the internal topic: {COMMANDS}"));
        }
        run(&engine, &format!("INSERT INTO src (v) VALUES ('{}');", FORGED.replace('\'', "''"))).unwrap();
        run(&engine, "INSERT INTO src (v) VALUES ('not json');").unwrap();
        engine.drive().unwrap();
        made(&engine)
    };
    let log = directory(dir.path());
    let engine = over(&log);
    assert_eq!(made(&engine), before);
    assert_eq!(engine.skipped_commands(), 0);
}

/// Streams over topics of the engine that an earlier build has registered are there, and nothing is written through them.
#[test]
fn nothing_is_written_through_what_an_earlier_build_has_registered() {
    let log = in_memory();
    run(&over(&log), STATEMENTS).unwrap();
    // The stream READINGS lies over the command topic, and COPIED writes it.
    let earlier = as_written_earlier(&*log, |command| {
        command.replace("\"topic\":\"readings\"", &format!("\"topic\":\"{COMMANDS}\""))
    });
    let engine = over(&earlier);
    let values = "INSERT INTO readings (v) VALUES ('not json');";
    assert_eq!(refusal(&engine, values), format!("Cannot insert values into read-only topic: {COMMANDS}"));
    let error = engine.check_insert_target("readings", &Session::default()).unwrap_err();
    assert_eq!(error.message(), format!("Cannot insert values into read-only topic: {COMMANDS}"));
    let select = "INSERT INTO readings SELECT * FROM src;";
    assert_eq!(refusal(&engine, select), format!("Cannot insert into read-only topic: {COMMANDS}"));
    run(&engine, "DROP STREAM copied;").unwrap();
    let drop = "DROP STREAM readings DELETE TOPIC;";
    assert_eq!(refusal(&engine, drop), format!("Cannot delete the internal topic: {COMMANDS}"));
    run(&engine, "DROP STREAM readings;").unwrap();
    assert!(earlier.topic(COMMANDS).unwrap().is_some());
}

/// What is only looked at may be declared, and is no way to write either.
#[test]
fn a_source_stream_over_the_command_log_is_only_read() {
    let log = in_memory();
    let engine = over(&log);
    let sql = format!("CREATE SOURCE STREAM looked (v STRING) WITH (KAFKA_TOPIC='{COMMANDS}', VALUE_FORMAT='KAFKA');");
    run(&engine, &sql).unwrap();
    let values = "INSERT INTO looked (v) VALUES ('not json');";
    assert_eq!(refusal(&engine, values), format!("Cannot insert values into read-only topic: {COMMANDS}"));
    let select = "INSERT INTO looked SELECT * FROM looked;";
    assert_eq!(refusal(&engine, select), format!("Cannot insert into read-only topic: {COMMANDS}"));
    let delete = "DROP STREAM looked DELETE TOPIC;";
    assert_eq!(refusal(&engine, delete), format!("Cannot delete the internal topic: {COMMANDS}"));
    let before = made(&engine);
    assert_eq!(made(&over(&log)), before);
}

#[test]
fn a_query_of_an_earlier_build_that_writes_the_command_log_does_not_run() {
    let log = in_memory();
    run(&over(&log), STATEMENTS).unwrap();
    let evil = |command: String| {
        let command = command.replace("\"topic\":\"COPIED\"", &format!("\"topic\":\"{COMMANDS}\""));
        command.replace("CREATE STREAM copied AS", &format!("CREATE STREAM copied WITH (KAFKA_TOPIC='{COMMANDS}') AS"))
    };
    let earlier = as_written_earlier(&*log, evil);
    let engine = over(&earlier);
    let states: Vec<State> = engine.queries().into_iter().map(|(_, query)| query.state()).collect();
    assert!(matches!(&states[..], [State::Error(why)] if why.contains("Cannot use the internal topic")), "{states:?}");
    // Its deletion through the list of a terminated service leaves the topic alone; the service deletes it itself.
    let before = records(&*earlier, COMMANDS).len();
    run(&engine, "INSERT INTO readings (v) VALUES ('not json');").unwrap();
    engine.drive().unwrap();
    assert_eq!(records(&*earlier, COMMANDS).len(), before);
}

#[test]
fn only_what_the_service_has_marked_is_a_command() {
    let log = in_memory();
    let before = {
        let engine = over(&log);
        run(&engine, STATEMENTS).unwrap();
        made(&engine)
    };
    let genuine = records(&*log, COMMANDS);
    let (_, first, mark) = genuine[1].clone();
    let of_other = records(
        &*{
            let other = in_memory();
            run(&over(&other), "CREATE TYPE stolen AS STRUCT<a INT>;").unwrap();
            other
        },
        COMMANDS,
    );
    let mut forgeries = vec![
        (FORGED.as_bytes().to_vec(), Vec::new()),
        (b"not json".to_vec(), Vec::new()),
        (Vec::new(), Vec::new()),
        // A newer format is no way to keep the service from starting.
        (FORGED.replace("\"format\":1", "\"format\":9").into_bytes(), Vec::new()),
        // A mark is that of one value.
        (FORGED.as_bytes().to_vec(), mark.clone()),
        (FORGED.as_bytes().to_vec(), vec![Header { key: "tidegate-command".into(), value: None }]),
        // A command that was carried out is not carried out again.
        (first, mark),
    ];
    // Epoch and command of another service.
    forgeries.extend(of_other.into_iter().map(|(_, value, headers)| (value, headers)));
    let count = forgeries.len() as u64;
    forgeries.into_iter().for_each(|(value, headers)| write(&*log, COMMANDS, &value, headers));
    let engine = over(&log);
    assert_eq!(made(&engine), before);
    assert_eq!(engine.skipped_commands(), count);
    // Statements go on behind them.
    run(&engine, "CREATE STREAM more AS SELECT v FROM copied;").unwrap();
    let before = made(&engine);
    let engine = over(&log);
    assert_eq!((made(&engine), engine.skipped_commands()), (before, count));
}

#[test]
fn a_log_of_an_earlier_build_is_replayed_and_marked() {
    let log = in_memory();
    let before = {
        let engine = over(&log);
        run(&engine, STATEMENTS).unwrap();
        made(&engine)
    };
    let earlier = as_written_earlier(&*log, |command| command);
    write(&*earlier, COMMANDS, b"1.0", Vec::new());
    let engine = over(&earlier);
    assert_eq!((made(&engine), engine.skipped_commands()), (before.clone(), 1));
    write(&*earlier, COMMANDS, FORGED.as_bytes(), Vec::new());
    let engine = over(&earlier);
    assert_eq!((made(&engine), engine.skipped_commands()), (before, 2));
    run(&engine, "DROP STREAM src;").unwrap();
    let before = made(&engine);
    assert_eq!(made(&over(&earlier)), before);
}

/// A command of a newer build is not left out.
#[test]
fn a_newer_command_is_refused() {
    let log = in_memory();
    log.create_topic(&TopicSpec::new(COMMANDS, 1)).unwrap();
    write(&*log, COMMANDS, FORGED.replace("\"format\":1", "\"format\":9").as_bytes(), Vec::new());
    let config = Config::new(LogConfig::Temporary);
    let error = Engine::over(log, config, ManualClock::at(0), Drive::ByHand).unwrap_err();
    assert!(error.message().contains("written by a newer Tidegate"), "{error}");
}

fn tidegate(dir: &TempDir, args: &[&str]) -> Output {
    Command::new(TIDEGATE).arg("--data").arg(dir.path()).args(args).output().unwrap()
}

fn texts(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn repair_shows_and_removes_what_is_no_command() {
    let dir = TempDir::new().unwrap();
    assert!(tidegate(&dir, &["sql", "-e", STATEMENTS]).status.success());
    {
        let log = directory(dir.path());
        write(&*log, COMMANDS, b"not json", Vec::new());
        write(&*log, COMMANDS, FORGED.as_bytes(), Vec::new());
    }
    let show = ["sql", "-o", "json", "-e", "SHOW STREAMS;"];
    let (shown, warned) = texts(&tidegate(&dir, &show));
    assert!(shown.contains("READINGS") && shown.contains("COPIED"), "{shown}{warned}");
    assert!(warned.contains("skipped a record of the command log") && warned.contains("offset=5"), "{warned}");
    assert!(warned.contains("skipped 2 invalid command log records"), "{warned}");

    let (table, told) = texts(&tidegate(&dir, &["repair", "-o", "csv"]));
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(
        lines[1].starts_with("5,") && lines[1].contains("does not carry the mark") && lines[1].ends_with("not json")
    );
    assert!(lines[2].starts_with("6,") && lines[2].contains("DROP STREAM readings"), "{table}");
    assert!(told.contains("4 commands, 2 invalid records") && told.contains("--remove"), "{told}");
    let (all, _) = texts(&tidegate(&dir, &["repair", "--all", "-o", "csv"]));
    assert!(all.contains("1,") && all.contains("CREATE STREAM readings"), "{all}");

    let (_, told) = texts(&tidegate(&dir, &["repair", "--remove"]));
    assert!(told.contains("removed 2 records"), "{told}");
    let (shown, quiet) = texts(&tidegate(&dir, &show));
    assert!(shown.contains("READINGS") && !quiet.contains("command log"), "{shown}{quiet}");
    let (table, told) = texts(&tidegate(&dir, &["repair", "-o", "csv"]));
    assert_eq!((table.lines().count(), told.contains("0 invalid records")), (1, true), "{table}{told}");

    // A command that should not be there is named.
    assert!(tidegate(&dir, &["sql", "-e", "CREATE TYPE wrong AS STRUCT<a INT>;"]).status.success());
    let (all, _) = texts(&tidegate(&dir, &["repair", "--all", "-o", "csv"]));
    let offset =
        all.lines().find(|line| line.contains("CREATE TYPE wrong")).unwrap().split(',').next().unwrap().to_owned();
    assert!(tidegate(&dir, &["repair", "--offset", &offset]).status.success());
    assert!(!texts(&tidegate(&dir, &["sql", "-e", "SHOW TYPES;"])).0.contains("WRONG"));
    let unknown = tidegate(&dir, &["repair", "--offset", "4711"]);
    assert!(!unknown.status.success() && texts(&unknown).1.contains("nothing to remove at offset 4711"));
}

#[test]
fn repair_works_on_what_nobody_runs() {
    let dir = TempDir::new().unwrap();
    assert!(tidegate(&dir, &["sql", "-e", STATEMENTS]).status.success());
    let _owner = directory(dir.path());
    let busy = tidegate(&dir, &["repair", "--remove"]);
    assert!(!busy.status.success());
    assert!(texts(&busy).1.contains("stop the process that runs this service"), "{:?}", texts(&busy));
    let nowhere = Command::new(TIDEGATE).args(["--data", "/nowhere/at/all", "repair"]).output().unwrap();
    assert!(texts(&nowhere).1.contains("does not exist"), "{:?}", texts(&nowhere));
}

#[test]
fn tidegate_topic_leaves_the_engines_topics_alone() {
    let dir = TempDir::new().unwrap();
    assert!(tidegate(&dir, &["sql", "-e", STATEMENTS]).status.success());
    for args in [
        &["topic", "produce", COMMANDS][..],
        &["topic", "delete-records", COMMANDS, "--all"],
        &["topic", "produce", "_confluent-ksql-new", "--partitions", "1"],
    ] {
        let mut command = Command::new(TIDEGATE);
        let mut child = command
            .arg("--data")
            .arg(dir.path())
            .args(args)
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"not json\n");
        let output = child.wait_with_output().unwrap();
        let told = texts(&output).1;
        assert!(
            !output.status.success() && told.contains("nternal topic") | told.contains("read-only topic"),
            "{told}"
        );
    }
    let (printed, _) = texts(&tidegate(&dir, &["topic", "print", COMMANDS, "-b", "--exit-at-end"]));
    assert!(printed.contains("CREATE STREAM readings") && !printed.contains("not json"), "{printed}");
}

/// For every statement of a generated set, whatever is planned writes a topic of the user's.
#[test]
fn no_plan_has_an_internal_sink() {
    let names =
        ["o", "_confluent-ksql-default__command_topic", "__consumer_offsets", "_schemas", "connect-status", "_x"];
    let prefixes = ["", "_", "__", "_confluent", "_confluent-ksql-", "connect-", "p_"];
    let endings = ["", "schemas", "configs", "-metrics", "consumer_offsets", "query_CTAS_X_1-changelog"];
    let forms = [
        "CREATE STREAM `{n}` AS SELECT v FROM src;",
        "CREATE OR REPLACE STREAM `{n}` AS SELECT v FROM src;",
        "CREATE STREAM IF NOT EXISTS `{n}` WITH (PARTITIONS=2) AS SELECT v FROM src;",
        "CREATE TABLE `{n}` AS SELECT v, COUNT(*) AS c FROM js GROUP BY v;",
        "CREATE STREAM x WITH (KAFKA_TOPIC='{n}') AS SELECT v FROM src;",
        "CREATE TABLE x WITH (LATE_TOPIC='{n}') AS SELECT v, COUNT(*) AS c FROM js WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY v;",
        "CREATE STREAM x (v STRING) WITH (KAFKA_TOPIC='{n}', VALUE_FORMAT='KAFKA', PARTITIONS=1); INSERT INTO x SELECT v FROM src;",
        "CREATE SOURCE STREAM x (v STRING) WITH (KAFKA_TOPIC='{n}', VALUE_FORMAT='KAFKA', PARTITIONS=1);",
        "CREATE TABLE x (k STRING PRIMARY KEY, v STRING) WITH (KAFKA_TOPIC='{n}', VALUE_FORMAT='KAFKA', PARTITIONS=1);
         INSERT INTO x (k, v) VALUES ('a', 'b');",
    ];
    let rules = TopicRules::default();
    let (mut planned, mut refused) = (0, 0);
    for name in names
        .iter()
        .map(|n| (*n).to_owned())
        .chain(prefixes.iter().flat_map(|p| endings.iter().map(move |e| format!("{p}{e}"))).filter(|n| !n.is_empty()))
    {
        let log = in_memory();
        let engine = over(&log);
        run(&engine, STATEMENTS).unwrap();
        let own: BTreeSet<String> = log.topics().unwrap().into_iter().map(|t| t.name).collect();
        for (form, prefix) in forms.iter().flat_map(|form| prefixes.iter().map(move |prefix| (form, prefix))) {
            let mut session = Session::default();
            session.set("ksql.output.topic.name.prefix", prefix).unwrap();
            match engine.run(&form.replace("{n}", &name), &mut session) {
                Ok(_) => planned += 1,
                Err(_) => refused += 1,
            }
            for source in engine.catalog().all().filter(|source| !source.read_only) {
                assert!(!rules.is_internal(&source.topic), "{form} {name} {prefix}: {}", source.topic);
            }
            // Beside changelogs the engine has made nothing of its own.
            for topic in log.topics().unwrap().into_iter().filter(|t| !own.contains(&t.name)) {
                let is_changelog = topic.name.starts_with("_confluent-ksql-default_query_CTAS_");
                assert!(!rules.is_internal(&topic.name) || is_changelog, "{form} {name} {prefix}: {}", topic.name);
            }
            let made: Vec<_> = engine.catalog().all().map(|s| (s.name.clone(), s.kind)).collect();
            for (made, kind) in
                made.into_iter().filter(|(n, _)| !["READINGS", "SRC", "COPIED", "JS"].contains(&n.as_str()))
            {
                let kind = format!("{kind:?}").to_uppercase();
                engine.queries().iter().for_each(|(id, _)| {
                    if id.starts_with("INSERTQUERY") {
                        run(&engine, &format!("TERMINATE {id};")).unwrap();
                    }
                });
                run(&engine, &format!("DROP {kind} `{made}`;")).unwrap();
            }
        }
    }
    assert!(planned > 500 && refused > 500, "{planned} {refused}");
}

#[test]
fn a_loop_that_is_asked_for_is_there_after_a_restart() {
    let log = in_memory();
    let engine = over(&log);
    run(&engine, STATEMENTS).unwrap();
    let told = refusal(&engine, "INSERT INTO readings SELECT v FROM copied;");
    assert_eq!(
        told,
        "the query would read what it writes: COPIED -> INSERTQUERY_4 -> readings -> CSAS_COPIED_2 -> COPIED"
    );
    let asked =
        "SET 'tidegate.allow.loops' = 'true'; INSERT INTO readings SELECT v + '!' AS v FROM copied WHERE LEN(v) < 5;";
    run(&engine, asked).unwrap();
    let before = made(&engine);
    drop(engine);
    let engine = over(&log);
    assert_eq!(made(&engine), before);
    run(&engine, "INSERT INTO readings (v) VALUES ('a');").unwrap();
    for _ in 0..20 {
        engine.drive().unwrap();
    }
    let values: Vec<String> =
        records(&*log, "readings").into_iter().map(|(_, value, _)| String::from_utf8(value).unwrap()).collect();
    assert_eq!(values, ["a", "a!", "a!!", "a!!!", "a!!!!"]);
}

/// What another query's late rows lead to is a way like any other, after a restart, too.
#[test]
fn a_loop_through_late_rows_is_seen() {
    let log = in_memory();
    let late = "CREATE STREAM late (v STRING) WITH (KAFKA_TOPIC='late', VALUE_FORMAT='KAFKA', PARTITIONS=1);
        CREATE TABLE counted WITH (LATE_TOPIC='late') AS
          SELECT v, COUNT(*) AS n FROM js WINDOW TUMBLING (SIZE 1 HOUR, GRACE PERIOD 0 SECONDS) GROUP BY v;";
    let engine = over(&log);
    run(&engine, STATEMENTS).unwrap();
    run(&engine, late).unwrap();
    let wanted = "the query would read what it writes: late -> INSERTQUERY_6 -> js -> CTAS_COUNTED_5 -> late";
    let insert = "INSERT INTO js SELECT v FROM late;";
    assert_eq!(refusal(&engine, insert), wanted);
    drop(engine);
    assert_eq!(refusal(&over(&log), insert), wanted);
}
