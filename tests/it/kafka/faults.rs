//! A network that loses, holds and repeats single requests of transactions, and a server that is killed among them.
//!
//! The server of the crash tests runs behind the proxy; its rows are read past it, by a consumer that shares no code with
//! the log's reader. `TIDEGATE_FAULTS` (12) and `TIDEGATE_FAULT_KILLS` (3) say how much has to happen, `TIDEGATE_CRASH_SEED`
//! repeats the choices of an earlier run.

use super::proxy::{Fault, Plan, Proxy};
use super::*;
use crate::crash::{self, Load, Moments, PARTITIONS, Server};
use crate::harness::records::Stored;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use rustix::process::Pid;
use std::io::Write;
use std::sync::OnceLock;

/// Rows that are written at a time, and the pause after them.
const ROWS: u64 = 100;
const PAUSE: Duration = Duration::from_millis(50);
/// How long a server lives at most while kills are outstanding.
const LIFE_MS: (u64, u64) = (3_000, 12_000);
/// How long one run may take beside what is asked for by hand.
const RUN_MAX: Duration = Duration::from_secs(240);
/// Time for a consumer to come to the end of a topic.
const READ_MAX: Duration = Duration::from_secs(60);

/// What a run is made of.
struct Trial {
    faults: Vec<Fault>,
    left: u64,
    kill_every: u64,
    kills: u64,
    /// The server goes on with producers whose requests may have been repeated.
    keeps_producers: bool,
}

fn knob(name: &str, default: u64) -> u64 {
    tidegate::config::environment(name).map_or(default, |text| text.parse().expect("a number"))
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "faults: {text}");
}

/// Runs the trial; `None` = there is no broker here. What is wrong afterwards is the answer.
fn torment(test: &str, trial: Trial) -> Option<Result<(), String>> {
    let default = tidegate::config::random_id().unwrap() as u64;
    let seed = knob("TIDEGATE_CRASH_SEED", default);
    let upstream = Arc::new(OnceLock::<String>::new());
    let Trial { faults, left, kill_every, kills, keeps_producers } = trial;
    let known = upstream.clone();
    let proxy = Proxy::start(Plan { faults, left, kill_every, seed }, move || known.get().cloned());
    let broker = broker::proxied(test, proxy.port)?;
    upstream.set(std::fs::read_to_string(broker.file("proxied")).unwrap().trim().to_owned()).unwrap();
    say(&format!("{test}: {left} faults, {kills} kills, TIDEGATE_CRASH_SEED={seed}"));
    let (clock, mut load, mut moments) = (SystemClock::shared(), Load::default(), Moments(seed ^ 1));
    let log = connect(&broker.bootstrap);
    let place = ["--bootstrap-servers".to_owned(), format!("127.0.0.1:{}", proxy.port)];
    let variable = keeps_producers.then_some(("TIDEGATE_TEST_KEEP_PRODUCERS", "1"));
    let (mut killed, begin, mut first) = (0, Instant::now(), true);
    let is_done = |killed: u64| {
        let (happened, by_proxy) = proxy.done();
        happened >= left && killed + by_proxy >= kills
    };
    while !is_done(killed) {
        let mut server = Server::start_with(&place, variable, &clock, &broker.file("server.log"));
        if std::mem::take(&mut first) {
            server.ksql(crash::STATEMENTS).unwrap();
        }
        proxy.aim(Pid::from_child(&server.child));
        let life = Duration::from_millis(moments.next_ms(LIFE_MS.0, LIFE_MS.1));
        let born = Instant::now();
        while server.child.try_wait().unwrap().is_none() && !is_done(killed) {
            load.produce(&*log, ROWS);
            std::thread::sleep(PAUSE);
            if born.elapsed() > life && killed + proxy.done().1 < kills {
                server.child.kill().unwrap();
                killed += 1;
                break;
            }
            assert!(begin.elapsed() < RUN_MAX * (1 + kills as u32 / 5), "too little happens: {}", proxy.report());
        }
        drop(server);
    }
    let config = Config::new(LogConfig::Kafka { bootstrap: broker.bootstrap.clone(), properties: Default::default() });
    let log: Arc<dyn Log> = log;
    crash::finish(&log, config, clock);
    say(&format!("{}; {} kills; {} rows", proxy.report(), killed + proxy.done().1, load.acknowledged.len()));
    Some(crash::compare(&load, &|topic| read_apart(&broker.bootstrap, topic)))
}

/// Committed records of a topic, by librdkafka's own consumer.
fn read_apart(bootstrap: &str, topic: &str) -> Vec<Stored> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "independent")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "false")
        .create()
        .unwrap();
    let partitions = consumer.fetch_metadata(Some(topic), READ_MAX).unwrap().topics()[0].partitions().len() as i32;
    assert!(partitions > 0 && partitions <= PARTITIONS, "{topic} has {partitions} partitions");
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut found = Vec::new();
    let begin = Instant::now();
    // A position passes what control records and aborted rows take up as well.
    let is_read = |p: i32| {
        let (_, high) = consumer.fetch_watermarks(topic, p, READ_MAX).unwrap();
        let position = consumer.position().unwrap().find_partition(topic, p).map(|e| e.offset());
        high == 0 || matches!(position, Some(Offset::Offset(at)) if at >= high)
    };
    loop {
        match consumer.poll(Duration::from_millis(500)) {
            Some(message) => {
                let message = message.unwrap();
                found.push(Stored {
                    partition: message.partition(),
                    offset: message.offset(),
                    timestamp: message.timestamp().to_millis().unwrap(),
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    headers: Vec::new(),
                });
            }
            None if (0..partitions).all(is_read) => return found,
            None => assert!(begin.elapsed() < READ_MAX, "the end of {topic} is not reached"),
        }
    }
}

#[test]
fn requests_that_are_lost_or_late_double_and_lose_nothing() {
    use Fault::*;
    let trial = Trial {
        faults: vec![Swallow, LoseAnswer, ResetBefore, ResetBefore, ResetAfter, ResetAfter, Delay, Hold, Hold, Hold],
        left: knob("TIDEGATE_FAULTS", 12),
        kill_every: 2,
        kills: knob("TIDEGATE_FAULT_KILLS", 3),
        keeps_producers: false,
    };
    let name = "requests_that_are_lost_or_late_double_and_lose_nothing";
    if let Some(found) = torment(name, trial) {
        assert_eq!(found, Ok(()));
    }
}

/// That the test above can fail: without the replacement of producers in doubt, late requests do harm.
#[test]
fn without_the_replacement_of_producers_late_requests_double_rows() {
    let trial = Trial { faults: vec![Fault::Hold], left: 6, kill_every: 1, kills: 3, keeps_producers: true };
    let name = "without_the_replacement_of_producers_late_requests_double_rows";
    if let Some(found) = torment(name, trial) {
        let wrong = found.expect_err("late requests do harm");
        assert!(wrong.contains("stand twice"), "{wrong}");
        say(&format!("without the replacement: {}", &wrong[..wrong.len().min(200)]));
    }
}
