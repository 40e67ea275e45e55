//! When a plan is appended to the control topic, and by which process (C7).
//!
//! ```text
//! I am the lowest slot that is heard, and a plan changes something    append Assign{base}, wait until it is read back
//! it was read back, accepted or not                                   look again
//! it was not read back within a second                                look again: the same base makes a repetition harmless
//! ```
//!
//! Two processes may both believe that they are the lowest: the first Assign in the log counts, the other does not (C1).

use super::control::Control;
use super::hearing::{Hearing, Presence};
use super::names::{Slot, Unit};
use super::planner::{Situation, Wanted, plan};
use super::record::Assign;

/// How long an appended plan is awaited. The append itself may take longer; then it does not count or repeats another.
const AWAIT_MS: u64 = 1_000;
/// How often the situation is looked at when no record changed it.
const LOOK_MS: u64 = 250;

/// The proposer of one process.
#[derive(Debug, Default)]
pub struct Proposer {
    /// The base of a plan that was appended, and until when it is awaited.
    awaited: Option<(u64, u64)>,
    /// When to look again, and at which offset of the control topic it was last looked.
    look: (u64, i64),
}

impl Proposer {
    /// The plan to append now, if any.
    pub fn propose(
        &mut self,
        now_ms: u64,
        me: &Slot,
        control: &Control,
        hearing: &Hearing,
        (wanted, ended): (&[Wanted], &[Unit]),
    ) -> Option<Assign> {
        if let Some((base, until)) = self.awaited
            && control.version() == base
            && now_ms < until
        {
            return None;
        }
        self.awaited = None;
        if now_ms < self.look.0 && control.next_offset() == self.look.1 {
            return None;
        }
        self.look = (now_ms + LOOK_MS, control.next_offset());
        if hearing.is_deaf(now_ms) || !is_proposer(now_ms, me, control, hearing) {
            return None;
        }
        let presence = |slot: &Slot| hearing.presence(slot, now_ms);
        let assign = plan(&Situation { control, presence: &presence, wanted, ended })?;
        self.awaited = Some((assign.base, now_ms + AWAIT_MS));
        Some(assign)
    }
}

/// Whether this process is the lowest member that is heard.
pub fn is_proposer(now_ms: u64, me: &Slot, control: &Control, hearing: &Hearing) -> bool {
    let mut heard = control.members().iter().map(|member| &member.hello.slot);
    heard.find(|slot| hearing.presence(slot, now_ms) == Presence::Heard) == Some(me)
}
