//! What a client says beside its queries, read from the first words of a statement.
//!
//! ```text
//! BEGIN                                    transactions, which group nothing
//! SET x = y, SHOW x, RESET x, DISCARD ALL  settings of the session
//! DECLARE c CURSOR FOR SELECT ...          cursors: a query whose rows are fetched later
//! COPY (SELECT ...) TO STDOUT              rows in bulk
//! PREPARE p AS SELECT ..., EXECUTE p (1)   statements with parameters
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
    /// A statement under a name, the types of its parameters, and where it begins.
    Prepare {
        name: String,
        types: Vec<String>,
        query: usize,
    },
    Execute {
        name: String,
        arguments: Vec<Argument>,
    },
    /// LISTEN, NOTIFY, UNLISTEN: no channel has notifications.
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
                // What it runs may have none, which its portal knows.
                | Verb::Execute { .. }
                | Verb::Engine { rows: true }
        )
    }
}

/// A value of EXECUTE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    /// A literal as the text of its type; `None` = NULL.
    Value(Option<String>),
    /// Anything else, as it was written.
    Expression(String),
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
        "prepare" => prepare(words)?,
        "execute" => execute(text, words)?,
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
        "notify" => Verb::Listen("NOTIFY"),
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

/// `PREPARE name [(type, ...)] AS statement`
fn prepare(mut words: Scanner<'_>) -> Result<Verb, Failure> {
    let wrong =
        || Failure::new(SYNTAX, "syntax error in PREPARE").with_hint("PREPARE name (integer, text) AS SELECT ...");
    let name = name(&mut words)?;
    let mut types = Vec::new();
    if matches!(words.clone().next(), Some((Token::Symbol('('), _))) {
        words.next();
        let (mut depth, mut ty) = (0_usize, String::new());
        loop {
            match words.next().ok_or_else(wrong)?.0 {
                Token::Symbol(')') if depth == 0 => break types.push(ty),
                Token::Symbol(',') if depth == 0 => types.push(std::mem::take(&mut ty)),
                Token::Symbol('(') => depth += 1,
                Token::Symbol(')') => depth -= 1,
                // The length of a type says nothing about a value.
                _ if depth > 0 => {}
                Token::Symbol(symbol) => ty.push(symbol),
                token => {
                    let space = if ty.is_empty() || ty.ends_with('<') { "" } else { " " };
                    ty = ty + space + &token.name().ok_or_else(wrong)?;
                }
            }
        }
    }
    match words.next() {
        Some((token, _)) if token.is("as") => Ok(Verb::Prepare { name, types, query: words.rest() }),
        _ => Err(wrong()),
    }
}

/// `EXECUTE name [(value, ...)]`
fn execute(text: &str, mut words: Scanner<'_>) -> Result<Verb, Failure> {
    let wrong = || Failure::new(SYNTAX, "syntax error in EXECUTE").with_hint("EXECUTE name (1, 'text')");
    let name = name(&mut words)?;
    let mut arguments = Vec::new();
    match words.next() {
        None => return Ok(Verb::Execute { name, arguments }),
        Some((Token::Symbol('('), _)) => {}
        Some(_) => return Err(wrong()),
    }
    let (mut depth, mut start, mut tokens) = (0_usize, words.rest(), Vec::new());
    while let Some((token, span)) = words.next() {
        match &token {
            Token::Symbol(end @ (')' | ',')) if depth == 0 => {
                arguments.push(argument(&tokens, text[start..span.start].trim()).ok_or_else(wrong)?);
                match (end, words.clone().next()) {
                    (')', None) => return Ok(Verb::Execute { name, arguments }),
                    (')', Some(_)) => return Err(wrong()),
                    _ => {}
                }
                start = span.end;
                tokens.clear();
                continue;
            }
            Token::Symbol('(' | '[') => depth += 1,
            Token::Symbol(')' | ']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        tokens.push(token);
    }
    Err(wrong())
}

fn argument(tokens: &[Token<'_>], source: &str) -> Option<Argument> {
    Some(match tokens {
        [] => return None,
        [Token::Text(text)] => Argument::Value(Some(text.clone())),
        [Token::Number(number)] => Argument::Value(Some((*number).to_owned())),
        [Token::Symbol('-'), Token::Number(number)] => Argument::Value(Some(format!("-{number}"))),
        [token] if token.is("null") => Argument::Value(None),
        [token] if token.is("true") || token.is("false") => Argument::Value(token.name()),
        _ => Argument::Expression(source.to_owned()),
    })
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
    fn prepared_statements_have_types_and_values() {
        let text = "PREPARE p (integer, double precision, varchar(3), int[]) AS SELECT $1";
        let Verb::Prepare { name, types, query } = read(text) else { panic!() };
        assert_eq!((name.as_str(), &text[query..]), ("p", "SELECT $1"));
        assert_eq!(types, ["integer", "double precision", "varchar", "int[]"]);
        let values = |text: &str| match read(text) {
            Verb::Execute { arguments, .. } => arguments,
            other => panic!("{other:?}"),
        };
        let value = |text: &str| Argument::Value(Some(text.to_owned()));
        assert_eq!(values("EXECUTE p"), []);
        assert_eq!(
            values("execute p (-1, 'it''s, (x)', NULL, f(1, 2) + 3)"),
            [value("-1"), value("it's, (x)"), Argument::Value(None), Argument::Expression("f(1, 2) + 3".to_owned())]
        );
        for wrong in ["PREPARE p", "PREPARE p (int AS SELECT 1", "EXECUTE p (1", "EXECUTE p (1,)", "EXECUTE p (1) x"] {
            assert!(verb(wrong, &Settings::default()).is_err(), "{wrong}");
        }
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
