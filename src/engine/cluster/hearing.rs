//! Who is alive: pulses of the others, and one's own, by one's own monotonic clock (C8).
//!
//! ```text
//! pulses of c arrive                          heard
//! none for 1.5 s, my own arrive               silent: its units may be given to others
//! none for 1.5 s, my own do not arrive either unknown: the broker or I have stopped: no suspicion
//! its port refuses connections                dead: no release is awaited
//! ```
//!
//! A wrong suspicion costs the suspect one epoch and moves its units; it never costs a row. Nothing here is read from a record
//! but names: clocks of other machines play no part.

use super::names::{Incarnation, Slot};

/// How often a process sends a pulse.
pub const PULSE_MS: u64 = 500;
/// Silence after which a process is suspected: three pulses, so that one late pulse is no suspicion.
pub const SILENCE_MS: u64 = 3 * PULSE_MS;

/// What a process has heard.
#[derive(Clone, Debug)]
pub struct Hearing {
    me: Slot,
    my_incarnation: Incarnation,
    /// When the own pulse was last read back; None before the first.
    own_ms: Option<u64>,
    peers: Vec<Peer>,
}

#[derive(Clone, Debug)]
struct Peer {
    slot: Slot,
    heard_ms: u64,
    /// Its port refused a connection after its last pulse.
    is_refused: bool,
    /// It introduced itself before this process started, and no pulse has come since: it may have ended long ago.
    is_recalled: bool,
}

/// What is known about the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is alive.
    Heard,
    /// It has been silent for so long.
    Silent {
        /// Since its last pulse.
        for_ms: u64,
    },
    /// It is certainly dead.
    Dead,
    /// Own pulses do not arrive, or it has not introduced itself.
    Unknown,
}

impl Hearing {
    /// Nothing has been heard yet.
    pub fn new(me: Slot, my_incarnation: Incarnation) -> Hearing {
        Hearing { me, my_incarnation, own_ms: None, peers: Vec::new() }
    }

    /// A pulse was read.
    pub fn pulse(&mut self, slot: &Slot, incarnation: Incarnation, now_ms: u64) {
        if *slot == self.me {
            if incarnation == self.my_incarnation {
                self.own_pulse(now_ms);
            }
            return;
        }
        self.peer(slot, now_ms);
    }

    /// After a gap in the own pulses the silence of others is measured from now on.
    fn own_pulse(&mut self, now_ms: u64) {
        if self.is_deaf(now_ms) {
            self.peers.iter_mut().for_each(|peer| peer.heard_ms = now_ms);
        }
        self.own_ms = Some(now_ms);
    }

    /// A process has introduced itself in the control topic: its silence counts from now on.
    pub fn hello(&mut self, slot: &Slot, now_ms: u64) {
        if *slot != self.me {
            self.peer(slot, now_ms);
        }
    }

    /// A process had introduced itself before this one started: whether it lives is unknown until its pulse or its silence.
    pub fn recall(&mut self, slot: &Slot, now_ms: u64) {
        if *slot != self.me && !self.peers.iter().any(|peer| peer.slot == *slot) {
            let slot = slot.clone();
            self.peers.push(Peer { slot, heard_ms: now_ms, is_refused: false, is_recalled: true });
        }
    }

    fn peer(&mut self, slot: &Slot, now_ms: u64) {
        match self.peers.iter_mut().find(|peer| peer.slot == *slot) {
            Some(peer) => (peer.heard_ms, peer.is_refused, peer.is_recalled) = (now_ms, false, false),
            None => {
                let slot = slot.clone();
                self.peers.push(Peer { slot, heard_ms: now_ms, is_refused: false, is_recalled: false });
            }
        }
    }

    /// The port of a process refused a connection, or its lease has ended.
    pub fn refused(&mut self, slot: &Slot) {
        self.peers.iter_mut().filter(|peer| peer.slot == *slot).for_each(|peer| peer.is_refused = true);
    }

