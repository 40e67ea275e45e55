//! COMPATIBILITY.md says what is so: every row is shown by statements that are carried out or refused, and the tables in the
//! file are written from the rows and from the tables of the code. `UPDATE_GOLDENFILES=1` writes them anew. What stands
//! outside of the marks in the file is written by hand.

mod rows;

use crate::http::connectors::Worker;
use rows::{CLAUSES, ENDPOINTS, EXPRESSIONS, FIXTURE, FORMATS, PROPERTIES, Row, STATEMENTS, Works};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tidegate::catalog::{SchemaText, SchemaType};
use tidegate::config::kafka::CLIENT_PROPERTIES;
use tidegate::config::{
    CEILINGS, CONNECT, CONNECT_SETTINGS, Config, LogConfig, PROPERTIES as SETTINGS, REGISTRY, REGISTRY_SETTINGS,
};
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::functions::bounded::{ALLOWED, Sort};
use tidegate::functions::{Registry, aggregate};
use tidegate::log::simulated::SimulatedLog;
use tidegate::plan::scalar::Higher;
use tidegate::registry::fixed::Fixed;
use tidegate::types::clock::{ManualClock, SharedClock};

/// Where a written table begins and ends.
const BEGIN: &str = "<!-- written by tests/it/compatibility.rs: ";
const END: &str = "<!-- end -->";

/// The URL of a worker of Kafka Connect.
fn worker() -> &'static str {
    static WORKER: OnceLock<Worker> = OnceLock::new();
    &WORKER.get_or_init(Worker::open).url
}

fn engine() -> Engine {
    let clock: SharedClock = ManualClock::at(0);
    let log = SimulatedLog::new(1, clock.clone());
    let registry = Arc::<Fixed>::default();
    let schema = |text: &str| SchemaText { kind: SchemaType::Json, text: text.into(), references: Vec::new() };
    registry.put("key", 1, &schema("{\"type\":\"string\"}"));
    registry.put(
        "value",
        2,
        &schema("{\"type\":\"object\",\"properties\":{\"L\":{\"connect.index\":0,\"type\":\"integer\"}}}"),
    );
    let mut config = Config::new(LogConfig::Temporary);
    config.set("ksql.connect.url", worker()).unwrap();
    let engine = Engine::with_registry(log, config, clock, Drive::ByHand, registry).unwrap();
    engine.run(FIXTURE, &mut Session::default()).unwrap();
    engine
}

fn refusal(engine: &Engine, statement: &str) -> Option<String> {
    let refused = engine.run(&format!("{statement};"), &mut Session::default()).err().map(|e| e.to_string());
    // The command line carries out what works on files; tests/it/copy.rs shows it.
    refused.filter(|why| !why.contains("files of the client"))
}

/// What is wrong with a row.
fn untrue(row: &Row) -> Option<String> {
    let engine = engine();
    for (i, probe) in row.probes.iter().enumerate() {
        let refused = refusal(&engine, probe);
        let expected = row.works == Works::No && i + 1 == row.probes.len();
        match refused {
            Some(why) if !expected => return Some(format!("{}: {probe}\n    {why}", row.what)),
            None if expected => return Some(format!("{}: {probe}\n    is carried out", row.what)),
            _ => {}
        }
    }
    (row.works == Works::Partial && row.remark.is_empty()).then(|| format!("{}: what is missing?", row.what))
}

#[test]
fn every_row_is_true() {
    let all = STATEMENTS.iter().chain(CLAUSES).chain(EXPRESSIONS);
    let wrong: Vec<String> = all.filter_map(untrue).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let first: BTreeSet<&str> =
        STATEMENTS.iter().flat_map(|r| r.probes).filter_map(|p| p.split_whitespace().next()).collect();
    let missing: Vec<_> = tidegate::parse::words::STATEMENTS.iter().filter(|w| !first.contains(**w)).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}

/// The paths of ksqlDB's API, as the router has them: those of the prompt, of the console and of Flight SQL are none of
/// ksqlDB's.
fn routes() -> BTreeSet<String> {
    let paths = tidegate::serve::routes().into_iter().map(|route| route.path.to_owned());
    paths
        .filter(|path| {
            let ours = ["/session", "/topics", "/cluster/", "/console", "/api/v1", "/openapi.json", "/arrow.flight."];
            !ours.iter().any(|ours| path.starts_with(ours))
        })
        .collect()
}

#[test]
fn every_endpoint_is_listed() {
    let there: BTreeSet<String> =
        ENDPOINTS.iter().filter(|e| e.2 != Works::No).map(|(_, path, ..)| (*path).to_owned()).collect();
    assert_eq!(there, routes());
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn word(works: Works) -> &'static str {
    match works {
        Works::Yes => "Yes",
        Works::Partial => "Partial",
        Works::No => "No",
    }
}

