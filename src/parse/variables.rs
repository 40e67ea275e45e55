//! `${name}`: text put in before a statement is read.

use super::lex::STATEMENT_BYTES_MAX;
use super::syntax_error::{SYNTAX_ERROR, line_and_column};
use crate::error::{Error, Result, Span};
use crate::types::nearest;
use std::collections::BTreeMap;

/// Longest name that is said back.
const NAME_BYTES_MAX: usize = 100;

/// Replaces every `${name}` by the variable's text, in strings as well; a name that is not defined stays as it is, and
/// what is put in is not looked at again. Names are compared without case.
pub fn substitute(text: &str, variables: &BTreeMap<String, String>) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, reference) = rest.split_at(start);
        out.push_str(before);
        let end = reference.find('}').map_or(reference.len(), |n| n + 1);
        let name = reference[2..end].trim_end_matches('}').trim();
        match lookup(variables, name) {
            Some(value) => {
                out.push_str(value);
                rest = &reference[end..];
            }
            None => {
                out.push_str("${");
                rest = &reference[2..];
            }
        }
        // A short text can name a long variable many times.
        if out.len() > text.len() + STATEMENT_BYTES_MAX {
            return Err(Error::statement("the variables make the statement too long")
                .with_detail(format!("more than {STATEMENT_BYTES_MAX} bytes were put in")));
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Rewords a syntax error at a `${name}` of this text: the variable is not defined.
pub fn explained(error: Error, text: &str, variables: &BTreeMap<String, String>) -> Error {
    let found = error.span().and_then(|span| reference_at(text, span.start));
    let (true, Some((name, place))) = (error.message().contains(SYNTAX_ERROR), found) else { return error };
    let (line, column) = line_and_column(text, place.start);
    let message = format!("line {line}:{column}: {SYNTAX_ERROR}The variable ${{{name}}} is not defined");
    let hint = match nearest(name, variables.keys().map(String::as_str)) {
        Some(near) if name.contains(char::is_uppercase) => format!("did you mean ${{{near}}}?"),
        Some(near) => format!("did you mean ${{{}}}?", near.to_lowercase()),
        None => format!("DEFINE {name} = '...'; defines it"),
    };
    error.reworded(message).only_at(place).with_hint(hint)
}

/// The name in the `${name}` that begins here or just before: an error may be about the brace or the name in it.
fn reference_at(text: &str, at: usize) -> Option<(&str, Span)> {
    let start =
        (at.saturating_sub(2)..=at).rev().find(|from| text.get(*from..).is_some_and(|t| t.starts_with("${")))?;
    let (inside, _) = text[start + 2..].split_once('}')?;
    let name = inside.trim();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (is_name && name.len() <= NAME_BYTES_MAX).then(|| (name, Span::new(start, start + inside.len() + 3)))
}

fn lookup<'a>(variables: &'a BTreeMap<String, String>, name: &str) -> Option<&'a String> {
    variables.get(name).or_else(|| variables.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v))
}
