//! One meaning: random queries from the whole grammar have the same rows in every form in which they may run.
//!
//! ```text
//! Q                                    over history
//! Q ORDER BY 1                         in order
//! SELECT * FROM (Q) AS z               in a derived table, alone and beside LIMIT and OFFSET
//! WITH z AS (Q) SELECT * FROM z        in a common table expression
//! (Q) UNION ALL (no rows)              in front of and behind an empty branch
//! Q WHERE c, Q WHERE NOT c             around it: each row is in one of them
//! COUNT(*), one column of Q            of it: what is not read changes nothing
//! Q in small batches                   however the input is cut
//! Q of early rows, Q of late rows      a query without groups
//! Q EMIT CHANGES                       to the end of the history: the rows, or the last of each key
//! CREATE ... AS Q                      with all records there, and with records that come in pieces
//! ```
//!
//! `TIDEGATE_GRAMMAR_SEEDS=a..b` runs other seeds; one seed is one query.

mod relations;
mod world;
mod writer;

use crate::batches::Dice;
use crate::expressions::overloads;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use tidegate::error::Error;
use tidegate::types::SqlType;
use world::{Outcome, RECORDS, Record, Rows, World, records};
use writer::{Form, Query, SPLIT, Writer};

/// Queries of an ordinary run.
const SEEDS: Range<u64> = 0..40;
/// Queries over the same records.
const QUERIES_PER_WORLD: u64 = 40;
/// One in so many of the forms is tried with each query.
const FORMS: i64 = 2;
/// A comment of this length makes batches of a few rows.
const PADDING: usize = 1 << 20;
/// The records, the worlds that hold all of them, and what was counted.
struct Law {
    world: World,
    records: Vec<Record>,
    partitions: u32,
    counts: BTreeMap<String, usize>,
}

impl Law {
    fn new(seed: u64) -> Law {
        let partitions = 1 + (seed % 2) as u32;
        let (world, records) = (World::new(partitions), records(seed, partitions));
        world.feed(&records);
        Law { world, records, partitions, counts: BTreeMap::new() }
    }

    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    /// Looks at one query in all forms; what differs.
    fn check(&mut self, query: &Query, dice: &mut Dice) -> Result<(), String> {
        let sql = query.sql();
        let expected = match self.world.rows(&sql) {
            Ok(rows) => rows,
            Err(error) => {
                self.count("refused");
                return sound(&error).map_err(|why| format!("{sql}\n    {why}"));
            }
        };
        self.count("accepted");
        self.count(if expected.is_empty() { "without rows" } else { "with rows" });
        let differ = |whole: &str, rows: &Outcome<Rows>| match rows {
            Ok(rows) if *rows == expected => Ok(()),
            Ok(rows) => Err(format!("{sql}\n    {} as {:.300}", difference(&expected, rows), whole)),
            Err(error) => Err(format!("{sql}\n    {error:?} as {whole:.300}")),
        };
        for whole in around(query) {
            if dice.one_in(FORMS) {
                differ(&whole, &self.world.rows(&whole))?;
            }
        }
        if dice.one_in(8) {
            differ("small batches", &self.world.rows(&format!("{sql} /*{}*/", "x".repeat(PADDING))))?;
        }
        if dice.one_in(FORMS) {
            self.parts(query, &expected)?;
        }
        if query.splits {
            let time = dice.below(RECORDS * 700);
            let [early, late] = ["<", ">="].map(|op| sql.replace(SPLIT, &format!(" AND ROWTIME {op} {time}")));
            let mut rows = self.world.rows(&early).map_err(|e| format!("{early}\n    {e:?}"))?;
            rows.extend(self.world.rows(&late).map_err(|e| format!("{late}\n    {e:?}"))?);
            rows.sort();
            differ("early and late rows", &Ok(rows))?;
        }
        self.continuous(query, &expected, dice)
    }

