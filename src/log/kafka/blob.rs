//! What a session writes beside the offset of each of its task partitions: who committed last, which commit it was, and
//! the input offsets of that task once more.
//!
//! It serves three ends. A commit whose outcome is unknown is looked up here. A new owner finds the transactional id of
//! the last one and ends what that one left open. And offsets of topics that nobody subscribes to expire on the broker,
//! even under a living group, but those of the task topic do not.

use crate::log::{CommittedOffset, METADATA_BYTES_MAX};
use serde::{Deserialize, Serialize};

/// Format of the text.
const VERSION: u32 = 1;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blob {
    #[serde(rename = "v")]
    version: u32,
    /// Transactional id of the owner.
    pub(super) owner: String,
    /// The commit: unique over all starts of all owners.
    pub(super) sequence: String,
    /// Topic, offset and metadata of the partitions of this task; absent when they do not fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) offsets: Vec<(String, i64, String)>,
}

impl Blob {
    pub(super) fn new(owner: &str, sequence: &str, offsets: Vec<(String, i64, String)>) -> Blob {
        Blob { version: VERSION, owner: owner.to_owned(), sequence: sequence.to_owned(), offsets }
    }

    /// The text, within the broker's limit.
    pub(super) fn text(&self) -> String {
        let full = serde_json::to_string(self).expect("strings and numbers always have a JSON text");
        if full.len() <= METADATA_BYTES_MAX {
            return full;
        }
        let bare = Blob { offsets: Vec::new(), ..self.clone() };
        serde_json::to_string(&bare).expect("strings and numbers always have a JSON text")
    }

    /// `None`: not written by a version that we know.
    pub(super) fn parse(text: &str) -> Option<Blob> {
        serde_json::from_str(text).ok().filter(|blob: &Blob| blob.version == VERSION)
    }

    /// The offset of a topic's partition of this task.
    pub(super) fn offset(&self, topic: &str) -> Option<CommittedOffset> {
        let (_, offset, metadata) = self.offsets.iter().find(|(name, _, _)| name == topic)?;
        Some(CommittedOffset { offset: *offset, metadata: metadata.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_reads_back_and_stays_within_the_limit() {
        let some = Blob::new("g-0", "17.1.2", vec![("in".into(), 5, "{\"t\":1}".into())]);
        assert_eq!(Blob::parse(&some.text()), Some(some.clone()));
        assert_eq!(some.offset("in").map(|o| o.offset), Some(5));
        let many = Blob::new("g-0", "17.1.2", (0..300).map(|i| (format!("topic-{i}"), i, String::new())).collect());
        assert!(many.text().len() <= METADATA_BYTES_MAX);
        assert_eq!(Blob::parse(&many.text()).map(|b| (b.sequence, b.offsets.len())), Some(("17.1.2".into(), 0)));
        assert_eq!(Blob::parse("{\"v\":2,\"owner\":\"x\",\"sequence\":\"y\"}"), None);
        assert_eq!(Blob::parse(""), None);
    }
}
