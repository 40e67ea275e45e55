//! Queries that would read their own output, by themselves or through others.
//!
//! ```text
//! INSERT INTO readings SELECT * FROM readings       readings -> INSERTQUERY_7 -> readings
//! CREATE STREAM b AS SELECT * FROM a
//! INSERT INTO a SELECT * FROM b                     b -> INSERTQUERY_3 -> a -> CSAS_B_2 -> b
//! ```
//!
//! One record in such a loop becomes as many as the disk holds, unless a condition ends it. So it is refused unless
//! `tidegate.allow.loops` asks for it. What counts are topics: two streams over one topic are the same place.

use crate::catalog::{Catalog, QueryInfo};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Refuses the query `id`, which reads these sources and writes these topics, if its output comes back to it.
pub(super) fn check(id: &str, reads: &[String], writes: &[&str], catalog: &Catalog) -> Result<()> {
    let sources: BTreeSet<&str> = reads.iter().filter_map(|name| topic(name, catalog)).collect();
    match path(id, &sources, writes, catalog) {
        None => Ok(()),
        Some(path) => {
            let end = path.last().copied().unwrap_or_default();
            let chain = format!("{end} -> {id} -> {}", path.join(" -> "));
            Err(Error::statement(format!("the query would read what it writes: {chain}")).with_hint(
                "SET 'tidegate.allow.loops' = 'true' allows it; a WHERE that ends the loop keeps it from filling the disk",
            ))
        }
    }
}

/// From a topic of `writes` to one of `sources`, with the queries on the way.
fn path<'a>(id: &str, sources: &BTreeSet<&str>, writes: &[&'a str], catalog: &'a Catalog) -> Option<Vec<&'a str>> {
    let others = || catalog.queries().filter(|query| query.id != id);
    // How a topic is reached: by which query, from which topic. The first ones are this query's own.
    let mut reached: BTreeMap<&str, Option<(&str, &str)>> = writes.iter().map(|topic| (*topic, None)).collect();
    let mut open: VecDeque<&str> = writes.iter().copied().collect();
    while let Some(here) = open.pop_front() {
        if sources.contains(here) {
            let mut path = vec![here];
            let mut step = reached.get(here).copied().flatten();
            while let Some((query, from)) = step {
                path.extend([query, from]);
                step = reached.get(from).copied().flatten();
            }
            path.reverse();
            return Some(path);
        }
        for query in others().filter(|query| query.reads.iter().any(|name| topic(name, catalog) == Some(here))) {
            for next in written(query, catalog) {
                if !reached.contains_key(next) {
                    reached.insert(next, Some((&query.id, here)));
                    open.push_back(next);
                }
            }
        }
    }
    None
}

/// The topics that a query writes.
fn written<'a>(query: &'a QueryInfo, catalog: &'a Catalog) -> impl Iterator<Item = &'a str> {
    topic(&query.writes, catalog).into_iter().chain(query.late_topic.as_deref())
}

fn topic<'a>(source: &str, catalog: &'a Catalog) -> Option<&'a str> {
    catalog.source(source).map(|source| source.topic.as_str())
}
