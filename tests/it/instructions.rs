//! What the main paths cost, in instructions: a count that differs from the one in `benches/instructions.txt` by more than 3 % fails.
//!
//! The test starts itself under callgrind, which counts the same for the same binary and input, however busy the machine is (hash
//! seeds of DataFusion move `batch_group` by 0.04 %). It counts the build of the other tests, so that nothing is compiled twice:
//! Tidegate's own code is not optimised there. An added pass, copy, lookup or allocation per row shows; an inlining or a vectorised
//! loop that only an optimised build has does not: `cargo bench --bench parts` measures those. Counts of another compiler or
//! processor family differ: where the file names another one, the test says so and compares nothing. A path that became cheaper
//! fails, too, so that the file keeps what was won. `UPDATE_GOLDENFILES=1` writes the file.

use crate::batch_reading::answer;
use arrow::array::{ArrayRef, Int64Array};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tidegate::catalog::Format;
use tidegate::config::{Config, LogConfig, environment};
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::execute::change::{ChangeBatch, RowImage};
use tidegate::execute::compile;
use tidegate::execute::operator::aggregate::AggregateOperator;
use tidegate::execute::operator::filter_project::FilterProjectOperator;
use tidegate::execute::operator::session_window::SessionWindowOperator;
use tidegate::execute::operator::table_join::StreamTableJoin;
use tidegate::execute::operator::{EmitMode, Operator, OperatorOutput};
use tidegate::execute::pipeline::{AggregateCall, AggregateSpec};
use tidegate::format::Decoder;
use tidegate::functions::aggregate::{Aggregate, Comparable};
use tidegate::log::embedded::EmbeddedLog;
use tidegate::log::{Log, RecordSet};
use tidegate::parse::statement::{JoinKind, Statement};
use tidegate::plan::{self, Settings};
use tidegate::types::clock::ManualClock;
use tidegate::types::time::{Window, WindowKind};
use tidegate::types::{Column, SqlType};

/// Marks the process that is counted.
const COUNTED: &str = "TIDEGATE_COUNTED";
const TEST: &str = "instructions::the_main_paths_cost_what_they_did";
/// By how much a count may differ, in hundredths: less than any pass over the rows costs, more than seeds and a C library do.
const DIFFERENCE_MAX: u64 = 3;
const ROWS: i64 = 8_192;
const BATCH_ROWS: i64 = 1_024;
const KEYS: i64 = 1_000;

/// The paths, in the order in which they run.
const PATHS: [&str; 8] = [
    "json_decode",
    "filter_project",
    "tumbling_count",
    "changelog_encode",
    "session",
    "stream_join",
    "table_join",
    "batch_group",
];

/// Callgrind writes its counts, and starts again from zero, before each call of this function and of [`counting_ends`].
#[inline(never)]
fn counting_begins() {
    black_box(());
}

#[inline(never)]
fn counting_ends() {
    black_box(());
}

/// Counts `work`, on whatever threads it runs.
fn measured(work: impl FnOnce()) {
    counting_begins();
    work();
    counting_ends();
}

#[test]
fn the_main_paths_cost_what_they_did() {
    if environment(COUNTED).is_some() {
        return run_all();
    }
    let say = |text: &str| drop(writeln!(std::io::stderr(), "SKIPPED {TEST}: {text}"));
    if !Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success()) {
        return say("valgrind is not installed");
    }
    let counted = counts();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let head = format!(
        "# Instructions of {ROWS} rows in a build of the tests; tests/it/instructions.rs counts them.\n{}",
        builder()
    );
    if environment("UPDATE_GOLDENFILES").is_some() {
        let lines: String = PATHS.iter().zip(counted).map(|(name, count)| format!("{name} {count}\n")).collect();
        return std::fs::write(file, format!("{head}\n{lines}")).unwrap();
    }
    let stored = std::fs::read_to_string(file).unwrap();
    if !stored.starts_with(&head) {
        return say("benches/instructions.txt is of another compiler or architecture");
    }
    let stored: BTreeMap<&str, u64> =
        stored.lines().filter_map(|l| l.split_once(' ')).filter_map(|(n, c)| Some((n, c.parse().ok()?))).collect();
    let mut differences = Vec::new();
    for (name, count) in PATHS.iter().zip(&counted) {
        let before = stored[name];
        eprintln!("# {name}: {count} instructions, {before} before");
        if count.abs_diff(before) > before * DIFFERENCE_MAX / 100 {
            differences.push(format!("{name} takes {count} instructions, it took {before}"));
        }
    }
    assert!(
        differences.is_empty(),
        "{}\nif that is meant, UPDATE_GOLDENFILES=1 writes the counts",
        differences.join("\n")
    );
}

