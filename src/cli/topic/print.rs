//! `tidegate topic print`: the records of a topic, in the form of the user's choice.
//!
//! ```text
//! 0/17  2026-11-30T09:00:00.000Z  key: porsche-6  value: {"SPEED":231.5}       without an option
//! ...  headers: trace=7f,attempt=2                                             behind it, of a record that has some
//! -f '%p %o %k %v %h'                                                          placeholders, as kcat has them
//! -o json                                                                      an object a record
//! ```

use super::Tools;
use crate::cli::args::Format;
use crate::cli::render::{Row, Screen, Shown, Sink, WAIT, quoted};
use crate::engine::introspect::topics::TailFrom;
use crate::engine::result::rows::OutputColumn;
use crate::error::{Error, Result};
use crate::format::sniff::{self, base64_of};
use crate::log::{Header, HeadersRef, RecordRef};
use crate::types::SqlType;
use crate::types::temporal::timestamp_text;

/// Shown for a missing key or value.
const NOTHING: &str = "<null>";

/// What is to be printed.
pub(super) struct Wanted<'a> {
    pub(super) topic: &'a str,
    pub(super) from: TailFrom,
    /// Only this partition.
    pub(super) partition: Option<u32>,
    pub(super) limit: Option<u64>,
    pub(super) exit_at_end: bool,
    /// Placeholders.
    pub(super) format: Option<&'a str>,
}

pub(super) fn print(wanted: &Wanted<'_>, tools: &Tools<'_>, screen: &mut Screen<'_>) -> Result<Shown> {
    let pieces = wanted.format.map(parsed).transpose()?;
    let mut tail = tools.topics.tail(wanted.topic, wanted.from)?;
    let has_headers = shows_headers(screen.format);
    let columns = ["partition", "offset", "timestamp", "key", "value"].into_iter();
    let columns = columns.chain(has_headers.then_some("headers"));
    let columns = columns.map(|name| OutputColumn { name: name.to_owned(), ty: SqlType::String }).collect();
    let mut sink = Sink::new(screen.format, columns, screen.width, screen.options);
    let is_lines = screen.format == Format::Table || pieces.is_some();
    let mut shown = Shown::default();
    while wanted.limit.is_none_or(|l| shown.rows < l) {
        if tools.interrupt.asked() {
            shown.interrupted = true;
            break;
        }
        let fetched = tail.poll(WAIT)?;
        let left = wanted.limit.map_or(usize::MAX, |l| (l - shown.rows) as usize);
        let mut written = Ok(());
        let mut count = 0;
        for run in fetched.runs().iter().filter(|run| wanted.partition.is_none_or(|only| run.slot == only as usize)) {
            run.for_each(|r| {
                if count == left || written.is_err() {
                    return;
                }
                count += 1;
                written = match &pieces {
                    Some(pieces) => {
                        write!(screen.out, "{}", filled(pieces, wanted.topic, run.slot, &r)).map_err(Error::from)
                    }
                    None if is_lines => writeln!(screen.out, "{}", line(run.slot, &r)).map_err(Error::from),
                    None => sink.row(screen.out, row(run.slot, &r, has_headers)),
                };
            });
        }
        written?;
        shown.rows += count as u64;
        screen.out.flush()?;
        if wanted.exit_at_end && fetched.is_empty() && tail.at_end() {
            break;
        }
    }
    if !is_lines {
        sink.finish(screen.out)?;
        screen.out.flush()?;
    }
    Ok(shown)
}

/// A part of what the user wants to see of a record.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Topic,
    Partition,
    Offset,
    Key,
    Value,
    Headers,
    Timestamp,
    KeyBytes,
    ValueBytes,
}

/// Reads placeholders; a line ends with each record unless the text says how.
fn parsed(text: &str) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let part = match (c, rest.clone().next()) {
            ('\\', Some(escaped)) => {
                rest.next();
                plain.push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    '0' => '\0',
                    other => other,
                });
                continue;
            }
            ('%', Some('%')) => {
                rest.next();
                plain.push('%');
                continue;
            }
            ('%', Some(which)) => {
                rest.next();
                placeholder(which)?
            }
            _ => {
                plain.push(c);
                continue;
            }
        };
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(part);
    }
    if !text.contains("\\n") {
        plain.push('\n');
    }
    parts.push(Part::Text(plain));
    Ok(parts)
}

