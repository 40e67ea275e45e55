//! The program among other programs: exit codes, a reader that goes away, colours, and Ctrl-C at a terminal.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tidegate::types::clock::SystemClock;

const TIDEGATE: &str = env!("CARGO_BIN_EXE_tidegate");
/// Longest time that anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const FILLED: &str = "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);\
                      INSERT INTO s VALUES (7); INSERT INTO s VALUES (8);";

fn run(args: &[&str]) -> Output {
    Command::new(TIDEGATE).args(args).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn interrupt(child: &Child) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), rustix::process::Signal::INT).unwrap();
}

#[test]
fn exit_codes_say_what_happened() {
    let code = |args: &[&str]| run(args).status.code();
    assert_eq!(code(&["--temp", "sql", "-e", "SHOW STREAMS;"]), Some(0), "done");
    assert_eq!(code(&["--temp", "sql", "-e", "DROP STREAM nowhere;"]), Some(1), "a statement failed");
    assert_eq!(code(&["--temp", "sql", "-f", "/nowhere/at/all.sql"]), Some(1), "a file cannot be read");
    assert_eq!(code(&["--temp", "sql", "--fly"]), Some(2), "a wrong command line");
    assert_eq!(code(&["--server", "http://127.0.0.1:1", "sql", "-e", "SHOW STREAMS;"]), Some(3), "nobody there");
    assert_eq!(code(&["--data", "/dev/null/no", "sql", "-e", "SHOW STREAMS;"]), Some(3), "no such place");
}

#[test]
fn an_interrupt_ends_a_query_with_what_it_has_and_130() {
    let sql = format!("{FILLED} SELECT n FROM s EMIT CHANGES;");
    let mut child = Command::new(TIDEGATE)
        .args(["--temp", "sql", "-e", &sql])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("| 8")), "rows are shown as they come");
    interrupt(&child);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(rest.last().map(String::as_str), Some("(2 rows, stopped)"), "{rest:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let many: String = (0..400).map(|n| format!("INSERT INTO s VALUES ({n});")).collect();
    // More rows than a pipe holds, so that they have to be read.
    let sql = format!("{FILLED} {many} SELECT LPAD('x', 10000, 'x') AS wide FROM s EMIT CHANGES;");
    for format in ["table", "json", "csv"] {
        let mut child = Command::new(TIDEGATE)
            .args(["--temp", "-q", "-o", format, "sql", "-e", &sql])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut some = [0; 4096];
        child.stdout.take().unwrap().read_exact(&mut some).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{format}");
    }
}

/// A terminal made by `script` (util-linux); `None` = it is not here, which was printed.
struct Terminal {
    child: Child,
    /// What is written there, as it comes.
    seen: String,
    more: Receiver<String>,
}

impl Terminal {
    fn open(test: &str, command: &str, variables: &[(&str, &str)]) -> Option<Terminal> {
        let mut script = Command::new("script");
        // The options of util-linux; others of that name know them not.
        script.args(["--quiet", "--flush", "--return", "--command", command, "/dev/null"]);
        script.env("TERM", "xterm").env_remove("NO_COLOR").envs(variables.iter().copied());
        let Ok(mut child) = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
            let _ = writeln!(std::io::stderr(), "SKIPPED shell::{test}: script (util-linux) is not installed");
            return None;
        };
        let (sender, more) = channel();
        let mut out = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut some) {
                let _ = sender.send(text(&some[..n]));
            }
        });
        Some(Terminal { child, seen: String::new(), more })
    }

    /// A prompt on a log in memory, without colours, that waits for its first statement.
    fn prompt(test: &str) -> Option<Terminal> {
        let mut terminal = Terminal::open(test, &format!("{TIDEGATE} --temp"), &[("NO_COLOR", "1")])?;
        terminal.shows("tidegate> ");
        Some(terminal)
    }

    fn type_in(&mut self, keys: &str) {
        let keyboard = self.child.stdin.as_mut().unwrap();
        keyboard.write_all(keys.as_bytes()).unwrap();
        keyboard.flush().unwrap();
    }

    /// Waits until this text is shown, after what was waited for before; returns what came until then.
    fn shows(&mut self, what: &str) -> String {
        let clock = SystemClock::shared();
        let end = clock.monotonic() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(what) {
                let before = self.seen[..at + what.len()].to_owned();
                self.seen.drain(..at + what.len());
                return before;
            }
            assert!(clock.monotonic() < end, "no {what:?} in {:?}", self.seen);
            if let Ok(more) = self.more.recv_timeout(Duration::from_millis(100)) {
                self.seen.push_str(&more);
            }
        }
    }

    fn rest(mut self) -> String {
        self.child.wait().unwrap();
        self.seen.extend(self.more.iter());
        std::mem::take(&mut self.seen)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    let failing = ["--temp", "sql", "-e", "SELECT * FORM s;"];
    let piped = run(&failing);
    assert!(text(&piped.stderr).contains("did you mean FROM?") && !piped.stderr.contains(&0x1b));
    let command = format!("{TIDEGATE} --temp sql -e 'SELECT * FORM s; '");
    let shown =
        |variables: &[(&str, &str)]| Some(Terminal::open("colours_are_for_terminals", &command, variables)?.rest());
    let Some(coloured) = shown(&[]) else { return };
    assert!(coloured.contains("FORM") && coloured.contains('\x1b'), "{coloured:?}");
    let plain = shown(&[("NO_COLOR", "1")]).unwrap();
    assert!(plain.contains("FORM") && !plain.contains('\x1b'), "{plain:?}");
}

