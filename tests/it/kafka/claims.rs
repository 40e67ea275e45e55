//! Who owns a query: writers that ask, fence and are fenced, and the place of a process in its service.

use super::sessions::{foreign, sign};
use super::*;
use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidegate::log::{Claim, Claimed, CommitOutcome};

/// A claim that says what the test wants, and remembers the terms that were taken.
#[derive(Debug)]
struct Said {
    now: Mutex<Claimed>,
    asked: AtomicU32,
    taken: Mutex<Vec<u64>>,
}

impl Said {
    fn new(now: Claimed) -> Arc<Said> {
        Arc::new(Said { now: Mutex::new(now), asked: AtomicU32::new(0), taken: Mutex::default() })
    }

    fn owned(term: u64, others: &[&str]) -> Arc<Said> {
        Said::new(owned(term, others))
    }

    fn say(&self, now: Claimed) {
        *self.now.lock() = now;
    }
}

fn owned(term: u64, others: &[&str]) -> Claimed {
    Claimed::Owned { term, others: others.iter().map(|slot| (*slot).to_owned()).collect() }
}

fn lost() -> Claimed {
    Claimed::Lost { reason: "slot b owns it since term 9".to_owned() }
}

impl Claim for Said {
    fn confirm(&self) -> Result<Claimed> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.now.lock().clone())
    }

    fn taken(&self, term: u64) -> Result<()> {
        self.taken.lock().push(term);
        Ok(())
    }
}

fn open(log: &KafkaLog, spec: &WriterSpec, claim: &Arc<Said>) -> Result<Box<dyn tidegate::log::TransactionalWriter>> {
    let claim: Arc<dyn Claim> = claim.clone();
    log.transactional_writer(spec, &claim)
}

fn in_slot(spec: &WriterSpec, slot: &str) -> WriterSpec {
    WriterSpec { slot: slot.to_owned(), ..spec.clone() }
}

fn row(out: &str, text: &str) -> Epoch {
    epoch(out, set(&[(0, 1, "k", text)]), vec![], text)
}

