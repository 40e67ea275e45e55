//! `${name}`: text put in before a statement is read.

use super::lex::STATEMENT_BYTES_MAX;
use crate::error::{Error, Result};
use std::collections::BTreeMap;

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

fn lookup<'a>(variables: &'a BTreeMap<String, String>, name: &str) -> Option<&'a String> {
    variables.get(name).or_else(|| variables.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v))
}
