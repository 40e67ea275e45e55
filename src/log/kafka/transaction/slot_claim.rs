//! K1: one writer per slot in this process. Between processes the service's place decides (see
//! [`service_lock`](crate::log::kafka::service_lock)), and the claim.

use crate::log::kafka::KafkaLog;
use parking_lot::Mutex;
use std::collections::BTreeSet;

/// K1: the writers of this process, as `CLUSTER GROUP SLOT`. A second one of the same name would fence the first.
static OPEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Releases a name of [`OPEN`] on drop.
pub(in crate::log::kafka) struct SlotClaim(String);

impl SlotClaim {
    /// `None`: another writer of this process has the slot.
    pub(in crate::log::kafka) fn new(log: &KafkaLog, group: &str, slot: &str) -> Option<SlotClaim> {
        let name = format!("{} {group} {slot}", log.0.id);
        let new = OPEN.lock().insert(name.clone());
        // Not `then_some`, which would construct and drop a claim, and so release the name of another writer.
        new.then(|| SlotClaim(name))
    }
}

impl Drop for SlotClaim {
    fn drop(&mut self) {
        OPEN.lock().remove(&self.0);
    }
}
