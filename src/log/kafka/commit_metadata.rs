//! The offset metadata of a task partition: the owner of the last commit, its sequence, and the input offsets of the task.
//!
//! It has three purposes. A commit of unknown outcome is looked up here (K9). A new owner finds the transactional id of its
//! predecessor and fences it (K3). And the offsets of input topics, to which no member subscribes, expire on the broker even
//! while the group is alive, whereas those of the task topic do not (K4).

use crate::log::{CommittedOffset, METADATA_BYTES_MAX};
use serde::{Deserialize, Serialize};

/// Version of the format.
const VERSION: u32 = 1;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CommitMetadata {
    #[serde(rename = "v")]
    version: u32,
    /// Transactional id of the owner.
    pub(super) owner: String,
    /// Client id of the owner's process: see [`super::process_identity`].
    pub(super) process: String,
    /// Identifies the commit; unique over all starts of all owners.
    pub(super) sequence: String,
    /// The owner's term: the number of the assignment that made it the owner. Absent where there is no control topic, and in
    /// what earlier versions wrote.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) term: u64,
    /// Input offsets of this task; absent when they exceed the broker's limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) offsets: Vec<InputOffset>,
}

fn is_zero(term: &u64) -> bool {
    *term == 0
}

/// A committed input offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InputOffset {
    #[serde(rename = "t")]
    pub(super) topic: String,
    /// Topic id in hexadecimal digits, because JSON numbers have at most 64 bits.
    #[serde(rename = "i")]
    id: String,
    #[serde(rename = "o")]
    offset: i64,
    #[serde(rename = "m", default, skip_serializing_if = "String::is_empty")]
    metadata: String,
}

impl InputOffset {
    pub(super) fn new(topic: &str, id: u128, offset: &CommittedOffset) -> InputOffset {
        let metadata = offset.metadata.clone();
        InputOffset { topic: topic.to_owned(), id: format!("{id:x}"), offset: offset.offset, metadata }
    }

    pub(super) fn id(&self) -> u128 {
        u128::from_str_radix(&self.id, 16).unwrap_or(0)
    }

    pub(super) fn offset(&self) -> CommittedOffset {
        CommittedOffset { offset: self.offset, metadata: self.metadata.clone() }
    }
}

impl CommitMetadata {
    pub(super) fn new(
        owner: &str,
        process: &str,
        sequence: &str,
        term: u64,
        offsets: Vec<InputOffset>,
    ) -> CommitMetadata {
        let (owner, process, sequence) = (owner.to_owned(), process.to_owned(), sequence.to_owned());
        CommitMetadata { version: VERSION, owner, process, sequence, term, offsets }
    }

    /// The text, within the broker's limit (`offset.metadata.max.bytes`).
    pub(super) fn text(&self) -> String {
        let full = serde_json::to_string(self).expect("strings and numbers always have a JSON text");
        if full.len() <= METADATA_BYTES_MAX {
            return full;
        }
        let bare = CommitMetadata { offsets: Vec::new(), ..self.clone() };
        serde_json::to_string(&bare).expect("strings and numbers always have a JSON text")
    }

    /// `None`: not written by a known version.
    pub(super) fn parse(text: &str) -> Option<CommitMetadata> {
        serde_json::from_str(text).ok().filter(|metadata: &CommitMetadata| metadata.version == VERSION)
    }

    /// The input offset of this task in a topic.
    pub(super) fn input(&self, topic: &str) -> Option<&InputOffset> {
        self.offsets.iter().find(|input| input.topic == topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_reads_back_and_stays_within_the_limit() {
        let offset = CommittedOffset { offset: 5, metadata: "{\"t\":1}".into() };
        let some = CommitMetadata::new("g-0", "p", "17.1.2", 3, vec![InputOffset::new("in", u128::MAX - 1, &offset)]);
        assert_eq!(CommitMetadata::parse(&some.text()), Some(some.clone()));
        assert_eq!(some.input("in").map(|p| (p.id(), p.offset())), Some((u128::MAX - 1, offset.clone())));
        assert_eq!(some.input("out"), None);
        let places = (0..300).map(|i| InputOffset::new(&format!("topic-{i}"), i, &offset));
        let many = CommitMetadata::new("g-0", "p", "17.1.2", 0, places.collect());
        assert!(many.text().len() <= METADATA_BYTES_MAX);
        assert_eq!(
            CommitMetadata::parse(&many.text()).map(|b| (b.sequence, b.offsets.len())),
            Some(("17.1.2".into(), 0))
        );
        assert_eq!(CommitMetadata::parse("{\"v\":2,\"owner\":\"x\",\"process\":\"p\",\"sequence\":\"y\"}"), None);
        assert_eq!(CommitMetadata::parse(""), None);
    }

    #[test]
    fn what_earlier_versions_wrote_is_of_no_term() {
        let text = "{\"v\":1,\"owner\":\"g-0\",\"process\":\"p\",\"sequence\":\"17.1.2\"}";
        let old = CommitMetadata::parse(text).map(|old| (old.term, old.text()));
        assert_eq!(old, Some((0, text.to_owned())));
    }
}