/// What the counts depend on besides the code.
fn builder() -> String {
    let rustc = Command::new(environment("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version").output();
    let version = rustc.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default();
    format!("# {} {version}", std::env::consts::ARCH)
}

/// Instructions of each path, in the order of [`PATHS`].
fn counts() -> Vec<u64> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("counts");
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-before=*counting_begins", "--dump-before=*counting_ends"])
        .args(["--combine-dumps=no".to_owned(), format!("--callgrind-out-file={}", file.display())])
        .arg(std::env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture", "--test-threads", "1"])
        .env(COUNTED, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    // The dumps have numbers from 1 on: the odd ones hold what came before a path, the even ones the path.
    let total = |dump: usize| {
        let text = std::fs::read_to_string(format!("{}.{dump}", file.display())).unwrap();
        let total = text.lines().find_map(|l| l.strip_prefix("totals: ")).expect("a dump of callgrind has totals");
        total.trim().parse().unwrap()
    };
    (1..=PATHS.len()).map(|path| total(2 * path)).collect()
}

fn run_all() {
    json_decode();
    filter_project();
    let input = input();
    let mut tumbling =
        AggregateOperator::new(&groups(WindowKind::Tumbling { size_ms: 2_000 }), EmitMode::LatestPerKey).unwrap();
    measured(|| pass(&mut tumbling, &input));
    measured(|| {
        let mut deltas = Vec::new();
        tumbling.changelog(&mut deltas).unwrap();
        assert!(deltas.len() as i64 >= KEYS);
    });
    let session = groups(WindowKind::Session { gap_ms: 500 });
    let mut session = SessionWindowOperator::new(&session, EmitMode::LatestPerKey).unwrap();
    measured(|| pass(&mut session, &input));
    stream_join(&input);
    let key = Column::key("K", SqlType::Bigint);
    let mut table = StreamTableJoin::new(true, Format::Kafka, &[key], &[Column::value("V", SqlType::Bigint)]).unwrap();
    input.iter().for_each(|batch| table.step(&[None, Some(batch)], &mut OperatorOutput::default()).unwrap());
    table.commit();
    measured(|| {
        input.iter().for_each(|batch| table.step(&[Some(batch), None], &mut OperatorOutput::default()).unwrap());
    });
    batch_group();
}

fn pass(operator: &mut dyn Operator, input: &[ChangeBatch]) {
    let mut out = OperatorOutput::default();
    input.iter().for_each(|batch| operator.step(&[Some(batch)], &mut out).unwrap());
    operator.emit(&mut out).unwrap();
    assert!(!black_box(&out).batches.is_empty());
}

fn payload(n: i64) -> String {
    format!(
        r#"{{"auction":{},"bidder":{},"price":{},"channel":"channel {}","extra":"{}"}}"#,
        n % 97,
        n % 31,
        n * 7,
        n % 5,
        "x".repeat(100)
    )
}

fn json_decode() {
    let types = [
        ("AUCTION", SqlType::Bigint),
        ("BIDDER", SqlType::Bigint),
        ("PRICE", SqlType::Bigint),
        ("CHANNEL", SqlType::String),
        ("EXTRA", SqlType::String),
    ];
    let columns: Vec<Column> = types.into_iter().map(|(name, ty)| Column::value(name, ty)).collect();
    let mut decoder = Decoder::new(Format::Json, &columns, &[0, 2, 3], false).unwrap();
    let payloads: Vec<String> = (0..ROWS).map(payload).collect();
    measured(|| {
        for batch in payloads.chunks(BATCH_ROWS as usize) {
            batch.iter().for_each(|p| decoder.push(Some(p.as_bytes())).unwrap());
            black_box(decoder.finish());
        }
    });
}

fn filter_project() {
    let engine = engine();
    let select = "SELECT price * 0.908 AS p FROM bids WHERE auction % 12 = 0 EMIT CHANGES;";
    let parsed = engine.parse(select, &Session::default()).unwrap();
    let Some(Statement::Select(select)) = parsed.first().map(|p| &p.statement) else { panic!("not a SELECT") };
    let settings = Settings::of(&engine.config().properties).unwrap();
    let spec =
        compile::pipeline(&plan::push_query(select, &engine.catalog(), &settings).unwrap().logical).unwrap().rows;
    let mut input = input();
    for batch in &mut input {
        batch.new.columns = vec![batch.key[0].clone(), batch.new.columns[0].clone()];
        batch.key = Vec::new();
    }
    let mut operator = FilterProjectOperator::new(&spec);
    measured(|| {
        input.iter().for_each(|batch| operator.step(&[Some(batch)], &mut OperatorOutput::default()).unwrap());
    });
}

fn groups(kind: WindowKind) -> AggregateSpec {
    let call = |function, arguments| AggregateCall { function, arguments };
    let max = Aggregate::Max(Comparable::Bigint);
    AggregateSpec {
        name: "groups".to_owned(),
        window: Some(Window { kind, grace_ms: Some(1_000), retention_ms: None }),
        final_only: false,
        loses_windows: false,
        texts: Vec::new(),
        calls: vec![call(Aggregate::CountRows, vec![]), call(Aggregate::SumBigint, vec![0]), call(max, vec![0])],
        key_format: Format::Kafka,
        key: vec![Column::key("K", SqlType::Bigint)],
    }
}

/// Rows at mixed keys, a millisecond apart.
fn input() -> Vec<ChangeBatch> {
    let batch = |from: i64| {
        let rows = || from..from + BATCH_ROWS;
        let key: ArrayRef = Arc::new(rows().map(|n| n * 7_919 % KEYS).collect::<Int64Array>());
        let value: ArrayRef = Arc::new(rows().map(|n| n * 31 % 1_009).collect::<Int64Array>());
        ChangeBatch {
            key: vec![key],
            key_present: None,
            new: RowImage { columns: vec![value], present: None },
            old: None,
            rowtime: rows().collect(),
            window: None,
            seq: rows().map(|n| n as u64).collect(),
        }
    };
    (0..ROWS).step_by(BATCH_ROWS as usize).map(batch).collect()
}

fn stream_join(input: &[ChangeBatch]) {
    let mut join = crate::traps::join(JoinKind::Inner, 500, 500, Some(0));
    measured(|| {
        let mut out = OperatorOutput::default();
        input.iter().for_each(|batch| join.step(&[Some(batch), Some(batch)], &mut out).unwrap());
        assert!(!black_box(&out).batches.is_empty());
    });
}

fn engine() -> Engine {
    let clock = ManualClock::at(0);
    let log: Arc<dyn Log> = EmbeddedLog::in_memory(clock.clone()).unwrap();
    let engine = Engine::over(log, Config::new(LogConfig::Temporary), clock, Drive::ByHand).unwrap();
    let source = "CREATE STREAM bids (auction BIGINT, price BIGINT) WITH (KAFKA_TOPIC = 'bids', VALUE_FORMAT = 'JSON', PARTITIONS = 1);";
    engine.run(source, &mut Session::default()).unwrap();
    engine
}

fn batch_group() {
    let engine = engine();
    let mut set = RecordSet::default();
    (0..ROWS).for_each(|n| set.push(0, n, None, Some(payload(n).as_bytes())));
    engine.log().append("bids", &set).unwrap();
    let sql = "SELECT auction, COUNT(*) AS n, SUM(price) AS total FROM bids GROUP BY auction;";
    // The first one fills caches.
    answer(&engine, sql);
    measured(|| assert_eq!(answer(&engine, sql).0.len(), 97));
}
