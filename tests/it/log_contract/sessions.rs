//! Sessions: atomic commits, offsets, ownership.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};
use tidegate::error::Kind;
use tidegate::log::{CommitOutcome, CommittedOffset, METADATA_BYTES_MAX};

pub(super) const ALL: &[Behaviour] = &[
    ("a commit shows its records", commit_shows),
    ("rows that are delivered are there before a commit and after none", delivered),
    ("a commit covers several topics and partitions", commit_several),
    ("a commit may hold the same topic twice", commit_same_topic),
    ("a commit that cannot be written shows nothing", commit_is_whole),
    ("committed offsets and their text are kept", offsets_are_kept),
    ("none committed is none", none_is_none),
    ("a commit adds to the offsets of earlier ones", offsets_add_up),
    ("the blob of the last commit is kept", blob_is_kept),
    ("text as long as the limit is kept, longer is refused", text_limit),
    ("of two sessions of one group only one can write", one_owner),
    ("a group can be taken again after its session ended", taken_again),
    ("groups are independent", groups_apart),
    ("a deleted group starts anew and fences its session", group_deleted),
    ("deleting a group that is not there is fine", deleting_missing_group),
    ("offsets of a deleted topic do not pass to its successor", offsets_of_deleted),
    ("commits survive reopening", commits_reopen),
    ("a commit with nothing but offsets is kept", offsets_alone),
    ("readers never see part of a partition's commit", no_partial_reads),
];

fn place(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn at(offset: i64, metadata: &str) -> CommittedOffset {
    CommittedOffset { offset, metadata: metadata.to_owned() }
}

fn commit(log: &dyn Log, group: &str, epoch: &Epoch) {
    assert_eq!(
        log.transactional_writer(&session_spec(group), &Sole::claim()).unwrap().commit(epoch).unwrap(),
        CommitOutcome::Committed
    );
}

fn commit_shows(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "shows", 1);
    let mut session = log.transactional_writer(&session_spec("g-shows"), &Sole::claim()).unwrap();
    for value in ["a", "b", "c"] {
        assert_eq!(session.commit(&epoch("shows", set(&[value]))).unwrap(), CommitOutcome::Committed);
    }
    assert_eq!(values(&read_all(&*log, "shows")), ["a", "b", "c"]);
}

fn delivered(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "delivered", 1);
    let mut session = log.transactional_writer(&session_spec("g-delivered"), &Sole::claim()).unwrap();
    session.deliver(&"delivered".into(), &set(&["a"])).unwrap();
    let mut reader = log.reader(vec![assigned("delivered", 0, Start::Earliest)], Isolation::ReadCommitted).unwrap();
    let visible = (0..100).any(|_| !reader.poll(1, Duration::from_millis(100)).unwrap().is_empty());
    assert!(visible, "before any commit");
    // So many that they are still on their way when the commit is asked for: it comes after them.
    let many: Vec<String> = (0..50_000).map(|n| format!("b{n}")).collect();
    let rows: Vec<&str> = many.iter().map(String::as_str).collect();
    session.deliver(&"delivered".into(), &set(&rows)).unwrap();
    assert_eq!(session.commit(&epoch("delivered", set(&["c"]))).unwrap(), CommitOutcome::Committed);
    let all = values(&read_all(&*log, "delivered"));
    assert!(all == [&["a"], rows.as_slice(), &["c"]].concat(), "{} rows, the last is {:?}", all.len(), all.last());
    session.deliver(&"delivered".into(), &set(&["d"])).unwrap();
    assert!(session.deliver(&"undelivered".into(), &set(&["e"])).is_err());
    assert_eq!(session.commit(&Epoch::default()).unwrap(), CommitOutcome::Committed);
    drop(session);
    assert_eq!(values(&read_all(&*log, "delivered"))[50_001..], ["c", "d"]);
}

fn commit_several(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "both-a", 2);
    topic(&*log, "both-b", 1);
    let mut a = set_at(1, 1, &["a1"]);
    a.push(0, 1, None, Some(b"a0"));
    let records = vec![("both-a".into(), a.into()), ("both-b".into(), set(&["b"]).into())];
    let epoch = Epoch { records, offsets: vec![(place("both-b", 0), at(5, "t"))], metadata: "blob".into() };
    commit(&*log, "g-both", &epoch);
    assert_eq!(values(&read_partition(&*log, "both-a", 0)), ["a0"]);
    assert_eq!(values(&read_partition(&*log, "both-a", 1)), ["a1"]);
    assert_eq!(values(&read_all(&*log, "both-b")), ["b"]);
    assert_eq!(log.committed("g-both", &[place("both-b", 0)]).unwrap(), [Some(at(5, "t"))]);
}

fn commit_same_topic(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "same", 1);
    let records = vec![("same".into(), set(&["a"]).into()), ("same".into(), set(&["b"]).into())];
    commit(&*log, "g-same", &Epoch { records, ..Epoch::default() });
    assert_eq!(values(&read_all(&*log, "same")), ["a", "b"]);
}

