//! Callbacks of the line editor: where a statement ends, completion, colours, and what is still open.

use super::words::{BACKSLASHED, meta};
use crate::engine::introspect::names::Names;
use crate::engine::introspect::text::complete::complete;
use crate::parse::is_complete;
use crate::parse::words::KEYWORDS;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};
use std::borrow::Cow;

/// Callbacks of the line editor.
#[derive(Helper)]
pub(super) struct Words {
    pub(super) names: Names,
    pub(super) color: bool,
}

impl Hinter for Words {
    type Hint = String;

    /// On a new line of a statement: what is open, as the prompts of psql say it.
    fn hint(&self, line: &str, at: usize, _: &Context<'_>) -> Option<String> {
        let is_new_line = at == line.len() && line.ends_with('\n');
        is_new_line.then(|| open(line).to_owned())
    }
}

/// Words about the prompt itself that fit at the end of this text; `None` = it is a statement.
fn of_the_prompt(before: &str) -> Option<(usize, Vec<String>)> {
    let text = before.trim_start();
    let at = |rest: &str| before.len() - rest.len();
    if text.starts_with('\\') && !text.contains(char::is_whitespace) {
        let known = BACKSLASHED.iter().filter(|known| known.starts_with(text));
        return Some((at(text), known.map(|known| (*known).to_owned()).collect()));
    }
    let (word, rest) = text.split_once(' ')?;
    let begun = rest.trim_start();
    let of = |offered: &[&str]| {
        let fits = offered.iter().filter(|word| word.starts_with(begun));
        Some((at(begun), fits.map(|word| (*word).to_owned()).collect()))
    };
    match word {
        "output" => of(&["table", "vertical", "json", "csv", "tsv", "markdown"]),
        "\\x" => of(&["on", "off", "auto"]),
        "\\timing" => of(&["on", "off"]),
        "\\pset" => of(&["pager", "format"]),
        _ => None,
    }
}

/// What has to come before a statement is carried out.
fn open(text: &str) -> &'static str {
    let (mut quote, mut depth, mut rest) = (None, 0_i32, text);
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if rest.starts_with("--") => {
                rest = rest.find('\n').map_or("", |end| &rest[end..]);
                continue;
            }
            None if rest.starts_with("/*") => match rest.find("*/") {
                Some(end) => {
                    rest = &rest[end + 2..];
                    continue;
                }
                None => return "*> the comment is open: */ closes it",
            },
            None => match c {
                '\'' | '"' | '`' => quote = Some(c),
                '(' => depth += 1,
                ')' => depth -= 1,
                ';' => depth = 0,
                _ => {}
            },
        }
        rest = after;
    }
    match quote {
        Some('\'') => "'> the text is open: ' closes it",
        Some('"') => "\"> the name is open: \" closes it",
        Some(_) => "`> the name is open: ` closes it",
        None if depth > 0 => "(> a parenthesis is open",
        None => "-> a semicolon ends the statement, Ctrl-C drops it",
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        let done = meta(text).is_some() || is_complete(text);
        Ok(if done { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, words) = match of_the_prompt(&line[..at]) {
            Some(found) => found,
            None => {
                let (start, options) = complete(line, at, &self.names);
                (start, options.into_iter().map(|option| option.label).collect())
            }
        };
        Ok((start, words.into_iter().map(|w| Pair { display: w.clone(), replacement: w }).collect()))
    }
}

impl Highlighter for Words {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.color { Cow::Owned(highlighted(line)) } else { Cow::Borrowed(line) }
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        if self.color { Cow::Owned(format!("\x1b[1;36m{prompt}\x1b[0m")) } else { Cow::Borrowed(prompt) }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.color { Cow::Owned(format!("\x1b[90m{hint}\x1b[0m")) } else { Cow::Borrowed(hint) }
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.color
    }
}

/// Keywords bold, strings green, comments grey.
pub(in crate::cli) fn highlighted(line: &str) -> String {
    let mut out = String::with_capacity(line.len() * 2);
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let (length, style) = match first {
            '\'' | '`' | '"' => {
                let end = rest[1..].find(first).map_or(rest.len(), |n| n + 2);
                (end, if first == '\'' { "32" } else { "" })
            }
            '-' if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), "90"),
            c if c.is_alphanumeric() || c == '_' => {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
                let known = KEYWORDS.binary_search(&rest[..end].to_uppercase().as_str()).is_ok();
                (end, if known { "1" } else { "" })
            }
            c => (c.len_utf8(), ""),
        };
        let (word, after) = rest.split_at(length);
        match style {
            "" => out.push_str(word),
            style => out.extend(["\x1b[", style, "m", word, "\x1b[0m"]),
        }
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn highlighting_changes_no_character() {
        let line = "select 'a''b', `x` -- from é\nfrom é";
        let plain: String = ["\x1b[1m", "\x1b[32m", "\x1b[90m", "\x1b[0m"]
            .iter()
            .fold(highlighted(line), |text, code| text.replace(code, ""));
        assert_eq!(plain, line);
        assert!(highlighted(line).starts_with("\x1b[1mselect\x1b[0m \x1b[32m'a'"));
    }

    #[test]
    fn words_of_the_prompt_are_completed_at_its_beginning() {
        let words = |text: &str| of_the_prompt(text).map(|(_, words)| words);
        assert_eq!(words("\\tim"), Some(vec!["\\timing".to_owned()]));
        assert_eq!(of_the_prompt("output js"), Some((7, vec!["json".to_owned()])));
        assert_eq!(words("SELECT "), None);
    }

    #[test]
    fn a_new_line_says_what_is_open() {
        assert!(open("SELECT 'it\n").starts_with("'>"));
        assert!(open("SELECT (a,\n").starts_with("(>"));
        assert!(open("SELECT a -- it's\n").starts_with("->"));
        assert!(open("SELECT `a\n").starts_with("`>"));
        assert!(open("SELECT a /* b\n").starts_with("*>"));
    }
}
