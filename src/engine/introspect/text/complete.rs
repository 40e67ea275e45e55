//! Completion: the words that fit at the cursor, for the prompt and for editors.
//!
//! ```text
//! FROM, JOIN, INTO, DESCRIBE ..      streams and tables        PRINT, and a quoted text       topics
//! TERMINATE, PAUSE, RESUME, EXPLAIN  queries                   SET ', UNSET '                 properties
//! SELECT, WHERE, BY, a comma ..      columns of what the statement reads, when no letter of a word is there yet
//! r.                                 columns of what `r` names
//! WITH (                             its properties            VALUE_FORMAT = '               formats
//! EMIT, WINDOW, GROUP, SHOW ..       the words that can follow
//! anywhere else                      names, functions with their calls, keywords
//! ```
//!
//! Pure: what exists comes in as [`Names`], which an attached process gets from the owner. The clause is found in the tokens before the
//! cursor, so that a statement may be unfinished; what it reads is looked for behind the cursor, too.

mod place;

use crate::catalog::Format;
use crate::config::PROPERTIES;
use crate::engine::introspect::names::Names;
use crate::engine::introspect::{function_help, native_functions};
use crate::functions::{Registry, aggregate};
use crate::parse::words::{KEYWORDS, STATEMENTS, written};
use crate::plan::scalar::Higher;
use crate::plan::with_properties;
use place::{Clause, Place};
use std::collections::BTreeSet;

/// Words after which only the name of a stream or table makes sense.
const BEFORE_SOURCE: [&str; 6] = ["FROM", "JOIN", "INTO", "DESCRIBE", "STREAM", "TABLE"];
/// Words after which a column is likely.
const BEFORE_COLUMN: [&str; 10] = ["SELECT", "DISTINCT", "WHERE", "AND", "OR", "NOT", "ON", "BY", "HAVING", "WHEN"];
/// Words after which a query's id makes sense.
const BEFORE_QUERY: [&str; 4] = ["TERMINATE", "PAUSE", "RESUME", "EXPLAIN"];
/// Words after which only a few others can follow.
const FOLLOWING: [(&str, &[&str]); 9] = [
    ("EMIT", &["CHANGES", "FINAL"]),
    ("WINDOW", &["TUMBLING", "HOPPING", "SESSION"]),
    ("GROUP", &["BY"]),
    ("PARTITION", &["BY"]),
    ("ORDER", &["BY"]),
    ("SHOW", SHOWN),
    ("LIST", SHOWN),
    ("CREATE", &["STREAM", "TABLE", "TYPE", "SOURCE", "OR"]),
    ("INSERT", &["INTO"]),
];
const SHOWN: &[&str] =
    &["STREAMS", "TABLES", "TOPICS", "QUERIES", "PROPERTIES", "FUNCTIONS", "TYPES", "VARIABLES", "ALL"];
/// Properties of WITH whose value is a format.
const OF_FORMAT: [&str; 3] = ["FORMAT", "KEY_FORMAT", "VALUE_FORMAT"];

/// A word that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What is put in.
    pub label: String,
    /// column, stream, table, topic, query, property, format, function or keyword.
    pub kind: &'static str,
    /// A type, a topic, the calls of a function.
    pub detail: Option<String>,
    /// What a function does.
    pub doc: Option<String>,
}

impl Completion {
    fn plain(label: &str, kind: &'static str) -> Completion {
        Completion { label: label.to_owned(), kind, detail: None, doc: None }
    }

    fn detailed(label: &str, kind: &'static str, detail: String) -> Completion {
        Completion { detail: Some(detail), ..Completion::plain(label, kind) }
    }
}

