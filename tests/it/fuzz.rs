//! Mutated statements: nothing that is typed makes the parser or the planner panic, hang, or read something else than it
//! prints. The corpus is every statement of `queries/`.
//!
//! Each test runs for `TIDEGATE_FUZZ_SECONDS` (default 20); `TIDEGATE_FUZZ_SEED` begins elsewhere. What fails names its
//! seed.

pub(crate) mod targets;

use crate::batches::Dice;
use std::path::Path;
use std::time::Duration;
use targets::{File, Planned, corpus, parser_stands};
use tidegate::parse::words;
use tidegate::types::clock::SystemClock;

/// How long each test runs, unless the environment says otherwise.
const SECONDS: u64 = 20;
/// Longest time for one text, on a machine that does other things too.
const CASE_MAX: Duration = Duration::from_secs(5);
/// Longest text that mutation may make.
const TEXT_MAX: usize = 20_000;

const PIECES: &[&str] = &[
    "(",
    ")",
    "((((((((",
    "))))",
    ",",
    ";",
    "'",
    "\"",
    "`",
    "''",
    "--",
    "/*",
    "*/",
    "\n",
    "\0",
    "é",
    "😀",
    "\u{202e}",
    "->",
    "=>",
    ":=",
    "[",
    "]",
    "[1]",
    "<",
    ">",
    "<>",
    "||",
    "NULL",
    "-1",
    "0",
    "9223372036854775807",
    "9223372036854775808",
    "1e400",
    "0.00000000000000000000000000000000000000000000000000000000000000000000000000000000001",
    ".",
    "*",
    "->*",
    "ARRAY[",
    "MAP(",
    "STRUCT(",
    "STRUCT<",
    "ARRAY<",
    "MAP<STRING,",
    "DECIMAL(76, 38)",
    "DECIMAL(0,-1)",
    "CAST(NULL AS ",
    "CASE WHEN ",
    " END",
    "x => ",
    "(x, y) => ",
    "EMIT CHANGES",
    "EMIT FINAL",
    "LIMIT 0",
    "GROUP BY ",
    "PARTITION BY ",
    "HAVING ",
    "WINDOW SESSION (1 DAY)",
    "WITHIN 0 SECONDS",
    "GRACE PERIOD 99999999999999 DAYS",
    "PRIMARY KEY",
    "HEADERS",
    "WITH (",
    "KEY_FORMAT='NONE'",
    "PARTITIONS=0",
    "OR REPLACE",
    "IF NOT EXISTS",
    "ROWTIME",
    "WINDOWSTART",
    "COUNT(*)",
    "TOPK(n, 0)",
    "EXPLODE(",
    "REDUCE(",
    "${x}",
    "UNION ALL SELECT 1",
    "ORDER BY 1",
    "(SELECT 1)",
    "NOT NOT NOT ",
    "- - - ",
];

/// A statement with a few things changed.
fn mutated(dice: &mut Dice, statement: &str, other: &str) -> String {
    let mut text: Vec<char> = statement.chars().collect();
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(text.len() as i64 + 1) as usize;
        let to = (at + dice.below(12) as usize).min(text.len());
        match dice.below(8) {
            0 => drop(text.drain(at..to)),
            1 => {
                let copy: Vec<char> = text[at..to].to_vec();
                let times = 1 + dice.below(3) as usize;
                (0..times).for_each(|_| drop(text.splice(at..at, copy.iter().copied())));
            }
            2 | 3 => {
                let piece = PIECES[dice.below(PIECES.len() as i64) as usize];
                text.splice(at..at, format!(" {piece} ").chars());
            }
            4 => {
                let words = words::RESERVED;
                text.splice(at..to, format!(" {} ", words[dice.below(words.len() as i64) as usize]).chars());
            }
            5 => {
                let other: Vec<char> = other.chars().collect();
                let from = dice.below(other.len() as i64 + 1) as usize;
                let until = (from + dice.below(60) as usize).min(other.len());
                text.splice(at..to, other[from..until].iter().copied());
            }
            6 => {
                // One word for another.
                let blanks: Vec<usize> = text.iter().enumerate().filter(|(_, c)| **c == ' ').map(|(i, _)| i).collect();
                if blanks.len() > 2 {
                    let (a, b) = (dice.below(blanks.len() as i64 - 1), dice.below(blanks.len() as i64 - 1));
                    let word = |n: i64| blanks[n as usize]..blanks[n as usize + 1];
                    let taken: Vec<char> = text[word(b)].to_vec();
                    text.splice(word(a), taken);
                }
            }
            _ => text.truncate(to),
        }
    }
    text.truncate(TEXT_MAX);
    text.into_iter().collect()
}

pub(crate) fn number(name: &str, default: u64) -> u64 {
    tidegate::config::environment(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// How long each test runs.
pub(crate) fn duration() -> Duration {
    Duration::from_secs(number("TIDEGATE_FUZZ_SECONDS", SECONDS))
}

/// Tries one seed after the other until time is up; returns how many. A panic of `case` is reported with its seed.
pub(crate) fn for_a_while(mut case: impl FnMut(u64)) -> u64 {
    let (clock, limit) = (SystemClock::shared(), duration());
    let (begin, mut seed) = (clock.monotonic(), number("TIDEGATE_FUZZ_SEED", 0));
    let mut tried = 0;
    while clock.monotonic() < begin + limit {
        let started = clock.monotonic();
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(seed)));
        assert!(seen.is_ok(), "seed {seed}");
        let took = clock.monotonic() - started;
        assert!(took < CASE_MAX, "seed {seed}: {took:?}");
        (seed, tried) = (seed + 1, tried + 1);
    }
    tried
}

/// Shows one text after the other to `look` until time is up; returns how many.
fn go_on(files: &[File], mut look: impl FnMut(usize, &str)) -> u64 {
    for_a_while(|seed| {
        let mut dice = Dice(seed);
        let at = dice.below(files.len() as i64) as usize;
        let pick = |dice: &mut Dice, file: &File| file[dice.below(file.len() as i64) as usize].clone();
        let (statement, away) = (pick(&mut dice, &files[at]), dice.below(files.len() as i64) as usize);
        let other = pick(&mut dice, &files[away]);
        let text = mutated(&mut dice, &statement, &other);
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| look(at, &text)));
        assert!(seen.is_ok(), "{text}");
    })
}

/// Where `queries/` is.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_parser_stands_any_text() {
    let files = corpus(root());
    let mut read = 0;
    let looked = go_on(&files, |_, text| read += u64::from(parser_stands(text)));
    assert!(read > looked / 20, "{read} of {looked} were statements");
}

#[test]
fn the_planner_stands_any_statement() {
    let files = corpus(root());
    let worlds: Vec<Planned> = files.iter().map(Planned::of).collect();
    let (mut tried, mut made) = (0, 0);
    let looked = go_on(&files, |at, text| {
        let (statements, planned) = worlds[at].stands(text);
        (tried, made) = (tried + statements, made + planned as u64);
    });
    assert!(made > looked / 40, "{made} of {looked} texts, which held {tried} statements, could be planned");
}