    /// One column of it, its number of rows, and its rows by a condition.
    fn parts(&self, query: &Query, expected: &Rows) -> Result<(), String> {
        let sql = query.sql();
        let run = |sql: String| self.world.rows(&sql).map_err(|e| format!("{sql}\n    {e:?}"));
        let count = run(format!("SELECT COUNT(*) AS c FROM ({sql}) AS z"))?;
        if count != [[expected.len().to_string()]] {
            return Err(format!("{sql}\n    has {} rows and counts {count:?}", expected.len()));
        }
        let last = query.columns.len() - 1;
        let name = &query.columns[last].0;
        let column = run(format!("SELECT {name} FROM ({sql}) AS z"))?;
        let mut of_all: Rows = expected.iter().map(|row| vec![row[last].clone()]).collect();
        of_all.sort();
        if column != of_all {
            return Err(format!("{sql}\n    {} as its last column alone", difference(&of_all, &column)));
        }
        let mut halves = Rows::new();
        for half in [format!("{name} IS NULL"), format!("NOT ({name} IS NULL)")] {
            halves.extend(run(format!("SELECT * FROM ({sql}) AS z WHERE {half}"))?);
        }
        halves.sort();
        if halves != *expected {
            return Err(format!("{sql}\n    {} as two halves", difference(expected, &halves)));
        }
        Ok(())
    }

    fn continuous(&mut self, query: &Query, expected: &Rows, dice: &mut Dice) -> Result<(), String> {
        let sql = query.sql();
        if query.form == Form::History {
            return Ok(());
        }
        match self.world.pushed(query, expected) {
            Ok(rows) if rows == *expected => self.count("pushed"),
            Ok(rows) => {
                return Err(format!("{sql}\n    {} as a push query", difference(expected, &rows)));
            }
            Err(error) => {
                self.count("push refused");
                sound(&error).map_err(|why| format!("{sql} EMIT CHANGES\n    {why}"))?;
                self.count(&format!("push: {}", error.message()));
            }
        }
        if !query.is_plain {
            return Ok(());
        }
        let kept = match dice.one_in(3) {
            false => self.world.kept(query, &[]),
            true => {
                let (first, second) = (dice.below(RECORDS) as usize, dice.below(RECORDS) as usize);
                let (first, second) = (first.min(second), first.max(second));
                let world = World::new(self.partitions);
                let all = &self.records;
                world.kept(query, &[&all[..first], &all[first..second], &all[second..]])
            }
        };
        match kept {
            Ok((rows, verified)) if rows == *expected => {
                self.count("kept");
                match verified {
                    Ok(text) if text.contains("equals its batch result") => self.count("verified"),
                    Err(why) if why.contains("cannot be verified") => {
                        self.count(&format!("verify: {}", why.split_once(": ").map_or("", |e| e.1)));
                    }
                    other => return Err(format!("VERIFY of {sql}\n    {other:?}")),
                }
            }
            Ok((rows, _)) => {
                return Err(format!("{sql}\n    {} as CREATE AS", difference(expected, &rows)));
            }
            Err(error) => {
                self.count("create refused");
                sound(&error).map_err(|why| format!("CREATE AS {sql}\n    {why}"))?;
                self.count(&format!("create: {}", error.message()));
            }
        }
        Ok(())
    }
}

/// What may be around a query and changes none of its rows.
fn around(query: &Query) -> Vec<String> {
    let sql = query.sql();
    let mut with: Vec<String> = query.with.iter().map(|(name, query)| format!("{name} AS ({query})")).collect();
    with.push(format!("z AS ({})", query.text));
    let with = with.join(", ");
    let none = format!("SELECT * FROM ({sql}) AS e WHERE 1 = 0");
    let mut all = vec![
        format!("SELECT * FROM ({sql}) AS z"),
        format!("SELECT * FROM ({sql}) AS z LIMIT 100000 OFFSET 0"),
        format!("WITH {with} SELECT * FROM z"),
        format!("({sql}) UNION ALL ({none})"),
        format!("({none}) UNION ALL ({sql})"),
    ];
    if !query.is_closed {
        all.push(format!("{sql} ORDER BY 1"));
    }
    all
}

/// Is it an error that a reader can use?
fn sound(error: &Error) -> Result<(), String> {
    let text = format!("{error:?}");
    let leaks = ["Internal error", "Arrow error", "DataFusion", "ended early", "a bug", "Schema error", "panicked"];
    match leaks.iter().find(|leak| text.contains(**leak)) {
        Some(leak) => Err(format!("{leak}: {text}")),
        None => Ok(()),
    }
}

