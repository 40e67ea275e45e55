//! Words about the prompt itself, with a backslash as psql has them, or alone: what is typed, read into a [`Meta`].
//!
//! ```text
//! \x auto            Expand(Auto)         SELECT * FROM t \gx     Go: the statement, one value a line
//! \d cars            Say("DESCRIBE cars;") SELECT 1 \watch 2       Watch: the statement every two seconds
//! \foo               Unknown: "there is no \foo"
//! ```

use crate::parse::words::{KEYWORDS, STATEMENTS};
use crate::types::nearest;
use std::time::Duration;

/// Words without a backslash.
pub(crate) const WORDS: &[&str] = &["help", "exit", "quit", "version", "clear", "history", "output"];

/// Words with one.
pub(crate) const BACKSLASHED: &[&str] = &[
    "\\!",
    "\\?",
    "\\c",
    "\\conninfo",
    "\\copy",
    "\\d",
    "\\dT",
    "\\df",
    "\\dq",
    "\\ds",
    "\\dt",
    "\\e",
    "\\echo",
    "\\g",
    "\\gx",
    "\\h",
    "\\i",
    "\\l",
    "\\o",
    "\\pset",
    "\\q",
    "\\s",
    "\\timing",
    "\\watch",
    "\\x",
];

/// Time between two runs of `\watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// When rows are written one value a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expand {
    Always,
    Never,
    /// Where they do not fit the terminal.
    Auto,
    /// The other one.
    Flip,
}

