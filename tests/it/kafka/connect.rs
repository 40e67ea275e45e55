//! Connectors against a real worker of Kafka Connect: made, listed, described and dropped by SQL, with records through them.

use super::*;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tidegate::engine::Answer;
use tidegate::engine::result::connector::{ConnectorDescription, ConnectorEntity, ConnectorRow};
use tidegate::engine::result::entity::Entity;
use tidegate::error::Error;
use tidegate::present::Outcome;

/// Exit code of the script: Java or Maven is missing.
const SKIP: i32 = 77;
const PATIENCE: Duration = Duration::from_secs(60);
/// Connectors of the one test here whose names do not have its tag.
const OWN: [&str; 2] = ["FILE_IN", "BROKEN"];

/// The URL of the worker that the tests share, over the shared broker; it ends with this process. `None` = this test is skipped, and
/// its name was printed.
pub(super) fn worker(test: &str) -> Option<&'static str> {
    static SHARED: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    let broker = broker::shared(test)?;
    match SHARED.get_or_init(|| start(&broker.bootstrap)) {
        Ok(url) => Some(url),
        Err(reason) => {
            broker::skipped(test, reason);
            None
        }
    }
}

/// Starts a worker; the reason why there is none.
fn start(bootstrap: &str) -> std::result::Result<String, String> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(fresh("connect"));
    // A process of an earlier time may have had this one's number.
    let _ = std::fs::remove_dir_all(&folder);
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/connect.sh"));
    script.arg("start").arg(&folder).arg(bootstrap).arg(std::process::id().to_string()).stdin(Stdio::null());
    let output = script.output().expect("bash runs");
    if output.status.success() {
        return Ok(std::fs::read_to_string(folder.join("url")).expect("the script wrote it").trim().to_owned());
    }
    let reason = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(SKIP), "the worker did not start: {reason}");
    Err(reason)
}

/// An engine over the shared broker that knows the worker.
struct World {
    engine: Engine,
    /// In all names of this test.
    tag: String,
    folder: tempfile::TempDir,
}

impl World {
    fn open(test: &str) -> Option<World> {
        let broker = broker::shared(test)?;
        let url = worker(test)?;
        let tag = fresh("connect_");
        let KafkaSettings { bootstrap, properties } = KafkaSettings::new(&broker.bootstrap);
        let mut config = Config::new(LogConfig::Kafka { bootstrap, properties });
        tag.clone_into(&mut config.service_id);
        config.set("ksql.connect.url", url).unwrap();
        let engine = Engine::open(config, SystemClock::shared()).unwrap();
        Some(World { engine, tag, folder: tempfile::tempdir().unwrap() })
    }

    /// A file of this test.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The statement with `$T` for the tag and `$D` for the folder.
    fn sql(&self, text: &str) -> String {
        text.replace("$T", &self.tag).replace("$D", self.folder.path().to_str().unwrap())
    }

    fn answer(&self, text: &str) -> Result<Answer> {
        self.engine.run(&self.sql(text), &mut Statements::default()).map(|mut answers| answers.remove(0))
    }

    fn entity(&self, text: &str) -> Entity {
        match self.answer(text).unwrap_or_else(|e| panic!("{text}: {e:?}")) {
            Answer::Entity(entity) => entity,
            Answer::Rows(_) => panic!("{text} returns rows"),
        }
    }