fn yes(there: bool) -> &'static str {
    if there { "Yes" } else { "No" }
}

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> =
            cells.iter().map(|c| if c.is_empty() { " ".into() } else { format!(" {c} ") }).collect();
        format!("|{}|\n", cells.join("|"))
    };
    let mut out = line(&head.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>());
    out.push_str(&format!("|{}\n", "---|".repeat(head.len())));
    rows.into_iter().for_each(|row| out.push_str(&line(&row)));
    out
}

fn listed(what: &str, rows: &[Row]) -> String {
    let cells = |r: &Row| vec![r.what.to_owned(), word(r.works).to_owned(), r.remark.to_owned()];
    table(&[what, "works", "remark"], rows.iter().map(cells))
}

fn functions() -> String {
    let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for entry in Registry::all() {
        groups.entry(entry.category).or_default().insert(entry.name);
    }
    groups.entry("LAMBDA").or_default().extend(Higher::ALL.iter().map(|h| h.name()));
    groups.entry("TABLE").or_default().extend(Registry::tables().map(|e| e.name));
    groups.entry("AGGREGATE").or_default().extend(aggregate::NAMES);
    let names = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
    table(
        &["kind", "functions, all of which work"],
        groups.into_iter().map(|(kind, all)| vec![kind.to_owned(), names(all)]),
    )
}

/// The allow-list of DataFusion's functions, by what bounds them.
fn bounded_functions() -> String {
    let mut groups: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for function in ALLOWED {
        let kind = match function.sort {
            Sort::Scalar => "scalar",
            Sort::Aggregate => "aggregate",
            Sort::Window => "with OVER",
            Sort::Table => "in FROM",
        };
        groups.entry((kind, function.bound.words())).or_default().insert(function.name);
    }
    let names = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
    let cells = |((kind, bound), all): ((&str, &str), _)| vec![kind.to_owned(), bound.to_owned(), names(all)];
    table(&["kind", "bound", "functions"], groups.into_iter().map(cells))
}

fn ceilings() -> String {
    let most = |most: Option<u64>| most.map_or("none".to_owned(), |most| most.to_string());
    table(
        &["setting", "ceiling without --set"],
        CEILINGS.iter().map(|(name, default)| vec![(*name).to_owned(), most(*default)]),
    )
}

/// What WITH takes, found by trying.
fn properties() -> String {
    let row = |(name, value, remark): &(&str, &str, &str)| {
        let with = |rest: &[&str]| {
            let own = format!("{name}={value}");
            let beside = match *name {
                "KEY_DELIMITER" => "KEY_FORMAT='DELIMITED'",
                "VALUE_DELIMITER" => "VALUE_FORMAT='DELIMITED'",
                "WINDOW_SIZE" => "WINDOW_TYPE='TUMBLING'",
                "TIMESTAMP_FORMAT" => "TIMESTAMP='id'",
                "KEY_SCHEMA_ID" => "KEY_FORMAT='JSON_SR'",
                "VALUE_SCHEMA_ID" => "VALUE_FORMAT='JSON_SR'",
                "KEY_SCHEMA_FULL_NAME" => "KEY_FORMAT='AVRO'",
                "VALUE_SCHEMA_FULL_NAME" | "VALUE_AVRO_SCHEMA_FULL_NAME" => "VALUE_FORMAT='AVRO'",
                "KEY_PROTOBUF_NULLABLE_REPRESENTATION" => "KEY_FORMAT='PROTOBUF'",
                "VALUE_PROTOBUF_NULLABLE_REPRESENTATION" => "VALUE_FORMAT='PROTOBUF'",
                _ => "",
            };
            let key = |p: &str| p.split('=').next().unwrap_or_default().to_owned();
            let taken = [*name, &key(beside)].map(str::to_owned);
            let free = |p: &&str| {
                let said_twice = *name == "FORMAT" && p.starts_with("VALUE_F");
                !p.is_empty() && !taken.contains(&key(p)) && !said_twice
            };
            let mut all: Vec<&str> = rest.iter().copied().filter(free).collect();
            all.extend([beside].into_iter().filter(|b| !b.is_empty()));
            all.push(&own);
            format!("WITH ({})", all.join(", "))
        };
        // An id takes the place of the columns of its side.
        let columns = match *name {
            "WRAP_SINGLE_VALUE" => "id STRING KEY, l BIGINT",
            "KEY_SCHEMA_ID" => "l BIGINT, n INT",
            "VALUE_SCHEMA_ID" => "id STRING KEY",
            _ => "id STRING KEY, l BIGINT, n INT",
        };
        let create = format!(
            "CREATE STREAM x ({columns}) {}",
            with(&["KAFKA_TOPIC='x'", "PARTITIONS=1", "VALUE_FORMAT='JSON'"])
        );
        let select = if matches!(*name, "WRAP_SINGLE_VALUE" | "VALUE_SCHEMA_ID") { "id, l" } else { "id, l, n" };
        let grouped = matches!(*name, "LATE_TOPIC");
        let create_as = match grouped {
            true => format!(
                "CREATE TABLE x {} AS SELECT id, COUNT(*) AS c FROM s WINDOW TUMBLING (SIZE 1 SECOND) GROUP BY id",
                with(&[])
            ),
            false => format!("CREATE STREAM x {} AS SELECT {select} FROM s", with(&[])),
        };
        let insert = format!("INSERT INTO r {} SELECT id, n FROM s", with(&[]));
        let tried = [create, create_as, insert].map(|sql| yes(refusal(&engine(), &sql).is_none()).to_owned());
        let mut cells = vec![(*name).to_owned()];
        cells.extend(tried);
        cells.push((*remark).to_owned());
        cells
    };
    table(&["property", "CREATE", "CREATE AS SELECT", "INSERT INTO ... SELECT", "remark"], PROPERTIES.iter().map(row))
}

