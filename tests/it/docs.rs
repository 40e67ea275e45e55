//! Every SQL block of the README and of the documents is carried out, and what is below it is its output.
//!
//! A document is read from its top to its end on one engine with an embedded log. Of its fenced blocks
//!
//! ```text
//! sql          is carried out, statement by statement; every query then reads what there is
//! text         behind it, with nothing but blank lines between: what the prompt shows
//! sql kafka    needs a broker: it is only read
//! sql error    fails; the block behind it is the error
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidegate::cli::args::Format;
use tidegate::cli::render::Screen;
use tidegate::cli::report::rendered;
use tidegate::config::{Config, LogConfig, environment};
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::error::Result;
use tidegate::log::Log;
use tidegate::log::embedded::EmbeddedLog;
use tidegate::present::text::outcome;
use tidegate::types::clock::SystemClock;

/// Columns of the terminal for which the documents are written.
const WIDTH: usize = 100;

/// A fenced block.
#[derive(Debug)]
struct Fence {
    /// The text after the opening fence.
    info: String,
    /// Line of its first line, counted from 0.
    first: usize,
    lines: Vec<String>,
    /// Only blank lines are between it and the block before.
    follows: bool,
}

fn fences(text: &str) -> Vec<Fence> {
    let (mut all, mut open, mut follows): (Vec<Fence>, Option<Fence>, bool) = (Vec::new(), None, false);
    for (at, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some(fence)) => {
                all.push(fence);
                follows = true;
            }
            (Some(info), None) => {
                open = Some(Fence { info: info.trim().to_owned(), first: at + 1, lines: Vec::new(), follows });
            }
            (None, Some(mut fence)) => {
                fence.lines.push(line.to_owned());
                open = Some(fence);
            }
            (None, None) => follows &= line.trim().is_empty(),
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    all
}

fn carried_out(engine: &Engine, session: &mut Session, text: &str) -> String {
    let mut out = Vec::new();
    let run = |out: &mut Vec<u8>, session: &mut Session| -> Result<()> {
        for parsed in engine.parse(text, session)? {
            let answer = engine.execute(&parsed, session)?;
            Screen::new(out, Format::Table, Some(WIDTH)).show(outcome(answer), &|| false)?;
            engine.drive()?;
        }
        Ok(())
    };
    if let Err(e) = run(&mut out, session) {
        out.extend_from_slice(rendered(&e, text, false).as_bytes());
    }
    let shown = String::from_utf8(out).unwrap();
    shown.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// Carries a document out; returns it with the present output, and how many blocks were carried out.
fn checked(text: &str, name: &str) -> (String, usize) {
    let log: Arc<dyn Log> = EmbeddedLog::in_memory(SystemClock::shared()).unwrap();
    let config = Config::new(LogConfig::Embedded(PathBuf::from("unused")));
    let engine = Engine::over(log, config, SystemClock::shared(), Drive::ByHand).unwrap();
    let mut session = Session::default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let blocks = fences(text);
    let mut count = 0;
    // From the end, lines keep their numbers.
    let mut changes = Vec::new();
    for (at, block) in blocks.iter().enumerate() {
        let sql = block.lines.join("\n");
        match block.info.as_str() {
            "sql kafka" => drop(engine.parse(&sql, &session).unwrap_or_else(|e| panic!("{name}: {sql}\n{e}"))),
            "sql" | "sql error" => {
                let shown = carried_out(&engine, &mut session, &sql);
                count += 1;
                let failed = shown.starts_with("error") || shown.contains("\nerror");
                assert_eq!(failed, block.info == "sql error", "{name}:{}: {shown}", block.first);
                if let Some(answer) = blocks.get(at + 1).filter(|b| b.follows && b.info == "text") {
                    changes.push((answer.first, answer.lines.len(), shown));
                }
            }
            info => assert!(!info.starts_with("sql"), "{name}:{}: what is {info}?", block.first),
        }
    }
    engine.close();
    for (first, length, shown) in changes.into_iter().rev() {
        lines.splice(first..first + length, shown.lines().map(str::to_owned));
    }
    (lines.join("\n") + "\n", count)
}

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = vec![root.join("README.md")];
    let mut folders = vec![root.join("docs"), root.join("examples")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|e| e == "md") => all.push(path),
                false => {}
            }
        }
    }
    all.sort();
    all
}

#[test]
fn every_block_of_the_documents_is_true() {
    let update = environment("UPDATE_GOLDENFILES").is_some();
    let (mut wrong, mut count) = (String::new(), 0);
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        let (now, blocks) = checked(&text, &path.display().to_string());
        count += blocks;
        if now != text {
            wrong += &format!("{}\n{}", path.display(), super::harness::golden::difference(&text, &now));
            if update {
                fs::write(&path, now).unwrap();
            }
        }
    }
    assert!(update || wrong.is_empty(), "{wrong}");
    assert!(count >= 20, "{count} blocks");
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let file = link.split('#').next().unwrap();
            assert!(path.parent().unwrap().join(file).exists(), "{}: {link}", path.display());
        }
    }
}

#[test]
fn a_wrong_answer_is_found() {
    let text = "# x\n\n```sql\nSHOW STREAMS;\n```\n\n```text\nnothing\n```\n\nwords\n\n```text\nkept\n```\n";
    let (now, count) = checked(text, "here");
    assert_eq!(count, 1);
    assert!(!now.contains("nothing") && now.contains("kept"), "{now}");
}

/// `K5` and the like in a text.
fn rules(text: &str) -> BTreeSet<u32> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter_map(|word| word.strip_prefix('K')?.parse().ok()).collect()
}

#[test]
fn every_rule_of_exactly_once_is_cited_where_it_acts_and_every_cited_rule_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/exactly-once.md")).unwrap();
    let headings = page.lines().filter_map(|line| line.strip_prefix("### K")?.split('.').next()?.parse().ok());
    let stated: BTreeSet<u32> = headings.collect();
    assert_eq!(stated, (1..=stated.len() as u32).collect(), "rules are numbered without a gap");
    assert!(rules(&page).is_subset(&stated), "the page mentions a rule that it does not state");
    let mut cited = BTreeSet::new();
    let mut folders = vec![root.join("src/log/kafka"), root.join("src/execute"), root.join("src/config")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let comments = text.lines().filter_map(|line| line.split_once("//"));
            let here: BTreeSet<u32> = comments.flat_map(|(_, comment)| rules(comment)).collect();
            let unknown: Vec<_> = here.difference(&stated).collect();
            assert!(unknown.is_empty(), "{}: no rule K{unknown:?} in docs/exactly-once.md", path.display());
            cited.extend(here);
        }
    }
    let silent: Vec<_> = stated.difference(&cited).collect();
    assert!(silent.is_empty(), "cited nowhere: {silent:?}");
}

#[test]
fn the_tour_lists_every_extension_of_the_grammar() {
    let tour = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/language.md")).unwrap();
    let table = tidegate::plan::extensions::table();
    assert!(tour.contains(&table), "docs/language.md lacks this table:\n{table}");
}
