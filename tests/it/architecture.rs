//! The shape of the tree, held by tests: which module may use which, what each file looks like, what no file contains.
//!
//! ```text
//!  8  cli      serve
//!  7  present
//!  6  engine
//!  5  execute
//!  4  plan
//!  3  catalog  functions  format  log     registry  connect
//!  2  parse
//!  1  types    error      config  memory  telemetry  threads  mutant  http_client  workers
//! ```
//! A module uses lower levels, and beside itself only what [`SIDEWAYS`] names. What is forbidden though it lies lower
//! is in [`FORBIDDEN`]. Every checker is also shown a seeded mistake that it has to find.

use crate::source::{code_only, words};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Modules and their levels.
const LEVELS: &[(&str, u8)] = &[
    ("cli", 8),
    ("serve", 8),
    ("present", 7),
    ("engine", 6),
    ("execute", 5),
    ("plan", 4),
    ("catalog", 3),
    ("functions", 3),
    ("format", 3),
    ("log", 3),
    ("registry", 3),
    ("connect", 3),
    ("parse", 2),
    ("types", 1),
    ("error", 1),
    ("config", 1),
    ("memory", 1),
    ("telemetry", 1),
    ("threads", 1),
    ("http_client", 1),
    ("mutant", 1),
    ("workers", 1),
];

/// Edges between modules of one level. `error` is below its three neighbours in all but name; `format` shares the
/// catalogue's words for formats and key windows; `registry` shares its schemas, compares them as their format reads them, and
/// keeps its own in a topic; `tidegate server` is a command, so `cli` starts `serve`.
const SIDEWAYS: &[(&str, &str)] = &[
    ("types", "error"),
    ("config", "error"),
    ("config", "types"),
    ("memory", "error"),
    ("memory", "types"),
    ("telemetry", "error"),
    ("telemetry", "config"),
    ("telemetry", "types"),
    ("telemetry", "threads"),
    ("http_client", "error"),
    ("threads", "error"),
    ("threads", "mutant"),
    ("workers", "error"),
    ("workers", "threads"),
    ("workers", "mutant"),
    ("config", "workers"),
    ("format", "catalog"),
    ("registry", "catalog"),
    ("registry", "format"),
    ("registry", "log"),
    ("cli", "serve"),
];

/// Edges that point down and are wrong all the same: planning is pure, so it knows neither bytes nor topics.
const FORBIDDEN: &[(&str, &str)] =
    &[("plan", "log"), ("plan", "registry"), ("plan", "format"), ("parse", "config"), ("parse", "telemetry")];

/// Words that do not stand in pure modules: nothing there reads a file, a clock, a socket or a broker.
const IMPURE: &[&str] = &["fs", "net", "process", "thread", "tokio", "rdkafka", "SystemTime", "Instant", "File", "env"];

/// A file is one concept; above this it holds two.
const FILE_LINES_MAX: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(dir) = open.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries.map(|e| e.expect("the folder can be read").path()) {
            match entry.is_dir() {
                true => open.push(entry),
                false if entry.extension().is_some_and(|e| e == "rs") => found.push(entry),
                false => {}
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", relative(path)))
}

fn fail_with(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The module of a file under `src`: `src/log/kafka/ffi.rs` belongs to `log`. `lib` and `main` are no modules.
fn module_of(file: &str) -> Option<&str> {
    let first = file.strip_prefix("src/")?.split('/').next()?;
    let module = first.strip_suffix(".rs").unwrap_or(first);
    (module != "lib" && module != "main").then_some(module)
}

/// Top-level modules that a text of code names after `crate::`: `use crate::{log::Log, error}` names two.
fn named_after<'a>(code: &'a str, stem: &str) -> Vec<(usize, &'a str)> {
    let mut named = Vec::new();
    for (at, _) in code.match_indices(stem) {
        if at > 0 && code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = code[at + stem.len()..].trim_start();
        match rest.strip_prefix('{') {
            Some(group) => named.extend(group_heads(group).into_iter().map(|n| (line, n))),
            None => named.extend(first_word(rest).map(|n| (line, n))),
        }
    }
    named
}

fn first_word(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then_some(&text[..end])
}

/// First words of the entries of `a::b, c::{d, e}, f}`.
fn group_heads(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut heads) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                heads.extend(first_word(group[start..at].trim_start()));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.extend(first_word(group[start..at].trim_start()));
                start = at + 1;
            }
            _ => {}
        }
    }
    heads
}

