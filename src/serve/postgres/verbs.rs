//! What a client says beside its queries, read from the first words of a statement.
//!
//! ```text
//! BEGIN                                    transactions, which group nothing
//! SET x = y, SHOW x, RESET x, DISCARD ALL  settings of the session
//! DECLARE c CURSOR FOR SELECT ...          cursors: a query whose rows are fetched later
//! COPY (SELECT ...) TO STDOUT              rows in bulk
//! SUBSCRIBE TO x                           a push query with the time and the kind of each change
//! anything else                            the engine's
//! ```

use super::errors::{Failure, SYNTAX};
use super::scan::{Scanner, Token, scan};
use super::settings::{Settings, duration};
use std::time::Duration;

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verb {
    Begin,
    Commit,
    Rollback,
    /// ROLLBACK TO, SAVEPOINT, RELEASE: there is nothing that they could affect.
    Savepoint(&'static str),
    /// A setting; `None` = its default.
    Set {
        name: String,
        value: Option<String>,
    },
    /// SET of what has no setting: TRANSACTION, SESSION CHARACTERISTICS.
    SetNothing,
    Show(String),
    ShowAll,
    ResetAll,
    Discard(String),
    /// A prepared statement; `None` = all.
    Deallocate(Option<String>),
    Declare {
        name: String,
        query: usize,
    },
    Fetch {
        name: String,
        rows: Fetched,
        timeout: Option<Duration>,
        is_move: bool,
    },
    /// A cursor; `None` = all.
    Close(Option<String>),
    /// COPY ... TO STDOUT or FROM STDIN.
    Copy,
    /// Where the query begins: a name or a SELECT in parentheses.
    Subscribe {
        query: usize,
    },
    /// LISTEN, UNLISTEN: no channel has notifications.
    Listen(&'static str),
    /// SELECT, WITH, VALUES, TABLE.
    Query,
    /// A statement of the engine; whether it returns rows.
    Engine {
        rows: bool,
    },
}

impl Verb {
    /// Whether it returns rows and changes nothing.
    pub(super) fn has_rows(&self) -> bool {
        matches!(
            self,
            Verb::Query
                | Verb::Show(_)
                | Verb::ShowAll
                | Verb::Fetch { is_move: false, .. }
                | Verb::Subscribe { .. }
                | Verb::Engine { rows: true }
        )
    }
}

/// How many rows a FETCH is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    Count(usize),
    /// What is there; at least one, unless the query has ended.
    All,
}

/// Words of SHOW that are the engine's.
const ENGINE_SHOWS: &[&str] = &[
    "streams",
    "tables",
    "topics",
    "queries",
    "functions",
    "properties",
    "types",
    "schemas",
    "variables",
    "connectors",
    "connector",
    "all",
];

/// Reads the verb of one statement.
pub(super) fn verb(text: &str, settings: &Settings) -> Result<Verb, Failure> {
    let mut words = scan(text);
    let Some((Token::Word(first), _)) = words.next() else { return Ok(Verb::Query) };
    Ok(match first.to_ascii_lowercase().as_str() {
        "begin" => Verb::Begin,
        "start" if next_is(&words, "transaction") => Verb::Begin,
        "commit" | "end" => Verb::Commit,
        "rollback" | "abort" => match words.clone().any(|(word, _)| word.is("to")) {
            true => Verb::Savepoint("ROLLBACK"),
            false => Verb::Rollback,
        },
        "savepoint" => Verb::Savepoint("SAVEPOINT"),
        "release" => Verb::Savepoint("RELEASE"),
        "set" => set(words, settings)?,
        "show" => show(words, settings),
        "reset" => match name(&mut words)?.as_str() {
            "all" => Verb::ResetAll,
            name => Verb::Set { name: name.to_owned(), value: None },
        },
        "discard" => Verb::Discard(name(&mut words)?.to_uppercase()),
        "deallocate" => {
            let mut name_or_all = name(&mut words)?;
            if name_or_all == "prepare" {
                name_or_all = name(&mut words)?;
            }
            Verb::Deallocate((name_or_all != "all").then_some(name_or_all))
        }
        "declare" => declare(words)?,
        "fetch" => fetch(words, false)?,
        "move" => fetch(words, true)?,
        "close" => {
            let name_or_all = name(&mut words)?;
            Verb::Close((name_or_all != "all").then_some(name_or_all))
        }
        "copy" if copies_here(words.clone()) => Verb::Copy,
        "subscribe" => {
            if next_is(&words, "to") {
                words.next();
            }
            Verb::Subscribe { query: words.rest() }
        }
        "listen" => Verb::Listen("LISTEN"),
        "unlisten" => Verb::Listen("UNLISTEN"),
        "select" | "with" | "values" | "table" => Verb::Query,
        "list" | "describe" | "explain" | "print" | "verify" => Verb::Engine { rows: true },
        _ => Verb::Engine { rows: false },
    })
}

fn next_is(words: &Scanner<'_>, word: &str) -> bool {
    words.clone().next().is_some_and(|(token, _)| token.is(word))
}

fn name(words: &mut Scanner<'_>) -> Result<String, Failure> {
    let name = words.next().and_then(|(token, _)| token.name());
    name.ok_or_else(|| Failure::new(SYNTAX, "syntax error: expected a name"))
}

/// COPY to or from the client; COPY to a file is the prompt's.
fn copies_here(mut words: Scanner<'_>) -> bool {
    words.any(|(word, _)| word.is("stdout") || word.is("stdin"))
}

fn set(mut words: Scanner<'_>, settings: &Settings) -> Result<Verb, Failure> {
    // SET 'property' = 'value' is the engine's.
    if matches!(words.clone().next(), Some((Token::Text(_), _))) {
        return Ok(Verb::Engine { rows: false });
    }
    if next_is(&words, "session") || next_is(&words, "local") {
        words.next();
    }
    let mut name = name(&mut words)?;
    match name.as_str() {
        "transaction" | "characteristics" | "constraints" | "authorization" => return Ok(Verb::SetNothing),
        "time" if next_is(&words, "zone") => {
            words.next();
            return Ok(Verb::Set { name: "timezone".to_owned(), value: value(&mut words) });
        }
        "names" => return Ok(Verb::Set { name: "client_encoding".to_owned(), value: value(&mut words) }),
        _ => {}
    }
    while let Some((Token::Symbol('.'), _)) = words.clone().next() {
        words.next();
        name = format!("{name}.{}", self::name(&mut words)?);
    }
    match words.next() {
        Some((Token::Symbol('='), _)) => {}
        Some((token, _)) if token.is("to") => {}
        _ if settings.has(&name) => return Err(Failure::new(SYNTAX, "syntax error: expected TO or =")),
        _ => return Ok(Verb::Engine { rows: false }),
    }
    Ok(Verb::Set { name, value: value(&mut words) })
}

/// The value of SET; `None` = DEFAULT.
fn value(words: &mut Scanner<'_>) -> Option<String> {
    let mut values = Vec::new();
    let mut sign = "";
    for (token, _) in words {
        match &token {
            Token::Symbol('-') => sign = "-",
            Token::Symbol(_) => {}
            token if token.is("default") && values.is_empty() => return None,
            token => values.extend(token.name().map(|value| format!("{}{value}", std::mem::take(&mut sign)))),
        }
    }
    Some(values.join(", "))
}

fn show(mut words: Scanner<'_>, settings: &Settings) -> Verb {
    let whole = words.clone();
    let Some(mut first) = words.next().and_then(|(token, _)| token.name()) else { return Verb::Engine { rows: true } };
    if first == "all" && words.clone().next().is_none() {
        return Verb::ShowAll;
    }
    if ENGINE_SHOWS.contains(&first.as_str()) {
        return Verb::Engine { rows: true };
    }
    let rest: Vec<String> = whole.filter_map(|(token, _)| token.name()).collect();
    match rest.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["transaction", "isolation", "level"] => first = "transaction_isolation".to_owned(),
        ["time", "zone"] => first = "timezone".to_owned(),
        _ => first = rest.join("."),
    }
    match settings.has(&first) || rest.len() == 1 || first.contains('.') {
        true => Verb::Show(first),
        false => Verb::Engine { rows: true },
    }
}

