//! Racing cars for the demo: sensor readings that are the same on every machine but for their time.

use crate::engine::datagen::templates::{CAR_COUNT, Reading, reading};
use crate::error::Result;
use crate::log::{Log, RecordSet, partition};
use crate::types::clock::SharedClock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Time between two rounds of readings.
const PAUSE: Duration = Duration::from_millis(100);
/// Readings already in the topic when the demo starts: half a minute, so that whole windows are there to be seen.
const HISTORY: i64 = 300;

/// Drives: writes half a minute of history, then ten rounds of readings a second until `stop`.
pub(super) fn drive(
    log: &Arc<dyn Log>,
    topic: &str,
    partitions: u32,
    clock: &SharedClock,
    stop: &AtomicBool,
) -> Result<()> {
    let start = clock.now_ms() - HISTORY * PAUSE.as_millis() as i64;
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        let due = (clock.now_ms() - start) / PAUSE.as_millis() as i64;
        let mut set = RecordSet::default();
        while next < due {
            for car in 0..CAR_COUNT {
                let Reading { car, speed, rpm, temperature } = reading(next, car, 0);
                let json = format!("{{\"SPEED\":{speed:.1},\"RPM\":{rpm},\"TEMPERATURE\":{temperature:.1}}}");
                let at = start + next * PAUSE.as_millis() as i64;
                set.push(partition::java(car.as_bytes(), partitions), at, Some(car.as_bytes()), Some(json.as_bytes()));
            }
            next += 1;
        }
        if !set.is_empty() {
            log.append(topic, &set)?;
        }
        clock.sleep(PAUSE);
    }
    Ok(())
}