fn level(module: &str) -> Option<u8> {
    LEVELS.iter().find(|(name, _)| *name == module).map(|(_, level)| *level)
}

fn may_use(user: &str, used: &str) -> bool {
    let edge = (user, used);
    match (level(user), level(used)) {
        (Some(_), Some(_)) if user == used || SIDEWAYS.contains(&edge) => true,
        (Some(above), Some(below)) => above > below && !FORBIDDEN.contains(&edge),
        _ => false,
    }
}

/// Wrong edges of one file, as `file:line: why`.
fn wrong_edges(file: &str, text: &str) -> Vec<String> {
    let code = code_only(text);
    let Some(user) = module_of(file) else {
        return match file {
            "src/main.rs" => main_edges(&code),
            _ => Vec::new(),
        };
    };
    let mut faults: Vec<_> = named_after(&code, "crate::")
        .into_iter()
        .filter(|(_, used)| !may_use(user, used))
        .map(|(line, used)| format!("{file}:{line}: {user} may not use {used}"))
        .collect();
    if level(user).is_none() {
        faults.push(format!("{file}: the module {user} has no level yet; give it one here and in ARCHITECTURE.md"));
    }
    for (line, _) in named_after(&code, "tidegate::") {
        faults.push(format!("{file}:{line}: write crate:: for the library's own paths"));
    }
    faults
}

fn main_edges(code: &str) -> Vec<String> {
    let named = named_after(code, "tidegate::").into_iter().chain(named_after(code, "crate::"));
    named
        .filter(|(_, used)| *used != "cli")
        .map(|(line, used)| format!("src/main.rs:{line}: only cli may be used here, not {used}"))
        .collect()
}

#[test]
fn modules_use_only_what_lies_below() {
    let files = rust_files("src");
    assert!(!files.is_empty(), "no source files were found");
    fail_with(files.iter().flat_map(|f| wrong_edges(&relative(f), &read(f))).collect());
}

#[test]
fn a_wrong_edge_is_found() {
    let grouped = "use crate::{error::Result, engine::{Engine, Drive},\n types};";
    assert_eq!(wrong_edges("src/log/a.rs", grouped), ["src/log/a.rs:1: log may not use engine"]);
    assert_eq!(
        wrong_edges("src/plan/a.rs", "\nfn f() -> crate::log::Row {}"),
        ["src/plan/a.rs:2: plan may not use log"]
    );
    assert_eq!(wrong_edges("src/format/a.rs", "use crate::log;"), ["src/format/a.rs:1: format may not use log"]);
    assert_eq!(wrong_edges("src/plan/a.rs", "use crate::execute;"), ["src/plan/a.rs:1: plan may not use execute"]);
    assert_eq!(wrong_edges("src/main.rs", "use tidegate::engine::Engine;").len(), 1);
    assert_eq!(wrong_edges("src/wharf.rs", "").len(), 1, "an unknown module");
    let fine =
        "// crate::serve\nuse crate::log::Log; const S: &str = \"crate::cli\"; const R: &str = r#\"crate::cli\"#;";
    assert_eq!(wrong_edges("src/execute/a.rs", fine), [""; 0]);
}

#[test]
fn levels_and_exceptions_agree() {
    for (user, used) in SIDEWAYS {
        assert_eq!(level(user), level(used), "{user} -> {used} is not an edge between neighbours");
        assert!(!SIDEWAYS.contains(&(*used, *user)), "{user} and {used} would use each other");
    }
    for (user, used) in FORBIDDEN {
        assert!(level(user) > level(used), "{user} -> {used} is forbidden by the levels already");
    }
}

fn impure_words(file: &str, text: &str) -> Vec<String> {
    let code = code_only(text);
    let wrong = words(&code).filter(|(_, w)| IMPURE.contains(w));
    wrong.map(|(line, w)| format!("{file}:{line}: `{w}` has no place in a pure module")).collect()
}

#[test]
fn parse_and_plan_are_pure() {
    let pure = |f: &PathBuf| matches!(module_of(&relative(f)), Some("parse" | "plan"));
    fail_with(
        rust_files("src").iter().filter(|f| pure(f)).flat_map(|f| impure_words(&relative(f), &read(f))).collect(),
    );
    assert_eq!(impure_words("src/plan/a.rs", "use std::fs;").len(), 1, "the checker finds nothing");
}

