//! The laws of joins of two streams, on random rows: any split gives what the model gives; abort and replay is as if
//! nothing had happened; a restart from the changelog continues as if there had been none.

use crate::batches::{Dice, batch, cuts, records, same, seeds};
use crate::copied_state::{Met, Snapshots};
use crate::join_model::{Joining, join};
use crate::model::{Rec, Val};
use tidegate::catalog::Format;
use tidegate::execute::change::ChangeBatch;
use tidegate::execute::operator::stream_stream_join::StreamStreamJoin;
use tidegate::execute::operator::{Operator, OperatorOutput};
use tidegate::execute::pipeline::{Input, JoinSide, JoinStage, RowSpec};
use tidegate::execute::state::spill_pool::SpillPool;
use tidegate::parse::statement::{JoinKind, Within};
use tidegate::plan::nodes::join::Rule;
use tidegate::types::{Column, SqlType};

const VALUES: [&[SqlType]; 2] = [&[SqlType::Bigint, SqlType::String], &[SqlType::Integer]];

#[derive(Debug)]
struct Case {
    key: SqlType,
    kind: JoinKind,
    joining: Joining,
    /// Memory of both sides: none, little, enough.
    memory: usize,
    /// In (seq, port) order.
    rows: Vec<(usize, Rec)>,
}

fn case(seed: u64) -> Case {
    let mut dice = Dice(seed);
    let kind = [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full][dice.below(4) as usize];
    let alone = match kind {
        JoinKind::Inner => [false, false],
        JoinKind::Left => [true, false],
        JoinKind::Right => [false, true],
        JoinKind::Full => [true, true],
    };
    let (before, after) = (dice.below(30), dice.below(30));
    let grace = (!dice.one_in(4)).then(|| dice.below(3) * dice.below(20));
    let key = [SqlType::Bigint, SqlType::String, SqlType::Integer, SqlType::Boolean][dice.below(4) as usize].clone();
    let joining = Joining { before, after, grace, alone, widths: [2, 1] };
    let rows = rows(&mut dice, &key, 120);
    let memory = [0, 6_000, 1 << 30][(seed % 3) as usize];
    Case { key, kind, joining, memory, rows }
}

/// Rows out of order within and beyond what is kept, with equal times, null keys and values, and both ports in one `seq`.
fn rows(dice: &mut Dice, key: &SqlType, n: usize) -> Vec<(usize, Rec)> {
    let (mut now, mut seq, mut port) = (0, 0, 0);
    let (keys, span, back) = (1 + dice.below(6), 1 + dice.below(12), 1 + dice.below(150));
    let mut rows = Vec::new();
    for _ in 0..n {
        now += dice.below(span + 1);
        let same_seq = dice.one_in(6);
        let next = dice.below(2) as usize;
        // Ports of one seq come in order.
        if !same_seq || next < port {
            seq += [1, 1, 1, 3][dice.below(4) as usize];
        }
        port = next;
        let time = (now - if dice.one_in(3) { dice.below(back) } else { 0 }).max(0);
        let id = dice.below(keys);
        let name = match key {
            SqlType::Bigint => Val::Long(id - 2),
            SqlType::Integer => Val::Int(id as i32),
            SqlType::Boolean => Val::Bool(id % 2 == 0),
            _ => Val::Text(format!("key {id} of some length")),
        };
        let key = (!dice.one_in(20)).then(|| vec![if dice.one_in(30) { Val::Null } else { name }]);
        let number = dice.below(1_000);
        let value = match port {
            0 => vec![Val::Long(number), Val::Text(format!("left {number}"))],
            _ => vec![if dice.one_in(5) { Val::Null } else { Val::Int(number as i32) }],
        };
        let new = (!dice.one_in(20)).then_some(value);
        rows.push((port, Rec { key, window: None, old: None, new, time, seq }));
    }
    rows
}