fn formats() -> String {
    let row = |(name, remark): &(&str, &str)| {
        let tried = |with: &str, key: &str| {
            let sql = format!("CREATE STREAM x ({key}v STRING) WITH (KAFKA_TOPIC='x', PARTITIONS=1, {with})");
            yes(refusal(&engine(), &sql).is_none()).to_owned()
        };
        let key = if *name == "NONE" { "" } else { "k STRING KEY, " };
        let as_key = tried(&format!("KEY_FORMAT='{name}', VALUE_FORMAT='JSON'"), key);
        let as_value = tried(&format!("VALUE_FORMAT='{name}'"), "k STRING KEY, ");
        vec![(*name).to_owned(), as_key, as_value, (*remark).to_owned()]
    };
    table(&["format", "of the key", "of the value", "remark"], FORMATS.iter().map(row))
}

fn settings() -> String {
    table(&["setting", "what it does"], SETTINGS.iter().map(|p| vec![p.name.to_owned(), p.help.to_owned()]))
}

fn registry() -> String {
    table(
        &["setting", "what it does"],
        REGISTRY_SETTINGS.iter().map(|(name, help)| vec![format!("{REGISTRY}{name}"), (*help).to_owned()]),
    )
}

fn connect() -> String {
    table(
        &["setting", "what it does"],
        CONNECT_SETTINGS.iter().map(|(name, help)| vec![format!("{CONNECT}{name}"), (*help).to_owned()]),
    )
}

fn clients() -> String {
    table(&["setting", "what it does"], CLIENT_PROPERTIES.iter().map(|p| vec![p.name.to_owned(), p.help.to_owned()]))
}

fn endpoints() -> String {
    let cells = |(method, path, works, remark): &(&str, &str, Works, &str)| {
        vec![format!("{method} {path}"), word(*works).to_owned(), (*remark).to_owned()]
    };
    table(&["endpoint", "works", "remark"], ENDPOINTS.iter().map(cells))
}

/// The text with every written table as it should be.
fn rewritten(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let line = at + rest[at..].find('\n').expect("a mark ends its line") + 1;
        let name = rest[at + BEGIN.len()..line].trim().trim_end_matches("-->").trim();
        let end = line + rest[line..].find(END).expect("a written table has an end");
        out.push_str(&rest[..line]);
        out.push_str(&match name {
            "statements" => listed("statement", STATEMENTS),
            "clauses" => listed("clause", CLAUSES),
            "expressions" => listed("part", EXPRESSIONS),
            "functions" => functions(),
            "bounded functions" => bounded_functions(),
            "ceilings" => ceilings(),
            "properties" => properties(),
            "settings" => settings(),
            "clients" => clients(),
            "registry" => registry(),
            "connect" => connect(),
            "formats" => formats(),
            "endpoints" => endpoints(),
            other => panic!("COMPATIBILITY.md asks for {other}"),
        });
        rest = &rest[end..];
    }
    out + rest
}

#[test]
fn the_file_is_what_is_so() {
    let path = root().join("COMPATIBILITY.md");
    let text = fs::read_to_string(&path).unwrap();
    let wanted = rewritten(&text);
    assert_eq!(text.matches(BEGIN).count(), 13, "a table is missing");
    if tidegate::config::environment("UPDATE_GOLDENFILES").is_some() {
        fs::write(&path, wanted).unwrap();
        return;
    }
    for (line, (has, wants)) in text.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(has, wants, "COMPATIBILITY.md, line {}: UPDATE_GOLDENFILES=1 writes it anew", line + 1);
    }
    assert_eq!(text.lines().count(), wanted.lines().count(), "COMPATIBILITY.md: UPDATE_GOLDENFILES=1 writes it anew");
}
