//! Records of the control topic: JSON, each with the version of its format and of the build that wrote it.
//!
//! ```text
//! {"format":1,"engine":"0.2.0","kind":"assign","base":4,"units":[{"unit":{"query":"CTAS_T_1"},"owner":"b","why":"dead"}]}
//! {"format":1,"engine":"0.2.0","kind":"confirm","unit":{"query":"CTAS_T_1"},"slot":"b","term":5}
//! ```
//!
//! A record that is not one of this service is skipped by all processes alike. One of a newer format must end the reader: a
//! process that ignored it would see other owners than the rest. So a new kind of record is a new format, which the service
//! writes only after a [`Entry::Level`] allowed it.

use super::names::{Incarnation, Slot, Term, Unit};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Version of the record format; a newer one is refused, with a message.
pub const CONTROL_FORMAT: u32 = 1;

/// A record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlRecord {
    /// [`CONTROL_FORMAT`] of the build that wrote it.
    pub format: u32,
    /// Version of Tidegate that wrote it.
    pub engine: String,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// A process has started.
    Hello(Hello),
    /// A plan: who owns what from now on.
    Assign(Assign),
    /// The owner has fenced all earlier ones and committed its ownership.
    Confirm {
        /// What it owns.
        unit: Unit,
        /// The owner.
        slot: Slot,
        /// Its term.
        term: Term,
    },
    /// A process wants to stop: its units are to be moved.
    Drain {
        /// The process.
        slot: Slot,
        /// Its start: a late repetition does not stop its successor.
        incarnation: Incarnation,
    },
    /// Formats up to this level may be written.
    Level {
        /// The level, which never falls.
        level: u32,
    },
    /// Committed offsets beside the group's own, which expire when a service rests for long.
    Saved(Saved),
    /// Everything so far, so that the records before it can be deleted.
    Snapshot(Box<Snapshot>),
}

/// A process introduces itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Its slot.
    pub slot: Slot,
    /// Its start.
    pub incarnation: Incarnation,
    /// Where other processes reach it.
    pub address: String,
    /// Its version of Tidegate. The record's own field has another name.
    pub version: String,
    /// The oldest and the newest format level that it reads and writes.
    pub levels: (u32, u32),
    /// Its failure domain; standbys avoid that of their owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its share of the load in relation to others, at least one.
    pub weight: u32,
}

/// A plan. Units that it does not name stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Assign {
    /// The number of Assigns accepted before; if it is another one by then, this plan does not count (C1).
    pub base: u64,
    /// What changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<Assigned>,
    /// Units of queries that were dropped and have been released: they are forgotten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<Unit>,
}

/// The place of a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assigned {
    /// The unit.
    pub unit: Unit,
    /// Its owner. Naming the present one again changes no term. None takes it from its owner, because its query was dropped.
    pub owner: Option<Slot>,
    /// Where its state is kept up to date.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standbys: Vec<Slot>,
    /// How its rows reach the other parts of its query.
    #[serde(default)]
    pub exchange: Exchange,
    /// Why it gets this place.
    pub why: Why,
}

/// How rows change partition within a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exchange {
    /// Within the process that owns all parts.
    #[default]
    Memory,
    /// Through topics.
    Topics,
    /// In memory again once what is in the topics has been processed.
    Draining,
}

/// Why a unit gets an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its query was created.
    New,
    /// Its owner is certainly dead: it is of no use to wait for a release.
    Dead,
    /// Its owner is silent.
    Silent,
    /// Its owner wants to stop.
    Drain,
    /// Another process has less to do.
    Balance,
    /// Only standbys change.
    Standby,
    /// Its query was dropped.
    Dropped,
}

impl Why {
    /// Whether the earlier owner may still release the unit by itself.
    pub fn is_release_likely(self) -> bool {
        self != Why::Dead
    }
}

/// Offsets of a unit, saved for a service that rests for longer than its broker keeps offsets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The unit.
    pub unit: Unit,
    /// The term of the owner that saved them.
    pub term: Term,
    /// The text beside the unit's offsets.
    pub metadata: String,
    /// Ends of its changelog partitions by then: if they differ, these offsets are not the last ones.
    pub changelog_ends: Vec<i64>,
}

/// The fold of all records before this one. It counts only directly behind the last of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The offset behind the last record that it includes, which has to be its own.
    pub at: i64,
    /// Assigns accepted so far.
    pub version: u64,
    /// The level so far.
    pub level: u32,
    /// Processes.
    pub members: Vec<MemberState>,
    /// Units.
    pub units: Vec<UnitState>,
}

