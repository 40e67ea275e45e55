//! Every documented setting has an effect: code outside of the tables that list settings reads it. One that is accepted for the
//! sake of ksqlDB's clients alone says so in its entry, and SET warns.
//!
//! A setting counts as read if a function looks it up, by its name or by a constant with its name. In `src/config.rs`, where the
//! lookups of the process's own settings are, the function that contains it has to be called elsewhere.

use crate::source::{code_only, words};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use tidegate::config::{CEILINGS, Config, LogConfig, PROPERTIES};
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::log::simulated::SimulatedLog;
use tidegate::present::text::outcome;
use tidegate::types::clock::{ManualClock, SharedClock};

/// Files that list settings and read none.
const LISTS: [&str; 2] = ["config/properties.rs", "config/client_names.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// The sources by path below `src`.
fn sources() -> BTreeMap<String, String> {
    let (mut all, mut folders) = (BTreeMap::new(), vec![root().join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(root().join("src")).unwrap().display().to_string();
                    all.insert(name, fs::read_to_string(&path).unwrap());
                }
            }
        }
    }
    all
}

/// The names in the first column of the tables of settings in docs/operations.md.
fn in_the_manual() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let (mut names, mut inside) = (BTreeSet::new(), false);
    for line in text.lines() {
        inside = line.starts_with("| setting |") || inside && line.starts_with('|');
        let name = line.trim_start_matches("| ").split(" |").next().unwrap_or_default();
        if inside && name.contains('.') {
            names.insert(name.to_owned());
        }
    }
    names
}

fn documented() -> BTreeSet<String> {
    let effective = PROPERTIES.iter().filter(|p| p.without_effect.is_none()).map(|p| p.name.to_owned());
    let ceilings = CEILINGS.iter().map(|(name, _)| (*name).to_owned());
    in_the_manual().into_iter().chain(effective).chain(ceilings).collect()
}

/// The constants whose value is this text.
fn constants(sources: &BTreeMap<String, String>, name: &str) -> BTreeSet<String> {
    let value = format!("= \"{name}\";");
    let lines = sources.values().flat_map(|text| text.lines()).filter(|line| line.ends_with(&value));
    let is_constant = |word: &str| word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    lines.filter_map(|line| words(line).find(|(_, word)| is_constant(word))).map(|(_, word)| word.to_owned()).collect()
}

/// Does a function of this file read the setting? The names of the functions that do.
fn readers(text: &str, name: &str, constants: &BTreeSet<String>) -> Vec<String> {
    let (mut found, mut function) = (Vec::new(), String::new());
    let literal = format!("\"{name}\"");
    let code = code_only(text);
    let all: Vec<&str> = words(&code).map(|(_, word)| word).collect();
    let renamed = all.windows(3).filter(|w| w[1] == "as" && constants.contains(w[0])).map(|w| w[2].to_owned());
    let constants: BTreeSet<String> = constants.iter().cloned().chain(renamed).collect();
    for (line, code) in text.lines().zip(code.lines()) {
        if let Some(at) = code.find("fn ") {
            function = words(&code[at + 3..]).next().map(|(_, word)| word.to_owned()).unwrap_or_default();
        }
        let listed =
            code.trim_start().starts_with("use ") || code.contains("const ") || function.starts_with("is_of_the_");
        let named = words(code).any(|(_, word)| constants.contains(word));
        // The literal is blank in the code alone, but a comment is blank there too.
        let spelled = line.split("//").next().unwrap_or_default().contains(&literal);
        if !listed && !function.is_empty() && (named || spelled) {
            found.push(function.clone());
        }
    }
    found
}

fn is_read(sources: &BTreeMap<String, String>, name: &str) -> bool {
    let constants = constants(sources, name);
    sources.iter().filter(|(path, _)| !LISTS.contains(&path.as_str())).any(|(path, text)| {
        let called = |function: &String| {
            let call = format!(".{function}(");
            sources.iter().any(|(other, text)| other != path && text.contains(&call))
        };
        let readers = readers(text, name, &constants);
        match path.as_str() {
            "config.rs" => readers.iter().any(|f| f != "set" && f != "check_ceiling" && called(f)),
            _ => !readers.is_empty(),
        }
    })
}

#[test]
fn every_documented_setting_is_read() {
    let (sources, documented) = (sources(), documented());
    assert!(documented.len() > 30, "{documented:?}");
    let unread: Vec<_> = documented.iter().filter(|name| !is_read(&sources, name)).collect();
    assert!(unread.is_empty(), "documented and never read: {unread:?}");
}

#[test]
fn a_setting_that_only_a_list_names_is_found() {
    let mut sources = sources();
    assert!(is_read(&sources, "tidegate.join.memory.bytes"));
    assert!(is_read(&sources, "num.stream.threads"));
    sources.insert(
        "x.rs".to_owned(),
        "const X: &str = \"some.setting\";\nfn f() {\n    // \"some.setting\"\n}\n".to_owned(),
    );
    assert!(!is_read(&sources, "some.setting"));
    sources.insert("y.rs".to_owned(), "use a::X as Y;\nfn g(p: &Map) {\n    p.get(Y)\n}\n".to_owned());
    assert!(is_read(&sources, "some.setting"));
}

#[test]
fn setting_what_has_no_effect_is_accepted_with_a_warning() {
    let clock: SharedClock = ManualClock::at(0);
    let log = SimulatedLog::new(1, clock.clone());
    let engine = Engine::over(log, Config::new(LogConfig::Temporary), clock, Drive::ByHand).unwrap();
    for p in PROPERTIES {
        let mut session = Session::default();
        let value = engine.config().default_of(p.name);
        if value.is_empty() {
            continue;
        }
        let answers = engine.run(&format!("SET '{}' = '{value}';", p.name), &mut session).unwrap();
        let answer: String = answers.into_iter().map(|answer| format!("{:?}", outcome(answer))).collect();
        assert_eq!(answer.contains("has no effect"), p.without_effect.is_some(), "{}: {answer}", p.name);
        assert_eq!(session.properties().get(p.name), Some(&value));
    }
}
