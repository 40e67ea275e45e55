//! The model of two streams joined WITHIN a time: one row at a time, lists only, everything looked at again for every row.

use crate::model::{Answer, Rec, Val, key_bytes};
use std::cmp::Reverse;

/// A join.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joining {
    pub(crate) before: i64,
    pub(crate) after: i64,
    pub(crate) grace: Option<i64>,
    /// Sides whose rows leave alone.
    pub(crate) alone: [bool; 2],
    /// Value columns of each side.
    pub(crate) widths: [usize; 2],
}

const DAY: i64 = 24 * 60 * 60 * 1000;

#[derive(Clone)]
struct Row {
    side: usize,
    rec: Rec,
    arrival: usize,
}

impl Row {
    fn key(&self) -> &[Val] {
        self.rec.key.as_deref().unwrap_or_default()
    }
}

/// Runs a join over rows of both ports in the order of (seq, port).
pub(crate) fn join(rows: &[(usize, Rec)], spec: &Joining) -> Answer {
    let kept = spec.before + spec.after + spec.grace.unwrap_or(DAY);
    let reach = [spec.after, spec.before];
    let mut answer = Answer::default();
    let mut buffers: [Vec<Row>; 2] = [vec![], vec![]];
    let mut own = [i64::MIN / 2; 2];
    let mut waiting: Vec<Row> = Vec::new();
    let mut time = i64::MIN / 2;
    for (arrival, (side, rec)) in rows.iter().enumerate() {
        let (side, other) = (*side, 1 - side);
        let row = Row { side, rec: rec.clone(), arrival };
        time = time.max(rec.time);
        if rec.new.is_none() {
            answer.bad.push(rec.seq);
            continue;
        }
        if rec.key.as_ref().is_none_or(|k| k.iter().any(Val::is_null)) {
            if spec.alone[side] {
                let alone = Rec { key: None, ..rec.clone() };
                answer.records.push(pair(&Row { rec: alone, ..row }, None, rec.seq, spec));
            } else {
                answer.bad.push(rec.seq);
            }
            continue;
        }
        if let Some(grace) = spec.grace.filter(|_| rec.time == time) {
            let over = |w: &Row| w.rec.time + reach[w.side] + grace < time;
            let mut closed: Vec<Row> = waiting.iter().filter(|w| over(w)).cloned().collect();
            waiting.retain(|w| !over(w));
            closed.sort_by_key(|w| (w.rec.time, Reverse(w.side), key_bytes(w.key()), w.arrival));
            answer.records.extend(closed.iter().map(|w| pair(w, None, rec.seq, spec)));
        }
        own[side] = own[side].max(rec.time);
        if rec.time > own[side] - kept {
            buffers[side].push(row.clone());
        }
        let (low, high) = match side {
            0 => (rec.time - spec.before, rec.time + spec.after),
            _ => (rec.time - spec.after, rec.time + spec.before),
        };
        let meets = |r: &&Row| {
            let near = r.rec.time >= low && r.rec.time <= high && r.rec.time > own[other] - kept;
            near && r.rec.key == rec.key
        };
        let mut matches: Vec<Row> = buffers[other].iter().filter(meets).cloned().collect();
        matches.sort_by_key(|m| (m.rec.time, m.arrival));
        for found in &matches {
            waiting.retain(|w| w.arrival != found.arrival);
            answer.records.push(pair(&row, Some(found), rec.seq, spec));
        }
        if matches.is_empty() && spec.alone[side] {
            if spec.grace.is_none() || rec.time + reach[side] < time {
                answer.records.push(pair(&row, None, rec.seq, spec));
            } else {
                waiting.push(row);
            }
        }
    }
    answer
}

fn pair(row: &Row, with: Option<&Row>, seq: u64, spec: &Joining) -> Rec {
    let image = |side: usize| {
        let found = [Some(row), with].into_iter().flatten().find(|r| r.side == side);
        found.map_or_else(|| vec![Val::Null; spec.widths[side]], |r| r.rec.new.clone().unwrap_or_default())
    };
    Rec {
        key: row.rec.key.clone(),
        window: None,
        old: None,
        new: Some([image(0), image(1)].concat()),
        time: with.map_or(row.rec.time, |w| w.rec.time.max(row.rec.time)),
        seq,
    }
}
