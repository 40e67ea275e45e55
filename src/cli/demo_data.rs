//! Racing cars for the demo: sensor readings that are the same on every machine but for their time.

use crate::error::Result;
use crate::log::{Log, RecordSet, partition};
use crate::types::clock::SharedClock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The cars on the track, each with its usual speed in km/h.
const CARS: [(&str, f64); 6] = [
    ("alpine-36", 212.0),
    ("bmw-15", 219.0),
    ("cadillac-2", 221.0),
    ("ferrari-51", 226.0),
    ("porsche-6", 224.0),
    ("toyota-8", 223.0),
];
/// Time between two rounds of readings.
const PAUSE: Duration = Duration::from_millis(100);
/// Readings already in the topic when the demo starts: half a minute, so that whole windows are there to be seen.
const HISTORY: i64 = 300;

/// One reading of one car at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    /// Car: the record's key.
    pub car: &'static str,
    /// `{"SPEED":...,"RPM":...,"TEMPERATURE":...}`
    pub json: String,
}

/// Reading number `i` of car number `car`: a lap takes some ten seconds, and no two cars drive alike.
pub(super) fn reading(i: i64, car: usize) -> Reading {
    let (name, usual) = CARS[car % CARS.len()];
    let lap = (i as f64 / 100.0 + car as f64 / 7.0) * std::f64::consts::TAU;
    let noise = f64::from((mix(i as u64 ^ (car as u64) << 40) % 1_000) as u32) / 1_000.0;
    let speed = usual + 60.0 * lap.sin() + 8.0 * noise;
    let rpm = (speed * 34.0 + 400.0 * noise) as i64;
    let temperature = 88.0 + speed / 12.0 + 3.0 * noise;
    Reading { car: name, json: format!("{{\"SPEED\":{speed:.1},\"RPM\":{rpm},\"TEMPERATURE\":{temperature:.1}}}") }
}

/// splitmix64: the same numbers everywhere.
fn mix(z: u64) -> u64 {
    let mut z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

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
            for car in 0..CARS.len() {
                let Reading { car, json } = reading(next, car);
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
