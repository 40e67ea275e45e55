//! A network that loses, holds, cuts and repeats single requests of transactions, and a server that is killed among them.
//!
//! The server of the crash tests runs behind the proxy; its rows are read past it, by a consumer that shares no code with
//! the log's reader. It ends when it is killed and not otherwise: librdkafka's assertions, which end a process, are
//! failures. `TIDEGATE_FAULTS` (30) and `TIDEGATE_FAULT_KILLS` (3) say how much has to happen, `TIDEGATE_CRASH_SEED`
//! repeats the choices of an earlier run.

use super::frames::{ADD_OFFSETS, ADD_PARTITIONS, END, INIT, OFFSETS, TRANSACTIONAL};
use super::proxy::{Fault, Plan, Proxy};
use super::*;
use crate::crash::{self, Load, Moments, PARTITIONS, Server};
use crate::harness::records::Stored;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use rustix::process::{Pid, Signal};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::sync::OnceLock;

/// Under load, one in so many requests that may be hit is.
const ONE_IN: u64 = 25;
/// The same where every request may be hit.
const ONE_IN_ALL: u64 = 12;
/// Faults in an ordinary run; before a release it is 500.
const FAULTS: u64 = 30;
/// So many faults meet every kind of request in every way.
const FAULTS_OF_EVERY_KIND: u64 = 400;
/// Rows that are written at a time, and the pause after them.
const ROWS: u64 = 100;
const PAUSE: Duration = Duration::from_millis(50);
/// How long a server lives at most while kills are outstanding.
const LIFE_MS: (u64, u64) = (3_000, 12_000);
/// How long one run may take beside what is asked for by hand.
const RUN_MAX: Duration = Duration::from_secs(240);
/// How long one fault may take beside that: a request that is lost is repeated after 10 s, on a busy machine.
const FAULT_MAX: Duration = Duration::from_secs(15);
/// Time for a consumer to come to the end of a topic.
const READ_MAX: Duration = Duration::from_secs(60);

/// What one round of a run is made of.
#[derive(Clone)]
struct Trial {
    faults: Vec<Fault>,
    /// The requests that they hit.
    requests: &'static [i16],
    /// One in so many requests that may be hit is.
    one_in: u64,
    left: u64,
    kill_every: u64,
    kills: u64,
    /// The server continues with producers whose requests may have been repeated.
    keeps_producers: bool,
}

fn knob(name: &str, default: u64) -> u64 {
    tidegate::config::environment(name).map_or(default, |text| text.parse().expect("a number"))
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "faults: {text}");
}

/// A broker behind the proxy, and what was written to it.
struct Torment {
    broker: broker::Broker,
    proxy: Proxy,
    trial: Trial,
    log: Arc<KafkaLog>,
    load: Load,
    moments: Moments,
    started: bool,
    rounds: u64,
    killed: u64,
}

impl Torment {
    /// `None` = there is no broker here.
    fn new(test: &str, trial: Trial) -> Option<Torment> {
        let default = tidegate::config::random_id().unwrap() as u64;
        let seed = knob("TIDEGATE_CRASH_SEED", default);
        let upstream = Arc::new(OnceLock::<String>::new());
        let known = upstream.clone();
        let Trial { faults, requests, one_in, kill_every, .. } = trial.clone();
        let plan = Plan { faults, requests, left: 0, kill_every, one_in, seed };
        let proxy = Proxy::start(plan, move || known.get().cloned());
        let broker = broker::proxied(test, proxy.port)?;
        upstream.set(std::fs::read_to_string(broker.file("proxied")).unwrap().trim().to_owned()).unwrap();
        say(&format!("{test}: {} faults, {} kills, TIDEGATE_CRASH_SEED={seed}", trial.left, trial.kills));
        let log = connect(&broker.bootstrap);
        let (load, moments) = (Load::default(), Moments(seed ^ 1));
        Some(Torment { broker, proxy, trial, log, load, moments, started: false, rounds: 0, killed: 0 })
    }

