//! The glossary of ARCHITECTURE.md names types that exist, and words that it replaced are no identifiers any more.

use crate::source::{code_only, words};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Words of an earlier vocabulary, and the glossary's for the same thing.
const RETIRED: &[(&str, &str)] = &[
    ("Behind", "PartitionLag"),
    ("Caretaker", "MaintenanceThread"),
    ("Courier", "EarlyDelivery"),
    ("Doubt", "UnknownOutcome"),
    ("EmbeddedSession", "EmbeddedWriter"),
    ("HangsOn", "Volatility"),
    ("KafkaSession", "KafkaWriter"),
    ("Landing", "Delivery"),
    ("Lookout", "TopicMonitor"),
    ("Numeral", "DecimalText"),
    ("SessionSpec", "WriterSpec"),
    ("SimulatedSession", "SimulatedWriter"),
    ("Thinned", "CompactedBatch"),
    ("asker", "metadata_client"),
    ("caretaker", "maintenance"),
    ("courier", "early_delivery"),
    ("hangs_on", "volatility"),
    ("hasty", "read_uncommitted"),
    ("lookout", "topic_monitor"),
    ("orphans", "hanging_transactions"),
    ("pretend", "validate"),
    ("rehearse", "sandbox"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// All identifiers of the sources, with a file of each.
fn identifiers() -> Vec<(String, BTreeSet<String>)> {
    let (mut all, mut folders) = (Vec::new(), vec![root().join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let code = code_only(&fs::read_to_string(&path).unwrap());
                    all.push((path.display().to_string(), words(&code).map(|(_, word)| word.to_owned()).collect()));
                }
            }
        }
    }
    all
}

/// Term and type of each row of the glossary.
fn glossary() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = text.split("## Glossary").nth(1).expect("ARCHITECTURE.md has a glossary");
    let rows = section.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells = |row: &str| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    rows.map(cells).map(|row| (row[0].clone(), row[3].trim_matches(['`', ' ']).to_owned())).collect()
}

#[test]
fn every_type_of_the_glossary_is_defined() {
    let mut folders = vec![root().join("src")];
    let mut defined = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let code = code_only(&fs::read_to_string(&path).unwrap());
            let all: Vec<&str> = words(&code).map(|(_, word)| word).collect();
            let is_definition = |pair: &&[&str]| matches!(pair[0], "struct" | "enum" | "trait" | "type");
            defined.extend(all.windows(2).filter(is_definition).map(|pair| pair[1].to_owned()));
        }
    }
    let rows = glossary();
    assert!(rows.len() >= 20, "{rows:?}");
    let missing: Vec<_> = rows.iter().filter(|(_, name)| !defined.contains(name)).collect();
    assert!(missing.is_empty(), "no such type: {missing:?}");
}

#[test]
fn retired_words_are_no_identifiers() {
    let mut found = Vec::new();
    for (path, words) in identifiers() {
        for (retired, term) in RETIRED.iter().filter(|(retired, _)| words.contains(*retired)) {
            found.push(format!("{path}: {retired} is called {term}"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
