//! Writing rows and knowing that they were delivered: reports are counted, never assumed (K6).

use super::client::{Events, MESSAGE_TIMEOUT, failed, failed_with};
use super::ffi::RawProducer;
use super::thread_headroom::with_headroom;
use crate::error::{Error, Result};
use crate::log::RecordSet;
use crate::types::clock::SharedClock;
use crate::{mutant, threads};
use rdkafka::config::ClientConfig;
use rdkafka::types::RDKafkaErrorCode;
use std::ops::ControlFlow;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// K7: librdkafka gives up on a commit after 9.9 s (its socket timeout here) unless the broker is unreachable; this is the
/// limit for that case.
pub(super) const COMMIT_WAIT: Duration = Duration::from_secs(15);
/// How long the serving thread waits for an event before it checks whether the producer is still in use.
const SERVE_WAIT: Duration = Duration::from_millis(100);
/// How long to wait for a report before the deadline is checked.
const REPORT_WAIT: Duration = Duration::from_millis(50);
/// Pause until librdkafka has removed the last reports from its queue, which is a matter of microseconds.
const LAST_PAUSE: Duration = Duration::from_micros(50);
/// Bytes in flight without a report: enough for a response time of a tenth of a second at full speed.
const UNREPORTED_BYTES_MAX: usize = 16 << 20;
/// Pause while librdkafka's send queue is full.
const FULL_PAUSE: Duration = Duration::from_millis(1);
/// A row gets its report within librdkafka's own message timeout; the rest is a margin for a busy machine.
pub(super) const DRAIN_WAIT: Duration = MESSAGE_TIMEOUT.saturating_add(Duration::from_secs(2));

/// A producer with the thread that serves its events.
///
/// A suspect producer is given up by dropping it (K13): that returns at once and leaves an open transaction to the successor,
/// whose initialization ends it. No other call is safe on such a producer (see [`super::ffi`]).
pub(super) struct Producer {
    raw: Arc<RawProducer>,
    clock: SharedClock,
    /// Rows handed to librdkafka so far; the number of reports has to reach it.
    sent: u64,
    /// Bytes sent since all rows were last known to be delivered.
    unreported_bytes: usize,
}

impl Producer {
    /// Creates a producer with these settings.
    pub(super) fn new(config: &ClientConfig, name: &str, clock: SharedClock) -> Result<Producer> {
        let make =
            || RawProducer::new(config, Events::new(name, clock.clone())).map_err(|e| failed("make a producer", e));
        let raw = Arc::new(with_headroom(make)?);
        let served = Arc::clone(&raw);
        let label = name.to_owned();
        // This thread is always the last owner of the client: a commit that does not return is served to its end, and no
        // caller waits for librdkafka's threads to end.
        let work = move || {
            threads::rounds("kafka-reports", &label, || {
                served.serve(SERVE_WAIT);
                if Arc::strong_count(&served) > 1 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        };
        threads::spawn("kafka-reports", name, work)?;
        Ok(Producer { raw, clock, sent: 0, unreported_bytes: 0 })
    }

    pub(super) fn raw(&self) -> &Arc<RawProducer> {
        &self.raw
    }

    pub(super) fn events(&self) -> &Events {
        self.raw.events()
    }

    /// K7: commits the open transaction, in a thread of its own, because the call itself has no usable timeout. An error leaves
    /// the outcome unknown.
    pub(super) fn commit(&self, label: &str, timeout: Duration) -> std::result::Result<(), String> {
        let raw = Arc::clone(&self.raw);
        let (done, result) = mpsc::sync_channel(1);
        let owner = label.to_owned();
        let work = move || {
            mutant::trip("kafka-commit", &owner);
            // The receiver is gone after the timeout.
            let _ = done.send(raw.commit());
        };
        threads::spawn("kafka-commit", label, work).map_err(|e| format!("no thread for the commit: {e}"))?;
        match result.recv_timeout(timeout) {
            Ok(result) => result.map_err(|e| format!("commit: {e}")),
            Err(_) => Err("commit did not return".to_owned()),
        }
    }

    /// Hands rows to librdkafka, which sends them in the background.
    pub(super) fn send(&mut self, topic: &Arc<str>, records: &RecordSet) -> Result<()> {
        let target = self.raw.open(topic).map_err(|e| failed(&format!("write to topic {topic}"), e))?;
        let deadline = self.clock.monotonic() + DRAIN_WAIT;
        let plain = records.headers.is_empty();
        for (index, row) in records.rows.iter().enumerate() {
            let headers = if plain { &[] } else { records.headers(index) };
            let (key, value) = (records.key(index), records.value(index));
            while let Err(code) = self.raw.send(target, row.partition, row.timestamp, key, value, headers) {
                if code != RDKafkaErrorCode::QueueFull || self.clock.monotonic() > deadline {
                    return Err(failed_with(&format!("write to topic {topic}"), code));
                }
                self.clock.sleep(FULL_PAUSE);
            }
            self.sent += 1;
        }
        Ok(())
    }

    /// Sends rows without waiting for their delivery, unless too many bytes are in flight. An error may be that of earlier
    /// rows; [`Producer::drain`] waits for all of them.
    pub(super) fn send_async(&mut self, topic: &Arc<str>, records: &RecordSet) -> Result<()> {
        if let Some(code) = self.events().failure() {
            return Err(failed_with("deliver rows", code));
        }
        if self.events().delivered() == self.sent {
            self.unreported_bytes = 0;
        }
        self.send(topic, records)?;
        self.unreported_bytes += records.data.len();
        if self.unreported_bytes > UNREPORTED_BYTES_MAX { self.drain() } else { Ok(()) }
    }

    /// K6: waits until every row is reported as delivered. Returns at the first failure, after which the other rows may never be
    /// reported.
    pub(super) fn drain(&self) -> Result<()> {
        let deadline = self.clock.monotonic() + DRAIN_WAIT;
        loop {
            if let Some(code) = self.events().failure() {
                return Err(failed_with("deliver rows", code));
            }
            let all = self.events().delivered() == self.sent;
            // Without the second condition a commit might still wait for reports that are counted but still in the queue.
            if all && self.raw.in_flight() == 0 {
                return Ok(());
            }
            if self.clock.monotonic() > deadline {
                let missing = self.sent.saturating_sub(self.events().delivered());
                return Err(Error::io("rows were not delivered in time").with_detail(format!("{missing} rows")));
            }
            if all {
                self.clock.sleep(LAST_PAUSE);
            } else {
                self.events().wait_for_reports(self.sent, REPORT_WAIT);
            }
        }
    }
}
