//! A commit that the broker has answered with Ok and then knows nothing of.

use super::frames::END;
use super::proxy::{Fault, Plan, Proxy};
use super::*;
use std::sync::OnceLock;
use tidegate::log::CommitOutcome;

/// The next epoch fails, and the end of its transaction takes along the rows of the one before. They are written again,
/// with their offsets, before anything else is.
#[test]
fn rows_of_a_forgotten_commit_are_written_again_when_the_next_one_fails() {
    let test = "rows_of_a_forgotten_commit_are_written_again_when_the_next_one_fails";
    let upstream = Arc::new(OnceLock::<String>::new());
    let known = upstream.clone();
    let plan =
        Plan { faults: vec![Fault::Forget], requests: &[END], left: 0, kill_every: u64::MAX, one_in: 1, seed: 1 };
    let proxy = Proxy::start(plan, move || known.get().cloned());
    let Some(broker) = broker::proxied(test, proxy.port) else { return };
    upstream.set(std::fs::read_to_string(broker.file("proxied")).unwrap().trim().to_owned()).unwrap();
    let (log, direct) = (connect(&format!("127.0.0.1:{}", proxy.port)), connect(&broker.bootstrap));
    let (input, out) = (topic(&direct, "in", 1).name, topic(&direct, "out", 2).name);
    let narrow = direct.create_topic(&TopicSpec::new(fresh("narrow"), 1).with("max.message.bytes", 500)).unwrap().name;
    let spec = spec("forgotten", 1);
    let mut session = log.transactional_writer(&spec, &Sole::claim()).unwrap();
    let rows =
        |n: i64| set(&[(0, n, "k", &format!("{n}a")), (1, n, "k", &format!("{n}b")), (0, n, "k", &format!("{n}c"))]);
    let good = |n: i64| epoch(&out, rows(n), vec![(at(&input, 0), offset(n, ""))], &n.to_string());
    assert_eq!(session.commit(&good(1)).unwrap(), CommitOutcome::Committed);

    proxy.arm(1);
    assert_eq!(session.commit(&good(2)).unwrap(), CommitOutcome::Committed);
    assert_eq!(proxy.done().0, 1, "{}", proxy.report());
    assert_eq!(values(&read_all(&direct, &out, 0, Isolation::ReadCommitted)), ["1a", "1c"]);
    let mut bad = good(3);
    bad.records.push((narrow.as_str().into(), set(&[(0, 3, "k", &"x".repeat(2000))]).into()));
    assert_eq!(session.commit(&bad).unwrap_err().kind(), Kind::Data);
    assert_eq!(values(&read_settled(&direct, &out, 0)), ["1a", "1c", "2a", "2c"]);
    assert_eq!(direct.committed(&spec.group, &[at(&input, 0)]).unwrap(), [Some(offset(2, ""))]);

    assert_eq!(session.commit(&good(3)).unwrap(), CommitOutcome::Committed);
    drop(session);
    assert_eq!(values(&read_settled(&direct, &out, 0)), ["1a", "1c", "2a", "2c", "3a", "3c"]);
    assert_eq!(values(&read_settled(&direct, &out, 1)), ["1b", "2b", "3b"]);
    let mut next = direct.transactional_writer(&spec, &Sole::claim()).unwrap();
    assert_eq!(next.committed(&[at(&input, 0)]).unwrap(), [Some(offset(3, ""))]);
    assert_eq!(next.metadata().unwrap().as_deref(), Some("3"));
}