    /// Where clients find the broker behind the proxy.
    fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.proxy.port)
    }

    fn kills(&self) -> u64 {
        self.killed + self.proxy.done().1
    }

    fn is_done(&self) -> bool {
        self.proxy.done().0 >= self.trial.left * self.rounds && self.kills() >= self.trial.kills * self.rounds
    }

    /// Writes under the faults and kills of one more round, lets the queries end their work, and says what is wrong then.
    fn round(&mut self) -> Result<(), String> {
        let clock = SystemClock::shared();
        let place = ["--bootstrap-servers".to_owned(), self.bootstrap()];
        let variable = self.trial.keeps_producers.then_some(("TIDEGATE_TEST_KEEP_PRODUCERS", "1"));
        let begin = Instant::now();
        self.rounds += 1;
        self.proxy.arm(self.trial.left);
        while !self.is_done() {
            let mut server = Server::start_with(&place, variable, &clock, &self.broker.file("server.log"));
            if !std::mem::replace(&mut self.started, true) {
                server.ksql(crash::STATEMENTS).unwrap();
            }
            self.proxy.aim(Pid::from_child(&server.child));
            let life = Duration::from_millis(self.moments.next_ms(LIFE_MS.0, LIFE_MS.1));
            let born = Instant::now();
            while !has_ended(&mut server.child) && !self.is_done() {
                self.load.produce(&*self.log, ROWS);
                std::thread::sleep(PAUSE);
                if born.elapsed() > life && self.kills() < self.trial.kills * self.rounds {
                    server.child.kill().unwrap();
                    self.killed += 1;
                    break;
                }
                let max = RUN_MAX * (1 + self.trial.kills as u32 / 5) + FAULT_MAX * self.trial.left as u32;
                assert!(begin.elapsed() < max, "too little happens: {}", self.proxy.report());
            }
        }
        let bootstrap = self.broker.bootstrap.clone();
        let place = ["--bootstrap-servers".to_owned(), bootstrap.clone()];
        let mut server = Server::start_with(&place, None, &clock, &self.broker.file("server.log"));
        crash::finish_apart(&*self.log, &server, &clock);
        assert!(!has_ended(&mut server.child));
        drop(server);
        say(&format!("{}; {} kills; {} rows", self.proxy.report(), self.kills(), self.load.acknowledged.len()));
        crash::compare(&self.load, &|topic| read_apart(&bootstrap, topic))
    }
}

/// Whether the process was killed; that it ended in any other way is what must not happen.
fn has_ended(child: &mut Child) -> bool {
    let status = child.try_wait().unwrap();
    if let Some(status) = status {
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "the process was not killed and ended: {status}");
    }
    status.is_some()
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
        faults: vec![Swallow, LoseAnswer, SwallowThenCut, LoseThenCut, ResetBefore, ResetAfter, Delay, Hold],
        requests: TRANSACTIONAL,
        one_in: ONE_IN_ALL,
        left: knob("TIDEGATE_FAULTS", FAULTS),
        kill_every: 2,
        kills: knob("TIDEGATE_FAULT_KILLS", 3),
        keeps_producers: false,
    };
    let name = "requests_that_are_lost_or_late_double_and_lose_nothing";
    let left = trial.left;
    let Some(mut torment) = Torment::new(name, trial) else { return };
    assert_eq!(torment.round(), Ok(()), "{}", torment.proxy.report());
    let unmet = torment.proxy.unmet();
    assert!(left < FAULTS_OF_EVERY_KIND || unmet.is_empty(), "never happened: {unmet:?}");
}

/// The answer of AddPartitionsToTxn is lost and the rows time out with it; the connection is cut when the transaction was
/// aborted. librdkafka 2.12.1 asserts in this case that the request belongs to a transaction (`txn_req_cnt > 0`) and ends
/// the process, if the producer is still there: a matter of milliseconds, so that it is tried several times.
#[test]
fn a_transaction_given_up_while_a_request_is_on_its_way_ends_no_process() {
    let trial = Trial {
        faults: vec![Fault::LoseUntilAbort, Fault::LoseUntilAbort, Fault::LoseThenCut],
        requests: &[ADD_PARTITIONS],
        one_in: 2,
        left: 24,
        kill_every: 1,
        kills: 0,
        keeps_producers: false,
    };
    let name = "a_transaction_given_up_while_a_request_is_on_its_way_ends_no_process";
    if let Some(mut torment) = Torment::new(name, trial) {
        assert_eq!(torment.round(), Ok(()));
    }
}

/// A request by which a process takes its place is lost, whichever it is.
#[test]
fn a_lost_request_keeps_no_process_from_starting() {
    const NEEDED: [&[i16]; 4] = [&[INIT], &[ADD_OFFSETS], &[OFFSETS], &[END]];
    for requests in NEEDED {
        let faults = vec![Fault::Swallow];
        let trial = Trial { faults, requests, one_in: 1, left: 1, kill_every: 1, kills: 0, keeps_producers: false };
        let Some(torment) = Torment::new("a_lost_request_keeps_no_process_from_starting", trial) else { return };
        torment.proxy.arm(1);
        let engine = engine(KafkaSettings::new(torment.bootstrap()), "lost_");
        assert_eq!(torment.proxy.done(), (1, 0), "{}", torment.proxy.report());
        run(&engine, "SHOW STREAMS;");
        engine.close();
    }
}

/// That the first test can fail: without the replacement of producers in doubt, late requests do harm. Not each does: a
/// late end of a transaction finds nothing in the next one when the server is slow. Three rounds in four have shown it;
/// most have doubled rows, in some only the counts of windows were wrong.
#[test]
fn without_the_replacement_of_producers_late_requests_do_harm() {
    const ROUNDS: usize = 10;
    let trial = Trial {
        faults: vec![Fault::Hold],
        requests: &[ADD_PARTITIONS, END, OFFSETS],
        one_in: ONE_IN,
        left: 6,
        kill_every: 1,
        kills: 3,
        keeps_producers: true,
    };
    let name = "without_the_replacement_of_producers_late_requests_do_harm";
    let Some(mut torment) = Torment::new(name, trial) else { return };
    let wrong = (0..ROUNDS).find_map(|_| torment.round().err()).expect("late requests do harm");
    say(&format!("without the replacement: {}", &wrong[..wrong.len().min(200)]));
}
