//! The floor: batch consume, find the columns that the query reads, count in a hash table. No parser, no types, no
//! correctness beyond these bids; nothing that does the query's work can cost less by much.

use crate::load::PARTITIONS;
use hashbrown::HashMap;
use memchr::{memchr, memchr2};
use std::time::Duration;
use tidegate::error::{Error, Result};
use tidegate::log::{Assignment, Isolation, Log, Start};

const WINDOW_MS: u64 = 10_000;
const POLL_RECORDS: usize = 4_096;

/// What was counted, so that no work can be left out.
pub(crate) fn run(log: &dyn Log, topic: &str, query: &str, events: u64) -> Result<u64> {
    let assignment =
        (0..PARTITIONS as i32).map(|partition| Assignment { topic: topic.into(), partition, start: Start::Earliest });
    let mut reader = log.reader(assignment.collect(), Isolation::ReadCommitted)?;
    let (mut seen, mut kept, mut strange) = (0, 0, 0);
    let mut groups: HashMap<(u64, u64), u64> = HashMap::new();
    while seen < events {
        for run in reader.poll(POLL_RECORDS, Duration::from_millis(100))?.runs() {
            run.for_each(|record| {
                seen += 1;
                match record.value.and_then(|v| two(v, b"auction", if query == "q2" { b"price" } else { b"dateTime" }))
                {
                    None => strange += 1,
                    Some((auction, price)) if query == "q2" => kept += u64::from(auction % 123 == 0) & (price | 1),
                    Some((auction, time)) => *groups.entry((auction, time / WINDOW_MS)).or_default() += 1,
                }
            });
        }
    }
    match strange {
        0 => Ok(kept + groups.len() as u64),
        _ => Err(Error::data(format!("{strange} records are no bids"))),
    }
}

fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let end = at + memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[end] == b'"' {
            return Some(end);
        }
        at = end + 2;
    }
}

/// Two integer members of a flat object, in any order; stops as soon as both are known.
fn two(text: &[u8], first: &[u8], second: &[u8]) -> Option<(u64, u64)> {
    let (mut at, mut a, mut b) = (1, None, None);
    loop {
        at += memchr(b'"', text.get(at..)?)? + 1;
        let end = string_end(text, at)?;
        let name = &text[at..end];
        at = end + 2;
        if text.get(at) == Some(&b'"') {
            at = string_end(text, at + 1)? + 1;
            continue;
        }
        let slot = match name {
            n if n == first => &mut a,
            n if n == second => &mut b,
            _ => continue,
        };
        let digits = text[at..].iter().take_while(|c| c.is_ascii_digit());
        *slot = Some(digits.fold(0, |value, digit| value * 10 + u64::from(digit - b'0')));
        if let (Some(a), Some(b)) = (a, b) {
            return Some((a, b));
        }
    }
}
