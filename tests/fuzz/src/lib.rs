//! libFuzzer's side of the fuzz targets: the same checks as in `tests/it`, on what a fuzzer that sees coverage comes up with.
//!
//! ```text
//! parse                               text to the parser: read, printed, read again
//! plan                                text to the planner, in the world of one file of `queries/`
//! json delimited kafka protobuf avro  bytes to a decoder and to an independent reader
//! ```
//!
//! Where there are several worlds or sets of columns, the first byte of the input chooses. `just fuzz` runs all of it;
//! the corpus begins with the statements and payloads that the tests begin with.
#![allow(dead_code, missing_docs)]

mod format;
mod harness;
#[path = "../../it/fuzz/targets.rs"]
mod statements;

use format::targets::{self, Target};
use statements::{Planned, corpus, parser_stands};
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

/// Makes all targets of a format.
type Make = fn() -> Vec<Target>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Puts what the tests begin with into the target's corpus, where nothing is yet.
pub fn seed(target: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    if fs::read_dir(&folder).is_ok_and(|mut files| files.next().is_some()) {
        return;
    }
    fs::create_dir_all(&folder).expect("the corpus is writable");
    for (n, seed) in seeds(target).iter().enumerate() {
        fs::write(folder.join(format!("seed-{n}")), seed).expect("the corpus is writable");
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let numbered = |n: usize, text: &[u8]| [&[n as u8], text].concat();
    if let Some(make) = decoder(target) {
        let all = make();
        let of = |(n, target): (usize, &Target)| target.corpus().iter().map(|p| numbered(n, p)).collect::<Vec<_>>();
        return all.iter().enumerate().flat_map(of).collect();
    }
    let files = corpus(&root());
    let spoken = files.iter().enumerate().flat_map(|(n, file)| file.iter().map(move |text| (n, text)));
    match target {
        "plan" => spoken.map(|(n, text)| numbered(n, text.as_bytes())).collect(),
        _ => spoken.map(|(_, text)| text.clone().into_bytes()).collect(),
    }
}

fn decoder(name: &str) -> Option<Make> {
    Some(match name {
        "json" => targets::json,
        "delimited" => targets::delimited,
        "kafka" => targets::kafka,
        "protobuf" => targets::protobuf,
        "avro" => format::avro_targets::avro,
        _ => return None,
    })
}

pub fn parse(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        parser_stands(text);
    }
}

pub fn plan(input: &[u8]) {
    thread_local!(static WORLDS: Vec<Planned> = corpus(&root()).iter().map(Planned::of).collect());
    let Some((first, rest)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    WORLDS.with(|worlds| worlds[usize::from(*first) % worlds.len()].stands(text));
}

pub fn decode(name: &str, input: &[u8]) {
    thread_local!(static TARGETS: RefCell<Vec<Target>> = const { RefCell::new(Vec::new()) });
    let Some((first, payload)) = input.split_first() else { return };
    TARGETS.with_borrow_mut(|all| {
        if all.is_empty() {
            *all = decoder(name).expect("the name of a decoder")();
        }
        let count = all.len();
        let target = &mut all[usize::from(*first) % count];
        target.look(payload.to_vec(), 0);
        target.compare();
    });
}