fn fenced(outcome: CommitOutcome) -> String {
    match outcome {
        CommitOutcome::Fenced { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_process_that_does_not_own_a_query_opens_no_writer() {
    let Some(log) = subject("a_process_that_does_not_own_a_query_opens_no_writer") else { return };
    let claim = Said::new(lost());
    let error = open(&log, &spec("unowned", 1), &claim).unwrap_err();
    assert_eq!(error.kind(), Kind::Fenced);
    assert!(format!("{error:?}").contains("slot b owns it since term 9"), "{error:?}");
    assert_eq!((claim.asked.load(Ordering::SeqCst), claim.taken.lock().clone()), (1, vec![]));
}

/// The query moves to another slot: its owner fences the earlier one, whose open rows nobody sees, before it reads anything.
#[test]
fn a_later_owner_fences_the_slots_that_may_write() {
    let Some(log) = subject("a_later_owner_fences_the_slots_that_may_write") else { return };
    let (out, spec) = (topic(&log, "out", 1).name, spec("moved", 1));
    let (first, second) = (Said::owned(3, &[]), Said::owned(5, &["a", "c"]));
    let mut a = open(&log, &in_slot(&spec, "a"), &first).unwrap();
    assert_eq!(a.commit(&row(&out, "by a")).unwrap(), CommitOutcome::Committed);
    // Slot c is in a transaction that has not ended: without the fence its rows would hold readers up for minutes.
    let id = format!("{}-c", spec.group);
    let open_id: BaseProducer =
        foreign(&log).set("transactional.id", &id).set("transaction.timeout.ms", "600000").create().unwrap();
    open_id.init_transactions(Duration::from_secs(30)).unwrap();
    open_id.begin_transaction().unwrap();
    open_id.send(BaseRecord::to(&out).partition(0).key("k").payload("by c")).map_err(|e| e.0).unwrap();
    open_id.flush(Duration::from_secs(10)).unwrap();

    let mut b = open(&log, &in_slot(&spec, "b"), &second).unwrap();
    assert_eq!((first.taken.lock().clone(), second.taken.lock().clone()), (vec![3], vec![5]));
    assert_eq!(b.metadata().unwrap().as_deref(), Some("by a"));
    assert_eq!(b.commit(&row(&out, "by b")).unwrap(), CommitOutcome::Committed);
    first.say(lost());
    let reason = fenced(a.commit(&row(&out, "late")).unwrap());
    assert!(reason.contains(&format!("{}-b", spec.group)), "{reason}");
    assert_eq!(b.commit(&row(&out, "by b again")).unwrap(), CommitOutcome::Committed);
    assert_eq!(values(&read_settled(&log, &out, 0)), ["by a", "by b", "by b again"]);
}

/// After a failed commit the claim is asked again, behind the new producer: nothing is written by one that has lost the query,
/// also if the later owner has not committed yet.
#[test]
fn a_writer_asks_again_after_an_error() {
    let Some(log) = subject("a_writer_asks_again_after_an_error") else { return };
    let out = topic(&log, "out", 1).name;
    for (now, wanted) in [(lost(), "slot b owns it since term 9"), (owned(6, &[]), "term 6")] {
        let (spec, claim) = (spec("again", 1), Said::owned(4, &[]));
        let mut session = open(&log, &spec, &claim).unwrap();
        assert_eq!(session.commit(&row(&out, "mine")).unwrap(), CommitOutcome::Committed);
        let id = format!("{}-{}", spec.group, spec.slot);
        let other: BaseProducer = foreign(&log).set("transactional.id", &id).create().unwrap();
        other.init_transactions(Duration::from_secs(30)).unwrap();
        claim.say(now);
        let reason = fenced(session.commit(&row(&out, "not mine")).unwrap());
        assert!(reason.contains(wanted), "{reason}");
        assert_eq!(claim.taken.lock().clone(), [4]);
    }
    assert_eq!(values(&read_settled(&log, &out, 0)), ["mine", "mine"]);
}

/// The same error with the query still ours: an epoch is repeated, and nothing else happens.
#[test]
fn a_fenced_owner_that_still_owns_the_query_continues() {
    let Some(log) = subject("a_fenced_owner_that_still_owns_the_query_continues") else { return };
    let (out, spec, claim) = (topic(&log, "out", 1).name, spec("still", 1), Said::owned(4, &[]));
    let mut session = open(&log, &spec, &claim).unwrap();
    let id = format!("{}-{}", spec.group, spec.slot);
    let other: BaseProducer = foreign(&log).set("transactional.id", &id).create().unwrap();
    other.init_transactions(Duration::from_secs(30)).unwrap();
    // Where the machine is busy, the producer is replaced before it is used (K8): then there is no error at all.
    let mut outcomes = Vec::new();
    while outcomes.last() != Some(&CommitOutcome::Committed) {
        assert!(outcomes.len() < 3, "{outcomes:?}");
        outcomes.push(session.commit(&row(&out, "mine")).unwrap());
    }
    assert!(claim.asked.load(Ordering::SeqCst) > 1, "no new producer was made: {outcomes:?}");
    assert_eq!(values(&read_settled(&log, &out, 0)), ["mine"]);
}

/// A commit of a later term than the claim's shows that the claim was read too early: it is read again, and believed only if
/// it knows that term.
#[test]
fn a_commit_of_a_later_term_is_not_overwritten() {
    let Some(log) = subject("a_commit_of_a_later_term_is_not_overwritten") else { return };
    let (out, spec) = (topic(&log, "out", 1).name, spec("later", 1));
    let mut later = open(&log, &in_slot(&spec, "b"), &Said::owned(8, &[])).unwrap();
    let early = Said::owned(7, &[]);
    let error = open(&log, &in_slot(&spec, "a"), &early).unwrap_err();
    assert_eq!(error.kind(), Kind::Fenced);
    assert!(format!("{error:?}").contains("term 8"), "{error:?}");
    assert!(early.asked.load(Ordering::SeqCst) > 1);
    assert_eq!(later.commit(&row(&out, "b")).unwrap(), CommitOutcome::Committed);
}

/// Two streams over one topic that are joined: the group has one offset for both.
#[test]
fn a_partition_that_is_named_twice_has_its_offset_twice() {
    let Some(log) = subject("a_partition_that_is_named_twice_has_its_offset_twice") else { return };
    let (out, spec) = (topic(&log, "out", 1).name, spec("twice", 1));
    let input = at(&topic(&log, "in", 1).name, 0);
    let mut writer = open(&log, &spec, &Said::owned(1, &[])).unwrap();
    let twice = [input.clone(), input.clone()];
    assert_eq!(writer.committed(&twice).unwrap(), [None, None]);
    let read = vec![(input, offset(7, "seven"))];
    assert_eq!(writer.commit(&epoch(&out, set(&[(0, 1, "k", "v")]), read, "")).unwrap(), CommitOutcome::Committed);
    let offsets = log.committed(&spec.group, &twice).unwrap();
    assert_eq!(offsets.iter().map(|at| at.as_ref().map(|at| at.offset)).collect::<Vec<_>>(), [Some(7), Some(7)]);
}

/// What a service of the version before has left: a member that has not left the group, and an owner without a term.
#[test]
fn what_an_earlier_version_owned_is_taken_over() {
    let Some(log) = subject("what_an_earlier_version_owned_is_taken_over") else { return };
    let (out, spec) = (topic(&log, "out", 1).name, spec("earlier", 1));
    log.create_topic(&TopicSpec::new(format!("{}-tasks", spec.group), 2)).unwrap();
    let member: BaseConsumer = foreign(&log)
        .set("group.id", &spec.group)
        .set("group.instance.id", "0")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .create()
        .unwrap();
    member.subscribe(&[&format!("{}-tasks", spec.group)]).unwrap();
    until("the member has joined", Duration::from_secs(20), || {
        let _ = member.poll(Duration::from_millis(50));
        (member.assignment().unwrap().count() == 2).then_some(())
    });
    let id = format!("{}-0", spec.group);
    let before: BaseProducer = foreign(&log).set("transactional.id", &id).create().unwrap();
    before.init_transactions(Duration::from_secs(30)).unwrap();
    sign(&log, &before, &spec.group, "tidegate@elsewhere:7:1:boot.1", &id);
    let claim = Said::owned(1, &[]);
    let mut now = open(&log, &in_slot(&spec, "node-1"), &claim).unwrap();
    assert_eq!(now.commit(&row(&out, "now")).unwrap(), CommitOutcome::Committed);
    before.begin_transaction().unwrap();
    let sent = before.send(BaseRecord::to(&out).partition(0).key("k").payload("before"));
    sent.map_err(|e| e.0).unwrap();
    assert!(before.commit_transaction(Duration::from_secs(30)).is_err(), "it was not fenced");
    assert_eq!(values(&read_settled(&log, &out, 0)), ["now"]);
}

#[test]
fn a_slot_of_a_service_has_one_process() {
    let Some(log) = subject("a_slot_of_a_service_has_one_process") else { return };
    let group = fresh("service");
    let first = log.service_lock(&group, "0").unwrap();
    assert!(first.is_some());
    let error = log.service_lock(&group, "0").unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.message().contains(&format!("process {}", std::process::id())), "{error}");
    let beside = log.service_lock(&format!("{group}-node-1"), "node-1").unwrap();
    assert!(beside.is_some());
    drop(first);
    // The process is the same, so that its own earlier membership is no obstacle.
    assert!(log.service_lock(&group, "0").unwrap().is_some());
}
