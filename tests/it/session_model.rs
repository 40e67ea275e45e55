//! Sessions, naively: every session keeps all its rows, every result is worked out again.

use crate::model::{Answer, Grouping, Rec, Val, arguments, key_bytes, result};
use tidegate::functions::aggregate::Aggregate;

struct Session {
    key: Vec<Val>,
    start: i64,
    end: i64,
    /// With the number of their arrival, in the order in which merging puts them.
    rows: Vec<(usize, Vec<Val>)>,
}

impl Session {
    fn record(&self, new: Option<Vec<Val>>, old: Option<Vec<Val>>, seq: u64) -> Rec {
        let window = Some((self.start, self.end));
        Rec { key: Some(self.key.clone()), window, old, new, time: self.end, seq }
    }

    fn results(&self, spec: &Grouping) -> Vec<Val> {
        let mut by_arrival = self.rows.clone();
        by_arrival.sort_by_key(|r| r.0);
        let plain = |rows: &[(usize, Vec<Val>)]| rows.iter().map(|r| r.1.clone()).collect::<Vec<_>>();
        let (merged, arrived) = (plain(&self.rows), plain(&by_arrival));
        let of = |(function, places): &(Aggregate, Vec<usize>)| {
            let rows = if matches!(function, Aggregate::Offset { .. }) { &arrived } else { &merged };
            result(function, &arguments(rows, places))
        };
        spec.calls.iter().map(of).collect()
    }
}

/// Runs a grouping by sessions over a stream.
pub(crate) fn group(rows: &[Rec], spec: &Grouping, gap: i64, grace: i64) -> Answer {
    let mut sessions: Vec<Session> = Vec::new();
    let mut answer = Answer::default();
    let mut stream_time = i64::MIN / 2;
    for (arrival, row) in rows.iter().enumerate() {
        let (Some(key), Some(value)) = (&row.key, &row.new) else {
            answer.bad.push(row.seq);
            continue;
        };
        if key.iter().any(Val::is_null) {
            answer.bad.push(row.seq);
            continue;
        }
        stream_time = stream_time.max(row.time);
        let shut = stream_time - gap - grace;
        let reached =
            |s: &Session| s.key == *key && s.end >= shut && s.end >= row.time - gap && s.start <= row.time + gap;
        let (mut hits, others): (Vec<Session>, Vec<Session>) = sessions.into_iter().partition(reached);
        sessions = others;
        hits.sort_by_key(|s| s.end);
        let mut merged = Session { key: key.clone(), start: row.time, end: row.time, rows: Vec::new() };
        for hit in &hits {
            (merged.start, merged.end) = (merged.start.min(hit.start), merged.end.max(hit.end));
            merged.rows.extend(hit.rows.iter().cloned());
        }
        if merged.end < shut {
            answer.late += 1;
            continue;
        }
        let same =
            hits.len() == 1 && (hits[0].start, hits[0].end) == (merged.start, merged.end) && merged.start == merged.end;
        let old = |s: &Session| spec.with_old.then(|| s.results(spec));
        if !spec.final_only && !same {
            answer.records.extend(hits.iter().map(|hit| hit.record(None, old(hit), row.seq)));
        }
        merged.rows.push((arrival, value.clone()));
        if !spec.final_only {
            let old = if same { old(&hits[0]) } else { None };
            answer.records.push(merged.record(Some(merged.results(spec)), old, row.seq));
        }
        sessions.push(merged);
        let (mut closed, open): (Vec<Session>, Vec<Session>) = sessions.into_iter().partition(|s| s.end < shut);
        sessions = open;
        if spec.final_only {
            closed.sort_by_key(|s| (s.end, s.start, key_bytes(&s.key)));
            answer.records.extend(closed.iter().map(|s| s.record(Some(s.results(spec)), None, row.seq)));
        }
    }
    answer
}