fn shape_faults(file: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//! ") {
        faults.push(format!("{file}: does not open with `//!`: what is this file about?"));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        faults.push(format!("{file}: {lines} lines, at most {FILE_LINES_MAX}: which concept should move out?"));
    }
    faults
}

#[test]
fn every_file_tells_its_story_and_is_short() {
    fail_with(rust_files("src").iter().flat_map(|f| shape_faults(&relative(f), &read(f))).collect());
    assert_eq!(shape_faults("src/a.rs", "fn f() {}").len(), 1);
    assert_eq!(shape_faults("src/a.rs", &"//! x\n".repeat(501)).len(), 1);
}

/// The one audited module, and the folder that it has become.
const FFI: &str = "src/log/kafka/ffi.rs";
const FFI_FOLDER: &str = "src/log/kafka/ffi/";
/// The allocator that counts: an allocator is an unsafe trait.
const ALLOCATOR: &str = "src/memory.rs";

/// Code that no file contains: `unsafe` outside of the one audited module, work left for later, tests that do not run, the
/// call of librdkafka that may end the process.
fn forbidden_code(file: &str, text: &str) -> Vec<String> {
    let code = code_only(text);
    let mut faults = Vec::new();
    for (line, word) in words(&code) {
        match word {
            "unsafe" if file != FFI && file != ALLOCATOR && !file.starts_with(FFI_FOLDER) => {
                faults.push(format!("{file}:{line}: `unsafe` belongs to {FFI} alone"))
            }
            "todo" | "unimplemented" if code.lines().nth(line - 1).is_some_and(|l| l.contains(&format!("{word}!"))) => {
                faults.push(format!("{file}:{line}: `{word}!` is not finished work"));
            }
            "ignore" if code.lines().nth(line - 1).is_some_and(|l| l.contains("#[ignore")) => {
                faults.push(format!("{file}:{line}: a test that is ignored tests nothing"));
            }
            "abort_transaction" | "rd_kafka_abort_transaction" if file.starts_with("src/") => {
                faults.push(format!("{file}:{line}: aborting a transaction may end the process, see {FFI}"));
            }
            _ => {}
        }
    }
    faults
}

#[test]
fn nothing_is_unsafe_unfinished_or_ignored() {
    let all = ["src", "tests", "benches", "examples"].into_iter().flat_map(rust_files);
    fail_with(all.flat_map(|f| forbidden_code(&relative(&f), &read(&f))).collect());
    assert_eq!(forbidden_code("src/a.rs", "fn f() { unsafe { g() } }\nfn h() { todo!() }").len(), 2);
    assert_eq!(forbidden_code("tests/it/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}").len(), 1);
    assert_eq!(forbidden_code(FFI, "unsafe fn f() {}\n// todo!").len(), 0);
    assert_eq!(forbidden_code(FFI, "fn f() { sys::rd_kafka_abort_transaction(client, 1) }").len(), 1);
}

/// Doors to other machines. A session of the local administrator is made there only by the two that decide who asks, and
/// a route is added by the table alone, which wants to know what it requires.
fn open_doors(file: &str, text: &str) -> Vec<String> {
    let code = code_only(text);
    let mut faults = Vec::new();
    for (wrong, allowed) in [
        ("Session::default", &["src/serve/attach/client.rs"][..]),
        (
            "Principal::local",
            &["src/serve/auth/guard.rs", "src/serve/attach/owner.rs", "src/serve/postgres/startup.rs"],
        ),
        ("Principal::new", &["src/serve/auth/users.rs", "src/serve/auth/node.rs"]),
        (".route(", &["src/serve/routes.rs"]),
        ("axum::routing", &["src/serve/routes.rs"]),
    ] {
        if code.contains(wrong) && !allowed.contains(&file) {
            faults.push(format!("{file}: {wrong} stands in {allowed:?} alone"));
        }
    }
    faults
}

#[test]
fn no_door_forgets_to_ask_who_comes() {
    fail_with(rust_files("src/serve").iter().flat_map(|f| open_doors(&relative(f), &read(f))).collect());
    assert_eq!(open_doors("src/serve/ksql/mod.rs", "let s = Session::default();").len(), 1);
    assert_eq!(open_doors("src/serve/mod.rs", "Router::new().route(\"/x\", get(x))").len(), 1);
}

/// The module through which every thread is started.
const THREADS: &str = "src/threads.rs";

