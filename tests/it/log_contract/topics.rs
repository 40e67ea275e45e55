//! Topics: creating, describing, deleting, identity.

use super::*;
use tidegate::error::Kind;

pub(super) const ALL: &[Behaviour] = &[
    ("a created topic is described", created_is_described),
    ("a topic that is not there is none", missing_is_none),
    ("topics are listed by name", listed_by_name),
    ("a topic cannot be created twice", no_duplicates),
    ("a topic needs a partition", no_partitions),
    ("a topic needs a legal name", illegal_names),
    ("names may be as long as Kafka's", long_names),
    ("settings of a topic change, and others stay", altered_settings),
    ("a deleted topic is gone", deleted_is_gone),
    ("deleting what is not there is an error", deleting_missing),
    ("a topic created again is another one, and empty", identity),
    ("identities are told for many topics at once, in order", identities),
    ("a reader of a deleted topic never sees its successor", reader_of_deleted),
    ("writing to a topic that is not there is an error", append_to_missing),
    ("writing to a partition that is not there is an error and writes nothing", append_beyond),
    ("reading what is not there is an error", read_missing),
    ("the cluster has one identity", cluster_identity),
];

fn created_is_described(subject: &mut dyn Subject) {
    let log = subject.log();
    let spec = TopicSpec::new("described", 3).with("cleanup.policy", "compact");
    let info = log.create_topic(&spec).unwrap();
    assert_eq!((info.name.as_str(), info.partitions), ("described", 3));
    assert!(info.replicas >= 1);
    assert_eq!(info.config.get("cleanup.policy").map(String::as_str), Some("compact"));
    assert_eq!(log.topic("described").unwrap(), Some(info));
}

fn altered_settings(subject: &mut dyn Subject) {
    let log = subject.log();
    let spec = TopicSpec::new("altered", 2).with("retention.ms", "60000").with("segment.bytes", "1048576");
    let before = log.create_topic(&spec).unwrap();
    log.append("altered", &set(&["kept"])).unwrap();
    let change = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
    let changes = [change("retention.ms", Some("120000")), change("segment.bytes", None)];
    log.alter_topic("altered", &changes.into()).unwrap();
    let wrong = log.alter_topic("altered", &[change("retention.ms", Some("long"))].into()).unwrap_err();
    assert_eq!(wrong.kind(), Kind::Statement, "{wrong}");
    let missing = log.alter_topic("nowhere", &[change("retention.ms", Some("1"))].into()).unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound, "{missing}");
    drop(log);
    subject.reopen();
    let log = subject.log();
    let after = log.topic("altered").unwrap().unwrap();
    assert_eq!((after.id, after.partitions), (before.id, 2));
    assert_eq!(after.config.get("retention.ms").map(String::as_str), Some("120000"));
    assert_eq!(after.config.get("segment.bytes"), None);
    log.append("altered", &set(&["new"])).unwrap();
    assert_eq!(values(&read_all(&*log, "altered")), ["kept", "new"]);
}

fn missing_is_none(subject: &mut dyn Subject) {
    assert_eq!(subject.log().topic("nowhere").unwrap(), None);
}

fn listed_by_name(subject: &mut dyn Subject) {
    let log = subject.log();
    for name in ["listed-b", "listed-c", "listed-a"] {
        topic(&*log, name, 1);
    }
    let names: Vec<_> =
        log.topics().unwrap().into_iter().map(|t| t.name).filter(|n| n.starts_with("listed-")).collect();
    assert_eq!(names, ["listed-a", "listed-b", "listed-c"]);
}

fn no_duplicates(subject: &mut dyn Subject) {
    let log = subject.log();
    let first = topic(&*log, "twice", 1);
    let error = log.create_topic(&TopicSpec::new("twice", 2)).unwrap_err();
    assert_eq!(error.kind(), Kind::Statement);
    assert!(error.to_string().contains("twice"), "{error}");
    assert_eq!(log.topic("twice").unwrap(), Some(first));
}

fn no_partitions(subject: &mut dyn Subject) {
    assert_eq!(subject.log().create_topic(&TopicSpec::new("hollow", 0)).unwrap_err().kind(), Kind::Statement);
    assert_eq!(subject.log().topic("hollow").unwrap(), None);
}

fn illegal_names(subject: &mut dyn Subject) {
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a/b", "a b", "../up", "nul\0", "é", long.as_str()] {
        let error = subject.log().create_topic(&TopicSpec::new(name, 1)).unwrap_err();
        assert_eq!(error.kind(), Kind::Statement, "{name}");
    }
}