fn declare(mut words: Scanner<'_>) -> Result<Verb, Failure> {
    let name = name(&mut words)?;
    while let Some((token, _)) = words.next() {
        if token.is("for") {
            return Ok(Verb::Declare { name, query: words.rest() });
        }
    }
    Err(Failure::new(SYNTAX, "syntax error: expected FOR and a query").with_hint("DECLARE name CURSOR FOR SELECT ..."))
}

/// `FETCH [NEXT | FORWARD] [n | ALL] [FROM | IN] name [WITH (timeout = '1s')]`
fn fetch(mut words: Scanner<'_>, is_move: bool) -> Result<Verb, Failure> {
    let mut rows = Fetched::Count(1);
    let backwards = || {
        Failure::new(super::errors::NOT_SUPPORTED, "cursors only move forward")
            .with_hint("FETCH FORWARD n FROM name, or FETCH ALL FROM name")
    };
    let name = loop {
        let (token, _) = words.next().ok_or_else(|| Failure::new(SYNTAX, "syntax error: expected a cursor's name"))?;
        match &token {
            token if token.is("next") || token.is("forward") || token.is("from") || token.is("in") => {}
            token if token.is("all") => rows = Fetched::All,
            token
                if ["backward", "prior", "first", "last", "absolute", "relative"].iter().any(|word| token.is(word)) =>
            {
                return Err(backwards());
            }
            Token::Symbol(_) => return Err(backwards()),
            Token::Number(number) => {
                let count =
                    number.parse().map_err(|_| Failure::new(SYNTAX, "syntax error: expected a number of rows"))?;
                rows = Fetched::Count(count);
            }
            token => break token.name().unwrap_or_default(),
        }
    };
    let mut timeout = None;
    if next_is(&words, "with") {
        let text = words.filter_map(|(token, _)| token.name()).skip_while(|word| word != "timeout").nth(1);
        let wrong = || Failure::new(SYNTAX, "syntax error: expected WITH (timeout = '1s')");
        timeout = Some(text.as_deref().and_then(duration).ok_or_else(wrong)?);
    }
    Ok(Verb::Fetch { name, rows, timeout, is_move })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Verb {
        verb(text, &Settings::default()).unwrap()
    }

    fn set(name: &str, value: &str) -> Verb {
        Verb::Set { name: name.to_owned(), value: Some(value.to_owned()) }
    }

    #[test]
    fn what_clients_say_is_recognised() {
        assert_eq!(read("/* x */ begin isolation level serializable"), Verb::Begin);
        assert_eq!(read("ROLLBACK TO SAVEPOINT s"), Verb::Savepoint("ROLLBACK"));
        assert_eq!(read("SET extra_float_digits = 3"), set("extra_float_digits", "3"));
        assert_eq!(read("SET SESSION search_path TO a, \"B\""), set("search_path", "a, B"));
        assert_eq!(read("SET TIME ZONE 'UTC'"), set("timezone", "UTC"));
        assert_eq!(read("SET auto.offset.reset = 'earliest'"), set("auto.offset.reset", "earliest"));
        assert_eq!(read("SET TRANSACTION READ ONLY"), Verb::SetNothing);
        assert_eq!(read("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"), Verb::SetNothing);
        assert_eq!(read("SET 'auto.offset.reset' = 'earliest'"), Verb::Engine { rows: false });
        assert_eq!(read("SHOW TRANSACTION ISOLATION LEVEL"), Verb::Show("transaction_isolation".to_owned()));
        assert_eq!(read("show standard_conforming_strings"), Verb::Show("standard_conforming_strings".to_owned()));
        assert_eq!(read("SHOW ALL TOPICS"), Verb::Engine { rows: true });
        assert_eq!(read("SHOW STREAMS EXTENDED"), Verb::Engine { rows: true });
        assert_eq!(read("SHOW ALL"), Verb::ShowAll);
        assert_eq!(read("DEALLOCATE PREPARE \"S_1\""), Verb::Deallocate(Some("S_1".to_owned())));
        assert_eq!(read("SELECT 1"), Verb::Query);
    }

    #[test]
    fn cursors_have_names_counts_and_timeouts() {
        let text = "DECLARE \"C\" NO SCROLL CURSOR WITH HOLD FOR\nSELECT 1";
        let Verb::Declare { name, query } = read(text) else { panic!() };
        assert_eq!((name.as_str(), &text[query..]), ("C", "SELECT 1"));
        let fetch = |name: &str, rows, timeout: Option<u64>| Verb::Fetch {
            name: name.to_owned(),
            rows,
            timeout: timeout.map(Duration::from_millis),
            is_move: false,
        };
        assert_eq!(read("FETCH FORWARD 10 FROM _psql_cursor"), fetch("_psql_cursor", Fetched::Count(10), None));
        assert_eq!(read("FETCH ALL IN c"), fetch("c", Fetched::All, None));
        assert_eq!(read("fetch c"), fetch("c", Fetched::Count(1), None));
        assert_eq!(read("FETCH 100 c WITH (timeout='1s')"), fetch("c", Fetched::Count(100), Some(1_000)));
        assert!(verb("FETCH BACKWARD 1 FROM c", &Settings::default()).is_err());
        assert!(verb("FETCH -1 FROM c", &Settings::default()).is_err());
    }
}
