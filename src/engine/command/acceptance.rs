//! Which records of the command log count: decided by their order and their sequence numbers alone.
//!
//! ```text
//! sequence 7   CREATE STREAM a    accepted, the next one is 8
//! sequence 7   CREATE STREAM b    its place is taken: it was planned for a catalogue without a
//! sequence 7   CREATE STREAM a    a copy: the client repeated its request
//! sequence 8   CREATE STREAM b    accepted
//! ```
//!
//! So an append is a compare-and-append: a reader at the end of the log knows whether a command counts, and all readers agree.
//! A gap is accepted: a writer knows the commands before its own, so a missing one was lost by the log.
//!
//! Commands of earlier builds do not compare: their writers repeated the number of a statement that had failed without looking
//! whether its record was in the log, so both count, as they did then.

use super::Command;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The rule, applied to one command after the other.
#[derive(Debug, Default)]
pub(super) struct Acceptance {
    /// The sequence number of the next command.
    next: u64,
    /// Number and value of the last marked command.
    last: Option<(u64, Vec<u8>)>,
    /// Hashes of the values of all marked commands, by number: they distinguish a late copy from a statement that was overtaken.
    hashes: BTreeMap<u64, u64>,
}

/// What a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts.
    Accepted,
    /// It repeats an earlier one.
    Copy,
    /// Another statement has its place.
    Overtaken,
}

impl Acceptance {
    /// The sequence number of the next command.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Takes the next command of the log, whose record has this value.
    pub(super) fn judge(&mut self, command: &Command, value: &[u8], is_marked: bool) -> Verdict {
        let sequence = command.sequence;
        // Marks came later than commands: of those without one nothing else is known.
        if is_marked {
            let repeats = |(last, text): &(u64, Vec<u8>)| sequence == *last && text.as_slice() == value;
            let is_copy =
                self.last.as_ref().is_some_and(|last| repeats(last) || !command.compares && sequence < last.0);
            if is_copy {
                return Verdict::Copy;
            }
            let hash = hash_of(value);
            if command.compares && sequence < self.next {
                let is_late_copy = self.hashes.get(&sequence) == Some(&hash);
                return if is_late_copy { Verdict::Copy } else { Verdict::Overtaken };
            }
            self.last = Some((sequence, value.to_vec()));
            self.hashes.insert(sequence, hash);
        }
        self.next = self.next.max(sequence + 1);
        Verdict::Accepted
    }
}

fn hash_of(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Effect;
    use crate::engine::command::COMMAND_FORMAT;

    fn command(sequence: u64, statement: &str, compares: bool) -> Command {
        Command {
            format: COMMAND_FORMAT,
            engine: String::new(),
            sequence,
            compares,
            process: None,
            statement: statement.to_owned(),
            author: None,
            properties: Default::default(),
            effect: Effect::DropType { name: "T".to_owned() },
            status: None,
        }
    }

    fn judge(commands: &[(u64, &str, bool)], is_marked: bool) -> Vec<Verdict> {
        let mut acceptance = Acceptance::default();
        let of = |(sequence, statement, compares): &(u64, &str, bool)| {
            let command = command(*sequence, statement, *compares);
            let value = serde_json::to_vec(&command).unwrap();
            acceptance.judge(&command, &value, is_marked)
        };
        commands.iter().map(of).collect()
    }

    use Verdict::{Accepted, Copy, Overtaken};

    #[test]
    fn the_first_command_with_a_number_counts() {
        let commands = [(0, "a", true), (1, "b", true), (1, "c", true), (1, "b", true), (2, "c", true), (0, "z", true)];
        assert_eq!(judge(&commands, true), [Accepted, Accepted, Overtaken, Copy, Accepted, Overtaken]);
    }

    #[test]
    fn a_copy_that_arrives_late_does_not_count() {
        assert_eq!(judge(&[(0, "a", true), (1, "b", true), (0, "a", true)], true), [Accepted, Accepted, Copy]);
    }

    #[test]
    fn a_log_that_lost_its_beginning_or_a_record_is_continued() {
        assert_eq!(judge(&[(7, "a", true), (9, "b", true), (8, "c", true)], true), [Accepted, Accepted, Overtaken]);
    }

    #[test]
    fn commands_of_earlier_builds_count_as_they_did() {
        let commands = [(0, "a", false), (0, "b", false), (0, "b", false), (1, "c", false), (0, "a", false)];
        assert_eq!(judge(&commands, true), [Accepted, Accepted, Copy, Accepted, Copy]);
        assert_eq!(judge(&[(0, "a", false), (0, "a", false)], false), [Accepted, Accepted], "without marks");
        let mixed = [(0, "a", false), (1, "b", true), (1, "c", true)];
        assert_eq!(judge(&mixed, true), [Accepted, Accepted, Overtaken]);
    }

    /// Three writers append what they planned for the catalogue that they know, in any order: at each number exactly one counts,
    /// which was planned with all before it, and all readers agree.
    #[test]
    fn of_several_writers_one_has_each_number() {
        let mut chance = 88_172_645_463_325_252_u64;
        let mut below = |n: u64| {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance % n
        };
        for _ in 0..200 {
            let (mut log, mut known) = (Acceptance::default(), [0_u64; 3]);
            let mut accepted = 0;
            for n in 0..60 {
                let writer = below(3) as usize;
                if below(2) == 0 {
                    known[writer] = accepted;
                }
                let statement = format!("{writer} {n}");
                let command = command(known[writer], &statement, true);
                let value = serde_json::to_vec(&command).unwrap();
                let is_up_to_date = known[writer] == accepted;
                let verdict = log.judge(&command, &value, true);
                assert_eq!(verdict, if is_up_to_date { Accepted } else { Overtaken });
                accepted += u64::from(is_up_to_date);
            }
        }
    }
}