fn commit_is_whole(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "whole", 1);
    let records = vec![("whole".into(), set(&["a"]).into()), ("whole-missing".into(), set(&["b"]).into())];
    let broken = Epoch { records, offsets: vec![(place("whole", 0), at(1, ""))], metadata: String::new() };
    let mut session = log.transactional_writer(&session_spec("g-whole"), &Sole::claim()).unwrap();
    assert!(!matches!(session.commit(&broken), Ok(CommitOutcome::Committed)));
    assert_eq!(values(&read_all(&*log, "whole")), [""; 0]);
    assert_eq!(log.committed("g-whole", &[place("whole", 0)]).unwrap(), [None]);
}

fn offsets_are_kept(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "kept-offsets", 3);
    let offsets = vec![(place("kept-offsets", 0), at(7, "time=5")), (place("kept-offsets", 2), at(0, ""))];
    commit(&*log, "g-kept", &Epoch { offsets, ..Epoch::default() });
    let all: Vec<_> = (0..3).map(|p| place("kept-offsets", p)).collect();
    let expected = [Some(at(7, "time=5")), None, Some(at(0, ""))];
    assert_eq!(log.committed("g-kept", &all).unwrap(), expected);
    assert_eq!(
        log.transactional_writer(&session_spec("g-kept"), &Sole::claim()).unwrap().committed(&all).unwrap(),
        expected
    );
}

fn none_is_none(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "virgin", 1);
    let mut session = log.transactional_writer(&session_spec("g-none"), &Sole::claim()).unwrap();
    assert_eq!(session.committed(&[place("virgin", 0)]).unwrap(), [None]);
    assert_eq!(session.metadata().unwrap(), None);
    assert_eq!(log.committed("g-never", &[place("virgin", 0)]).unwrap(), [None]);
}

fn offsets_add_up(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "adds", 2);
    let mut session = log.transactional_writer(&session_spec("g-adds"), &Sole::claim()).unwrap();
    for (partition, offset) in [(0, 3), (1, 4), (0, 9)] {
        let offsets = vec![(place("adds", partition), at(offset, ""))];
        assert_eq!(session.commit(&Epoch { offsets, ..Epoch::default() }).unwrap(), CommitOutcome::Committed);
    }
    let got = session.committed(&[place("adds", 0), place("adds", 1)]).unwrap();
    assert_eq!(got, [Some(at(9, "")), Some(at(4, ""))]);
}

fn blob_is_kept(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "blobs", 1);
    for blob in ["first", "second"] {
        let epoch = Epoch { metadata: blob.into(), ..epoch("blobs", set(&["x"])) };
        commit(&*log, "g-blob", &epoch);
        assert_eq!(
            log.transactional_writer(&session_spec("g-blob"), &Sole::claim()).unwrap().metadata().unwrap().as_deref(),
            Some(blob)
        );
    }
}

fn text_limit(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "limit", 1);
    let fits = "m".repeat(METADATA_BYTES_MAX);
    let offsets = vec![(place("limit", 0), at(1, &fits))];
    commit(&*log, "g-limit", &Epoch { offsets, metadata: fits.clone(), ..Epoch::default() });
    assert_eq!(log.committed("g-limit", &[place("limit", 0)]).unwrap(), [Some(at(1, &fits))]);
    let mut session = log.transactional_writer(&session_spec("g-limit"), &Sole::claim()).unwrap();
    let offsets = vec![(place("limit", 0), at(2, &format!("{fits}m")))];
    assert!(session.commit(&Epoch { offsets, ..Epoch::default() }).is_err());
    assert_eq!(session.committed(&[place("limit", 0)]).unwrap(), [Some(at(1, &fits))]);
}

fn one_owner(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "owned", 1);
    let mut first = log.transactional_writer(&session_spec("g-owned"), &Sole::claim()).unwrap();
    let second = log.transactional_writer(&session_spec("g-owned"), &Sole::claim());
    if subject.refuses_second_session() {
        assert_eq!(second.unwrap_err().kind(), Kind::Busy);
        assert_eq!(first.commit(&epoch("owned", set(&["x"]))).unwrap(), CommitOutcome::Committed);
    } else {
        let outcome = first.commit(&epoch("owned", set(&["no"]))).unwrap();
        assert!(matches!(outcome, CommitOutcome::Fenced { .. }), "{outcome:?}");
        assert_eq!(second.unwrap().commit(&epoch("owned", set(&["x"]))).unwrap(), CommitOutcome::Committed);
    }
    assert_eq!(values(&read_all(&*log, "owned")), ["x"]);
}

fn taken_again(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "retaken", 1);
    for value in ["a", "b"] {
        commit(&*log, "g-retaken", &epoch("retaken", set(&[value])));
    }
    assert_eq!(values(&read_all(&*log, "retaken")), ["a", "b"]);
}