/// What is in one of them alone.
fn difference(one: &Rows, other: &Rows) -> String {
    let mut counts: BTreeMap<&Vec<String>, i64> = BTreeMap::new();
    one.iter().for_each(|row| *counts.entry(row).or_default() += 1);
    other.iter().for_each(|row| *counts.entry(row).or_default() -= 1);
    let mut text = format!("{} rows, and {} rows", one.len(), other.len());
    for (row, count) in counts.iter().filter(|(_, count)| **count != 0).take(4) {
        let _ = write!(text, "\n    {count:+} {row:?}");
    }
    text
}

fn seeds() -> Range<u64> {
    let Some(text) = tidegate::config::environment("TIDEGATE_GRAMMAR_SEEDS") else {
        return SEEDS;
    };
    let (from, to) = text.split_once("..").expect("TIDEGATE_GRAMMAR_SEEDS is a..b");
    from.parse().unwrap()..to.parse().unwrap()
}

/// Looks at the queries of these seeds; what differs, and what was counted.
fn looked_at(seeds: Range<u64>, findings_max: usize) -> (Vec<String>, BTreeMap<String, usize>) {
    let overloads = overloads();
    let (mut law, mut counts, mut findings) = (None, BTreeMap::new(), Vec::new());
    for seed in seeds {
        let group = seed / QUERIES_PER_WORLD;
        if law.as_ref().is_none_or(|(known, _)| *known != group) {
            let before: Option<(u64, Law)> = law.replace((group, Law::new(group)));
            before
                .into_iter()
                .flat_map(|(_, law)| law.counts)
                .for_each(|(what, n)| *counts.entry(what).or_default() += n);
        }
        let Some((_, law)) = &mut law else { continue };
        let mut dice = Dice(seed ^ 0xD1CE);
        // A query that is refused is replaced by another one.
        for attempt in 0..20 {
            let mut writer = Writer::new(seed * 1_000 + attempt, law.partitions == 1, &overloads);
            let before = law.counts.get("accepted").copied();
            let query = writer.query();
            if let Err(finding) = law.check(&query, &mut dice) {
                findings.push(format!("seed {seed}: {finding}"));
                break;
            }
            if law.counts.get("accepted").copied() != before {
                break;
            }
        }
        if findings.len() >= findings_max {
            break;
        }
    }
    law.into_iter().flat_map(|(_, law)| law.counts).for_each(|(what, n)| *counts.entry(what).or_default() += n);
    (findings, counts)
}

/// The law on its first queries, for those who look for a bug that is there: it ends with the first difference.
pub(crate) fn some_queries_mean_the_same_in_every_form() {
    let (findings, _) = looked_at(SEEDS, 1);
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
pub(crate) fn having_means_the_same_in_every_form() {
    for seed in 0..2 {
        let mut law = Law::new(seed);
        for bound in [1, 4, 9] {
            let text = format!("SELECT k AS g1, COUNT(*) AS c FROM s GROUP BY k HAVING COUNT(*) > {bound}");
            let columns = vec![("g1".to_owned(), SqlType::String), ("c".to_owned(), SqlType::Bigint)];
            let form = Form::Table(1);
            let query = Query {
                text,
                with: vec![],
                columns,
                form,
                is_closed: false,
                splits: false,
                is_plain: true,
                keeps_empty: false,
            };
            law.check(&query, &mut Dice(seed)).unwrap_or_else(|why| panic!("{why}"));
        }
        assert_eq!(law.counts["accepted"], 3);
    }
}

#[test]
fn random_queries_mean_the_same_in_every_form() {
    let (findings, counts) = looked_at(seeds(), 40);
    eprintln!("# {counts:#?}");
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
    let of = |what: &str| counts.get(what).copied().unwrap_or_default();
    let accepted = of("accepted");
    assert!(of("refused") < accepted, "{counts:?}");
    assert!(of("with rows") > accepted / 2 && of("pushed") > accepted / 5 && of("kept") > accepted / 12, "{counts:?}");
}
