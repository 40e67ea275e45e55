//! Files of the embedded log with damage behind a right checksum: no panic, no hang, no memory, and a record batch is
//! taken exactly where another reader of Kafka's format takes it.
//!
//! A flipped bit is what the checksums are for (`embedded_crash`). Here they are made to fit again, so that the decoders
//! behind them see what they were not written for. Each runs for `TIDEGATE_FUZZ_SECONDS` in a process of its own.

use crate::alone::{Memory, alone};
use crate::batches::Dice;
use crate::fuzz::{duration, for_a_while};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tidegate::error::{Kind, Result};
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions, Fsync};
use tidegate::log::{
    Assignment, CommittedOffset, Epoch, Header, Isolation, Log, RecordSet, Sole, Start, TopicPartition, TopicSpec,
    WriterSpec,
};
use tidegate::types::clock::SystemClock;

/// Time beside the fuzzing: a start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// Records in the one batch of the topic.
const RECORDS: usize = 20;
/// Where a batch's records begin, and what its checksum begins with.
const RECORDS_AT: usize = 61;
const CRC_FROM: usize = 21;

/// Offset, time, key, value and headers of a record.
type Read = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Nothing is synced: the journal carries no records that opening would write again.
fn open(directory: &Path) -> Result<Arc<EmbeddedLog>> {
    let options = EmbeddedOptions { fsync: Fsync::Never, ..EmbeddedOptions::default() };
    EmbeddedLog::open(directory, options, SystemClock::shared())
}

/// A log with a topic of two partitions, one batch in the first, a group, and a topic that is gone.
fn make(directory: &Path) {
    let log = open(directory).unwrap();
    log.create_topic(&TopicSpec::new("t", 2)).unwrap();
    log.create_topic(&TopicSpec::new("gone", 1)).unwrap();
    let mut set = RecordSet::default();
    for i in 0..RECORDS {
        let value = format!("value {i}");
        let (key, value) = ((i % 3 > 0).then_some(&value.as_bytes()[..i % 7]), (i % 4 > 0).then_some(value.as_bytes()));
        let header = |n: usize| Header { key: format!("h{n}"), value: (n > 0).then(|| vec![n as u8; n]) };
        set.push(0, 1_000 + (i * 37 % 11) as i64, key, value);
        if i % 3 > 0 {
            set.headers.push((i as u32, (0..i % 3).map(header).collect()));
        }
    }
    log.append("t", &set).unwrap();
    log.delete_topic("gone").unwrap();
    let offset = CommittedOffset { offset: 5, metadata: "time".into() };
    let epoch =
        Epoch { records: vec![], offsets: vec![(TopicPartition::new("t", 0), offset)], metadata: "blob".into() };
    let spec = WriterSpec { group: "g".into(), slot: "0".into(), tasks: 1 };
    log.transactional_writer(&spec, &Sole::claim()).unwrap().commit(&epoch).unwrap();
}

fn read_all(log: &EmbeddedLog) -> Result<Vec<Read>> {
    let mut records = vec![];
    for topic in log.topics()? {
        // Thousands of partitions can be made of one byte.
        for partition in 0..(topic.partitions as i32).min(20) {
            let high = log.watermarks(&TopicPartition::new(&*topic.name, partition))?.high;
            let slot = Assignment { topic: topic.name.as_str().into(), partition, start: Start::Earliest };
            let mut reader = log.reader(vec![slot], Isolation::ReadCommitted)?;
            while reader.position(0) < high {
                let before = reader.position(0);
                for run in reader.poll(7, Duration::ZERO)?.runs() {
                    run.for_each(|r| {
                        let headers = r.headers.to_vec().into_iter().map(|h| (h.key, h.value)).collect();
                        records.push((r.offset, r.timestamp, r.key.map(Into::into), r.value.map(Into::into), headers));
                    });
                }
                assert!(reader.position(0) > before, "the reader stands still at {before}");
            }
            log.offset_for_time(&TopicPartition::new(&*topic.name, partition), 1_005)?;
        }
    }
    Ok(records)
}

fn segment(directory: &Path) -> PathBuf {
    let topic = fs::read_dir(directory.join("topics")).unwrap().map(|e| e.unwrap().path());
    let topic = topic.filter(|p| p.join("0").is_dir()).min().unwrap();
    topic.join("0").join(format!("{:020}.log", 0))
}

fn damage(dice: &mut Dice, bytes: &mut Vec<u8>, from: usize) {
    let extremes = [0u8, 1, 2, 0x7F, 0x80, 0xFE, 0xFF];
    for _ in 0..1 + dice.below(3) {
        let at = from + dice.below((bytes.len() - from) as i64) as usize;
        match dice.below(5) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = extremes[dice.below(7) as usize],
            2 => {
                let until = (at + dice.below(11) as usize).min(bytes.len());
                bytes[at..until].fill(extremes[dice.below(7) as usize]);
            }
            3 => drop(bytes.remove(at)),
            _ => bytes.insert(at, extremes[dice.below(7) as usize]),
        }
        if bytes.len() <= from + 2 {
            return;
        }
    }
}

/// Kafka's varint: the low bit is the sign.
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u128;
    for place in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value += u128::from(byte % 128) << (7 * place);
        if *byte < 128 {
            let value = value as u64;
            return Some(if value.is_multiple_of(2) { (value / 2) as i64 } else { -1 - (value / 2) as i64 });
        }
    }
    None
}

