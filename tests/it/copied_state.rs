//! Snapshots of an operator beside its changelog: pieces copied at several commits, and a restart from them and from what compaction
//! has left of the changelog behind them.

use crate::batches::Dice;
use std::collections::BTreeMap;
use tidegate::error::Result;
use tidegate::execute::operator::{Operator, SnapshotPlace};
use tidegate::execute::state::ChangelogEntry;
use tidegate::execute::state::entry_batch::EntryBatch;

/// A snapshot, or one in the making: where its changelog continues, what was copied, and how far.
struct Copied {
    offset: usize,
    place: SnapshotPlace,
    pieces: Vec<EntryBatch>,
}

/// The snapshots of one operator.
#[derive(Default)]
pub(crate) struct Snapshots {
    copying: Option<Copied>,
    copied: Option<Copied>,
}

/// What the restarts of a law have met.
#[derive(Debug, Default)]
pub(crate) struct Met {
    /// Snapshots that were used, of several pieces among them, and that were refused.
    pub(crate) used: usize,
    pub(crate) several: usize,
    pub(crate) refused: usize,
}

impl Snapshots {
    /// Copies a piece of a state that was just committed, at the end of its changelog.
    pub(crate) fn copy(&mut self, dice: &mut Dice, operator: &mut dyn Operator, changelog: &[ChangelogEntry]) {
        if !operator.has_snapshots() {
            self.copying = None;
            return;
        }
        let offset = changelog.len();
        let begin = || Copied { offset, place: SnapshotPlace::default(), pieces: Vec::new() };
        let mut piece = EntryBatch::of(1 + dice.below(4) as usize);
        let part = self.copying.get_or_insert_with(begin);
        let complete = operator.snapshot(&mut part.place, &mut piece).unwrap();
        part.pieces.push(piece);
        // Some are kept for long, so that much happens behind them.
        if complete && (self.copied.is_none() || dice.one_in(2)) {
            self.copied = self.copying.take();
        } else if complete {
            self.copying = None;
        }
    }

    /// An operator with the state of the last commit: from the snapshot, or from the changelog alone where that does not fit.
    pub(crate) fn restart(
        &mut self,
        dice: &mut Dice,
        fresh: impl Fn() -> Box<dyn Operator>,
        changelog: &[ChangelogEntry],
        (memo, living): (&str, Option<u64>),
        met: &mut Met,
    ) -> Box<dyn Operator> {
        self.copying = None;
        if let Some(copied) = &self.copied {
            let rest = &changelog[copied.offset..];
            // At worst compaction has come up to the end of the changelog.
            let cut = if dice.one_in(2) { dice.below(rest.len() as i64 + 1) as usize } else { rest.len() };
            let mut operator = fresh();
            let entries = copied.pieces.iter().flat_map(EntryBatch::iter);
            let mut restored =
                entries.into_iter().try_for_each(|entry| operator.restore(entry.key, entry.value, entry.timestamp));
            restored = restored.and_then(|()| restore(&mut *operator, compacted(&rest[..cut])));
            restored = restored.and_then(|()| restore(&mut *operator, &rest[cut..]));
            restored = restored.and_then(|()| operator.restore_metadata(memo));
            if restored.is_ok() && operator.living() == living {
                met.used += 1;
                met.several += usize::from(copied.pieces.len() > 2);
                return operator;
            }
            met.refused += 1;
            self.copied = None;
        }
        let mut operator = fresh();
        restore(&mut *operator, compacted(changelog)).unwrap();
        operator.restore_metadata(memo).unwrap();
        assert_eq!(operator.living(), living, "entries that live, after a restart from the changelog");
        operator
    }
}

/// Hands entries of a changelog over, in their order.
pub(crate) fn restore<'a>(
    operator: &mut dyn Operator,
    entries: impl IntoIterator<Item = &'a ChangelogEntry>,
) -> Result<()> {
    entries.into_iter().try_for_each(|entry| operator.restore(&entry.key, entry.value.as_deref(), entry.timestamp))
}

/// What compaction leaves of a changelog: of each key the last entry, and at worst no tombstone.
pub(crate) fn compacted(changelog: &[ChangelogEntry]) -> Vec<&ChangelogEntry> {
    let last: BTreeMap<&[u8], usize> = changelog.iter().enumerate().map(|(at, entry)| (&entry.key[..], at)).collect();
    let left = |(at, entry): &(usize, &ChangelogEntry)| entry.value.is_some() && last[&entry.key[..]] == *at;
    changelog.iter().enumerate().filter(left).map(|(_, entry)| entry).collect()
}
