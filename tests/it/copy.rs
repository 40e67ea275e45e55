//! COPY and RUN SCRIPT, as a user says them to the program.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const FILLED: &str = "CREATE STREAM s (k STRING KEY, n INT, a ARRAY<INT>) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);\
                      INSERT INTO s VALUES ('a;b', 7, ARRAY[1, 2]); INSERT INTO s (k) VALUES ('\"c\"');";

fn say(directory: &Path, sql: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(directory)
        .args(["--temp", "sql", "-e", &format!("{FILLED} {sql}")])
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn told(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn rows_are_copied_into_files_of_every_format() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    let sql = "COPY (SELECT k, n, a FROM s) TO 'x.csv' (DELIMITER ';', NULL 'none'); \
               COPY s TO 'x.ndjson'; \
               COPY (SELECT n FROM s WHERE n > (3 + 3)) TO 'x.json' (ARRAY true); \
               COPY (SELECT k, n FROM s) TO 'x.arrow';";
    let output = say(home, sql);
    assert!(output.status.success(), "{}", told(&output.stderr));
    assert!(told(&output.stdout).contains("wrote 2 rows to x.csv"), "{}", told(&output.stdout));
    let read = |name: &str| fs::read_to_string(home.join(name)).unwrap();
    assert_eq!(read("x.csv"), "K;N;A\n\"a;b\";7;[1,2]\n\"\"\"c\"\"\";none;none\n");
    assert_eq!(read("x.ndjson"), "{\"K\":\"a;b\",\"N\":7,\"A\":[1,2]}\n{\"K\":\"\\\"c\\\"\",\"N\":null,\"A\":null}\n");
    assert_eq!(read("x.json"), "[{\"N\":7}]\n");
    let file = fs::File::open(home.join("x.arrow")).unwrap();
    let batches: Vec<_> = arrow::ipc::reader::FileReader::try_new(file, None).unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 2);
    assert_eq!(batches[0].schema().field(0).name(), "K");
    assert_eq!(fs::read_dir(home).unwrap().count(), 4, "nothing else is left there");
}

#[test]
fn a_file_is_whole_or_not_there_and_never_lost() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    fs::write(home.join("mine.csv"), "mine").unwrap();
    for (sql, why) in [
        ("COPY s TO 'mine.csv';", "file 'mine.csv' already exists"),
        ("COPY s TO 'x.parquet';", "Parquet is not supported"),
        ("COPY s TO 'x';", "cannot infer the format"),
        ("COPY s TO 'x.csv' (COLOUR red);", "unknown COPY option COLOUR"),
        ("COPY s TO 'x.arrow' (HEADER);", "HEADER is not an option of arrow"),
        ("COPY s TO 'nowhere/x.csv';", "cannot write 'nowhere/x.csv'"),
        ("COPY (SELECT * FROM s EMIT CHANGES) TO 'x.csv';", "COPY does not support queries with EMIT"),
        ("COPY (SELECT nothing FROM s) TO 'x.csv';", "NOTHING"),
        ("COPY (SELECT n, (SELECT r.n FROM s r) AS x FROM s) TO 'x.csv';", "in the place of a value returned"),
    ] {
        let output = say(home, sql);
        let said = told(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{sql} {said}");
        assert!(said.to_lowercase().contains(&why.to_lowercase()), "{sql}: {said}");
    }
    assert_eq!(fs::read_to_string(home.join("mine.csv")).unwrap(), "mine");
    assert_eq!(fs::read_dir(home).unwrap().count(), 1);
    let output = say(home, "COPY (SELECT n FROM s) TO 'mine.csv' (OVERWRITE, HEADER false);");
    assert!(output.status.success(), "{}", told(&output.stderr));
    assert_eq!(fs::read_to_string(home.join("mine.csv")).unwrap(), "7\n\"\"\n".replace("\"\"", ""));
}

#[test]
fn a_script_runs_its_statements_and_names_the_one_that_fails() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    fs::write(home.join("inner.sql"), "SELECT n FROM s WHERE n = 7;\n").unwrap();
    fs::write(
        home.join("outer.sql"),
        "-- a script\nRUN SCRIPT 'inner.sql';\nDEFINE x = '7';\nSELECT ${x} AS y FROM s LIMIT 1;",
    )
    .unwrap();
    let output = say(home, "RUN SCRIPT 'outer.sql';");
    assert!(output.status.success(), "{}", told(&output.stderr));
    let text = told(&output.stdout);
    assert!(text.contains("| 7 |") && text.contains("| Y |"), "{text}");
    fs::write(home.join("wrong.sql"), "SHOW STREAMS;\n\nDROP STREAM nowhere;\n").unwrap();
    let output = say(home, "RUN SCRIPT 'wrong.sql';");
    let said = told(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("wrong.sql:3: "), "{said}");
    fs::write(home.join("self.sql"), "RUN SCRIPT 'self.sql';").unwrap();
    let said = told(&say(home, "RUN SCRIPT 'self.sql';").stderr);
    assert!(said.contains("nest deeper than 8 levels"), "{said}");
    let said = told(&say(home, "RUN SCRIPT 'nowhere.sql';").stderr);
    assert!(said.contains("cannot read nowhere.sql"), "{said}");
}
