//! Regular expressions as Java has them: look-around, back-references, `$1` in a replacement.
//!
//! A pattern is first put into the words of our engine: `\d`, `\w` and `\s` mean ASCII in Java, a dot no line's end of any
//! kind, `\Q...\E` is quoted text, `\p{Alpha}` a POSIX class. Matching stops after so many steps back: over that the row
//! is an error.

use super::Param::Is;
use super::kernel::{Numbers, REPLACED_BYTES_MAX, Texts, strings, text_lists};
use super::{Constants, Entry, ErrorSink, Overload, Returns, entry};
use crate::error::Result;
use crate::types::SqlType::{Integer, String as Text};
use arrow::datatypes::Int32Type;
use datafusion::logical_expr::ColumnarValue;
use fancy_regex::{Captures, Regex, RegexBuilder};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

const REGEX: &str = "REGULAR EXPRESSION";

/// Steps back that one search may take: far more than honest patterns need, and done in some milliseconds.
const BACKTRACKS_MAX: usize = 200_000;

/// Longest pattern, in bytes. Compiling takes time and memory by length, and a pattern may be a value of each row; the engine's own
/// bound on a compiled program (10 MB) is reached only after most of that time.
const PATTERN_BYTES_MAX: usize = 64 << 10;

/// Most bytes of a pattern times bytes of a text: so many comparisons a search may need, and they take a second or two. Backtracks
/// are not among them.
const COMPARISONS_MAX: usize = 256 << 20;

/// Patterns that a thread keeps compiled.
const COMPILED_MAX: usize = 64;

pub(super) static ENTRIES: &[Entry] = &[
    entry!("REGEXP_EXTRACT", REGEX, "Returns what a pattern, or one of its groups, matches first.",
        ["REGEXP_EXTRACT('(.*) (.*)', 'hello there', 2)" => "there", "REGEXP_EXTRACT('l+', 'hello')" => "ll"],
        [Overload::fallible(&[Is(Text), Is(Text)], Returns::Type(Text), extract).checked(|constants| check(constants, 0)),
         Overload::fallible(&[Is(Text), Is(Text), Is(Integer)], Returns::Type(Text), extract).checked(|constants| check(constants, 0))]),
    entry!("REGEXP_EXTRACT_ALL", REGEX, "Returns all that a pattern, or one of its groups, matches.",
        ["REGEXP_EXTRACT_ALL('[0-9]', 'a1b2')" => "[1, 2]"],
        [Overload::fallible(&[Is(Text), Is(Text)], Returns::Strings, extract_all).checked(|constants| check(constants, 0)),
         Overload::fallible(&[Is(Text), Is(Text), Is(Integer)], Returns::Strings, extract_all).checked(|constants| check(constants, 0))]),
    entry!("REGEXP_REPLACE", REGEX, "Replaces everything that a pattern matches; $1 stands for the first group.",
        ["REGEXP_REPLACE('2020-05', '(\\d+)-(\\d+)', '$2/$1')" => "05/2020"],
        [Overload::fallible(&[Is(Text), Is(Text), Is(Text)], Returns::Type(Text), replace).checked(|constants| check(constants, 1))]),
    entry!("REGEXP_SPLIT_TO_ARRAY", REGEX, "Returns the parts of a text between the matches of a pattern.",
        ["REGEXP_SPLIT_TO_ARRAY('a1b22c', '[0-9]+')" => "[a, b, c]"],
        [Overload::fallible(&[Is(Text), Is(Text)], Returns::Strings, split).checked(|constants| check(constants, 1))]),
];

thread_local! {
    static COMPILED: RefCell<HashMap<String, Option<Rc<Regex>>>> = RefCell::new(HashMap::new());
}

/// A constant pattern has to be one.
fn check(constants: &Constants<'_>, index: usize) -> std::result::Result<(), String> {
    let Some(pattern) = constants.text(index) else { return Ok(()) };
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("a regular expression has at most {PATTERN_BYTES_MAX} bytes, this one {}", pattern.len()));
    }
    match Regex::new(&translated(pattern)) {
        Ok(_) => Ok(()),
        Err(e) => Err(format!("'{pattern}' is no regular expression: {}", in_javas_words(&e.to_string()))),
    }
}

/// The error of a pattern without its drawing; the commonest two as Java has them.
fn in_javas_words(error: &str) -> &str {
    match error.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(error).trim() {
        line if line.contains("Opening parenthesis without closing parenthesis") => "Unclosed group",
        line if line.contains("Invalid character class") => "Unclosed character class",
        line => line,
    }
}