fn long_names(subject: &mut dyn Subject) {
    let (a, b) = (format!("{}a", "n".repeat(248)), format!("{}b", "n".repeat(248)));
    for name in [&a, &b] {
        topic(&*subject.log(), name, 1);
        subject.log().append(name, &set(&[&name[248..]])).unwrap();
    }
    subject.reopen();
    assert_eq!(values(&read_all(&*subject.log(), &a)), ["a"]);
    assert_eq!(values(&read_all(&*subject.log(), &b)), ["b"]);
}

fn deleted_is_gone(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "gone", 2);
    log.append("gone", &set(&["x"])).unwrap();
    log.delete_topic("gone").unwrap();
    assert_eq!(log.topic("gone").unwrap(), None);
    assert!(log.watermarks(&TopicPartition::new("gone", 0)).is_err());
    drop(log);
    subject.reopen();
    assert_eq!(subject.log().topic("gone").unwrap(), None);
}

fn deleting_missing(subject: &mut dyn Subject) {
    assert_eq!(subject.log().delete_topic("never-was").unwrap_err().kind(), Kind::NotFound);
}

fn identity(subject: &mut dyn Subject) {
    let log = subject.log();
    let first = topic(&*log, "again", 1);
    log.append("again", &set(&["old"])).unwrap();
    log.delete_topic("again").unwrap();
    let second = topic(&*log, "again", 1);
    assert_ne!(first.id, second.id);
    assert_eq!(log.watermarks(&TopicPartition::new("again", 0)).unwrap().high, 0);
    log.append("again", &set(&["new"])).unwrap();
    drop(log);
    subject.reopen();
    assert_eq!(subject.log().topic("again").unwrap().map(|t| t.id), Some(second.id));
    assert_eq!(values(&read_all(&*subject.log(), "again")), ["new"]);
}

fn identities(subject: &mut dyn Subject) {
    let log = subject.log();
    let (one, two) = (topic(&*log, "identity-1", 1), topic(&*log, "identity-2", 2));
    let found = log.identities(&["identity-2", "identity-none", "identity-1"]).unwrap();
    let found: Vec<_> = found.into_iter().map(|f| f.map(|f| (f.id, f.partitions))).collect();
    assert_eq!(found, [Some((two.id, 2)), None, Some((one.id, 1))]);
    assert_eq!(log.identities(&[]).unwrap(), []);
}

fn reader_of_deleted(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "replaced", 1);
    log.append("replaced", &set(&["old"])).unwrap();
    let mut old = reader(&*log, "replaced", Start::Earliest);
    take(subject, &mut *old, 1);
    log.delete_topic("replaced").unwrap();
    topic(&*log, "replaced", 1);
    log.append("replaced", &set(&["new", "new"])).unwrap();
    // An error or silence, but never records of another topic.
    if let Ok(fetched) = old.poll(10, Duration::from_millis(50)) {
        assert!(fetched.is_empty());
    }
}

fn append_to_missing(subject: &mut dyn Subject) {
    assert_eq!(subject.log().append("unknown", &set(&["x"])).unwrap_err().kind(), Kind::NotFound);
}

fn append_beyond(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "narrow", 2);
    for partition in [2, -1] {
        let mut records = set(&["fits"]);
        records.push(partition, 1, None, None);
        assert_eq!(log.append("narrow", &records).unwrap_err().kind(), Kind::NotFound);
    }
    assert_eq!(log.watermarks(&TopicPartition::new("narrow", 0)).unwrap().high, 0);
}

fn read_missing(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "single", 1);
    for (name, partition) in [("unread", 0), ("single", 1), ("single", -1)] {
        let assignment = vec![assigned(name, partition, Start::Earliest)];
        assert_eq!(log.reader(assignment, Isolation::ReadCommitted).unwrap_err().kind(), Kind::NotFound);
        assert_eq!(log.watermarks(&TopicPartition::new(name, partition)).unwrap_err().kind(), Kind::NotFound);
    }
}

fn cluster_identity(subject: &mut dyn Subject) {
    let id = subject.log().cluster_id().unwrap();
    assert!(!id.is_empty());
    assert!(!subject.log().describe().is_empty());
    subject.reopen();
    assert_eq!(subject.log().cluster_id().unwrap(), id);
}