/// Where tasks of a runtime are started, and who notices when one of them panics. The panic itself is always in the log.
const TASKS: &[(&str, &str)] = &[
    ("src/cli/environment/served.rs", "the server with its accept loop: the process ends and says so"),
    ("src/execute/batch/nodes/join.rs", "DataFusion unwinds it into the task that reads it"),
    ("src/execute/batch/scan/mod.rs", "as in nodes/join.rs"),
    ("src/http_client/service.rs", "the caller gets an error: the sending half of its channel is gone"),
    ("src/serve/attach/peers.rs", "the lookup fails, or is served here: the sending half of its channel is gone"),
    ("src/serve/attach/server.rs", "the client gets the error, or a response that breaks off"),
    ("src/serve/flight/mod.rs", "the client gets the status INTERNAL and the message"),
    ("src/serve/flight/rows.rs", "the stream ends with the status INTERNAL, not with OK"),
    ("src/serve/ksql/inserts.rs", "the response breaks off behind the answers that were given"),
    ("src/serve/net/listen.rs", "that connection ends, the others do not notice"),
    ("src/serve/mod.rs", "the client gets 500 and the message"),
    ("src/serve/postgres/connection.rs", "the connection ends"),
    ("src/serve/postgres/mod.rs", "that connection ends, the others do not notice"),
    ("src/serve/api/mod.rs", "the client gets 500 and the message"),
    ("src/serve/api/records.rs", "the client gets 500, or lines that break off"),
    ("src/serve/schema_registry/mod.rs", "the client gets 500 and the message"),
    ("src/serve/attach/owner.rs", "other processes are refused the connection"),
    ("src/serve/stream/mod.rs", "the client gets 500, or an answer that breaks off"),
    ("src/serve/auth/login.rs", "the requests that wait for the check are asked to come again"),
    ("src/serve/auth/users_file.rs", "the file is looked at again a second later"),
    ("src/serve/stream/websocket.rs", "the socket ends without a closing frame"),
];

/// Threads that a panic would end without a trace, and tasks for which it is not said what their end means.
fn unguarded_threads(file: &str, text: &str) -> Vec<String> {
    let code = code_only(text);
    // Tests may start what they like.
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let mut faults = Vec::new();
    for (n, line) in code.lines().enumerate() {
        let thread = ["thread::spawn", "thread::Builder", "thread::scope"].iter().any(|start| line.contains(start));
        if thread && file != THREADS {
            faults.push(format!("{file}:{}: start threads with threads::spawn", n + 1));
        }
        let task = ["tokio::spawn(", "runtime.spawn(", "spawn_blocking(", "on_thread("]
            .iter()
            .any(|start| line.contains(start));
        if task && !TASKS.iter().any(|(known, _)| *known == file) {
            faults.push(format!("{file}:{}: say in TASKS who notices when this task panics", n + 1));
        }
    }
    faults
}

#[test]
fn no_thread_ends_unseen() {
    fail_with(rust_files("src").iter().flat_map(|f| unguarded_threads(&relative(f), &read(f))).collect());
    for (file, _) in TASKS {
        let text = read(&root().join(file));
        assert!(text.contains("spawn") || text.contains("on_thread("), "{file} starts no task");
    }
    let seeded = "fn f() { std::thread::spawn(g); }\n#[cfg(test)]\nmod tests { fn f() { std::thread::spawn(g); } }";
    assert_eq!(unguarded_threads("src/a.rs", seeded), ["src/a.rs:1: start threads with threads::spawn"]);
    assert_eq!(unguarded_threads("src/a.rs", "use std::thread; fn f() { thread::Builder::new(); }").len(), 1);
    assert_eq!(unguarded_threads("src/a.rs", "fn f() { tokio::spawn(g()); }").len(), 1);
}

/// Calls that may wait for a broker, for a thread or for time, and `log`, of which nothing is asked under a lock.
const WAITS: &[&str] = &[
    "append(",
    "commit(",
    "ddl(",
    "ddl_within(",
    "execute(",
    "facts(",
    "join(",
    "look(",
    "open(",
    "poll(",
    "record(",
    "recv(",
    "recv_timeout(",
    "run(",
    "sleep(",
    "stop(",
    "log",
    "log(",
];

