//! INSERT INTO ... VALUES: a record a row, written together and immediately, outside any transaction.

use crate::engine::Engine;
use crate::engine::result::entity::Entity;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::format::{Encoder, Side};
use crate::log::{RecordSet, partition};
use crate::parse::statement::InsertValues;
use crate::plan;
use datafusion::common::ScalarValue;

impl Engine {
    /// Carries out INSERT VALUES.
    pub(in crate::engine) fn insert_values(&self, insert: &InsertValues, session: &Session) -> Result<Entity> {
        let plans = plan::insert_values(insert, &self.inner.state.load().catalog, &self.inner.topics)?;
        let Some(source) = plans.first().map(|plan| &plan.source) else { return Ok(Entity::Done) };
        self.check_topic(session, &source.topic)?;
        let written = self.writable(source, session)?;
        let mut set = RecordSet::default();
        let mut keys = match source.schema.key.is_empty() {
            true => None,
            false => Some(Encoder::of(Side::key(&written))?),
        };
        let mut values = Encoder::of(Side::value(&written))?;
        let now = self.inner.clock.now_ms();
        for plan in &plans {
            let key = keys.as_mut().map(|keys| encode_one(keys, &plan.key)).transpose()?.flatten();
            let value = encode_one(&mut values, &plan.value)?;
            let target = key.as_deref().map_or(0, |key| partition::java(key, source.partitions));
            set.push(target, plan.timestamp.unwrap_or(now), key.as_deref(), value.as_deref());
        }
        self.inner.log.append(&source.topic, &set)?;
        // Not written by its query: the view is rebuilt from the topic.
        self.view_of(source).iter().for_each(|view| view.reset());
        Ok(Entity::Done)
    }
}

/// The bytes of one row; `None` = null.
fn encode_one(encoder: &mut Encoder, row: &[ScalarValue]) -> Result<Option<Vec<u8>>> {
    let columns = row.iter().map(|v| Ok(v.to_array()?)).collect::<Result<Vec<_>>>()?;
    let (mut data, mut ranges) = (Vec::new(), Vec::new());
    let failed = encoder.encode(&columns, None, 1, &mut data, &mut ranges)?;
    if let Some((_, bad)) = failed.into_iter().next() {
        return Err(Error::statement("the row cannot be written").with_detail(bad.reason));
    }
    Ok(ranges.pop().flatten().map(|range| data[range].to_vec()))
}
