//! A cache of plans of key lookups: a text that was planned before, or one that differs only in the literals of its key, is
//! executed without parsing and planning it.
//!
//! ```text
//! SELECT * FROM t WHERE id = 'a' AND c > 1     skeleton: SELECT * FROM t WHERE id = '?' AND c > #      literals: a, 1
//!                                              cached:   id is literal 0, literal 1 must be 1
//! ```
//!
//! Entries are valid for one version of the catalogue: every statement that changes it invalidates all of them. Texts with
//! comments or variables are never cached.

use crate::engine::Engine;
use crate::engine::query::pull::Prepared;
use crate::engine::query::pull::forward::Lookup;
use crate::engine::query::pull::stream::PullStream;
use crate::engine::result::rows::RowStream;
use crate::engine::session::Session;
use crate::error::Result;
use crate::execute::pull::{Keys, PullRows};
use crate::plan::pull::{Literal, value_of};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Entries per generation: the cache holds a recent and an older one.
const KNOWN_MAX: usize = 512;
/// A longer text is not cached.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// What was planned, by skeleton and properties.
#[derive(Debug, Default)]
pub(in crate::engine) struct PlanCache {
    /// Version of the catalogue: incremented by every change.
    version: AtomicU64,
    known: Mutex<[HashMap<CacheKey, Arc<CachedPlan>>; 2]>,
}

/// What a plan depends on, apart from the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CacheKey {
    skeleton: String,
    properties: BTreeMap<String, String>,
}

#[derive(Debug)]
pub(in crate::engine) struct CachedPlan {
    version: u64,
    prepared: Prepared,
    /// The literals of the text; those of the key are ignored.
    literals: Vec<Literal>,
    /// By key column the position of its literal; empty = all literals must be equal.
    keys: Vec<usize>,
}

impl PlanCache {
    /// Invalidates all entries: the catalogue has changed.
    pub(in crate::engine) fn outdate(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// The catalogue's version, to be read before the catalogue itself.
    pub(in crate::engine) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    fn get(&self, name: &CacheKey) -> Option<Arc<CachedPlan>> {
        let mut known = self.known.lock();
        if let Some(found) = known[0].get(name) {
            return Some(found.clone());
        }
        let found = known[1].remove(name)?;
        put(&mut known, name.clone(), found.clone());
        Some(found)
    }

    /// Adds the plan of `text`, with the literals that the key equals.
    pub(in crate::engine) fn remember(
        &self,
        text: &str,
        session: &Session,
        (version, prepared, literals): (u64, &Prepared, Option<&[(usize, Literal)]>),
    ) {
        let Some((skeleton, found)) = skeleton(text).filter(|_| session.variables().is_empty()) else { return };
        // A literal that occurs twice in the text may be the key's or the other one.
        let place = |wanted: &Literal| {
            let mut places = (0..found.len()).filter(|at| found[*at] == *wanted);
            places.next().filter(|_| places.next().is_none())
        };
        let keys: Option<Vec<usize>> = literals.and_then(|all| all.iter().map(|(_, l)| place(l)).collect());
        let keys = keys.unwrap_or_default();
        let skeleton = if keys.is_empty() { trimmed(text).to_owned() } else { skeleton };
        let name = CacheKey { skeleton, properties: session.properties().clone() };
        let known = CachedPlan { version, prepared: prepared.clone(), literals: found, keys };
        put(&mut self.known.lock(), name, Arc::new(known));
    }
}

/// When the recent generation is full it becomes the older one, which is dropped.
fn put(known: &mut [HashMap<CacheKey, Arc<CachedPlan>>; 2], name: CacheKey, what: Arc<CachedPlan>) {
    if known[0].len() >= KNOWN_MAX {
        known[1] = std::mem::take(&mut known[0]);
    }
    known[0].insert(name, what);
}

impl Engine {
    /// Executes a lookup whose plan is cached. It waits for nothing but a commit that is being published. `None` = the text has
    /// to be parsed and executed.
    pub fn known_lookup(&self, text: &str, session: &Session) -> Option<Result<Box<dyn RowStream>>> {
        let (known, keys) = self.known_plan(text, session)?;
        let prepared = &known.prepared;
        if self.is_forwarded(&prepared.query) {
            return None;
        }
        let rows = self.known_rows(prepared, keys.as_ref(), session)?;
        // Not earlier: a miss is counted where it is executed.
        let let_in =
            rows.and_then(|rows| Ok(PullStream::new(Engine::bounded_id()?, rows, Some(self.inner.pulls.enter()?))));
        if self.inner.audit.is_on() {
            self.inner.audit.lookup(session.principal(), text, let_in.as_ref().map(|_| ()));
        }
        Some(let_in.map(|rows| Box::new(rows) as Box<dyn RowStream>))
    }