/// From Ctrl-C to the next prompt it takes a tenth of a second, mostly: other tests run as well.
fn assert_stops_at_once(terminal: &mut Terminal, sql: &str, running: &str, stopped: &str) {
    let clock = SystemClock::shared();
    let mut all = vec![];
    while all.len() < 9 {
        terminal.type_in(&format!("{sql}\r"));
        terminal.shows(running);
        let asked = clock.monotonic();
        terminal.type_in("\x03");
        terminal.shows(stopped);
        terminal.shows("tidegate> ");
        all.push(clock.monotonic() - asked);
    }
    all.sort_unstable();
    assert!(all[all.len() / 2] < Duration::from_millis(100), "{sql}: {all:?}");
}

#[test]
fn ctrl_c_at_the_prompt_stops_the_query_and_not_the_prompt() {
    let Some(mut terminal) = Terminal::prompt("ctrl_c_at_the_prompt") else { return };
    terminal.type_in(&format!("{FILLED}\r"));
    terminal.shows("Stream created");
    terminal.shows("tidegate> ");
    let push = "SELECT n * 11 AS m FROM s EMIT CHANGES;";
    assert_stops_at_once(&mut terminal, push, "| 88", "(2 rows, stopped)");
    // A hundred thousand million pairs: it cannot come to its end.
    let names =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "o", "p"].map(|name| format!("m AS {name}"));
    let batch = format!(
        "WITH m AS (SELECT n FROM s AS x UNION ALL SELECT n FROM s AS y UNION ALL SELECT n FROM s AS z) \
         SELECT COUNT(*) AS pairs FROM {};",
        names.join(", ")
    );
    assert_stops_at_once(&mut terminal, &batch, "records, ", "(0 rows, stopped)");
    terminal.type_in("SHOW QUERIES;\r");
    let listed = terminal.shows("Statement");
    assert!(!listed.contains("PUSH"));
    let after = terminal.shows("tidegate> ");
    assert!(!after.contains("PUSH") && !after.contains("transient"), "{after:?}");
    terminal.type_in("SET 'auto.offset.reset' = 'latest';\r");
    terminal.shows("tidegate> ");
    terminal.type_in("SELECT n FROM s EMIT CHANGES;\r");
    terminal.shows("No rows yet");
    terminal.type_in("\x03");
    terminal.shows("(0 rows, stopped)");
    terminal.type_in("exit\r");
}