fn placeholder(which: char) -> Result<Part> {
    Ok(match which {
        't' => Part::Topic,
        'p' => Part::Partition,
        'o' => Part::Offset,
        'k' => Part::Key,
        'v' | 's' => Part::Value,
        'h' => Part::Headers,
        'T' => Part::Timestamp,
        'K' => Part::KeyBytes,
        'S' => Part::ValueBytes,
        other => {
            return Err(Error::statement(format!("unknown placeholder %{other}")).with_hint(
                "%t topic, %p partition, %o offset, %k key, %v value, %h headers, %T time in ms, %K and %S sizes in bytes",
            ));
        }
    })
}

fn filled(parts: &[Part], topic: &str, partition: usize, r: &RecordRef<'_>) -> String {
    let size = |bytes: Option<&[u8]>| bytes.map_or_else(|| "-1".to_owned(), |bytes| bytes.len().to_string());
    let one = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Topic => topic.to_owned(),
        Part::Partition => partition.to_string(),
        Part::Offset => r.offset.to_string(),
        Part::Key => key_text(r),
        Part::Value => value_text(r),
        Part::Headers => headers_text(r),
        Part::Timestamp => r.timestamp.to_string(),
        Part::KeyBytes => size(r.key),
        Part::ValueBytes => size(r.value),
    };
    parts.iter().map(one).collect()
}

fn key_text(r: &RecordRef<'_>) -> String {
    r.key.map_or_else(|| NOTHING.to_owned(), |key| sniff::key(key).text)
}

fn value_text(r: &RecordRef<'_>) -> String {
    r.value.map_or_else(|| NOTHING.to_owned(), |value| sniff::value(value).text)
}

/// `partition/offset  time  key: ...  value: ...`
fn line(partition: usize, r: &RecordRef<'_>) -> String {
    let (key, value) = (key_text(r), value_text(r));
    let headers = headers_text(r);
    let headers = if headers.is_empty() { headers } else { format!("  headers: {headers}") };
    format!("{partition}/{}  {}Z  key: {key}  value: {value}{headers}", r.offset, timestamp_text(r.timestamp))
}

/// Formats with a name at each value have headers, too; those with columns keep the five that scripts count.
fn shows_headers(format: Format) -> bool {
    matches!(format, Format::Json | Format::Vertical)
}

fn row(partition: usize, r: &RecordRef<'_>, has_headers: bool) -> Row {
    let numbers = [partition.to_string(), r.offset.to_string(), r.timestamp.to_string()];
    let headers = has_headers.then(|| headers_json(r));
    let json = numbers.iter().cloned().chain([json(r.key), json(r.value)]).chain(headers).collect();
    let cells = [r.key.map(|key| sniff::key(key).text), r.value.map(|value| sniff::value(value).text)];
    let headers = has_headers.then(|| Some(headers_text(r)));
    Row { cells: numbers.into_iter().map(Some).chain(cells).chain(headers).collect(), json, tombstone: false }
}

/// `NAME=VALUE,NAME=VALUE`, as kcat has them.
fn headers_text(r: &RecordRef<'_>) -> String {
    if matches!(r.headers, HeadersRef::None) {
        return String::new();
    }
    let one = |header: Header| {
        let value = header.value.as_deref().map_or_else(|| NOTHING.to_owned(), |value| sniff::value(value).text);
        format!("{}={value}", header.key)
    };
    r.headers.to_vec().into_iter().map(one).collect::<Vec<_>>().join(",")
}

/// An array of objects with `key` and `value`, as the API has them: a name may be there several times.
fn headers_json(r: &RecordRef<'_>) -> String {
    let one =
        |header: Header| format!("{{\"key\":{},\"value\":{}}}", quoted(&header.key), json(header.value.as_deref()));
    format!("[{}]", r.headers.to_vec().into_iter().map(one).collect::<Vec<_>>().join(","))
}

/// A JSON string, or `{"base64": ...}` for bytes that are no text.
fn json(bytes: Option<&[u8]>) -> String {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => "null".to_owned(),
        Some((Ok(text), _)) => quoted(text),
        Some((Err(_), bytes)) => format!("{{\"base64\":{}}}", quoted(&base64_of(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_told_apart_in_json() {
        assert_eq!(json(Some(b"\xff\x00")), "{\"base64\":\"/wA=\"}");
        assert_eq!((json(None), json(Some(b"a\""))), ("null".to_owned(), "\"a\\\"\"".to_owned()));
    }

    #[test]
    fn placeholders_are_those_of_kcat() {
        let parts = parsed("%p:%o\\t%k%%").unwrap();
        let text = |text: &str| Part::Text(text.to_owned());
        assert_eq!(parts, [Part::Partition, text(":"), Part::Offset, text("\t"), Part::Key, text("%\n")]);
        assert_eq!(parsed("%v\\n").unwrap(), [Part::Value, text("\n")]);
        assert!(parsed("%x").is_err());
    }
}