    /// The same for one that another process has sent, where it is counted and recorded.
    pub(in crate::engine) fn known_forwarded(
        &self,
        lookup: &Lookup<'_>,
        session: &Session,
    ) -> Option<Result<Box<dyn RowStream>>> {
        let (known, keys) = self.known_plan(lookup.text, session)?;
        let prepared = &known.prepared;
        let rows = self.known_rows(prepared, keys.as_ref(), session).filter(|_| prepared.is_of(lookup))?;
        Some(
            rows.and_then(
                |rows| Ok(Box::new(PullStream::new(Engine::bounded_id()?, rows, None)) as Box<dyn RowStream>),
            ),
        )
    }

    /// The cached plan of a text, for a user who may read the table, and the keys that its literals select.
    fn known_plan(&self, text: &str, session: &Session) -> Option<(Arc<CachedPlan>, Option<Keys>)> {
        if self.is_over() || text.len() > TEXT_BYTES_MAX || !session.variables().is_empty() {
            return None;
        }
        let (skeleton, literals) = skeleton(text)?;
        let statements = &self.inner.plan_cache;
        let mut name = CacheKey { skeleton, properties: session.properties().clone() };
        let known = statements.get(&name).or_else(|| {
            trimmed(text).clone_into(&mut name.skeleton);
            statements.get(&name)
        })?;
        if known.version != statements.version() {
            return None;
        }
        let keys = known.keys(&literals)?;
        // The usual path reports why.
        known.prepared.is_permitted(self, session).then_some((known, keys))
    }

    /// Rows of the view, if that is there; `None` = it has to be opened.
    fn known_rows(&self, prepared: &Prepared, keys: Option<&Keys>, session: &Session) -> Option<Result<PullRows>> {
        let Prepared { pull, view, query, .. } = prepared;
        if !view.is_ready(self.feed(query)) {
            return None;
        }
        let in_time = self.check_lag(view, session);
        in_time.and_then(|()| pull.rows(view, keys)).transpose()
    }
}

impl CachedPlan {
    /// The keys that these literals select, or the plan's own; `None` = it is another query.
    #[expect(clippy::option_option, reason = "a miss and a hit with the plan's own keys are different results")]
    fn keys(&self, literals: &[Literal]) -> Option<Option<Keys>> {
        let same = |at: usize| self.keys.contains(&at) || self.literals[at] == literals[at];
        if literals.len() != self.literals.len() || !(0..literals.len()).all(same) {
            return None;
        }
        if self.keys.is_empty() {
            return Some(None);
        }
        let pull = &self.prepared.pull;
        let types = pull.key_types();
        let values = self.keys.iter().zip(types).map(|(&at, ty)| value_of(&literals[at], ty));
        let values = values.collect::<Option<Vec<_>>>()?;
        pull.encode(&[(values, pull.windows()?)]).ok().map(Some)
    }
}

fn trimmed(text: &str) -> &str {
    text.trim().trim_end_matches(';').trim_end()
}

/// The text with its literals replaced, and the literals; `None` where characters alone do not show them.
fn skeleton(text: &str) -> Option<(String, Vec<Literal>)> {
    let text = trimmed(text);
    if ["--", "/*", "${"].iter().any(|odd| text.contains(odd)) {
        return None;
    }
    let (mut out, mut literals) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '\'' | '"' | '`' => quoted_end(rest, first)?,
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (piece, after) = rest.split_at(end);
        match first {
            '\'' => {
                literals.push(Literal::Text(piece[1..piece.len() - 1].replace("''", "'")));
                out.push_str("'?'");
            }
            c if c.is_ascii_digit() && piece.bytes().all(|b| b.is_ascii_digit()) => {
                literals.push(Literal::Number(piece.to_owned()));
                out.push('#');
            }
            _ => out.push_str(piece),
        }
        rest = after;
    }
    Some((out, literals))
}

/// A character of a name or a number.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '@' | '$')
}

/// One past the closing quote, two of which are one.
fn quoted_end(text: &str, quote: char) -> Option<usize> {
    let mut from = 1;
    loop {
        let at = from + text[from..].find(quote)?;
        match text[at + 1..].starts_with(quote) {
            true => from = at + 2,
            false => return Some(at + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_told_from_what_looks_like_them() {
        let read = |text: &str| {
            let (skeleton, literals) = skeleton(text).unwrap();
            let shown: Vec<String> = literals.iter().map(|l| format!("{l:?}")).collect();
            format!("{skeleton} | {}", shown.join(" "))
        };
        assert_eq!(
            read("SELECT a1, 'it''s', `x'1`, \"2\" FROM t2 WHERE id=12 AND v > 1.5 ;"),
            "SELECT a1, '?', `x'1`, \"2\" FROM t2 WHERE id=# AND v > 1.5 | Text(\"it's\") Number(\"12\")"
        );
        assert_eq!(read("SELECT é FROM t WHERE a=-3"), "SELECT é FROM t WHERE a=-# | Number(\"3\")");
        for odd in ["SELECT 1 -- x", "SELECT /* */ 1", "SELECT '${x}'", "SELECT 'x"] {
            assert!(skeleton(odd).is_none(), "{odd}");
        }
    }
}
