//! A broker as far as ownership is concerned: transactional ids with epochs, offsets with stamps, rows, the control topic.
//!
//! A transaction ends in two steps, as on Kafka: the coordinator decides and replies, and markers make it visible later. Until
//! then its offsets are pending, and its id accepts nothing but the wait for them. What becomes visible is checked at once: the
//! rows of a unit are 0, 1, 2, ... each once, offsets say the same as rows, and terms do not fall.

use tidegate::engine::cluster::owner::request::Stamp;
use tidegate::engine::cluster::record::Entry;

/// A request that changes something.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Init { id: usize },
    Rows { id: usize, epoch: u32, rows: Vec<(usize, u64, u64)> },
    Offsets { id: usize, epoch: u32, offsets: Vec<(usize, u64, Stamp)> },
    End { id: usize, epoch: u32 },
    Append(Entry),
}

/// The reply to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reply {
    Done,
    Epoch(u32),
    /// The last transaction of this id is not complete.
    Later,
    Fenced,
}

#[derive(Default)]
struct Producer {
    epoch: u32,
    transaction: Option<Transaction>,
}

#[derive(Default)]
struct Transaction {
    rows: Vec<(usize, u64, u64)>,
    offsets: Vec<(usize, u64, Stamp)>,
    is_ending: bool,
}

/// What is visible of a unit.
#[derive(Default)]
pub(super) struct Committed {
    pub rows: u64,
    pub offset: u64,
    pub stamp: Option<Stamp>,
}

pub(super) struct Broker {
    producers: Vec<Producer>,
    pub units: Vec<Committed>,
    pub control: Vec<Entry>,
    /// Slots and incarnations.
    pub pulses: Vec<(usize, u64)>,
    /// What was wrong first.
    pub fault: Option<String>,
    pub commits: u64,
}

impl Broker {
    pub(super) fn new(ids: usize, units: usize) -> Broker {
        Broker {
            producers: (0..ids).map(|_| Producer::default()).collect(),
            units: (0..units).map(|_| Committed::default()).collect(),
            control: Vec::new(),
            pulses: Vec::new(),
            fault: None,
            commits: 0,
        }
    }

    pub(super) fn epoch(&self, id: usize) -> u32 {
        self.producers[id].epoch
    }

    /// Carries a request out.
    pub(super) fn run(&mut self, op: Op) -> Reply {
        match op {
            Op::Append(entry) => {
                self.control.push(entry);
                Reply::Done
            }
            Op::Init { id } => {
                let producer = &mut self.producers[id];
                if producer.transaction.as_ref().is_some_and(|t| t.is_ending) {
                    return Reply::Later;
                }
                producer.transaction = None;
                producer.epoch += 1;
                Reply::Epoch(producer.epoch)
            }
            Op::Rows { id, epoch, rows } => self.within(id, epoch, |t| t.rows.extend(rows)),
            Op::Offsets { id, epoch, offsets } => self.within(id, epoch, |t| {
                t.offsets.retain(|(unit, ..)| !offsets.iter().any(|(new, ..)| new == unit));
                t.offsets.extend(offsets);
            }),
            Op::End { id, epoch } => {
                let producer = &mut self.producers[id];
                if epoch != producer.epoch {
                    return Reply::Fenced;
                }
                if let Some(transaction) = &mut producer.transaction {
                    transaction.is_ending = true;
                }
                Reply::Done
            }
        }
    }

    fn within(&mut self, id: usize, epoch: u32, work: impl FnOnce(&mut Transaction)) -> Reply {
        let producer = &mut self.producers[id];
        if epoch != producer.epoch {
            return Reply::Fenced;
        }
        let transaction = producer.transaction.get_or_insert_default();
        if transaction.is_ending {
            return Reply::Later;
        }
        work(transaction);
        Reply::Done
    }

    /// A request of a sender that does not wait for the reply. Offsets are refused outside of a transaction that has offsets,
    /// as brokers that verify them do.
    pub(super) fn run_late(&mut self, op: Op) {
        let is_refused = match &op {
            Op::Offsets { id, .. } => self.producers[*id].transaction.as_ref().is_none_or(|t| t.offsets.is_empty()),
            _ => false,
        };
        if !is_refused {
            self.run(op);
        }
    }

    pub(super) fn is_ending(&self, id: usize) -> bool {
        self.producers[id].transaction.as_ref().is_some_and(|t| t.is_ending)
    }

    pub(super) fn is_pending(&self, unit: usize) -> bool {
        let has = |t: &Transaction| t.offsets.iter().any(|(of, ..)| *of == unit);
        self.producers.iter().any(|p| p.transaction.as_ref().is_some_and(has))
    }

    /// Makes a decided transaction visible, and yields whose offsets it moved.
    pub(super) fn complete(&mut self, id: usize) -> Vec<(usize, Stamp)> {
        let Some(transaction) = self.producers[id].transaction.take_if(|t| t.is_ending) else { return Vec::new() };
        self.commits += 1;
        let mut touched: Vec<usize> = Vec::new();
        for (unit, start, count) in transaction.rows {
            let visible = self.units[unit].rows;
            if start != visible {
                self.blame(format!("rows of unit {unit} from {start} after {visible} were visible, by id {id}"));
            }
            self.units[unit].rows = visible.max(start + count);
            touched.push(unit);
        }
        let mut moved = Vec::new();
        for (unit, offset, stamp) in transaction.offsets {
            let before = self.units[unit].stamp.as_ref().map_or(0, |stamp| stamp.term.0);
            if before > stamp.term.0 {
                self.blame(format!("unit {unit}: a commit of term {} after one of term {before}", stamp.term.0));
            }
            self.units[unit].offset = offset;
            self.units[unit].stamp = Some(stamp.clone());
            touched.push(unit);
            moved.push((unit, stamp));
        }
        for unit in touched {
            let Committed { rows, offset, .. } = self.units[unit];
            if rows != offset {
                self.blame(format!("unit {unit} has {rows} rows and the offset {offset}, by id {id}"));
            }
        }
        moved
    }

    pub(super) fn blame(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }
}
