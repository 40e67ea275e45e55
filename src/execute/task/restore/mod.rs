//! State at a start: of each store the snapshot of every task that has one which fits, and then the changelog from there; or what a
//! [`Standby`] has kept up to date.
//!
//! ```text
//! snapshot    a b c d          changelog behind it    b = 2   (c was deleted, and its tombstone as well)    e = 1
//! restored    a b c d e        the commit counts 4 entries: the snapshot is set aside, and the changelog read from its beginning
//! ```
//!
//! **What a compacted changelog has forgotten.** It retains a tombstone for a while only, and how long is the broker's affair. So a
//! snapshot, or a standby that was paused, may hold entries that were deleted since; it cannot lack one that lives, because an entry
//! that was not copied was written behind its offset. Each commit therefore counts the living entries: as many after a restore means
//! the same ones.

mod following;
mod standby;

pub use following::StoreOffsets;
pub use standby::Standby;

use super::snapshot::Schedule;
use super::topology::Topology;
use crate::error::Result;
use crate::log::Log;
use following::{Following, Store};

/// Restores all stores, or brings those of a standby to their ends. `offset_metadata` is that of the last commit by task; `fresh`
/// makes the operators once more.
pub(super) fn restore<'a>(
    topology: &mut Topology,
    standby: Option<Following>,
    (log, group): (&dyn Log, &str),
    schedule: &mut Schedule,
    offset_metadata: impl Fn(usize) -> &'a str,
    fresh: impl Fn() -> Result<Topology>,
) -> Result<()> {
    let is_standby = standby.is_some();
    let mut following = match standby {
        Some(following) => following,
        None => {
            let all = 0..topology.stores().len();
            Following::begin(topology, all, (log, group), |nth, partition| schedule.load(nth, log, partition))?
        }
    };
    let entries = following.finish(topology, log)?;
    if is_standby {
        tracing::info!(group, entries, "a standby takes the query over: so many entries were left to read");
    }
    for store in following.stores_mut() {
        let may_differ = |store: &Store, task: usize| is_standby || store.has_snapshot(task);
        let nth = store.nth();
        let read = match store.settle(topology, &offset_metadata, may_differ)? {
            Ok(read) => read,
            Err(misfit) => {
                if is_standby {
                    tracing::warn!(store = nth, reason = misfit.reason, "a standby is not used: the changelog is read");
                }
                store.set_aside(&misfit);
                topology.renew(nth, fresh()?);
                from_changelog(topology, nth, (log, group), &offset_metadata)?
            }
        };
        schedule.note_restored(nth, read);
    }
    Ok(())
}

/// Restores one store from its changelog alone.
fn from_changelog<'a>(
    topology: &mut Topology,
    nth: usize,
    from: (&dyn Log, &str),
    offset_metadata: &impl Fn(usize) -> &'a str,
) -> Result<following::Read> {
    let mut following = Following::begin(topology, nth..nth + 1, from, |_, _| Ok(None))?;
    following.finish(topology, from.0)?;
    let stores = following.stores_mut().iter_mut();
    let read = stores.map(|store| store.settle(topology, offset_metadata, |_, _| false)).next();
    Ok(read.transpose()?.and_then(std::result::Result::ok).unwrap_or_default())
}
