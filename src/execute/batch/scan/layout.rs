//! Which columns of a source a scan decodes, and the schema of the batches that it makes of them.
//!
//! ```text
//! turn, [wanted columns], and for a table: partition, key bytes
//! ```

use crate::catalog::Source;
use crate::error::Result;
use crate::execute::record::event_time::TimeReader;
use crate::parse::statement::SourceKind;
use crate::plan::nodes::table::Origin;
use crate::types::{Column, Role};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// The first column: when a row has its turn. It is the row's time as decoded, and the latest time of its partition so far
/// once it is in order.
pub(super) const TURN: usize = 0;

/// What is decoded, and where it goes.
#[derive(Debug)]
pub(super) struct Layout {
    pub source: Arc<Source>,
    pub wanted: Vec<Origin>,
    pub key: Vec<usize>,
    pub value: Vec<usize>,
    /// Header columns: indices into the source's value columns.
    pub headers: Vec<usize>,
    /// The TIMESTAMP column: whether it is in the key, and its place among the decoded ones there.
    pub time: Option<(bool, usize, TimeReader)>,
    pub with_key_bytes: bool,
    pub schema: SchemaRef,
}

impl Layout {
    pub(super) fn new(source: Arc<Source>, wanted: &[Origin]) -> Result<Layout> {
        let (mut key, mut value, mut headers) = (vec![], vec![], vec![]);
        let add = |list: &mut Vec<usize>, i: usize| {
            if !list.contains(&i) {
                list.push(i);
            }
        };
        for origin in wanted {
            match origin {
                Origin::Key(i) => add(&mut key, *i),
                Origin::Value(i) => {
                    let list = match source.schema.value[*i].role {
                        Role::Header(_) => &mut headers,
                        _ => &mut value,
                    };
                    add(list, *i);
                }
                _ => {}
            }
        }
        let find = |columns: &[Column], name: &str| columns.iter().position(|c| c.name == name);
        let mut time = None;
        if let Some(stamp) = &source.timestamp {
            let reader = TimeReader::new(stamp)?;
            if let Some(i) = find(&source.schema.value, &stamp.column) {
                add(&mut value, i);
                time = value.iter().position(|v| *v == i).map(|at| (false, at, reader));
            } else if let Some(i) = find(&source.schema.key, &stamp.column) {
                add(&mut key, i);
                time = key.iter().position(|k| *k == i).map(|at| (true, at, reader));
            }
        }
        let with_key_bytes = source.kind == SourceKind::Table;
        let mut fields = vec![Field::new("turn", DataType::Int64, true)];
        for origin in wanted {
            fields.push(Field::new(format!("{origin:?}"), data_type(&source, *origin), true));
        }
        if with_key_bytes {
            fields.push(Field::new("partition", DataType::Int32, true));
            fields.push(Field::new("key", DataType::Binary, true));
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(Layout { source, wanted: wanted.to_vec(), key, value, headers, time, with_key_bytes, schema })
    }
}

fn data_type(source: &Source, origin: Origin) -> DataType {
    match origin {
        Origin::Key(i) => source.schema.key[i].ty.arrow(),
        Origin::Value(i) => source.schema.value[i].ty.arrow(),
        Origin::Partition => DataType::Int32,
        Origin::Present => DataType::Boolean,
        _ => DataType::Int64,
    }
}
