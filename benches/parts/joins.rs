//! Two streams joined WITHIN: each event is a row of one side that finds one match in the other, 20,000 keys, batches of
//! 8,192 rows of both ports.

use super::{EVENTS, report};
use arrow::array::{ArrayRef, Int64Array};
use std::sync::Arc;
use tidegate::catalog::Format;
use tidegate::execute::change::{ChangeBatch, RowImage};
use tidegate::execute::operator::stream_stream_join::StreamStreamJoin;
use tidegate::execute::operator::{Operator, OperatorOutput};
use tidegate::execute::pipeline::{Input, JoinSide, JoinStage, RowSpec};
use tidegate::execute::state::spill_pool::{MEMORY_BYTES, SpillPool};
use tidegate::parse::statement::{JoinKind, Within};
use tidegate::plan::nodes::join::Rule;
use tidegate::types::{Column, SqlType};

const KEYS: i64 = 20_000;
const BATCH_ROWS: i64 = 8_192;
/// Time in which every key comes once on each side: rows match those of their own round only.
const WITHIN_MS: i64 = KEYS / 2;

pub(crate) fn joins() {
    let spill_pool = SpillPool::new(std::env::temp_dir(), MEMORY_BYTES);
    for (name, kind, grace_ms) in
        [("join INNER", JoinKind::Inner, Some(0)), ("join LEFT, grace", JoinKind::Left, Some(1_000))]
    {
        let within = Within { before_ms: WITHIN_MS, after_ms: WITHIN_MS, grace_ms };
        let mut operator = StreamStreamJoin::new(&stage(kind, within), within, &spill_pool).expect("the key is plain");
        let mut round = 0;
        let mut written = 0;
        report(name, || {
            let mut at = 0;
            while at < EVENTS as i64 {
                let rows = BATCH_ROWS.min(EVENTS as i64 - at);
                let (left, right) = (side(0, round + at, rows / 2), side(1, round + at, rows / 2));
                let mut out = OperatorOutput::default();
                operator.step(&[Some(&left), Some(&right)], &mut out).expect("rows are good");
                written += out.batches.iter().map(ChangeBatch::len).sum::<usize>();
                at += rows;
            }
            round += at;
            operator.commit();
        });
        assert!(written > 0, "{name}: nothing was joined");
    }
}

fn stage(kind: JoinKind, within: Within) -> JoinStage {
    let side = |i: usize| JoinSide {
        input: Input::Scan(i),
        rows: RowSpec::default(),
        hop: None,
        columns: vec![SqlType::Bigint.arrow()],
    };
    JoinStage {
        name: "Join".into(),
        kind,
        rule: Rule::Within(within),
        key: Column::key("K", SqlType::Bigint),
        key_format: Format::Kafka,
        partitions: 1,
        window: None,
        sides: [side(0), side(1)],
    }
}

/// Rows of one side: every second ordinal from `from` on, the time is the ordinal.
fn side(port: i64, from: i64, rows: i64) -> ChangeBatch {
    let ordinals = || (0..rows).map(|i| from + 2 * i + port);
    let key: ArrayRef = Arc::new(Int64Array::from_iter_values(ordinals().map(|n| n / 2 * 7_919 % KEYS)));
    ChangeBatch {
        key: vec![key],
        key_present: None,
        new: RowImage { columns: vec![Arc::new(Int64Array::from_iter_values(ordinals()))], present: None },
        old: None,
        rowtime: ordinals().collect(),
        window: None,
        seq: ordinals().map(|n| n as u64).collect(),
    }
}