#[test]
fn what_is_taller_than_the_terminal_goes_through_the_pager() {
    let open = |command: &str| {
        let variables = [("NO_COLOR", "1"), ("PAGER", command)];
        let program = format!("{TIDEGATE} --temp");
        let mut terminal = Terminal::open("what_is_taller_than_the_terminal", &program, &variables)?;
        terminal.shows("tidegate> ");
        Some(terminal)
    };
    let Some(mut marked) = open("sed 's/^/PAGED /'") else { return };
    let mut said = |text: &str| {
        // The line editor writes a long line and its prompt more than once.
        marked.type_in(&format!("{text}\rversion\r"));
        marked.shows(concat!("tidegate ", env!("CARGO_PKG_VERSION")))
    };
    let tall = said("SHOW FUNCTIONS;");
    assert!(tall.contains("PAGED | ABS") && tall.contains("PAGED | UUID"), "{tall:?}");
    let many: String = (0..50).map(|n| format!("INSERT INTO s VALUES ({n});")).collect();
    said(FILLED);
    said(&many);
    assert!(!said("SHOW STREAMS;").contains("PAGED"), "it fits");
    let live = said("SELECT n * 100 AS m FROM s EMIT CHANGES LIMIT 40;");
    assert!(live.contains("| 3700") && !live.contains("PAGED"), "rows that come are shown as they come: {live:?}");
    let batch = said("SELECT n * 100 AS m FROM s;");
    assert!(batch.contains("PAGED | 4900") && batch.contains("PAGED (52 rows)"), "{batch:?}");
    assert!(said("\\pset pager off").contains("pager usage is off"));
    let plain = said("SHOW FUNCTIONS;");
    assert!(plain.contains("| ABS") && !plain.contains("PAGED"), "{plain:?}");
    // One that is not there, and one that has enough before the end.
    for (command, last) in [("/nowhere/pager", "| UUID"), ("head -n 3", "Function"), ("", "| UUID")] {
        let mut terminal = open(command).unwrap();
        terminal.type_in("SHOW FUNCTIONS;\r");
        terminal.shows(last);
        terminal.shows("tidegate> ");
        terminal.type_in("version\r");
        terminal.shows(concat!("tidegate ", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn a_query_that_fails_is_told_while_the_prompt_waits() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let command = format!("{TIDEGATE} --data {data}");
    let Some(mut terminal) = Terminal::open("a_query_that_fails_is_told", &command, &[("NO_COLOR", "1")]) else {
        return;
    };
    terminal.shows("tidegate> ");
    let columns = "(k STRING KEY, n INT) WITH (KAFKA_TOPIC='shared', VALUE_FORMAT='JSON', PARTITIONS=1);";
    terminal.type_in(&format!("CREATE STREAM read {columns}\r"));
    terminal.shows("tidegate> ");
    terminal.type_in("CREATE TABLE counts AS SELECT k, COUNT(*) AS n FROM read GROUP BY k;\r");
    terminal.shows("tidegate> ");
    // It reads by now: a query that only begins would fail for want of a topic.
    terminal.type_in("INSERT INTO read VALUES ('a', 1);\r");
    terminal.shows("tidegate> ");
    terminal.type_in("SELECT n * 11 AS m FROM counts EMIT CHANGES LIMIT 1;\r");
    terminal.shows("| 11");
    terminal.shows("Limit Reached");
    // Another process deletes it under the query.
    let deleted = run(&["topic", "delete", "shared", "--data", data]);
    assert!(text(&deleted.stdout).contains("deleted topic shared"), "{deleted:?}");
    terminal.shows("note: query CTAS_COUNTS_");
    terminal.shows("has failed: topic shared was deleted");
    // What was being typed is shown below it.
    terminal.shows("tidegate> ");
    terminal.type_in("SHOW QUERIES;\r");
    let listed = terminal.shows("ERROR");
    assert!(!listed.contains("has failed"), "once is enough: {listed:?}");
}

#[test]
fn statements_that_are_pasted_or_typed_ahead_are_all_carried_out() {
    let Some(mut terminal) = Terminal::prompt("statements_that_are_pasted") else { return };
    let some: String = (0..20).map(|n| format!("DEFINE a{n} = '{n}';\r")).collect();
    terminal.type_in(&format!("{some}hlep\rSHOW VARIABLES;\r"));
    terminal.shows("unknown command hlep: did you mean help?");
    terminal.shows("| A0 ");
    terminal.shows("| A9 ");
}

#[test]
fn the_demonstration_shows_its_sql_and_a_table_that_moves_in_place() {
    let command = format!("{TIDEGATE} demo");
    let variables = [("NO_COLOR", "1"), ("PAGER", "")];
    let Some(mut terminal) = Terminal::open("the_demonstration_shows", &command, &variables) else { return };
    let sql = terminal.shows("The table `car_stats`");
    assert!(sql.contains("CREATE STREAM IF NOT EXISTS readings (") && sql.contains("GROUP BY car EMIT CHANGES;"));
    assert!(!sql.contains("INSERT"), "nothing that is not run: {sql}");
    // The cursor goes up over the first picture, and the next one is written over it.
    let first = terminal.shows("A+---");
    assert!(first.contains("| ferrari-51 ") && first.contains("AVG_SPEED"), "{first}");
    let shown: String = first.split('\u{1b}').map(|part| part.trim_start_matches(['[', 'K', 'J'])).collect();
    let wide: Vec<&str> = shown.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    terminal.type_in("\x03");
    terminal.shows("In a browser: http://127.0.0.1:");
    let hints = terminal.shows("tidegate> ");
    let statements: Vec<&str> = hints.lines().filter(|line| line.starts_with("  ") && line.ends_with(';')).collect();
    assert!(statements.len() > 3, "{hints}");
    for statement in statements {
        let line = format!("tidegate> {}", statement.trim());
        assert!(line.len() <= 80, "it would wrap: {line}");
    }
    terminal.type_in("exit\r");
}