/// A word about the prompt itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meta<'a> {
    Help,
    Leave,
    Version,
    Clear,
    History,
    /// `\h [STATEMENT]`
    Syntax(&'a str),
    Output(&'a str),
    Expand(Expand),
    /// The pager on or off; `None` = the other one.
    Pager(Option<bool>),
    /// Whether the time of statements is shown; `None` = the other one.
    Timing(Option<bool>),
    /// Results go to a file from now on; `None` = to the terminal again.
    Into(Option<&'a str>),
    /// Runs a statement, the last one if it is empty; to a file, or one value a line.
    Go {
        statement: &'a str,
        file: Option<&'a str>,
        expanded: bool,
    },
    /// Runs it again and again.
    Watch {
        statement: &'a str,
        every: Duration,
    },
    /// Opens an editor with the last statement, or a file.
    Edit(Option<&'a str>),
    /// Goes to another place; `None` = says where it is.
    Connect(Option<&'a str>),
    /// Lists the places that there are to work on.
    Places,
    /// Runs a command of the shell.
    Shell(&'a str),
    Echo(&'a str),
    /// A shorthand for statements.
    Say(String),
    /// It cannot be done, and why.
    Wrong(String),
    /// A word alone, and none that is known.
    Unknown(&'a str),
}

/// Reads what was entered; `None` = statements.
pub(crate) fn meta(said: &str) -> Option<Meta<'_>> {
    let text = said.trim().trim_end_matches(';').trim_end();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    if word.starts_with('\\') {
        return Some(backslashed(word, rest));
    }
    if let Some(go) = sent(said.trim()) {
        return Some(go);
    }
    // Otherwise a new user would wait for a result, and the prompt for a semicolon.
    let is_alone = rest.is_empty() && !said.contains(['\n', ';']) && word.chars().all(char::is_alphabetic);
    Some(match word.to_ascii_lowercase().as_str() {
        "output" => Meta::Output(rest),
        _ if !rest.is_empty() => return None,
        "help" | "?" => Meta::Help,
        "exit" | "quit" => Meta::Leave,
        "version" => Meta::Version,
        "clear" => Meta::Clear,
        "history" => Meta::History,
        _ if is_alone && !word.is_empty() && KEYWORDS.binary_search(&word.to_uppercase().as_str()).is_err() => {
            Meta::Unknown(word)
        }
        _ => return None,
    })
}

/// A statement that `\g`, `\gx` or `\watch` ends instead of a semicolon, outside of quotes.
fn sent(text: &str) -> Option<Meta<'_>> {
    let at = text.rfind('\\')?;
    let (statement, word) = (text[..at].trim(), &text[at..]);
    if statement.is_empty() || statement.matches('\'').count() % 2 == 1 {
        return None;
    }
    let (word, rest) = word.split_once(char::is_whitespace).unwrap_or((word, ""));
    match go(word, rest.trim(), statement) {
        Some(Meta::Unknown(_)) | None => None,
        go => go,
    }
}

fn go<'a>(word: &str, rest: &'a str, statement: &'a str) -> Option<Meta<'a>> {
    let file = Some(rest).filter(|rest| !rest.is_empty());
    Some(match word {
        "\\g" => Meta::Go { statement, file, expanded: false },
        "\\gx" => Meta::Go { statement, file, expanded: true },
        "\\watch" => match file.map_or(Ok(WATCH_INTERVAL), seconds) {
            Ok(every) => Meta::Watch { statement, every },
            Err(why) => Meta::Wrong(why),
        },
        _ => return None,
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().filter(|n| (0.1..=86_400.0).contains(n));
    number.map(Duration::from_secs_f64).ok_or_else(|| format!("\\watch takes seconds from 0.1 to 86400, not {text}"))
}

fn switch(word: &str, rest: &str) -> Result<Option<bool>, String> {
    match rest {
        "" => Ok(None),
        "on" => Ok(Some(true)),
        "off" => Ok(Some(false)),
        _ => Err(format!("{word} is on or off, not {rest}")),
    }
}

/// The words with a backslash, as psql has them.
fn backslashed<'a>(word: &'a str, rest: &'a str) -> Meta<'a> {
    let say = |statements: &str| Meta::Say(statements.to_owned());
    let given = Some(rest).filter(|rest| !rest.is_empty());
    match (word, rest) {
        ("\\?", "") => Meta::Help,
        ("\\q", "") => Meta::Leave,
        ("\\s", "") => Meta::History,
        ("\\h", _) => Meta::Syntax(rest),
        ("\\x", "") => Meta::Expand(Expand::Flip),
        ("\\x", "on") => Meta::Expand(Expand::Always),
        ("\\x", "off") => Meta::Expand(Expand::Never),
        ("\\x", "auto") => Meta::Expand(Expand::Auto),
        ("\\x", _) => Meta::Wrong(format!("\\x is on, off or auto, not {rest}")),
        ("\\timing", _) => switch(word, rest).map_or_else(Meta::Wrong, Meta::Timing),
        ("\\pset", "pager") => Meta::Pager(None),
        ("\\pset", "pager on") => Meta::Pager(Some(true)),
        ("\\pset", "pager off") => Meta::Pager(Some(false)),
        ("\\pset", _) => match rest.strip_prefix("format") {
            Some(format) => Meta::Output(format.trim()),
            None => Meta::Wrong("\\pset takes pager [on|off], or format FORMAT".to_owned()),
        },
        ("\\o", _) => Meta::Into(given),
        ("\\e", _) => Meta::Edit(given),
        ("\\c" | "\\connect", _) => Meta::Connect(given),
        ("\\conninfo", "") => Meta::Connect(None),
        ("\\l" | "\\list", "") => Meta::Places,
        ("\\!", _) => Meta::Shell(rest),
        ("\\echo", _) => Meta::Echo(rest),
        ("\\copy", _) => copy(rest),
        ("\\d", "") => say("SHOW STREAMS; SHOW TABLES;"),
        ("\\d", name) => Meta::Say(format!("DESCRIBE {name};")),
        ("\\ds", "") => say("SHOW STREAMS;"),
        ("\\dt", "") => say("SHOW TABLES;"),
        ("\\dq", "") => say("SHOW QUERIES;"),
        ("\\dT", "") => say("SHOW TOPICS;"),
        ("\\df", "") => say("SHOW FUNCTIONS;"),
        ("\\df", name) => Meta::Say(format!("DESCRIBE FUNCTION {name};")),
        ("\\i", file) if !file.is_empty() => Meta::Say(format!("RUN SCRIPT '{}';", file.replace('\'', "''"))),
        ("\\i", _) => Meta::Wrong("\\i takes a file".to_owned()),
        _ => go(word, rest, "").unwrap_or(Meta::Unknown(word)),
    }
}

/// `\copy t TO 'file'` and `\copy (SELECT ...) TO 'file'`.
fn copy<'a>(rest: &str) -> Meta<'a> {
    let upper = rest.to_ascii_uppercase();
    match (rest.starts_with('('), upper.find(" TO "), upper.contains(" FROM ")) {
        (true, ..) => Meta::Say(format!("COPY {rest};")),
        (false, Some(at), _) => {
            let (name, to) = (rest[..at].trim(), &rest[at + " TO ".len()..]);
            let to = to.trim();
            let to = if to.starts_with('\'') { to.to_owned() } else { format!("'{}'", to.replace('\'', "''")) };
            Meta::Say(format!("COPY (SELECT * FROM {name}) TO {to};"))
        }
        (false, None, true) => {
            Meta::Wrong("\\copy writes files only; tidegate topic produce reads lines into a topic".to_owned())
        }
        (false, None, false) => Meta::Wrong("\\copy takes NAME TO FILE, or (SELECT ...) TO FILE".to_owned()),
    }
}

/// What is said of a word that is not known.
pub(crate) fn unknown(word: &str) -> String {
    if word.starts_with('\\') {
        // A letter that another command begins with is nearer than one letter is to any other.
        let begins = BACKSLASHED.iter().copied().find(|known| known.len() > 2 && known.starts_with(word));
        let near = begins.or_else(|| nearest(word, BACKSLASHED.iter().copied()));
        return match near {
            Some(near) => format!("there is no {word}: did you mean {near}? \\? lists them"),
            None => format!("there is no {word}; \\? lists what there is"),
        };
    }
    let near = nearest(word, WORDS.iter().chain(STATEMENTS).copied());
    let meant = near.map(|near| format!("did you mean {near}? ")).unwrap_or_default();
    format!("unknown command {word}: {meant}type help for a list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_about_the_prompt_are_no_statements() {
        assert_eq!(meta(" Exit ; "), Some(Meta::Leave));
        assert_eq!(meta("output json"), Some(Meta::Output("json")));
        assert_eq!(meta("history"), Some(Meta::History));
        assert_eq!(meta("select 1;"), None);
        assert_eq!(meta("help me"), None);
        assert_eq!(meta("hlep"), Some(Meta::Unknown("hlep")));
        assert_eq!((meta("Select"), meta("select\n"), meta("hlep;"), meta("hlep\nme")), (None, None, None, None));
        assert_eq!(meta(" \\d cars ;"), Some(Meta::Say("DESCRIBE cars;".to_owned())));
        assert_eq!(meta("\\i it's.sql"), Some(Meta::Say("RUN SCRIPT 'it''s.sql';".to_owned())));
        assert_eq!(meta("\\pset pager off"), Some(Meta::Pager(Some(false))));
        assert_eq!((meta("\\l"), meta("\\list;")), (Some(Meta::Places), Some(Meta::Places)));
        assert_eq!(meta("\\y"), Some(Meta::Unknown("\\y")));
    }

    #[test]
    fn a_backslash_may_end_a_statement() {
        let go = |statement, file, expanded| Some(Meta::Go { statement, file, expanded });
        assert_eq!(meta("SELECT 1 \\gx"), go("SELECT 1", None, true));
        assert_eq!(meta("SELECT 1\n\\g out.txt"), go("SELECT 1", Some("out.txt"), false));
        assert_eq!(meta("\\g"), go("", None, false));
        let every = Duration::from_millis(500);
        assert_eq!(meta("SELECT 1 \\watch 0.5"), Some(Meta::Watch { statement: "SELECT 1", every }));
        assert!(matches!(meta("\\watch x"), Some(Meta::Wrong(_))));
        assert_eq!(meta("SELECT 'a \\g"), None, "a quote is open");
        assert_eq!(meta("SELECT 'C:\\temp';"), None);
    }

    #[test]
    fn an_unknown_one_is_named_with_what_is_near() {
        assert!(unknown("\\tming").contains("did you mean \\timing?"), "{}", unknown("\\tming"));
        assert!(unknown("\\foo").starts_with("there is no \\foo"));
        assert!(unknown("\\wat").contains("\\watch"));
        assert_eq!(unknown("hlep"), "unknown command hlep: did you mean help? type help for a list");
        let copy = |text: &str| match meta(text) {
            Some(Meta::Say(said)) => said,
            other => format!("{other:?}"),
        };
        assert_eq!(copy("\\copy t to f.csv"), "COPY (SELECT * FROM t) TO 'f.csv';");
        assert_eq!(copy("\\copy (SELECT 1) TO 'f.csv'"), "COPY (SELECT 1) TO 'f.csv';");
    }
}