/// Where the word before `at` starts, and what it could become.
pub fn complete(text: &str, at: usize, names: &Names) -> (usize, Vec<Completion>) {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let before = &text[..at];
    let place = Place::of(text, at);
    if let Some(quote) = open_quote(before) {
        return (quote + 1, quoted(&before[..quote], &before[quote + 1..], &place, names));
    }
    let start =
        before.rfind(|c: char| !is_part(c)).map_or(0, |n| n + before[n..].chars().next().map_or(1, char::len_utf8));
    let begun = &before[start..];
    let written_last = before[..start].split_whitespace().next_back().unwrap_or("");
    let last = written_last.to_uppercase();
    // Topics and ids are what they are; other names and words go with the case in which they were begun, or the word before.
    let keep = last == "PRINT" || BEFORE_QUERY.contains(&last.as_str());
    let word_before = before[..start].split(|c| !is_part(c)).rfind(|word| !word.is_empty()).unwrap_or_default();
    let example = if begun.is_empty() { word_before } else { begun };
    let lower = !keep && !example.is_empty() && example.chars().all(|c| !c.is_uppercase());
    let cased = |word: &str| if lower && !word.starts_with('`') { word.to_lowercase() } else { word.to_owned() };
    let upper = begun.to_uppercase();
    let fits = |option: &Completion| option.label.to_uppercase().starts_with(&upper);
    let shown = |option: Completion| match (keep, option.kind) {
        (true, _) => option,
        (false, "property" | "keyword") => Completion { label: cased(&option.label), ..option },
        (false, _) => Completion { label: cased(&written(&option.label)), ..option },
    };
    let Some(named) = named(&last, begun, &place, before[..start].ends_with('.'), names) else {
        return (start, Vec::new());
    };
    let only_names = keep || named.only || BEFORE_SOURCE.contains(&last.as_str());
    let mut all: Vec<Completion> = named.options.into_iter().filter(fits).map(shown).collect();
    if !(only_names && (!all.is_empty() || named.only)) && !begun.is_empty() {
        let words = KEYWORDS.iter().filter(|word| place.clause != Clause::Expression || !is_foreign(word));
        let words = words.map(|word| Completion::plain(word, "keyword"));
        let mut words: Vec<Completion> = words.chain(functions(&upper)).filter(fits).collect();
        words.sort_by(|a, b| a.label.cmp(&b.label));
        all.extend(words.into_iter().map(|option| Completion { label: cased(&option.label), ..option }));
    }
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|option| seen.insert(option.label.clone()));
    (start, all)
}

/// Has the word no place in an expression, nor behind one?
fn is_foreign(word: &str) -> bool {
    const SHOWN_OR_DECLARED: [&str; 10] = [
        "CONNECTOR",
        "CONNECTORS",
        "FUNCTION",
        "FUNCTIONS",
        "PRIMARY",
        "PROPERTIES",
        "QUERIES",
        "TOPIC",
        "TOPICS",
        "VARIABLES",
    ];
    STATEMENTS.contains(&word) && !["SELECT", "WITH", "VALUES"].contains(&word) || SHOWN_OR_DECLARED.contains(&word)
}

/// Names that fit a place.
struct Named {
    options: Vec<Completion>,
    /// Nothing else fits.
    only: bool,
}

/// Names for the place behind the word `last`; `None` = without a prefix and a context the list of everything would not help.
fn named(last: &str, begun: &str, place: &Place, is_qualified: bool, names: &Names) -> Option<Named> {
    let some = |options| Some(Named { options, only: false });
    let only = |options| Some(Named { options, only: true });
    if is_qualified {
        return only(place.qualifier.as_deref().map_or_else(Vec::new, |name| columns_of(name, names)));
    }
    if let Some((_, words)) = FOLLOWING.iter().find(|(word, _)| *word == last) {
        return only(words.iter().map(|word| Completion::plain(word, "keyword")).collect());
    }
    match last {
        last if BEFORE_SOURCE.contains(&last) => some(sources(names)),
        last if BEFORE_QUERY.contains(&last) => {
            some(names.queries.iter().map(|id| Completion::plain(id, "query")).collect())
        }
        "PRINT" => some(topics(names)),
        _ if place.clause == Clause::With && place.is_fresh => {
            only(with_properties().map(|name| Completion::plain(name, "property")).collect())
        }
        _ if place.clause == Clause::Columns && place.is_fresh => only(scope(place, names)),
        last if begun.is_empty() && BEFORE_COLUMN.contains(&last) => some(scope(place, names)),
        _ if begun.is_empty() && place.clause == Clause::Expression && place.is_fresh => some(scope(place, names)),
        _ if begun.is_empty() => None,
        _ => some(sources(names).into_iter().chain(scope(place, names)).collect()),
    }
}