/// Locks under which something waits all the same: where, what, why.
const WAITED_UNDER: &[(&str, &str, &str)] = &[
    (
        "src/engine/command/tail.rs",
        "look(",
        "`reading` is for the one who reads the command log; by hand that is the caller",
    ),
    ("src/engine/query/persistent/resume.rs", "join(", "the thread of a query in ERROR has ended or is about to"),
    (
        "src/execute/pull/materialized_view/mod.rs",
        "log",
        "`making` is for those alone who need the table that is being read",
    ),
    ("src/serve/attach/server.rs", "log", "the one engine over a data directory is opened once, and all wait for it"),
    ("src/serve/rows/queue.rs", "stop(", "`stop` looks at a flag"),
];

/// What waits under a lock whose guard has a name, until that is dropped or its block ends, or in the body of an `if let` that
/// locks in its head. Calls are taken by their names; what a function that is called does is not looked at.
fn waits_under_locks(file: &str, text: &str) -> Vec<String> {
    let code = code_only(text);
    let lines: Vec<&str> = code.lines().map(str::trim_end).collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut faults = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let locks = [".lock()", ".read()", ".write()"].iter().find(|lock| line.contains(**lock));
        let Some(lock) = locks else { continue };
        let begin = line.trim_start();
        let guard = begin.strip_prefix("let ").filter(|_| line.ends_with(&format!("{lock};")));
        let guard = guard.and_then(|rest| rest.trim_start_matches("mut ").split([' ', ':']).next());
        let in_head =
            line.ends_with('{') && ["if let ", "match ", "for ", "while "].iter().any(|w| begin.starts_with(w));
        if guard.is_none() && !in_head {
            continue;
        }
        let held = lines[at + 1..].iter().enumerate().take_while(|(_, next)| {
            let dropped = guard.is_some_and(|guard| next.contains(&format!("drop({guard})")));
            let inside = indent(next) >= indent(line) + usize::from(in_head);
            next.is_empty() || (inside && !dropped)
        });
        for (below, next) in held {
            let words = next.split_inclusive(|c: char| !c.is_alphanumeric() && c != '_');
            let words = words.map(|word| {
                if word.ends_with('(') {
                    word
                } else {
                    word.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '_')
                }
            });
            for word in words.filter(|word| WAITS.contains(word)) {
                if !WAITED_UNDER.iter().any(|(known, what, _)| *known == file && what == &word) {
                    faults.push(format!("{file}:{}: `{word}` under the lock of line {}", at + 2 + below, at + 1));
                }
            }
        }
    }
    faults
}

#[test]
fn nothing_waits_under_a_lock() {
    let folders = ["src/engine", "src/execute", "src/serve", "src/log/kafka"];
    fail_with(
        folders.into_iter().flat_map(rust_files).flat_map(|f| waits_under_locks(&relative(&f), &read(&f))).collect(),
    );
    let body = |text: &str| waits_under_locks("src/engine/a.rs", text).len();
    assert_eq!(body("    let mut state = self.state.lock();\n    let facts = self.facts()?;\n"), 1);
    assert_eq!(body("    let state = self.state.lock();\n    drop(state);\n    query.stop();\n"), 0);
    assert_eq!(body("    {\n        let state = self.state.lock();\n    }\n    query.stop();\n"), 0);
    assert_eq!(body("    if let Some(thread) = self.thread.lock().take() {\n        thread.join();\n    }\n"), 1);
    assert_eq!(body("    let thread = self.thread.lock().take();\n    thread.join();\n"), 0);
}

/// Files under version control, else (a source archive) every file outside of hidden and build folders.
fn tracked_files() -> Vec<PathBuf> {
    let listed = Command::new("git").arg("-C").arg(root()).args(["ls-files", "-z"]).output();
    if let Ok(listed) = listed
        && listed.status.success()
        && !listed.stdout.is_empty()
    {
        let names = String::from_utf8(listed.stdout).expect("file names are text");
        return names.split('\0').filter(|n| !n.is_empty()).map(|n| root().join(n)).filter(|p| p.is_file()).collect();
    }
    let (mut found, mut open) = (Vec::new(), vec![root().to_path_buf()]);
    while let Some(dir) = open.pop() {
        for entry in
            fs::read_dir(&dir).expect("the folder can be read").map(|e| e.expect("the folder can be read").path())
        {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match entry.is_dir() {
                true if name == "target" || (name.starts_with('.') && name != ".ci") => {}
                true => open.push(entry),
                false => found.push(entry),
            }
        }
    }
    found
}