impl Case {
    fn operator(&self) -> StreamStreamJoin {
        let within =
            Within { before_ms: self.joining.before, after_ms: self.joining.after, grace_ms: self.joining.grace };
        let side = |i: usize| JoinSide {
            input: Input::Scan(i),
            rows: RowSpec::default(),
            hop: None,
            columns: VALUES[i].iter().map(SqlType::arrow).collect(),
        };
        let stage = JoinStage {
            name: "Join".into(),
            kind: self.kind,
            rule: Rule::Within(within),
            key: Column::key("K", self.key.clone()),
            key_format: if self.key == SqlType::Boolean { Format::Json } else { Format::Kafka },
            partitions: 1,
            window: None,
            sides: [side(0), side(1)],
        };
        let spill_pool = SpillPool::new(std::env::temp_dir().join("tidegate-tests"), self.memory);
        StreamStreamJoin::new(&stage, within, &spill_pool).unwrap()
    }

    /// Where a step may end: not inside of a `seq`.
    fn cuts(&self, dice: &mut Dice, how: usize) -> Vec<usize> {
        let border = |&at: &usize| at == 0 || at == self.rows.len() || self.rows[at].1.seq != self.rows[at - 1].1.seq;
        cuts(dice, self.rows.len(), how).into_iter().filter(border).collect()
    }

    fn step(&self, operator: &mut dyn Operator, range: std::ops::Range<usize>, out: &mut OperatorOutput) {
        let ports = [0, 1].map(|port| {
            let own = self.rows[range.clone()].iter().filter(|r| r.0 == port);
            let own: Vec<Rec> = own.map(|r| r.1.clone()).collect();
            (!own.is_empty()).then(|| batch(&own, std::slice::from_ref(&self.key), VALUES[port]))
        });
        let ports: Vec<Option<&ChangeBatch>> = ports.iter().map(Option::as_ref).collect();
        operator.step(&ports, out).unwrap();
    }
}

fn bad(out: &OperatorOutput) -> Vec<u64> {
    out.bad.iter().map(|b| b.0).collect()
}

#[test]
pub(crate) fn a_join_equals_the_model_under_any_split() {
    let mut alone = 0;
    for seed in seeds(1) {
        let case = case(seed);
        let want = join(&case.rows, &case.joining);
        alone += want.records.iter().filter(|r| r.new.as_ref().is_some_and(|v| v[0].is_null())).count();
        for how in 0..4 {
            let (mut operator, mut out) = (case.operator(), OperatorOutput::default());
            let mut dice = Dice(seed ^ 77);
            for cut in case.cuts(&mut dice, how).windows(2) {
                case.step(&mut operator, cut[0]..cut[1], &mut out);
                if dice.one_in(3) {
                    operator.commit();
                }
            }
            same(&format!("seed {seed}, split {how}, {:?}", case.joining), &records(&out), &want.records);
            assert_eq!(bad(&out), want.bad, "seed {seed}, split {how}: bad rows");
        }
    }
    assert!(alone > 1_000, "only {alone} right rows stood alone");
}

#[test]
pub(crate) fn abort_and_replay_of_a_join_is_no_abort() {
    for seed in seeds(1) {
        let case = case(seed);
        let mut dice = Dice(seed ^ 33);
        let want = join(&case.rows, &case.joining);
        let (mut shaky, mut got) = (case.operator(), OperatorOutput::default());
        let cuts = case.cuts(&mut dice, 3);
        for cut in cuts.windows(2) {
            let mut lost = OperatorOutput::default();
            let upto = cuts.iter().copied().filter(|c| *c >= cut[0]).nth(1 + dice.below(2) as usize);
            case.step(&mut shaky, cut[0]..upto.unwrap_or(cut[1]), &mut lost);
            if dice.one_in(2) {
                shaky.changelog(&mut Vec::new()).unwrap();
            }
            shaky.abort();
            case.step(&mut shaky, cut[0]..cut[1], &mut got);
            shaky.changelog(&mut Vec::new()).unwrap();
            shaky.commit();
        }
        same(&format!("seed {seed}"), &records(&got), &want.records);
        assert_eq!(bad(&got), want.bad, "seed {seed}");
    }
}

