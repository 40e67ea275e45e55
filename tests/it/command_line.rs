//! The command line: where statements and settings come from, formats for programs, errors as JSON, words with a backslash in
//! scripts, checks, topics without SQL.

use crate::http::Server;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const TIDEGATE: &str = env!("CARGO_BIN_EXE_tidegate");
const FILLED: &str = "CREATE STREAM s (k STRING KEY, n INT, d DOUBLE) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);\
                      INSERT INTO s VALUES ('a', 7, 50006659); INSERT INTO s VALUES ('b|c', NULL, 1.5);";

/// A user's home with nothing in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn run_with(&self, args: &[&str], variables: &[(&str, &str)], input: &str) -> Output {
        let mut command = Command::new(TIDEGATE);
        command.args(args).env_clear().env("HOME", self.0.path()).envs(variables.iter().copied());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A program that reads nothing may have ended.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, &[], "")
    }

    /// What `topic ARGS` prints over the log in `data`.
    fn topic(&self, data: &Path, args: &[&str], input: &str) -> String {
        let output = self.run_with(&[&["--data", data.to_str().unwrap(), "topic"], args].concat(), &[], input);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        out(&output)
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn statements_come_from_options_arguments_and_pipes() {
    let home = Home::new();
    let query = "SELECT k FROM s WHERE n = ${number};";
    let expected = "K\na\n";
    let all = [
        home.run(&["--temp", "-q", "-o", "csv", "-d", "number=7", "-c", FILLED, "-e", query]),
        home.run(&["--temp", "-q", "-o", "csv", "-d", "number=7", "sql", &format!("{FILLED}{query}")]),
        home.run(&["--temp", "-q", "-o", "csv", "-d", "number=7", "sql", "-c", FILLED, "-c", query]),
        home.run_with(&["--temp", "-q", "-o", "csv", "-d", "number=7", "sql"], &[], &format!("{FILLED}{query}")),
        home.run_with(&["--temp", "-q", "-o", "csv", "-d", "number=7"], &[], &format!("{FILLED}{query}")),
    ];
    for output in all {
        assert_eq!((out(&output).as_str(), errors(&output).as_str()), (expected, ""), "{output:?}");
    }
    // Texts and files run in the order in which they are given, in one session.
    let file = home.write("fill.sql", FILLED);
    let set = home.write("set.sql", "DEFINE number = '7';");
    let (file, set) = (file.to_str().unwrap(), set.to_str().unwrap());
    for args in [
        &["-f", file, "-c", "DEFINE number = '7';", "-c", query][..],
        &["-c", FILLED, "-f", set, "-c", query],
        &["sql", "-f", file, "-f", set, "-e", query],
    ] {
        let output = home.run(&[&["--temp", "-q", "-o", "csv"], args].concat());
        assert_eq!((out(&output).as_str(), errors(&output).as_str()), (expected, ""), "{output:?}");
    }
    let piped = home.run_with(&["--temp", "-q", "-o", "csv", "-d", "number=7", "-c", FILLED, "-f", "-"], &[], query);
    assert_eq!((out(&piped).as_str(), errors(&piped).as_str()), (expected, ""), "{piped:?}");
    let missing = home.run(&["--temp", "-c", "SHOW STREAMS;", "-f", "nowhere.sql"]);
    assert_eq!((missing.status.code(), out(&missing).as_str()), (Some(1), ""), "{missing:?}");
    // The first that fails ends it.
    let output = home.run(&["--temp", "-c", "DROP STREAM nowhere;", "-c", "SHOW STREAMS;"]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(1), ""));
    let misused = home.run(&["-c", "SHOW STREAMS;", "topic", "list"]);
    assert_eq!(misused.status.code(), Some(2), "{misused:?}");
}