fn bytes_or_null(bytes: &mut &[u8]) -> Option<Option<Vec<u8>>> {
    let len = varint(bytes)?;
    if len == -1 {
        return Some(None);
    }
    let (taken, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    *bytes = rest;
    Some(Some(taken.to_vec()))
}

/// The records of a batch that holds offsets 0 to `RECORDS`; `None` = it is damaged.
fn kafka_reader(batch: &[u8]) -> Option<Vec<Read>> {
    let int = |at: usize| i32::from_be_bytes(batch[at..at + 4].try_into().unwrap());
    let long = |at: usize| i64::from_be_bytes(batch[at..at + 8].try_into().unwrap());
    let (last, count, first_time) = (int(23), int(57), long(27));
    let framed = long(0) == 0 && int(8) as usize == batch.len() - 12 && batch[16] == 2 && batch[21..23] == [0, 0];
    if !framed || last < RECORDS as i32 - 1 || count < 0 {
        return None;
    }
    let (mut rest, mut read, mut least) = (&batch[RECORDS_AT..], Vec::<Read>::new(), 0);
    for _ in 0..count {
        let (mut record, behind) = {
            let len = usize::try_from(varint(&mut rest)?).ok()?;
            rest.split_at_checked(len)?
        };
        rest = behind;
        record = record.get(1..)?;
        let time = first_time.checked_add(varint(&mut record)?)?;
        let offset = varint(&mut record)?;
        let (key, value) = (bytes_or_null(&mut record)?, bytes_or_null(&mut record)?);
        let mut headers = vec![];
        for _ in 0..usize::try_from(varint(&mut record)?).ok()? {
            let name = String::from_utf8(bytes_or_null(&mut record)??).ok()?;
            headers.push((name, bytes_or_null(&mut record)?));
        }
        if !record.is_empty() || !(least..=i64::from(last)).contains(&offset) {
            return None;
        }
        least = offset + 1;
        read.push((offset, time, key, value, headers));
    }
    rest.is_empty().then_some(read)
}

/// A refusal is about a file of the log, and no bug.
fn assert_names_a_file(error: &tidegate::error::Error, directory: &Path) {
    let named = error.to_string().contains(&directory.display().to_string());
    assert!(error.kind() == Kind::Io && named, "{:?}: {error}", error.kind());
}

#[test]
fn record_batches() {
    alone(module_path!(), "record_batches", duration() + PATIENCE, || {
        let directory = scratch();
        make(directory.path());
        let file = segment(directory.path());
        let whole = fs::read(&file).unwrap();
        assert_eq!(kafka_reader(&whole).unwrap(), read_all(&open(directory.path()).unwrap()).unwrap());
        let memory = Memory::begin();
        let (mut good, mut tried) = (0, 0);
        for_a_while(|seed| {
            let dice = &mut Dice(seed);
            let mut batch = whole.clone();
            let from = if dice.below(3) == 0 { CRC_FROM } else { RECORDS_AT };
            damage(dice, &mut batch, from);
            // As long as the journal says: what is missing or too much is so at the end.
            batch.resize(whole.len(), 0);
            let crc = crc32c::crc32c(&batch[CRC_FROM..]);
            batch[17..21].copy_from_slice(&crc.to_be_bytes());
            fs::write(&file, &batch).unwrap();
            let (meant, got) = (kafka_reader(&batch), open(directory.path()).and_then(|log| read_all(&log)));
            match (&meant, &got) {
                (Some(meant), Ok(got)) => assert_eq!(got, meant),
                (None, Err(error)) => assert_names_a_file(error, directory.path()),
                _ => panic!("{got:?} instead of {meant:?}"),
            }
            tried += 1;
            good += u64::from(meant.is_some());
        });
        memory.check();
        eprintln!("# record_batches: {good} of {tried} batches are good");
        assert!(tried < 100 || (tried / 20..tried * 19 / 20).contains(&good), "the damage is too mild or too strong");
    });
}

/// Where the entries of a journal stand: behind a header of 32 bytes, each with 12 bytes before its body.
fn entries(journal: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut at, mut found) = (32, vec![]);
    while at < journal.len() {
        let len = u32::from_le_bytes(journal[at + 4..at + 8].try_into().unwrap()) as usize;
        found.push(at..at + 12 + len);
        at += 12 + len;
    }
    found
}

#[test]
fn journals() {
    alone(module_path!(), "journals", duration() + PATIENCE, || {
        let directory = scratch();
        make(directory.path());
        let files = [directory.path().join("commits.log"), segment(directory.path())];
        let whole = files.each_ref().map(|file| fs::read(file).unwrap());
        let (journal, salt) = (&whole[0], crc32c::crc32c(&whole[0][12..28]));
        let entries = entries(journal);
        assert_eq!(entries.len(), 6);
        let memory = Memory::begin();
        let (mut opened, mut tried) = (0, 0);
        for_a_while(|seed| {
            let dice = &mut Dice(seed);
            let entry = entries[dice.below(entries.len() as i64) as usize].clone();
            let mut body = journal[entry.start + 12..entry.end].to_vec();
            damage(dice, &mut body, 0);
            let len = (body.len() as u32).to_le_bytes();
            let crc = crc32c::crc32c_append(crc32c::crc32c_append(salt, &len), &body).to_le_bytes();
            let head = &journal[..entry.start];
            let bytes = [head, b"TGJ1", &len, &crc, &body, &journal[entry.end..]].concat();
            fs::write(&files[0], bytes).unwrap();
            // A deletion that was undone, or one of a topic that was never deleted, takes files away.
            fs::create_dir_all(files[1].parent().unwrap()).unwrap();
            fs::write(&files[1], &whole[1]).unwrap();
            match open(directory.path()).and_then(|log| read_all(&log)) {
                Ok(_) => opened += 1,
                Err(error) => assert_names_a_file(&error, directory.path()),
            }
            tried += 1;
        });
        memory.check();
        eprintln!("# journals: {opened} of {tried} journals were taken");
    });
}
