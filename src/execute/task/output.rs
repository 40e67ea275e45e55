//! What operators wrote goes to the sink or to the reader of a push query; what cannot be written is reported.

use super::Execution;
use super::spec::BAD_RECORDS_KEPT;
use crate::error::Result;
use crate::execute::operator::OperatorOutput;
use crate::execute::record::source::{BadRecord, Stage};
use crate::execute::stage::StageKind;
use crate::log::{Header, TopicPartition};
use std::sync::atomic::Ordering;

impl Execution {
    /// Takes what operators wrote: rows to the sink or to the reader, counts, bad rows to the log.
    pub(super) fn write(
        &mut self,
        out: OperatorOutput,
        slot: usize,
        headers: &dyn Fn(u64) -> Vec<Header>,
    ) -> Result<()> {
        self.progress.late.fetch_add(out.late, Ordering::Relaxed);
        self.progress.bad.fetch_add(out.bad.left_out() as u64, Ordering::Relaxed);
        for (seq, reason, left_out) in out.bad.entries().take(BAD_RECORDS_KEPT.saturating_sub(self.bad.len())) {
            self.report(slot, seq, reason, if left_out { Stage::Process } else { Stage::Null });
        }
        for batch in out.batches {
            let (rows, begun) = (batch.len(), self.measurement.stages.begin());
            match &mut self.sink {
                None => self.rows.push(batch),
                Some(sink) => {
                    let (partition, before) = (self.inputs[slot].partition, self.pending.data.len());
                    let unwritten = sink.encode(&batch, partition, headers, &mut self.pending)?;
                    let bytes = self.pending.data.len() - before;
                    self.progress.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
                    let (topic, large) = (sink.topic().clone(), sink.take_large());
                    for (seq, reason) in unwritten {
                        self.progress.bad.fetch_add(1, Ordering::Relaxed);
                        self.report(slot, seq, &reason, Stage::Process);
                    }
                    self.refuse(&topic, large)?;
                }
            }
            self.progress.produced.fetch_add(rows as u64, Ordering::Relaxed);
            self.measurement.stages.note(StageKind::Sink, begun, (rows, rows));
        }
        Ok(())
    }

    fn report(&mut self, slot: usize, seq: u64, reason: &str, stage: Stage) {
        if self.bad.len() < BAD_RECORDS_KEPT {
            let reason = reason.to_owned();
            if let Some((input, offset)) = self.canonical.interval.origin(seq) {
                let TopicPartition { topic, partition, .. } = self.inputs[input].clone();
                self.bad.push(BadRecord { topic, partition, offset: offset as i64, reason, stage });
                return;
            }
            let input = &self.inputs[slot];
            // Rows of one run have consecutive ordinals; counted back from its last one they give the offset where the run
            // has no gaps, which is what a person can look up.
            let run = self.runs_end.partition_point(|(end, _)| *end <= seq);
            let (end, next) = self.runs_end.get(run).copied().unwrap_or((self.seq, self.processed[slot]));
            let offset = next - (end - seq) as i64;
            let (topic, partition) = (input.topic.clone(), input.partition);
            self.bad.push(BadRecord { topic, partition, offset, reason, stage });
        }
    }
}
