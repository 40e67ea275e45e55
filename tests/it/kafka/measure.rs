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

#[test]
#[ignore = "a measurement"]
fn consume_and_commit() {
    let Some(log) = subject("consume_and_commit") else { return };
    let say = |text: String| writeln!(std::io::stderr(), "{text}").unwrap();
    let topic_name = topic(&log, "rate", 1).name;
    let value = "x".repeat(238);
    let mut records = RecordSet::default();
    for i in 0..100_000 {
        records.push(0, 1_000_000 + i, Some(b"12345678"), Some(value.as_bytes()));
    }
    let (begin, before) = (Instant::now(), cpu());
    const BATCHES: i64 = 20;
    for _ in 0..BATCHES {
        log.append(&topic_name, &records).unwrap();
    }
    let total = BATCHES as f64 * 100_000.0;
    let (wall, used) = (begin.elapsed().as_secs_f64(), cpu() - before);
    say(format!("append: {:.0} rows/s, {:.3} us CPU a row", total / wall, used / total));

    for round in 0..3 {
        let start = Assignment { topic: topic_name.as_str().into(), partition: 0, start: Start::Earliest };
        let mut reader = log.reader(vec![start], Isolation::ReadCommitted).unwrap();
        let (begin, before, mut bytes, mut polls) = (Instant::now(), cpu(), 0, 0);
        while reader.position(0) < total as i64 {
            let fetched = reader.poll(2000, Duration::from_millis(100)).unwrap();
            polls += 1;
            for run in fetched.runs() {
                run.for_each(|r| bytes += r.value.map_or(0, <[u8]>::len) + r.timestamp as usize % 2);
            }
        }
        let (wall, used) = (begin.elapsed().as_secs_f64(), cpu() - before);
        say(format!(
            "read {round}: {:.0} rows/s, {:.3} us CPU a row, {:.0} rows a poll, {bytes} bytes",
            total / wall,
            used / total,
            total / f64::from(polls)
        ));
    }

    let out = topic(&log, "commits", 4).name;
    for rows in [1, 200, 20_000] {
        let mut session = log.session(&spec("latency", 4)).unwrap();
        let mut times = Vec::new();
        for n in 0..60 {
            let mut set = RecordSet::default();
            for i in 0..rows {
                set.push(i % 4, 5, Some(b"12345678"), Some(&value.as_bytes()[..100]));
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