    /// Processes that have been silent for so long and are not known to be dead; none while own pulses do not arrive.
    pub fn quiet(&self, now_ms: u64, for_ms: u64) -> Vec<Slot> {
        let is_quiet = |peer: &&Peer| !peer.is_refused && now_ms.saturating_sub(peer.heard_ms) >= for_ms;
        let peers = self.peers.iter().filter(|_| !self.is_deaf(now_ms));
        peers.filter(is_quiet).map(|peer| peer.slot.clone()).collect()
    }

    /// Whether own pulses do not arrive.
    pub fn is_deaf(&self, now_ms: u64) -> bool {
        self.own_ms.is_none_or(|own| now_ms.saturating_sub(own) >= SILENCE_MS)
    }

    /// What is known about a process.
    pub fn presence(&self, slot: &Slot, now_ms: u64) -> Presence {
        if *slot == self.me {
            return Presence::Heard;
        }
        let Some(peer) = self.peers.iter().find(|peer| peer.slot == *slot) else { return Presence::Unknown };
        let for_ms = now_ms.saturating_sub(peer.heard_ms);
        match (peer.is_refused, self.is_deaf(now_ms)) {
            (true, false) => Presence::Dead,
            (_, true) => Presence::Unknown,
            _ if for_ms >= SILENCE_MS => Presence::Silent { for_ms },
            _ if peer.is_recalled => Presence::Unknown,
            _ => Presence::Heard,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Incarnation = Incarnation(1);

    fn heard(times: &[u64]) -> (Hearing, Slot) {
        let (me, other) = (Slot::new("a"), Slot::new("b"));
        let mut hearing = Hearing::new(me.clone(), ME);
        for now in times {
            hearing.pulse(&me, ME, *now);
        }
        hearing.pulse(&other, Incarnation(9), times[0]);
        (hearing, other)
    }

    #[test]
    fn silence_is_a_suspicion_only_while_own_pulses_arrive() {
        let (hearing, other) = heard(&[0, 500, 1_000, 1_500]);
        assert_eq!(hearing.presence(&other, 1_499), Presence::Heard);
        assert_eq!(hearing.presence(&other, 1_500), Presence::Silent { for_ms: 1_500 });
        assert_eq!(hearing.presence(&other, 3_000), Presence::Unknown, "my own pulse is missing, too");
    }

    #[test]
    fn a_stall_of_the_broker_is_no_suspicion_when_it_ends() {
        let (mut hearing, other) = heard(&[0]);
        hearing.pulse(&Slot::new("a"), ME, 20_000);
        assert_eq!(hearing.presence(&other, 20_000), Presence::Heard);
        hearing.pulse(&Slot::new("a"), ME, 21_000);
        assert_eq!(hearing.presence(&other, 21_500), Presence::Silent { for_ms: 1_500 });
    }

    #[test]
    fn a_refused_port_is_a_death_until_the_next_pulse() {
        let (mut hearing, other) = heard(&[0]);
        hearing.refused(&other);
        assert_eq!(hearing.presence(&other, 10), Presence::Dead);
        hearing.pulse(&other, Incarnation(10), 20);
        assert_eq!(hearing.presence(&other, 30), Presence::Heard);
    }

    #[test]
    fn a_process_of_the_past_is_unknown_until_its_pulse_or_its_silence() {
        let (mut hearing, old) = heard(&[0, 500, 1_000, 1_500]);
        let (past, back) = (Slot::new("c"), Slot::new("d"));
        [&past, &back].into_iter().for_each(|slot| hearing.recall(slot, 100));
        hearing.recall(&old, 1_000);
        assert_eq!(hearing.presence(&past, 1_599), Presence::Unknown);
        hearing.pulse(&back, Incarnation(3), 1_000);
        assert_eq!(hearing.presence(&back, 1_599), Presence::Heard);
        assert_eq!(hearing.presence(&past, 1_600), Presence::Silent { for_ms: 1_500 });
        assert_eq!(hearing.presence(&old, 1_500), Presence::Silent { for_ms: 1_500 }, "it was heard at 0");
    }

    #[test]
    fn the_pulses_of_another_start_of_this_slot_are_not_mine() {
        let (mut hearing, other) = heard(&[0]);
        hearing.pulse(&Slot::new("a"), Incarnation(2), 5_000);
        assert_eq!(hearing.presence(&other, 5_000), Presence::Unknown);
    }
}