#[test]
pub(crate) fn a_join_goes_on_after_a_restart_from_its_changelog() {
    let mut taken_back = 0;
    for seed in seeds(1) {
        let case = case(seed);
        let mut dice = Dice(seed ^ 11);
        let want = join(&case.rows, &case.joining);
        let (mut operator, mut got, mut changelog) = (case.operator(), OperatorOutput::default(), Vec::new());
        for cut in case.cuts(&mut dice, 3).windows(2) {
            case.step(&mut operator, cut[0]..cut[1], &mut got);
            operator.changelog(&mut changelog).unwrap();
            let offset_metadata = operator.offset_metadata();
            operator.commit();
            if dice.one_in(3) {
                operator = restarted(&case, &changelog, &offset_metadata);
                assert_eq!(operator.offset_metadata(), offset_metadata, "seed {seed}");
            }
        }
        taken_back += changelog.iter().filter(|d| d.value.is_none()).count();
        same(&format!("seed {seed}"), &records(&got), &want.records);
    }
    assert!(taken_back > 100, "only {taken_back} entries were taken back");
}

#[test]
pub(crate) fn a_join_goes_on_after_a_restart_from_a_snapshot() {
    let mut met = Met::default();
    for seed in seeds(4) {
        let case = case(seed);
        let mut dice = Dice(seed ^ 13);
        let want = join(&case.rows, &case.joining);
        let boxed = || -> Box<dyn Operator> { Box::new(case.operator()) };
        let (mut operator, mut got, mut changelog) = (boxed(), OperatorOutput::default(), Vec::new());
        let mut snapshots = Snapshots::default();
        for cut in case.cuts(&mut dice, 3).windows(2) {
            if dice.one_in(4) {
                case.step(&mut *operator, cut[0]..cut[1], &mut OperatorOutput::default());
                operator.abort();
            }
            case.step(&mut *operator, cut[0]..cut[1], &mut got);
            operator.changelog(&mut changelog).unwrap();
            let (offset_metadata, living) = (operator.offset_metadata(), operator.living());
            operator.commit();
            snapshots.copy(&mut dice, &mut *operator, &changelog);
            if dice.one_in(4) {
                let memo = (offset_metadata.as_str(), living);
                operator = snapshots.restart(&mut dice, boxed, &changelog, memo, &mut met);
                assert_eq!(operator.offset_metadata(), offset_metadata, "seed {seed}");
            }
        }
        same(&format!("seed {seed}"), &records(&got), &want.records);
    }
    assert!(met.used > 0 && met.several > 0 && met.refused > 0, "{met:?}");
}

/// Blocks that the owner took back leave a state that only reads the changelog, too: it may do so for as long as the query runs.
#[test]
pub(crate) fn a_standby_of_a_join_holds_about_as_many_rows_as_its_owner() {
    const ROWS: usize = 60_000;
    const STEP: usize = 500;
    for memory in [1 << 30, 600_000] {
        let joining = Joining { before: 100, after: 100, grace: Some(0), alone: [false, false], widths: [2, 1] };
        let row = |n: usize| {
            let value = [vec![Val::Long(n as i64), Val::Text("left".into())], vec![Val::Int(n as i32)]][n % 2].clone();
            let key = Some(vec![Val::Long((n % 50) as i64)]);
            (n % 2, Rec { key, window: None, old: None, new: Some(value), time: n as i64, seq: n as u64 + 1 })
        };
        let rows = (0..ROWS).map(row).collect();
        let case = Case { key: SqlType::Bigint, kind: JoinKind::Inner, joining, memory, rows };
        let (mut owner, mut standby, mut held) = (case.operator(), case.operator(), 0);
        for from in (0..ROWS).step_by(STEP) {
            case.step(&mut owner, from..from + STEP, &mut OperatorOutput::default());
            let mut changelog = Vec::new();
            owner.changelog(&mut changelog).unwrap();
            owner.commit();
            for entry in changelog {
                standby.restore(&entry.key, entry.value.as_deref(), entry.timestamp).unwrap();
            }
            held = held.max(owner.size().keys);
            assert!(standby.size().keys <= 2 * held + 2 * STEP as u64, "{:?} of {held}", standby.size());
        }
        assert!(held < ROWS as u64 / 2, "the owner drops nothing: {held}");
    }
}

fn restarted(
    case: &Case,
    changelog: &[tidegate::execute::state::ChangelogEntry],
    offset_metadata: &str,
) -> StreamStreamJoin {
    let mut operator = case.operator();
    for delta in changelog {
        operator.restore(&delta.key, delta.value.as_deref(), delta.timestamp).unwrap();
    }
    operator.restore_metadata(offset_metadata).unwrap();
    operator
}