/// What is known of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberState {
    /// How it introduced itself.
    pub hello: Hello,
    /// Whether it wants to stop.
    pub is_draining: bool,
    /// Its latest earlier starts, whose late records are recognised.
    pub earlier: Vec<Incarnation>,
}

/// What is known of a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitState {
    /// The unit.
    pub unit: Unit,
    /// Its owner.
    pub owner: Option<Slot>,
    /// The term of its owner.
    pub term: Term,
    /// Why it has this owner.
    pub why: Why,
    /// Where its state is kept up to date.
    pub standbys: Vec<Slot>,
    /// How its rows reach other parts.
    pub exchange: Exchange,
    /// Slots that may still hold a working producer, with the last term in which each was named.
    pub may_write: Vec<(Slot, Term)>,
    /// Its saved offsets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<Saved>,
}

/// What a record's bytes are.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// A record of the protocol.
    Entry(Entry),
    /// Something else, and why: all processes skip it.
    Foreign(String),
}

impl Entry {
    /// The bytes of a record that says this.
    pub fn encode(self) -> Result<Vec<u8>> {
        let engine = env!("CARGO_PKG_VERSION").to_owned();
        let record = ControlRecord { format: CONTROL_FORMAT, engine, entry: self };
        serde_json::to_vec(&record).map_err(|e| Error::bug("a control record cannot be written").because(e))
    }

    /// Reads a record. An error means that this build cannot know who owns what.
    pub fn decode(bytes: &[u8]) -> Result<Decoded> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
            engine: String,
        }
        let version = match serde_json::from_slice::<Version>(bytes) {
            Ok(version) => version,
            Err(e) => return Ok(Decoded::Foreign(e.to_string())),
        };
        if version.format > CONTROL_FORMAT {
            let Version { format, engine } = version;
            return Err(Error::io(format!("the control topic has records of format {format}, written by {engine}"))
                .with_detail(format!(
                    "this is {}, which reads formats up to {CONTROL_FORMAT}",
                    env!("CARGO_PKG_VERSION")
                ))
                .with_hint("run the later version"));
        }
        match serde_json::from_slice::<ControlRecord>(bytes) {
            Ok(record) => Ok(Decoded::Entry(record.entry)),
            Err(e) => Ok(Decoded::Foreign(e.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cluster::names::QueryName;

    #[test]
    fn records_survive_their_encoding() {
        let (unit, slot) = (Unit::new(&QueryName::new("CTAS_T_1"), 0), Slot::new("b"));
        let owner = Some(slot.clone());
        let assigned =
            Assigned { unit: unit.clone(), owner, standbys: vec![], exchange: Exchange::Memory, why: Why::Dead };
        let (address, version) = ("http://b:8088".to_owned(), "0.2.0".to_owned());
        let (incarnation, zone) = (Incarnation(u64::MAX), Some("z".to_owned()));
        let hello = Hello { slot: slot.clone(), incarnation, address, version, levels: (1, 2), zone, weight: 1 };
        let entries = [
            Entry::Hello(hello),
            Entry::Assign(Assign { base: 4, units: vec![assigned], ended: vec![unit.clone()] }),
            Entry::Confirm { unit: unit.clone(), slot: slot.clone(), term: Term(5) },
            Entry::Drain { slot, incarnation: Incarnation(7) },
            Entry::Level { level: 2 },
            Entry::Saved(Saved { unit, term: Term(5), metadata: "{}".to_owned(), changelog_ends: vec![3] }),
        ];
        for entry in entries {
            let bytes = entry.clone().encode().unwrap();
            assert_eq!(Entry::decode(&bytes).unwrap(), Decoded::Entry(entry));
        }
    }

    #[test]
    fn the_form_of_a_record_is_stable() {
        let text = r#"{"format":1,"engine":"x","kind":"assign","base":4,"units":[{"unit":{"query":"Q"},"owner":"b","why":"dead"}]}"#;
        let Decoded::Entry(Entry::Assign(assign)) = Entry::decode(text.as_bytes()).unwrap() else { panic!("{text}") };
        assert_eq!((assign.base, assign.units[0].why), (4, Why::Dead));
        assert_eq!(assign.units[0].unit, Unit::new(&QueryName::new("Q"), 0));
    }

    #[test]
    fn a_newer_format_ends_the_reader_and_a_foreign_record_does_not() {
        let newer = br#"{"format":2,"engine":"9.0.0","kind":"wharf"}"#;
        assert!(Entry::decode(newer).unwrap_err().to_string().contains("format 2, written by 9.0.0"));
        for foreign in [&b"not json"[..], br#"{"format":1,"engine":"x","kind":"wharf"}"#, b"", b"[]"] {
            assert!(matches!(Entry::decode(foreign), Ok(Decoded::Foreign(_))), "{foreign:?}");
        }
    }
}
