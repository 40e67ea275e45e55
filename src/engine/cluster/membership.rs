//! One process as a member: its Hello, its wish to stop, and whether it was replaced.
//!
//! ```text
//! start               append Hello until the control topic shows it
//! owners begin        only then: a predecessor with the same slot finds the Hello after it was fenced (C3)
//! SIGTERM             append Drain until the control topic shows it, and exit when no unit is left
//! a later Hello       end
//! ```

use super::control::Control;
use super::record::{Entry, Hello};

/// How long an appended record is awaited before it is appended again.
const AGAIN_MS: u64 = 1_000;

/// The membership of one process.
#[derive(Debug)]
pub struct Membership {
    hello: Hello,
    wants_to_stop: bool,
    append_at_ms: u64,
}

impl Membership {
    /// A process that introduces itself like this.
    pub fn new(hello: Hello) -> Membership {
        Membership { hello, wants_to_stop: false, append_at_ms: 0 }
    }

    /// Its Hello.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// From now on it wants to give its units away.
    pub fn drain(&mut self) {
        self.wants_to_stop = true;
        self.append_at_ms = 0;
    }

    /// Whether it wants to give its units away.
    pub fn is_stopping(&self) -> bool {
        self.wants_to_stop
    }

    /// The record to append now, if any.
    pub fn advance(&mut self, now_ms: u64, control: &Control) -> Option<Entry> {
        if now_ms < self.append_at_ms || self.is_replaced(control) {
            return None;
        }
        let entry = match self.is_joined(control) {
            false => Entry::Hello(self.hello.clone()),
            true if self.wants_to_stop && !self.is_draining(control) => {
                Entry::Drain { slot: self.hello.slot.clone(), incarnation: self.hello.incarnation }
            }
            true => return None,
        };
        self.append_at_ms = now_ms + AGAIN_MS;
        Some(entry)
    }

    /// Whether the control topic shows this start as the present one.
    pub fn is_joined(&self, control: &Control) -> bool {
        control.member(&self.hello.slot).is_some_and(|member| member.hello.incarnation == self.hello.incarnation)
    }

    /// Whether another process with this slot started later.
    pub fn is_replaced(&self, control: &Control) -> bool {
        let member = control.member(&self.hello.slot);
        member.is_some_and(|member| member.earlier.contains(&self.hello.incarnation))
    }

    /// Whether the control topic shows its wish to stop.
    pub fn is_draining(&self, control: &Control) -> bool {
        self.is_joined(control) && control.member(&self.hello.slot).is_some_and(|member| member.is_draining)
    }

    /// Whether it may stop: it wants to, and owns nothing any more.
    pub fn is_drained(&self, control: &Control) -> bool {
        let owns = |owner: &super::names::Slot| *owner == self.hello.slot;
        self.is_draining(control) && !control.units().iter().any(|state| state.owner.as_ref().is_some_and(owns))
    }
}
