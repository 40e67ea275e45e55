//! `SELECT price * 0.908 WHERE auction % 123 = 0`: our programs beside DataFusion's physical expressions of the same.

use super::{ratio, spent};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::cast::as_boolean_array;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, cast, col, lit};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use std::hint::black_box;
use std::sync::Arc;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::Engine;
use tidegate::engine::session::Session;
use tidegate::execute::change::{ChangeBatch, RowImage};
use tidegate::execute::compile;
use tidegate::execute::operator::filter_project::FilterProjectOperator;
use tidegate::execute::operator::{Operator, OperatorOutput};
use tidegate::execute::pipeline::{InputColumn, RowSpec};
use tidegate::parse::statement::Statement;
use tidegate::plan::{self, Settings};
use tidegate::types::clock::SystemClock;

const ROWS: usize = 8192;
const PASSES: usize = 2_000;

pub(crate) fn scalar() {
    let spec = compiled("SELECT price * 0.908 AS p FROM bids WHERE auction % 123 = 0 EMIT CHANGES;");
    for (name, nulls) in [("clean", 0), ("30 % NULL", 30)] {
        let batch = batch(nulls);
        let theirs = datafusion(&batch);
        let mut own = FilterProjectOperator::new(&spec);
        let changes = changes(&spec, &batch);
        let cost = best(|| {
            let mut out = OperatorOutput::default();
            own.step(&[Some(&changes)], &mut out).expect("rows are good");
            black_box(&out);
        });
        ratio(&format!("price * 0.908 WHERE ..., {name}, to DataFusion"), cost, best(theirs));
    }
}

fn best(mut work: impl FnMut()) -> f64 {
    (0..7).map(|_| spent(|| (0..PASSES).for_each(|_| work())) / (PASSES * ROWS) as f64).fold(f64::MAX, f64::min)
}

/// Filters and projections of a SELECT over bids.
fn compiled(select: &str) -> RowSpec {
    let engine = Engine::open(Config::new(LogConfig::Temporary), SystemClock::shared()).expect("memory is there");
    let mut session = Session::default();
    let source = "CREATE STREAM bids (auction BIGINT, price BIGINT) WITH (KAFKA_TOPIC = 'bids', VALUE_FORMAT = 'JSON', \
                  PARTITIONS = 1);";
    engine.run(source, &mut session).expect("the statement is good");
    let parsed = engine.parse(select, &session).expect("the statement is good");
    let Some(Statement::Select(select)) = parsed.first().map(|p| &p.statement) else { panic!("not a SELECT") };
    let settings = Settings::of(&engine.config().properties).expect("the defaults are good");
    let plan = plan::push_query(select, &engine.catalog(), &settings).expect("the statement is good");
    compile::pipeline(&plan.logical).expect("the statement is good").rows
}

/// Auctions, of which one in 123 passes, and prices.
fn batch(nulls: u64) -> RecordBatch {
    let mut state = 7u64;
    let mut dice = move |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let mut column = |below: u64| -> ArrayRef {
        Arc::new((0..ROWS).map(|_| (dice(100) >= nulls).then(|| dice(below) as i64)).collect::<Int64Array>())
    };
    let columns = vec![column(100_000), column(100_000_000)];
    let field = |name| Field::new(name, DataType::Int64, true);
    let schema = Arc::new(Schema::new(vec![field("auction"), field("price")]));
    RecordBatch::try_new(schema, columns).expect("the columns are as long as each other")
}

/// The same rows as the operator takes them: the value columns that the scan reads.
fn changes(spec: &RowSpec, batch: &RecordBatch) -> ChangeBatch {
    let value = |slot: &InputColumn| matches!(slot, InputColumn::Value(_));
    assert!(spec.slots.iter().all(value), "the programs read value columns only");
    ChangeBatch {
        key: Vec::new(),
        key_present: None,
        new: RowImage { columns: batch.columns().to_vec(), present: None },
        old: None,
        rowtime: (0..ROWS as i64).collect(),
        window: None,
        seq: (0..ROWS as u64).collect(),
    }
}

/// DataFusion's filter, then its projection of what is left.
fn datafusion(batch: &RecordBatch) -> impl FnMut() {
    let context = SessionContext::new();
    let schema = DFSchema::try_from(batch.schema().as_ref().clone()).expect("names differ");
    let physical = |expr: Expr| -> Arc<dyn PhysicalExpr> {
        context.create_physical_expr(expr, &schema).expect("the expression is good")
    };
    let keep = physical((col("auction") % lit(123i64)).eq(lit(0i64)));
    let factor = lit(ScalarValue::Decimal128(Some(908), 4, 3));
    let value = physical(cast(col("price"), DataType::Decimal128(19, 0)) * factor);
    let batch = batch.clone();
    move || {
        let mask = keep.evaluate(&batch).and_then(|m| m.into_array(batch.num_rows())).expect("numbers are good");
        let mask = as_boolean_array(&mask).expect("a condition is a boolean");
        let kept = filter_record_batch(&batch, mask).expect("the mask is as long as the batch");
        black_box(value.evaluate(&kept).expect("numbers are good"));
    }
}