#[test]
fn formats_for_programs_have_rows_only_and_errors_are_objects() {
    let home = Home::new();
    let rows = |format: &str| {
        let output = home.run(&["--temp", "-o", format, "-c", FILLED, "-c", "SELECT * FROM s;"]);
        assert!(errors(&output).starts_with("Stream created\n"), "{}", errors(&output));
        out(&output)
    };
    assert_eq!(rows("tsv"), "K\tN\tD\na\t7\t50006659.0\nb|c\t\\N\t1.5\n");
    assert_eq!(
        rows("markdown"),
        "| K | N | D |\n| --- | ---: | ---: |\n| a | 7 | 50006659.0 |\n| b\\|c | null | 1.5 |\n"
    );
    assert_eq!(rows("json").lines().count(), 2);
    let file = home.write("x.sql", "SHOW STREAMS;\nSELECT 'é' FORM s;");
    let output = home.run(&["--temp", "-o", "json", "sql", "-f", file.to_str().unwrap()]);
    let error: serde_json::Value = serde_json::from_str(errors(&output).lines().last().unwrap()).unwrap();
    assert_eq!(error["code"], 40001);
    assert!(error["message"].as_str().unwrap().contains("Syntax Error"), "{error}");
    assert_eq!((&error["span"]["line"], &error["span"]["start"]), (&2.into(), &30.into()), "{error}");
    assert_eq!(error["file"], file.to_str().unwrap());
    let named = home.run(&["--temp", "sql", "-f", file.to_str().unwrap()]);
    assert!(errors(&named).contains("x.sql:2:17"), "{}", errors(&named));
}

#[test]
fn limits_stop_a_query_that_does_not_end() {
    let home = Home::new();
    let push = "SELECT n FROM s EMIT CHANGES;";
    let rows = home.run(&["--temp", "--query-row-limit", "1", "-c", FILLED, "-c", push]);
    assert!(out(&rows).contains("(1 row)\nStopped by the row limit"), "{}", out(&rows));
    let time = home.run(&["--temp", "--query-timeout", "300ms", "-c", FILLED, "-c", push]);
    assert!(out(&time).contains("(2 rows)\nStopped by the time limit"), "{}", out(&time));
    assert_eq!((rows.status.code(), time.status.code()), (Some(0), Some(0)));
}

#[test]
fn settings_come_from_the_command_line_the_environment_a_profile_and_a_file_in_this_order() {
    let home = Home::new();
    let profiles = "output = \"csv\"\ntemp = true\n[profiles.plain]\noutput = \"json\"\n[topic.list]\nall = true\n";
    home.write(".config/tidegate/config.toml", profiles);
    let first = |args: &[&str], variables: &[(&str, &str)]| {
        let output = home.run_with(args, variables, "");
        out(&output).lines().next().unwrap_or_default().to_owned() + &errors(&output)
    };
    let values = "SELECT 1 AS one FROM (VALUES (1)) AS t (x);";
    let show = ["-q", "-c", values];
    assert_eq!(first(&show, &[]), "ONE");
    assert_eq!(first(&[&["--profile", "plain"], &show[..]].concat(), &[]), "{\"ONE\":1}");
    assert_eq!(first(&show, &[("TIDEGATE_PROFILE", "plain"), ("TIDEGATE_OUTPUT", "tsv")]), "ONE");
    assert_eq!(first(&[&["-o", "json"], &show[..]].concat(), &[("TIDEGATE_OUTPUT", "tsv")]), "{\"ONE\":1}");
    // The place is one choice: what the command line says of it replaces all of the file's.
    let data = home.path("data");
    let set = [("TIDEGATE_SET_KSQL_STREAMS_AUTO_OFFSET_RESET", "latest")];
    let args = ["--data", data.to_str().unwrap(), "-q", "-c", "SHOW PROPERTIES;"];
    let output = home.run_with(&args, &set, "");
    assert!(out(&output).contains("auto.offset.reset,latest"), "{output:?}");
    assert!(data.is_dir());
    assert!(out(&home.run(&["topic", "list"])).starts_with("Topic,"), "an option of a command");
    // What is in force, and since where.
    let shown = home.run_with(
        &["--profile", "plain", "--set", "ksql.streams.auto.offset.reset=latest", "-q", "config", "show", "--origin"],
        &[("TIDEGATE_QUERY_ROW_LIMIT", "9"), ("TIDEGATE_USER", "ann"), ("TIDEGATE_SERVER_LISTEN", "127.0.0.1:9")],
        "",
    );
    let file = home.path(".config/tidegate/config.toml").display().to_string();
    let lines: Vec<serde_json::Value> = out(&shown).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (name, value, origin) in [
        ("output", "json", format!("{file} [profiles.plain]")),
        ("temp", "true", file.clone()),
        ("set", "ksql.streams.auto.offset.reset=latest", "command line".to_owned()),
        ("query-row-limit", "9", "TIDEGATE_QUERY_ROW_LIMIT".to_owned()),
        ("user", "ann", "TIDEGATE_USER".to_owned()),
        ("service-id", "default_", "default".to_owned()),
        ("server.listen", "127.0.0.1:9", "TIDEGATE_SERVER_LISTEN".to_owned()),
        ("topic.list.all", "true", format!("{file} [topic.list]")),
    ] {
        let wanted = serde_json::json!({ "Option": name, "Value": value, "Origin": origin });
        assert!(lines.contains(&wanted), "{wanted} is none of {lines:#?}");
    }
    assert!(!out(&shown).contains("password"), "{shown:?}");
    // What a prompt would run is not run by a command.
    assert!(home.run_with(&["topic", "list"], &[("TIDEGATE_FILE", "nowhere.sql")], "").status.success());
    let none = home.run(&["--profile", "prod", "-c", values]);
    assert_eq!(none.status.code(), Some(2));
    assert!(errors(&none).contains("its profiles are plain"), "{}", errors(&none));
    home.write(".config/tidegate/config.toml", "outputs = \"csv\"\n");
    assert!(errors(&home.run(&["-c", values])).contains("did you mean output?"));
    let missing = home.run(&["--config", "/nowhere.toml", "-c", values]);
    assert!(errors(&missing).contains("cannot read /nowhere.toml"), "{}", errors(&missing));
}