/// Folders of one machine. In two halves, so that this file does not hold what it looks for.
const MACHINE_PATHS: &[(&str, &str)] = &[("/ro", "ot"), ("/wo", "rk/"), ("/ho", "me/"), ("/tm", "p/")];

fn machine_paths(file: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (n, line) in text.lines().enumerate() {
        for (a, b) in MACHINE_PATHS {
            let path = format!("{a}{b}");
            for (at, _) in line.match_indices(&path) {
                let (before, after) = (line[..at].chars().next_back(), line[at + path.len()..].chars().next());
                let inside = before.is_some_and(|c| c.is_alphanumeric() || "_.-)}]*".contains(c));
                let longer = !path.ends_with('/') && after.is_some_and(|c| c.is_alphanumeric() || c == '_');
                if !inside && !longer {
                    faults.push(format!("{file}:{}: {path} exists on one machine only", n + 1));
                }
            }
        }
    }
    faults
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    let mut faults = Vec::new();
    for path in tracked_files() {
        if let Ok(text) = fs::read_to_string(&path) {
            faults.extend(machine_paths(&relative(&path), &text));
        }
    }
    fail_with(faults);
    let seeded = format!("see {}{}x", MACHINE_PATHS[3].0, MACHINE_PATHS[3].1);
    assert_eq!(machine_paths("a.md", &seeded).len(), 1);
    assert_eq!(machine_paths("a.md", "https://example.com/work/x and /rooted and frame/work/x").len(), 0);
}

#[test]
fn there_are_three_test_targets() {
    let manifest = read(&root().join("Cargo.toml"));
    let sections: Vec<_> = manifest.split("\n[").filter(|s| s.starts_with("[test]]")).collect();
    let named = |s: &str| s.lines().find_map(|l| l.strip_prefix("name = ").map(|n| n.trim_matches('"').to_owned()));
    let names: BTreeSet<_> = sections.iter().filter_map(|s| named(s)).collect();
    let wanted = ["conformance", "it", "queries"].map(String::from);
    assert_eq!(names, BTreeSet::from(wanted), "each target links DataFusion once more");
    assert_eq!(sections.len(), 3);
    assert!(manifest.contains("\nautotests = false\n"), "a stray file under tests/ would become a target");
}

#[test]
fn literals_and_comments_are_not_code() {
    let text = "let a = '\"'; /* unsafe /* x */ */ let b = \"\\\"unsafe\"; let c: &'static str = r\"unsafe\"; 'x'";
    let found: Vec<_> = words(&code_only(text)).map(|(_, w)| w.to_owned()).collect();
    assert_eq!(found, ["let", "a", "let", "b", "let", "c", "static", "str"]);
}

/// Names in a tour of ARCHITECTURE.md that the code does not have: each segment of `Type::function`.
fn unknown_names(page: &str, known: &BTreeSet<String>) -> Vec<String> {
    let tours = page.split("### Tour: ").skip(1).map(|tour| tour.split("\n#").next().unwrap_or_default());
    let spans = tours.flat_map(|tour| tour.split('`').skip(1).step_by(2));
    let paths = spans.filter(|span| span.chars().all(|c| c.is_ascii_alphanumeric() || "_:()".contains(c)));
    let segments = paths.flat_map(|path| path.split(|c: char| !c.is_alphanumeric() && c != '_'));
    // A word in lower case alone may be SQL of the example: `t`, `s`.
    let names = segments.filter(|name| name.len() > 1 && !name.starts_with("CTAS_"));
    names
        .filter(|name| !known.contains(*name))
        .map(|name| format!("ARCHITECTURE.md: the code has no `{name}`"))
        .collect()
}

#[test]
fn tours_name_what_exists() {
    let mut known = BTreeSet::new();
    for file in rust_files("src") {
        known.extend(words(&code_only(&read(&file))).map(|(_, word)| word.to_owned()));
        known.extend(file.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    fail_with(unknown_names(&read(&root().join("ARCHITECTURE.md")), &known));
    let page = "### Tour: x\n`Engine::parse` and `Engine::no_such_function`\n## y\n`neither_this`";
    assert_eq!(unknown_names(page, &known), ["ARCHITECTURE.md: the code has no `no_such_function`"]);
    assert!(read(&root().join("ARCHITECTURE.md")).matches("### Tour: ").count() == 3);
}
