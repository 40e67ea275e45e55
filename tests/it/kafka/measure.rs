//! Numbers for people: `cargo test --test it kafka::measure -- --ignored --nocapture`.

use super::*;
use std::io::Write;
use tidegate::log::Outcome;

/// CPU time of this thread and of the whole process, microseconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 1..].split_ascii_whitespace().collect();
    // utime and stime in ticks of 10 ms.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) * 10_000.0
}

fn say(text: String) {
    writeln!(std::io::stderr(), "{text}").unwrap();
}

/// Rows of one append: 246 bytes each.
const ROWS: i64 = 100_000;
const APPENDS: i64 = 20;

fn fill(log: &KafkaLog) -> String {
    let name = topic(log, "rate", 1).name;
    let mut records = RecordSet::default();
    for i in 0..ROWS {
        records.push(0, 1_000_000 + i, Some(b"12345678"), Some(&[b'x'; 238]));
    }
    // The first use of an idempotent producer waits for its id.
    log.append(&name, &set(&[(0, 1, "k", "v")])).unwrap();
    let (begin, before) = (Instant::now(), cpu());
    for _ in 0..APPENDS {
        log.append(&name, &records).unwrap();
    }
    report("append", (ROWS * APPENDS) as f64, begin, before);
    name
}

fn report(what: &str, rows: f64, begin: Instant, before: f64) {
    let (wall, used) = (begin.elapsed().as_secs_f64(), cpu() - before);
    say(format!("{what}: {:.0} rows/s, {:.3} us CPU a row", rows / wall, used / rows));
}

#[test]
#[ignore = "a measurement"]
fn append() {
    let Some(log) = subject("append") else { return };
    fill(&log);
}

#[test]
#[ignore = "a measurement"]
fn consume() {
    let Some(log) = subject("consume") else { return };
    let name = fill(&log);
    let total = log.watermarks(&at(&name, 0)).unwrap().high;
    for _ in 0..3 {
        let start = Assignment { topic: name.as_str().into(), partition: 0, start: Start::Earliest };
        let mut reader = log.reader(vec![start], Isolation::ReadCommitted).unwrap();
        let (begin, before, mut bytes, mut polls) = (Instant::now(), cpu(), 0, 0);
        while reader.position(0) < total {
            polls += 1;
            for run in reader.poll(2000, Duration::from_millis(100)).unwrap().runs() {
                run.for_each(|r| bytes += r.value.map_or(0, <[u8]>::len) + r.timestamp as usize % 2);
            }
        }
        report(&format!("consume ({} rows a poll, {bytes} bytes)", total / polls), total as f64, begin, before);
    }
}

#[test]
#[ignore = "a measurement"]
fn commit() {
    let Some(log) = subject("commit") else { return };
    let out = topic(&log, "commits", 4).name;
    for rows in [1, 200, 20_000] {
        let mut session = log.session(&spec("latency", 4)).unwrap();
        let mut times = Vec::new();
        for n in 0..60 {
            let mut set = RecordSet::default();
            for i in 0..rows {
                set.push(i % 4, 5, Some(b"12345678"), Some(&[b'x'; 100]));
            }
            let epoch = epoch(&out, set, vec![(at(&out, 0), offset(n, ""))], "");
            let begin = Instant::now();
            assert_eq!(session.commit(&epoch).unwrap(), Outcome::Committed);
            times.push(begin.elapsed().as_secs_f64() * 1e3);
            std::thread::sleep(Duration::from_millis(20));
        }
        times.sort_by(f64::total_cmp);
        say(format!("commit of {rows} rows: p50 {:.1}, p90 {:.1}, max {:.1} ms", times[30], times[54], times[59]));
    }
}