/// The pattern, compiled; `None` = it is none, too long, or too long for this text.
fn compiled(pattern: &str, text: &str) -> Option<Rc<Regex>> {
    if pattern.len() > PATTERN_BYTES_MAX || pattern.len().saturating_mul(text.len()) > COMPARISONS_MAX {
        return None;
    }
    COMPILED.with_borrow_mut(|known| {
        if let Some(found) = known.get(pattern) {
            return found.clone();
        }
        if known.len() >= COMPILED_MAX {
            known.clear();
        }
        let built = RegexBuilder::new(&translated(pattern)).backtrack_limit(BACKTRACKS_MAX).build();
        let built = built.ok().map(Rc::new);
        known.insert(pattern.to_owned(), built.clone());
        built
    })
}

/// Java's pattern in our engine's words.
fn translated(pattern: &str) -> String {
    let dots_match_all = pattern.match_indices("(?").any(|(at, _)| {
        let flags = pattern[at + 2..].split([')', ':', '-']).next().unwrap_or_default();
        flags.bytes().all(|b| b.is_ascii_alphabetic()) && flags.contains('s')
    });
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut class = 0usize;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' => rest = escape(rest, class > 0, &mut out),
            '.' if class == 0 && !dots_match_all => out.push_str(r"[^\n\r\x{85}\x{2028}\x{2029}]"),
            '[' => {
                class += 1;
                out.push(c);
            }
            ']' => {
                class = class.saturating_sub(1);
                out.push(c);
            }
            // Characters that mean more inside of a class here than in Java.
            '~' | '-' if class > 0 && rest.starts_with(c) => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

/// Reads what follows a backslash; returns the rest.
fn escape<'a>(rest: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(c) = rest.chars().next() else {
        out.push('\\');
        return rest;
    };
    let after = &rest[c.len_utf8()..];
    let set = |positive: &str, negative: bool, out: &mut String| {
        out.push_str(if negative { "[^" } else { "[" });
        out.push_str(positive);
        out.push(']');
    };
    match c {
        'd' | 'D' => set("0-9", c == 'D', out),
        'w' | 'W' => set("a-zA-Z0-9_", c == 'W', out),
        's' | 'S' => set(r" \t\n\x0B\f\r", c == 'S', out),
        'h' | 'H' => set(r" \t\x{A0}\x{1680}\x{180e}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}", c == 'H', out),
        'R' if !in_class => out.push_str(r"(?:\r\n|[\n\x0B\f\r\x{85}\x{2028}\x{2029}])"),
        'Z' if !in_class => out.push_str(r"(?=\n?\z)"),
        'e' => out.push_str(r"\x1B"),
        'u' if after.get(..4).is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit())) => {
            out.push_str(&format!("\\x{{{}}}", &after[..4]));
            return &after[4..];
        }
        'Q' => {
            let end = after.find("\\E").unwrap_or(after.len());
            after[..end].chars().for_each(|c| quoted(c, out));
            return after.get(end + 2..).unwrap_or_default();
        }
        'p' | 'P' => {
            let name = after.strip_prefix('{').and_then(|a| a.split_once('}'));
            if let Some((name, rest)) = name
                && let Some(class) = posix(name)
            {
                set(&format!("[:{class}:]"), c == 'P', out);
                return rest;
            }
            out.push('\\');
            out.push(c);
        }
        other => {
            out.push('\\');
            out.push(other);
        }
    }
    after
}

fn quoted(c: char, out: &mut String) {
    if c.is_ascii_punctuation() {
        out.push('\\');
    }
    out.push(c);
}

/// The POSIX class of one of Java's names.
fn posix(name: &str) -> Option<&'static str> {
    Some(match name {
        "Lower" => "lower",
        "Upper" => "upper",
        "ASCII" => "ascii",
        "Alpha" => "alpha",
        "Digit" => "digit",
        "Alnum" => "alnum",
        "Punct" => "punct",
        "Graph" => "graph",
        "Print" => "print",
        "Blank" => "blank",
        "Cntrl" => "cntrl",
        "XDigit" => "xdigit",
        "Space" => "space",
        _ => return None,
    })
}

/// The group that a third argument asks for; `None` = NULL.
fn group(groups: Option<&Numbers<Int32Type>>, row: usize) -> Option<i32> {
    groups.map_or(Some(0), |g| g.get(row))
}

fn groups(args: &[ColumnarValue]) -> Result<Option<Numbers<Int32Type>>> {
    if args.len() > 2 { Numbers::<Int32Type>::new(args, 2).map(Some) } else { Ok(None) }
}

fn extract(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let (patterns, texts, groups) = (Texts::new(args, 0)?, Texts::new(args, 1)?, groups(args)?);
    strings(rows, |row, out| {
        let (Some(pattern), Some(text), Some(group)) = (patterns.get(row), texts.get(row), group(groups.as_ref(), row))
        else {
            return false;
        };
        let Some(found) = compiled(pattern, text).and_then(|regex| first(&regex, text, group)) else {
            errors.fail(row);
            return false;
        };
        out.push_str(found.unwrap_or_default());
        found.is_some()
    })
}