fn sources(names: &Names) -> Vec<Completion> {
    let of = |name: &String| match names.schemas.get(name) {
        Some(source) => {
            let kind = if source.is_table { "table" } else { "stream" };
            Completion::detailed(name, kind, format!("topic {}", source.topic))
        }
        None => Completion::plain(name, "stream"),
    };
    names.sources.iter().map(of).collect()
}

fn topics(names: &Names) -> Vec<Completion> {
    names.topics.iter().map(|topic| Completion::plain(topic, "topic")).collect()
}

fn columns_of(source: &str, names: &Names) -> Vec<Completion> {
    let columns = names.schemas.get(source).iter().flat_map(|source| &source.columns).collect::<Vec<_>>();
    columns.into_iter().map(|(name, ty)| Completion::detailed(name, "column", format!("{ty}, {source}"))).collect()
}

/// Columns of what the statement reads or writes; of everything, while that is not known.
fn scope(place: &Place, names: &Names) -> Vec<Completion> {
    let known: Vec<Completion> = place.sources.iter().flat_map(|source| columns_of(source, names)).collect();
    match known.is_empty() {
        false => known,
        true => names.columns.iter().map(|name| Completion::plain(name, "column")).collect(),
    }
}

/// Functions whose names begin so, with their calls.
fn functions(upper: &str) -> impl Iterator<Item = Completion> {
    let scalar = Registry::all().chain(Registry::tables()).map(|entry| entry.name);
    let own = scalar.chain(aggregate::NAMES.iter().copied()).chain(Higher::ALL.iter().map(|kind| kind.name()));
    let all: BTreeSet<String> = own.map(str::to_owned).chain(native_functions::names()).collect();
    all.into_iter().filter(move |name| name.starts_with(upper)).map(|name| {
        let option = Completion::plain(&name, "function");
        let Some(help) = function_help::find(&name) else { return option };
        let calls: Vec<String> =
            help.signatures.iter().map(|call| format!("{} -> {}", call.call(&name), call.returns)).collect();
        Completion { detail: Some(calls.join("\n")), doc: Some(help.description.into_owned()), ..option }
    })
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
fn quoted(before: &str, begun: &str, place: &Place, names: &Names) -> Vec<Completion> {
    let statement = before.rsplit(';').next().unwrap_or("").trim().to_uppercase();
    let offered: Vec<Completion> = match statement.as_str() {
        "SET" | "UNSET" => PROPERTIES.iter().map(|p| Completion::plain(p.name, "property")).collect(),
        _ if place.property.as_deref().is_some_and(|name| OF_FORMAT.contains(&name)) => {
            Format::ALL.iter().map(|format| Completion::plain(format.name(), "format")).collect()
        }
        _ => topics(names),
    };
    offered.into_iter().filter(|option| option.label.starts_with(begun)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::introspect::names::SourceNames;

    fn options(text: &str) -> (usize, Vec<Completion>) {
        let at = text.find('|').unwrap_or(text.len());
        let text = text.replace('|', "");
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let columns =
            |columns: &[(&str, &str)]| columns.iter().map(|(n, ty)| ((*n).to_owned(), (*ty).to_owned())).collect();
        let sensors = SourceNames {
            is_table: false,
            topic: "sensors".to_owned(),
            columns: columns(&[("SEAT", "INTEGER"), ("SPEED", "DOUBLE")]),
        };
        let cars = SourceNames { is_table: true, topic: "Cars".to_owned(), columns: columns(&[("CAR", "STRING")]) };
        let names = Names {
            sources: list(&["SENSORS", "sEl x"]),
            columns: list(&["CAR", "SEAT", "SPEED"]),
            queries: list(&["CTAS_C_1"]),
            topics: list(&["sensors", "Cars"]),
            schemas: [("SENSORS".to_owned(), sensors), ("CARS".to_owned(), cars)].into(),
        };
        complete(&text, at, &names)
    }

    fn offered(text: &str) -> (usize, Vec<String>) {
        let (start, options) = options(text);
        (start, options.into_iter().map(|option| option.label).collect())
    }

    fn words(text: &str) -> Vec<String> {
        offered(text).1
    }

    #[test]
    fn names_come_first_and_keep_the_case() {
        assert_eq!(offered("sel"), (0, vec!["`sEl x`".to_owned(), "select".to_owned()]));
        assert_eq!(offered("select * from SEN"), (14, vec!["SENSORS".to_owned()]));
        assert_eq!(words("select * from sens"), ["sensors"]);
        assert_eq!(words("select * from se"), ["sensors", "`sEl x`"]);
        assert_eq!(words("select "), ["car", "seat", "speed"]);
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

    #[test]
    fn columns_are_those_of_the_sources_around_the_cursor() {
        assert_eq!(words("SELECT | FROM sensors;"), ["SEAT", "SPEED"], "the source is behind the cursor");
        assert_eq!(words("SELECT SEAT, | FROM sensors;"), ["SEAT", "SPEED"]);
        assert_eq!(words("SELECT c.| FROM sensors s JOIN cars AS c ON s.seat = c.car"), ["car"]);
        assert_eq!(words("select s.sp| from sensors s join cars c on s.seat = c.car"), ["speed"]);
        assert_eq!(words("SELECT nosuch.| FROM sensors s"), Vec::<String>::new());
        assert_eq!(words("SHOW TABLES; SELECT | FROM cars; SELECT 1 FROM sensors;"), ["CAR"]);
        assert_eq!(words("INSERT INTO sensors (|"), ["seat", "speed"]);
    }

    #[test]
    fn few_words_follow_some() {
        assert_eq!(words("SELECT * FROM sensors EMIT "), ["CHANGES", "FINAL"]);
        assert_eq!(words("select * from sensors window t"), ["tumbling"]);
        assert_eq!(words("select * from sensors group "), ["by"]);
        assert!(words("SHOW ").contains(&"QUERIES".to_owned()));
        assert_eq!(words("CREATE STREAM s (a INT) WITH (VALUE_F"), ["VALUE_FORMAT"]);
        assert_eq!(
            words("CREATE STREAM s (a INT) WITH (KAFKA_TOPIC='x', VALUE_FORMAT='PROTO|"),
            ["PROTOBUF", "PROTOBUF_NOSR"]
        );
    }

    #[test]
    fn an_option_says_what_it_is() {
        let (_, all) = options("SELECT SUBSTRI");
        assert_eq!((all[0].label.as_str(), all[0].kind), ("SUBSTRING", "function"));
        assert!(all[0].detail.as_deref().is_some_and(|calls| calls.contains("SUBSTRING(STRING, INTEGER) -> STRING")));
        assert!(all[0].doc.is_some());
        let (_, all) = options("SELECT SPE| FROM sensors");
        assert_eq!((all[0].kind, all[0].detail.as_deref()), ("column", Some("DOUBLE, SENSORS")));
        let (_, all) = options("SELECT * FROM SENS");
        assert_eq!((all[0].kind, all[0].detail.as_deref()), ("stream", Some("topic sensors")));
    }
}