    /// What the prompt shows, if it is a message.
    fn said(&self, text: &str) -> String {
        match tidegate::present::text::outcome(self.answer(text).unwrap_or_else(|e| panic!("{text}: {e:?}"))) {
            Outcome::Message(message) => message,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn refused(&self, text: &str) -> Error {
        self.answer(text).map(|answer| panic!("{text}: {answer:?}")).unwrap_err()
    }

    /// This test's connectors.
    fn rows(&self, text: &str) -> Vec<ConnectorRow> {
        match self.entity(text) {
            Entity::Connector(ConnectorEntity::List { rows, warnings }) => {
                assert_eq!(warnings, Vec::<String>::new());
                let is_own = |row: &ConnectorRow| OWN.contains(&row.name.as_str()) || row.name.contains(&self.tag);
                rows.into_iter().filter(is_own).collect()
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    fn described(&self, name: &str) -> ConnectorDescription {
        match self.entity(&format!("DESCRIBE CONNECTOR {name};")) {
            Entity::Connector(ConnectorEntity::Description(description)) => *description,
            other => panic!("{other:?}"),
        }
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A file source, a query and a file sink, and all statements about connectors.
#[test]
fn records_go_from_a_file_through_a_query_into_a_file() {
    let Some(world) = World::open("records_go_from_a_file_through_a_query_into_a_file") else { return };
    std::fs::write(world.file("in.txt"), "one\ntwo\n").unwrap();
    world.entity("CREATE STREAM lines (v STRING) WITH (KAFKA_TOPIC='$T_in', VALUE_FORMAT='KAFKA', PARTITIONS=1);");
    world.entity("CREATE STREAM upper WITH (KAFKA_TOPIC='$T_out') AS SELECT UCASE(v) AS v FROM lines;");
    let classes = match world.entity("SHOW CONNECTOR PLUGINS;") {
        Entity::Connector(ConnectorEntity::Plugins(plugins)) => {
            plugins.into_iter().map(|plugin| (plugin.class, plugin.kind.unwrap())).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    let class = |kind: &str| format!("org.apache.kafka.connect.file.FileStream{kind}Connector");
    assert_eq!(classes, [(class("Sink"), "sink".to_owned()), (class("Source"), "source".to_owned())]);
    assert_eq!(world.rows("SHOW CONNECTORS;"), []);

    let source = "CREATE SOURCE CONNECTOR file_in WITH ('connector.class'='FileStreamSource', 'tasks.max'=1, 'topic'='$T_in', \
                  'file'='$D/in.txt', 'value.converter'='org.apache.kafka.connect.storage.StringConverter');";
    let sink = "CREATE SINK CONNECTOR `out-$T` WITH ('connector.class'='FileStreamSink', 'topics'='$T_out', 'file'='$D/out.txt', \
                'value.converter'='org.apache.kafka.connect.storage.StringConverter');";
    assert_eq!(world.said(source), "Created connector FILE_IN");
    assert_eq!(world.said(sink), world.sql("Created connector out-$T"));
    let out = || std::fs::read_to_string(world.file("out.txt")).unwrap_or_default();
    until("the lines are in the file", || out() == "ONE\nTWO\n");

    let row = |name: &str, kind: &str| {
        let class = Some(if kind == "sink" { "FileStreamSink" } else { "FileStreamSource" }.to_owned());
        let state = Some("RUNNING (1/1 tasks RUNNING)".to_owned());
        ConnectorRow { name: world.sql(name), kind: kind.to_owned(), class, state }
    };
    let both = [row("FILE_IN", "source"), row("out-$T", "sink")];
    until("both run", || world.rows("SHOW CONNECTORS;") == both);
    assert_eq!(world.rows("LIST SOURCE CONNECTORS;"), both[..1]);
    assert_eq!(world.rows("SHOW SINK CONNECTORS;"), both[1..]);
    until("the sink's topic is known", || !world.described("`out-$T`").topics.is_empty());
    let described = world.described("`out-$T`");
    assert_eq!((described.class.as_str(), described.topics), ("FileStreamSink", vec![world.sql("$T_out")]));
    let names: Vec<&str> = described.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!((names, described.status.tasks.len()), (vec!["UPPER"], 1));

    wrong_statements(&world, source);
    failed_task(&world);
    for (drop, said) in [
        ("DROP CONNECTOR file_in;", "Dropped connector \"FILE_IN\""),
        ("DROP CONNECTOR IF EXISTS `out-$T`;", "Dropped connector \"out-$T\""),
        ("DROP CONNECTOR IF EXISTS file_in;", "Connector 'FILE_IN' does not exist."),
    ] {
        assert_eq!(world.said(drop), world.sql(said));
    }
    until("all are gone", || world.rows("SHOW CONNECTORS;").is_empty());
    world.engine.close();
}

fn wrong_statements(world: &World, source: &str) {
    let refused = |text: &str, code: u32, message: &str| {
        let error = world.refused(text);
        assert!(error.message().starts_with(message), "{text}: {error:?}");
        assert_eq!(error.code(), code, "{text}");
        error
    };
    refused(source, 40_900, "Connector FILE_IN already exists");
    let again = source.replace("CONNECTOR", "CONNECTOR IF NOT EXISTS");
    assert_eq!(world.said(&again), "Connector FILE_IN already exists");
    let error = refused(
        "CREATE SINK CONNECTOR x WITH ('connector.class'='nope');",
        40_001,
        "Validation error: {\"error_code\":",
    );
    assert!(error.message().contains("Failed to find any class that implements Connector"), "{error}");
    assert_eq!(error.hint(), Some("SHOW CONNECTOR PLUGINS lists the classes that the workers have"));
    let text = "Validation error: topic - Missing required configuration \"topic\" which has no default value.";
    refused("CREATE SOURCE CONNECTOR x WITH ('connector.class'='FileStreamSource');", 40_001, text);
    refused("DESCRIBE CONNECTOR nosuch;", 40_400, "Failed to query connector status: {\"error_code\":404,");
    refused("DROP CONNECTOR nosuch;", 40_400, "Failed to drop connector: {\"error_code\":404,");
    let error = refused("DESCRIBE CONNECTOR `file_in`;", 40_400, "Failed to query connector status");
    assert_eq!(error.hint(), Some("did you mean `FILE_IN`? Names without quotes are upper case"));
}

/// A task that fails says why.
fn failed_task(world: &World) {
    world.said(
        "CREATE SINK CONNECTOR broken WITH ('connector.class'='FileStreamSink', 'topics'='$T_out', 'file'='$D/none/out.txt');",
    );
    until("its task has failed", || {
        world.rows("SHOW CONNECTORS;").iter().any(|row| row.state.as_deref() == Some("WARNING (0/1 tasks RUNNING)"))
    });
    let trace = world.described("broken").status.tasks[0].state.trace.clone().unwrap();
    assert!(trace.contains("Couldn't find or create file"), "{trace}");
    world.said("DROP CONNECTOR broken;");
}