/// The group's first text; `None` = the expression gave up.
fn first<'t>(regex: &Regex, text: &'t str, group: i32) -> Option<Option<&'t str>> {
    let Some(group) = usize::try_from(group).ok().filter(|g| *g < regex.captures_len()) else { return Some(None) };
    Some(regex.captures(text).ok()?.and_then(|c| c.get(group)).map(|m| m.as_str()))
}

fn extract_all(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let (patterns, texts, groups) = (Texts::new(args, 0)?, Texts::new(args, 1)?, groups(args)?);
    text_lists(rows, |row, out| {
        let (Some(pattern), Some(text), Some(group)) = (patterns.get(row), texts.get(row), group(groups.as_ref(), row))
        else {
            return false;
        };
        let Some(regex) = compiled(pattern, text) else {
            errors.fail(row);
            return false;
        };
        let Some(group) = usize::try_from(group).ok().filter(|g| *g < regex.captures_len()) else { return false };
        for found in regex.captures_iter(text) {
            let Ok(found) = found else {
                errors.fail(row);
                return false;
            };
            out.extend(found.get(group).map(|m| m.as_str().to_owned()));
        }
        true
    })
}

fn replace(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let (texts, patterns, news) = (Texts::new(args, 0)?, Texts::new(args, 1)?, Texts::new(args, 2)?);
    strings(rows, |row, out| {
        let (Some(text), Some(pattern), Some(new)) = (texts.get(row), patterns.get(row), news.get(row)) else {
            return false;
        };
        let done = compiled(pattern, text).and_then(|regex| replaced(&regex, text, new, out));
        if done.is_none() {
            errors.fail(row);
        }
        done.is_some()
    })
}

fn replaced(regex: &Regex, text: &str, new: &str, out: &mut String) -> Option<()> {
    let mut end = 0;
    for found in regex.captures_iter(text) {
        let found = found.ok()?;
        let whole = found.get(0)?;
        out.push_str(&text[end..whole.start()]);
        expand(new, &found, regex.captures_len(), out)?;
        end = whole.end();
        if out.len() > REPLACED_BYTES_MAX {
            return None;
        }
    }
    out.push_str(&text[end..]);
    Some(())
}

/// `$1`, `${name}`, `\$`; a group that does not exist is an error.
fn expand(new: &str, found: &Captures<'_>, count: usize, out: &mut String) -> Option<()> {
    let mut rest = new;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' => {
                let literal = rest.chars().next()?;
                out.push(literal);
                rest = &rest[literal.len_utf8()..];
            }
            '$' => {
                if let Some(named) = rest.strip_prefix('{') {
                    let (name, after) = named.split_once('}')?;
                    out.push_str(found.name(name).map_or("", |m| m.as_str()));
                    rest = after;
                    continue;
                }
                let digit = |text: &str| text.chars().next().and_then(|c| c.to_digit(10)).map(|d| d as usize);
                let mut group = digit(rest).filter(|g| *g < count)?;
                rest = &rest[1..];
                // More digits belong to the number as long as there is such a group.
                while let Some(wider) = digit(rest).map(|d| group * 10 + d).filter(|g| *g < count) {
                    group = wider;
                    rest = &rest[1..];
                }
                out.push_str(found.get(group).map_or("", |m| m.as_str()));
            }
            c => out.push(c),
        }
    }
    Some(())
}

fn split(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let (texts, patterns) = (Texts::new(args, 0)?, Texts::new(args, 1)?);
    text_lists(rows, |row, out| {
        let (Some(text), Some(pattern)) = (texts.get(row), patterns.get(row)) else { return false };
        let done = compiled(pattern, text).and_then(|regex| parts(&regex, text, out));
        if done.is_none() {
            out.clear();
            errors.fail(row);
        }
        done.is_some()
    })
}

/// As Guava's splitter, and as Java's own where the pattern matches nothing at all: then no empty text leads or trails.
fn parts(regex: &Regex, text: &str, out: &mut Vec<String>) -> Option<()> {
    let of_nothing = regex.find("").ok()?.is_some();
    let mut start = 0;
    for found in regex.find_iter(text) {
        let found = found.ok()?;
        if of_nothing && found.end() == 0 {
            continue;
        }
        if found.start() == text.len() && found.start() == found.end() {
            break;
        }
        out.push(text[start..found.start()].to_owned());
        start = found.end();
    }
    out.push(text[start..].to_owned());
    while of_nothing && out.len() > 1 && out.last().is_some_and(String::is_empty) {
        out.pop();
    }
    Some(())
}