#[test]
fn words_with_a_backslash_work_in_scripts_and_unknown_ones_are_named() {
    let home = Home::new();
    let file = home.path("rows.csv");
    let script = format!(
        "{FILLED}\n\\pset format csv\n\\timing on\n\\o {}\nSELECT k FROM s;\n\\o\n\\echo it's done\n\\x\nSELECT n FROM s WHERE n = 7;\n\\x auto\n",
        file.display()
    );
    let output = home.run_with(&["--temp"], &[], &script);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "K\na\nb|c\n");
    assert!(out(&output).contains("it's done\n-[ row 1 ]--------------------\nN | 7\n"), "{}", out(&output));
    assert!(errors(&output).contains("Time: "), "{}", errors(&output));
    let unknown = home.run_with(&["--temp"], &[], "SHOW STREAMS;\n\\tming\n");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(errors(&unknown).contains("there is no \\tming: did you mean \\timing?"), "{}", errors(&unknown));
    let vertical = home.run(&["--temp", "-q", "-c", FILLED, "-c", "SELECT k FROM s WHERE n = 7 \\gx"]);
    assert!(out(&vertical).contains("K | a"), "{vertical:?}");
}

#[test]
fn a_check_plans_files_and_changes_nothing() {
    let home = Home::new();
    let good = home.write("good.sql", "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);\nCREATE TABLE t AS SELECT n, COUNT(*) AS c FROM s GROUP BY n;");
    let bad = home.write("bad.sql", "CREATE STREAM s (sped INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);\nCREATE STREAM x AS SELECT speed FROM s;");
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let output = home.run(&["check", good]);
    assert_eq!((output.status.code(), errors(&output)), (Some(0), format!("{good}: ok\n")));
    let output = home.run(&["check", good, bad]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("bad.sql:2:27") && errors(&output).contains("SPEED"), "{}", errors(&output));
    assert!(!Path::new(&home.path(".local/share/tidegate")).exists());
    let many = home.write("many.sql", "SELEC 1;\nCREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);\nSELECT m FROM s;\nSELECT n FROM s;\nDROP STREAM q;\n");
    let output = home.run(&["check", many.to_str().unwrap(), "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<String> = errors(&output)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["span"]["line"].to_string())
        .collect();
    assert_eq!(lines, ["1", "3", "5"], "{}", errors(&output));
}

#[test]
fn a_check_asks_a_server_or_the_process_that_has_the_directory() {
    let home = Home::new();
    let data = home.path("data");
    let data = data.to_str().unwrap();
    let server = Server::at(&["--data", data]);
    server.ksql("CREATE STREAM there (n INT) WITH (KAFKA_TOPIC='there', VALUE_FORMAT='JSON', PARTITIONS=1);");
    let good = home.write("good.sql", "CREATE STREAM x AS SELECT n FROM there;\nSELECT n FROM ${made};");
    let bad =
        home.write("bad.sql", "CREATE STREAM x AS SELECT n FROM there;\nSELECT m FROM x;\nSELECT n FROM nowhere;");
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let url = format!("http://{}", server.address);
    for place in [["--server", &url], ["--data", data]] {
        let run = |args: &[&str]| home.run(&[&place[..], &["-d", "made=x", "check"], args].concat());
        let output = run(&[good]);
        assert_eq!((output.status.code(), errors(&output)), (Some(0), format!("{good}: ok\n")), "{place:?}");
        let output = run(&[good, bad]);
        assert_eq!(output.status.code(), Some(1));
        let errors = errors(&output);
        assert!(errors.contains("bad.sql:2:8") && errors.contains("bad.sql:3:"), "{errors}");
    }
    assert!(!format!("{:?}", server.ksql("SHOW STREAMS;")).contains("\"X\""), "nothing was created");
}

#[test]
fn topics_are_created_described_printed_and_deleted() {
    let home = Home::new();
    let data = home.path("data");
    let topic = |args: &[&str], input: &str| home.topic(&data, args, input);
    let created = topic(&["create", "t", "--partitions", "2", "--retention", "12h"], "");
    assert_eq!(created, "created topic t with 2 partitions\n");
    assert_eq!(topic(&["create", "t", "--if-not-exists"], ""), "topic t exists already\n");
    let lines: String = (0..20).map(|n| format!("{n}\n")).collect();
    topic(&["produce", "t"], &lines);
    let described = topic(&["describe", "t"], "");
    assert!(
        described.contains("| retention.ms | 43200000 |") && described.contains("| 1         | 0            | 10  |"),
        "{described}"
    );
    // Lines without a key take turns.
    let last = topic(&["print", "t", "--offset", "-1", "-e", "-f", "%p:%o=%v"], "");
    let mut last: Vec<&str> = last.lines().collect();
    last.sort_unstable();
    assert_eq!(last, ["0:9=18", "1:9=19"]);
    assert_eq!(
        topic(&["print", "t", "--offset", "8", "--partition", "1", "-e", "-f", "%v,"], "").matches(',').count(),
        2
    );
    assert_eq!(topic(&["print", "t", "--offset", "@0", "-e", "-f", "%T"], "").lines().count(), 20);
    let altered = topic(&["alter", "t", "--retention", "1h", "-c", "segment.bytes=1048576"], "");
    assert_eq!(altered, "altered topic t: retention.ms=3600000, segment.bytes=1048576\n");
    let altered = topic(&["alter", "t", "--reset", "segment.bytes"], "");
    assert_eq!(altered, "altered topic t: segment.bytes is its default\n");
    let described = topic(&["describe", "t"], "");
    assert!(described.contains("| 3600000 ") && !described.contains("segment.bytes"), "{described}");
    assert!(described.contains("| 1         | 0            | 10  |"), "{described}");
    for (args, code) in
        [(&["nowhere", "--retention", "1h"][..], 1), (&["t", "-c", "retention.ms=long"], 1), (&["t"], 2)]
    {
        let output = home.run(&[&["--data", data.to_str().unwrap(), "topic", "alter"], args].concat());
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    }
    assert_eq!(topic(&["delete", "t"], ""), "deleted topic t\n");
    assert_eq!(topic(&["delete", "t", "--if-exists"], ""), "topic t does not exist\n");
}

#[test]
fn headers_are_printed_where_a_record_has_some() {
    let home = Home::new();
    let data = home.path("data");
    let topic = |args: &[&str], input: &str| home.topic(&data, args, input);
    topic(&["produce", "t", "--partitions", "1"], "bare\n");
    topic(&["produce", "t", "-H", "trace=7f", "-H", "trace=8f", "-H", "하나=둘"], "dressed\n");
    let lines = topic(&["print", "t", "-b", "-e"], "");
    let lines: Vec<&str> = lines.lines().collect();
    assert!(lines[0].ends_with("value: bare"), "{lines:?}");
    assert!(lines[1].ends_with("value: dressed  headers: trace=7f,trace=8f,하나=둘"), "{lines:?}");
    assert_eq!(topic(&["print", "t", "-b", "-e", "-f", "%v|%h"], ""), "bare|\ndressed|trace=7f,trace=8f,하나=둘\n");
    let rows = topic(&["print", "t", "-b", "-e", "-o", "json"], "");
    let rows: Vec<serde_json::Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows[0]["headers"], serde_json::json!([]));
    assert_eq!(rows[1]["headers"][1], serde_json::json!({"key": "trace", "value": "8f"}));
}

#[test]
fn queries_are_listed_shown_paused_resumed_and_terminated() {
    let home = Home::new();
    let data = home.path("data");
    let run = |args: &[&str]| home.run(&[&["--data", data.to_str().unwrap()], args].concat());
    let made = run(&["sql", &format!("{FILLED} CREATE TABLE t AS SELECT k, COUNT(*) AS c FROM s GROUP BY k;")]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let listed = || out(&run(&["query", "-o", "json"]));
    let id = "CTAS_T_1";
    assert!(listed().contains(id) && listed().contains("RUNNING"), "{}", listed());
    assert!(out(&run(&["query", id])).contains("Aggregate: "), "{:?}", run(&["query", id]));
    for (action, state) in [("pause", "PAUSED"), ("resume", "RUNNING")] {
        let done = run(&["query", id, action]);
        assert_eq!(done.status.code(), Some(0), "{action}: {done:?}");
        assert!(listed().contains(state), "{action}: {}", listed());
    }
    let refused = run(&["query", "x; DROP TABLE t", "terminate"]);
    assert_eq!((refused.status.code(), errors(&refused).contains("expected the id of a query")), (Some(2), true));
    assert_eq!(run(&["query", "CTAS_U_9", "terminate"]).status.code(), Some(1));
    assert_eq!(run(&["query", id, "terminate"]).status.code(), Some(0));
    assert!(!listed().contains(id), "{}", listed());
}

#[test]
fn topics_of_a_server_are_created_written_printed_and_deleted() {
    let home = Home::new();
    let server = Server::at(&["--temp"]);
    let url = format!("http://{}", server.address);
    let topic = |args: &[&str], input: &str| {
        let output = home.run_with(&[&["--server", &url, "topic"], args].concat(), &[], input);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        out(&output)
    };
    assert_eq!(topic(&["create", "t", "-c", "retention.ms=7000"], ""), "created topic t with 1 partition\n");
    topic(&["produce", "t", "-k", ":"], "a:1\nb:2\n");
    assert!(topic(&["describe", "t"], "").contains("| retention.ms | 7000"));
    topic(&["alter", "t", "-c", "retention.ms=9000"], "");
    assert!(topic(&["describe", "t"], "").contains("| retention.ms | 9000"));
    assert_eq!(topic(&["print", "t", "-b", "-e", "-f", "%k=%v"], ""), "a=1\nb=2\n");
    assert_eq!(topic(&["delete", "t"], ""), "deleted topic t\n");
    assert!(!topic(&["list"], "").contains("| t "));
}

#[test]
fn versions_are_an_object_for_programs() {
    let home = Home::new();
    let output = home.run(&["--version", "-o", "json"]);
    let versions: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(versions["tidegate"], env!("CARGO_PKG_VERSION"));
    assert!(versions["librdkafka"].is_string() && versions["target"].is_string(), "{versions}");
    assert!(versions["rustc"].as_str().is_some_and(|rustc| rustc.starts_with("1.")), "{versions}");
    let lines = out(&home.run(&["--version"]));
    assert!(lines.starts_with(&format!("tidegate {}\nlibrdkafka ", env!("CARGO_PKG_VERSION"))), "{lines}");
}

#[test]
fn the_doctor_says_what_it_looked_at() {
    let home = Home::new();
    let output = home.run(&["doctor", "-o", "csv"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for what in
        ["version,ok", "data directory,ok", "disk,", "clock,ok", "open files,", "scratch,", "port,", "terminal,ok"]
    {
        assert!(out(&output).contains(what), "{what}: {}", out(&output));
    }
    let file = home.write("file", "");
    let ill = home.run(&["doctor", "--data", file.to_str().unwrap(), "-o", "csv"]);
    assert_eq!(ill.status.code(), Some(1), "{ill:?}");
    assert!(out(&ill).contains("data directory,problem"), "{ill:?}");
}
