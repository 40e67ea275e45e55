//! Completion: the words that fit at the cursor.
//!
//! ```text
//! FROM, JOIN, INTO, DESCRIBE ..      streams and tables        PRINT, and a quoted text       topics
//! TERMINATE, PAUSE, RESUME, EXPLAIN  queries                   SET ', UNSET '                 properties
//! SELECT, WHERE, BY ..               columns, when no letter of a word is there yet
//! anywhere else                      all names, functions, keywords
//! ```

use crate::config::PROPERTIES;
use crate::engine::introspect::names::Names;
use crate::functions::{Registry, aggregate};
use crate::parse::words::{KEYWORDS, written};
use crate::plan::scalar::Higher;

/// Words after which only the name of a stream or table makes sense.
const BEFORE_SOURCE: [&str; 6] = ["FROM", "JOIN", "INTO", "DESCRIBE", "STREAM", "TABLE"];
/// Words after which a column is likely.
const BEFORE_COLUMN: [&str; 10] = ["SELECT", "DISTINCT", "WHERE", "AND", "OR", "NOT", "ON", "BY", "HAVING", "WHEN"];
/// Words after which a query's id makes sense.
const BEFORE_QUERY: [&str; 4] = ["TERMINATE", "PAUSE", "RESUME", "EXPLAIN"];

/// Where the word before `at` starts, and what it could become.
pub(crate) fn completions(line: &str, at: usize, names: &Names) -> (usize, Vec<String>) {
    let before = &line[..at];
    if let Some(quote) = open_quote(before) {
        return (quote + 1, quoted(&before[..quote], &before[quote + 1..], names));
    }
    let start = before
        .rfind(|c: char| !(c.is_alphanumeric() || c == '_'))
        .map_or(0, |n| n + before[n..].chars().next().map_or(1, char::len_utf8));
    let begun = &before[start..];
    let written_last = before[..start].split_whitespace().next_back().unwrap_or("");
    let last = written_last.to_uppercase();
    // Without a prefix and a context the list of everything would not help.
    let named: &[&[String]] = match last.as_str() {
        last if BEFORE_SOURCE.contains(&last) => &[&names.sources],
        last if BEFORE_QUERY.contains(&last) => &[&names.queries],
        "PRINT" => &[&names.topics],
        last if begun.is_empty() && BEFORE_COLUMN.contains(&last) => &[&names.columns],
        _ if begun.is_empty() => return (start, Vec::new()),
        _ => &[&names.sources, &names.columns],
    };
    // Topics and ids are what they are; other names and words go with the case in which they were begun, or the word before.
    let keep = last == "PRINT" || BEFORE_QUERY.contains(&last.as_str());
    let example = if begun.is_empty() { written_last } else { begun };
    let lower = !keep && !example.is_empty() && example.chars().all(|c| !c.is_uppercase());
    let cased = |word: String| if lower && !word.starts_with('`') { word.to_lowercase() } else { word };
    let upper = begun.to_uppercase();
    let fits = |name: &&String| name.to_uppercase().starts_with(&upper);
    let shown = |name: &String| if keep { name.clone() } else { cased(written(name)) };
    let mut all: Vec<String> = named.iter().flat_map(|list| list.iter()).filter(fits).map(shown).collect();
    let only_names = !all.is_empty() && (keep || BEFORE_SOURCE.contains(&last.as_str()));
    if !only_names && !begun.is_empty() {
        let words = KEYWORDS.iter().copied().chain(functions());
        let mut words: Vec<String> = words.filter(|w| w.starts_with(&upper)).map(|w| cased(w.to_owned())).collect();
        words.sort();
        all.extend(words);
    }
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|word| seen.insert(word.clone()));
    (start, all)
}

fn functions() -> impl Iterator<Item = &'static str> {
    let scalar = Registry::all().chain(Registry::tables()).map(|entry| entry.name);
    scalar.chain(aggregate::NAMES.iter().copied()).chain(Higher::ALL.iter().map(|kind| kind.name()))
}

/// Position of the quote that is still open at the end of the text.
fn open_quote(text: &str) -> Option<usize> {
    let mut open = None;
    for (at, _) in text.match_indices('\'') {
        open = if open.is_some() { None } else { Some(at) };
    }
    open
}

/// Candidates between quotes.
fn quoted(before: &str, begun: &str, names: &Names) -> Vec<String> {
    let statement = before.rsplit(';').next().unwrap_or("").trim().to_uppercase();
    let offered: Vec<&str> = match statement.as_str() {
        "SET" | "UNSET" => PROPERTIES.iter().map(|p| p.name).collect(),
        _ => names.topics.iter().map(String::as_str).collect(),
    };
    offered.into_iter().filter(|name| name.starts_with(begun)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(line: &str) -> (usize, Vec<String>) {
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let names = Names {
            sources: list(&["SENSORS", "sEl x"]),
            columns: list(&["SEAT", "SPEED"]),
            queries: list(&["CTAS_C_1"]),
            topics: list(&["sensors", "Cars"]),
        };
        completions(line, line.len(), &names)
    }

    fn words(line: &str) -> Vec<String> {
        offered(line).1
    }

    #[test]
    fn names_come_first_and_keep_the_case() {
        assert_eq!(offered("sel"), (0, vec!["`sEl x`".to_owned(), "select".to_owned()]));
        assert_eq!(offered("select * from SEN"), (14, vec!["SENSORS".to_owned()]));
        assert_eq!(words("select * from sens"), ["sensors"]);
        assert_eq!(words("select * from se"), ["sensors", "`sEl x`"]);
        assert_eq!(words("select "), ["seat", "speed"]);
        assert_eq!(words("SELECT seat FROM sensors WHERE "), ["SEAT", "SPEED"]);
        assert_eq!(words("select * from sensors limit "), Vec::<String>::new());
    }

    #[test]
    fn what_is_offered_goes_with_the_place() {
        assert_eq!(words("SELECT * FROM "), ["SENSORS", "`sEl x`"]);
        assert_eq!(words("SELECT SPE"), ["SPEED"]);
        assert_eq!(words("select collect_l"), ["collect_list"]);
        assert_eq!(words("TERMINATE "), ["CTAS_C_1"]);
        assert_eq!(words("terminate ctas"), ["CTAS_C_1"], "an id is what it is");
        assert_eq!(words("PRINT c"), ["Cars"]);
        assert_eq!(words("SET 'auto.o"), ["auto.offset.reset"]);
        assert_eq!(offered("SHOW TABLES; UNSET 'auto.o").0, 20);
        assert_eq!(words("CREATE STREAM s WITH (KAFKA_TOPIC='se"), ["sensors"]);
        assert_eq!(words("INSERT INTO s VALUES ('a', SPE"), ["SPEED"], "the quote is closed");
    }
}
