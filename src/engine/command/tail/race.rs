//! Who loses the race for the next place of the command log again and again: others give way.
//!
//! ```text
//! process A    7 counts        8 counts        9 counts        10: waits a moment
//! process B    7 overtaken     8 overtaken     9 overtaken                           10 counts
//! ```
//!
//! All processes see in the log who lost. A statement that begins gives way to one that has lost often; those that have lost
//! compete among themselves, and each round has a winner, so that a statement is overtaken about as often as there are processes.

use std::collections::BTreeMap;
use std::time::Duration;

/// So many losses in a row are no chance: with two processes that compete, one statement in eight has them.
const LOSSES: u32 = 3;
/// A loss that is longer ago says nothing: its statement has given up, or its process has died.
const RECENT: Duration = Duration::from_millis(200);
/// Processes that are remembered.
const PROCESSES_MAX: usize = 64;

/// Losses in a row, by process.
#[derive(Debug, Default)]
pub(super) struct Race {
    losses: BTreeMap<String, (u32, Duration)>,
}

impl Race {
    /// A record of this process did not count; `now` is by the monotonic clock.
    pub(super) fn lost(&mut self, process: Option<String>, now: Duration) {
        let Some(process) = process else { return };
        if self.losses.len() >= PROCESSES_MAX && !self.losses.contains_key(&process) {
            self.losses.clear();
        }
        let (count, last) = self.losses.entry(process).or_default();
        (*count, *last) = (*count + 1, now);
    }

    /// A record of this process counts.
    pub(super) fn won(&mut self, process: Option<&str>) {
        if let Some(process) = process {
            self.losses.remove(process);
        }
    }

    /// Whether a statement of this process, which begins now, should give way.
    pub(super) fn is_unfair(&self, own: &str, now: Duration) -> bool {
        let is_due = |(process, (count, last)): (&String, &(u32, Duration))| {
            process != own && *count >= LOSSES && now.saturating_sub(*last) < RECENT
        };
        self.losses.iter().any(is_due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_give_way_to_one_that_loses_again_and_again() {
        let at = Duration::from_millis;
        let mut race = Race::default();
        for n in 0..LOSSES {
            assert!(!race.is_unfair("a", at(1)), "after {n}");
            race.lost(Some("b".to_owned()), at(1));
        }
        assert!(race.is_unfair("a", at(2)) && !race.is_unfair("b", at(2)), "the loser itself does not wait");
        assert!(!race.is_unfair("a", at(1) + RECENT), "it has given up");
        race.won(Some("b"));
        assert!(!race.is_unfair("a", at(2)));
    }

    #[test]
    fn processes_are_bounded() {
        let mut race = Race::default();
        (0..1_000).for_each(|n| race.lost(Some(n.to_string()), Duration::ZERO));
        assert!(race.losses.len() <= PROCESSES_MAX);
    }
}
