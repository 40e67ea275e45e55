//! Panics in the threads that serve librdkafka's clients: they begin again, or the commit that waits for them is resolved.

use super::*;
use tidegate::log::CommitOutcome;
use tidegate::mutant::{seed, seeds_left};

#[test]
fn commits_survive_the_panics_of_their_threads() {
    let Some(log) = subject("commits_survive_the_panics_of_their_threads") else { return };
    let (input, out) = (topic(&log, "in", 1).name, topic(&log, "out", 1).name);
    let spec = spec("panics", 1);
    let owner = format!("{}-{}", spec.group, spec.slot);
    // Twice each: the second panic shows that the thread has begun again after the first.
    seed("kafka-reports", owner.as_str(), 2);
    let service = fresh("panics");
    seed("kafka-group", service.as_str(), 2);
    let _lock = log.service_lock(&service, "0").unwrap();
    let mut session = log.transactional_writer(&spec, &Sole::claim()).unwrap();
    let commit = |n: i64| epoch(&out, set(&[(0, n, "k", &n.to_string())]), vec![(at(&input, 0), offset(n, ""))], "");
    assert_eq!(session.commit(&commit(1)).unwrap(), CommitOutcome::Committed);
    let left = || seeds_left("kafka-reports", &owner) + seeds_left("kafka-group", &service);
    until("all have panicked", Duration::from_secs(20), || (left() == 0).then_some(()));
    assert_eq!(session.commit(&commit(2)).unwrap(), CommitOutcome::Committed);
    // The thread that commits: whether it did is unknown, so that is found out, and the epoch is repeated if it did not.
    seed("kafka-commit", owner.as_str(), 1);
    let mut outcome = session.commit(&commit(3)).unwrap();
    if let CommitOutcome::Aborted { reason, .. } = &outcome {
        assert!(reason.contains("commit did not return"), "{reason}");
        outcome = session.commit(&commit(3)).unwrap();
    }
    assert_eq!(outcome, CommitOutcome::Committed);
    let values: Vec<_> = read_settled(&log, &out, 0).into_iter().map(|r| r.value.unwrap()).collect();
    assert_eq!(values, [b"1", b"2", b"3"]);
}