fn groups_apart(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "apart-groups", 1);
    let mut a = log.transactional_writer(&session_spec("g-apart-a"), &Sole::claim()).unwrap();
    let mut b = log.transactional_writer(&session_spec("g-apart-b"), &Sole::claim()).unwrap();
    for (session, offset) in [(&mut a, 1), (&mut b, 2)] {
        let offsets = vec![(place("apart-groups", 0), at(offset, ""))];
        let whole = Epoch { offsets, metadata: offset.to_string(), ..epoch("apart-groups", set(&["x"])) };
        assert_eq!(session.commit(&whole).unwrap(), CommitOutcome::Committed);
    }
    assert_eq!(a.committed(&[place("apart-groups", 0)]).unwrap(), [Some(at(1, ""))]);
    assert_eq!(b.committed(&[place("apart-groups", 0)]).unwrap(), [Some(at(2, ""))]);
    assert_eq!((a.metadata().unwrap().as_deref(), b.metadata().unwrap().as_deref()), (Some("1"), Some("2")));
}

fn group_deleted(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "dropped", 1);
    let offsets = vec![(place("dropped", 0), at(1, ""))];
    commit(&*log, "g-dropped", &Epoch { offsets, metadata: "x".into(), ..Epoch::default() });
    let mut old = log.transactional_writer(&session_spec("g-dropped"), &Sole::claim()).unwrap();
    log.delete_group("g-dropped").unwrap();
    assert_eq!(log.committed("g-dropped", &[place("dropped", 0)]).unwrap(), [None]);
    assert!(matches!(old.commit(&epoch("dropped", set(&["no"]))).unwrap(), CommitOutcome::Fenced { .. }));
    drop(old);
    let mut new = log.transactional_writer(&session_spec("g-dropped"), &Sole::claim()).unwrap();
    assert_eq!((new.committed(&[place("dropped", 0)]).unwrap(), new.metadata().unwrap()), (vec![None], None));
    assert_eq!(values(&read_all(&*log, "dropped")), [""; 0]);
}

fn deleting_missing_group(subject: &mut dyn Subject) {
    subject.log().delete_group("g-never-was").unwrap();
}

fn offsets_of_deleted(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "reborn", 1);
    let offsets = vec![(place("reborn", 0), at(4, ""))];
    commit(&*log, "g-reborn", &Epoch { offsets, ..Epoch::default() });
    log.delete_topic("reborn").unwrap();
    topic(&*log, "reborn", 1);
    assert_eq!(log.committed("g-reborn", &[place("reborn", 0)]).unwrap(), [None]);
}

fn commits_reopen(subject: &mut dyn Subject) {
    topic(&*subject.log(), "lasting", 2);
    for round in 0..3 {
        let log = subject.log();
        let offsets = vec![(place("lasting", 1), at(round, "meta"))];
        let whole = Epoch { offsets, metadata: round.to_string(), ..epoch("lasting", set(&[&round.to_string()])) };
        commit(&*log, "g-lasting", &whole);
        drop(log);
        subject.reopen();
        let log = subject.log();
        assert_eq!(log.committed("g-lasting", &[place("lasting", 1)]).unwrap(), [Some(at(round, "meta"))]);
        let blob = log.transactional_writer(&session_spec("g-lasting"), &Sole::claim()).unwrap().metadata().unwrap();
        assert_eq!(blob, Some(round.to_string()));
    }
    assert_eq!(values(&read_all(&*subject.log(), "lasting")), ["0", "1", "2"]);
}

fn offsets_alone(subject: &mut dyn Subject) {
    topic(&*subject.log(), "alone", 1);
    let offsets = vec![(place("alone", 0), at(3, ""))];
    commit(&*subject.log(), "g-alone", &Epoch { offsets, ..Epoch::default() });
    subject.reopen();
    assert_eq!(subject.log().committed("g-alone", &[place("alone", 0)]).unwrap(), [Some(at(3, ""))]);
    assert_eq!(subject.log().watermarks(&place("alone", 0)).unwrap().high, 0);
}

fn no_partial_reads(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "partial", 1);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut session = log.transactional_writer(&session_spec("g-partial"), &Sole::claim()).unwrap();
            for round in 0..50 {
                let value = round.to_string();
                let outcome = session.commit(&epoch("partial", set(&[&value, &value, &value]))).unwrap();
                assert_eq!(outcome, CommitOutcome::Committed);
            }
            done.store(true, Ordering::SeqCst);
        });
        // Whoever sees one record of a commit finds that all three are stable.
        let mut r = reader(&*log, "partial", Start::Earliest);
        let mut seen = Vec::new();
        while !(done.load(Ordering::SeqCst) && seen.len() == 150) {
            seen.extend(owned(&r.poll(100, Duration::from_millis(5)).unwrap()).into_iter().map(|r| r.1));
            let Some(first) = seen.len().checked_sub(1).map(|last| &seen[last - last % 3]) else { continue };
            let stable = log.watermarks(&place("partial", 0)).unwrap().stable;
            assert!(stable >= first.offset + 3, "{stable} covers only part of the commit from {}", first.offset);
        }
    });
}
