//! A TCP proxy in front of a broker that reads as much of Kafka's frames as it needs to lose, hold and repeat single
//! requests of a transaction: each of [`TRANSACTIONAL`], on its way in and on its way out.
//!
//! A request or its answer is lost while the connection stays, so that the client waits for its own time-out; or the
//! connection is cut with it; or the connection is cut some time later, when the client has given up what it waited for
//! and is about to do something else.
//!
//! What hurts most is a request that arrives late: it is held, the client's connection is reset, the client repeats it on a
//! new connection and continues; in the middle of its **next** transaction the held one reaches the broker after all. The
//! moments are picked by the frames that pass, so that they are met every time:
//!
//! - a held EndTxn arrives when the rows of the next transaction are written and its offsets are not;
//! - held offsets arrive when those of the next transaction are written and it is about to end.
//!
//! At such a moment the process behind the proxy may be killed, too: what it knew of its transactions is then gone.

use super::frames::{END, INIT, OFFSETS, Request, ended, frame, name, number, parse};
use crate::crash::Moments;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

/// One InitProducerId in so many is hit: it is rare, because only a producer's first request is one.
const INIT_ONE_IN: u64 = 3;
/// One kind of request meets so many more faults than its share at most.
const SHARE_FREE: u64 = 2;
/// When a connection is cut whose request or answer was lost: before the client's time-outs, and around the next attempt.
const CUT_MS: (u64, u64) = (50, 3_000);
/// When a connection is cut after its transaction was aborted: the client knows, and its producer is still there.
const ABORT_CUT_US: (u64, u64) = (500, 1_500);
/// A held request that nothing has called for in this time is never sent.
const HELD_MAX: Duration = Duration::from_secs(8);
/// A broker responds within this time, or the proxy continues without its response.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// What may happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// The broker never gets it, the client waits.
    Swallow,
    /// The broker gets it, the client waits for the answer.
    LoseAnswer,
    /// The broker never gets it, and the connection is cut some time later.
    SwallowThenCut,
    /// The broker gets it, the answer is lost, and the connection is cut some time later.
    LoseThenCut,
    /// The answer is lost, and the connection is cut when an EndTxn was followed by a new epoch: librdkafka's way to abort
    /// a transaction whose rows have timed out.
    LoseUntilAbort,
    /// The connection is reset before it reaches the broker.
    ResetBefore,
    /// The connection is reset when it has reached the broker.
    ResetAfter,
    /// It takes its time.
    Delay,
    /// See the module.
    Hold,
    /// An EndTxn is answered as if it had been done, and the broker never gets it: it has died right after its answer and
    /// remembers nothing of it.
    Forget,
}

/// Which faults, and how often.
pub(super) struct Plan {
    /// Each kind of request meets the fault that it has met least often.
    pub(super) faults: Vec<Fault>,
    /// The requests that may be hit; each kind is hit at its first sight.
    pub(super) requests: &'static [i16],
    pub(super) left: u64,
    /// The process is killed after each so-many-th held request that has arrived.
    pub(super) kill_every: u64,
    /// One request in so many is hit.
    pub(super) one_in: u64,
    pub(super) seed: u64,
}

/// A request that is kept back, of one transactional id.
struct Held {
    api: i16,
    /// EndTxn requests that have passed since.
    ends: u32,
    /// Asks for it to be sent; the answer comes when the broker has dealt with it.
    release: Sender<Sender<()>>,
}

struct State {
    plan: Plan,
    moments: Moments,
    held: BTreeMap<String, Held>,
    counts: BTreeMap<(i16, Fault), u64>,
    /// Held requests that have arrived.
    arrived: u64,
    victim: Option<Pid>,
    kills: u64,
}

/// See the module.
pub(super) struct Proxy {
    pub(super) port: u16,
    state: Arc<Mutex<State>>,
}

/// An answer that is waited for.
#[derive(Default)]
struct Pending {
    lose: bool,
    /// The connection is cut so long after it, if it is no error of an InitProducerId.
    cut: Option<Duration>,
    told: Option<Sender<()>>,
}

impl Pending {
    fn lost() -> Pending {
        Pending { lose: true, ..Pending::default() }
    }
}

type Pendings = Arc<Mutex<BTreeMap<i32, Pending>>>;

/// What to do with one request.
struct Orders {
    fault: Option<Fault>,
    /// A held one that goes first.
    first: Option<Sender<Sender<()>>>,
    /// The process dies: before this request is passed on, or after its answer.
    kill: Option<Kill>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kill {
    Before,
    After,
}

impl Proxy {
    /// Listens; `upstream` is asked for at each connection, because the broker starts later.
    pub(super) fn start(plan: Plan, upstream: impl Fn() -> Option<String> + Send + 'static) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (moments, held, counts) = (Moments(plan.seed), BTreeMap::new(), BTreeMap::new());
        let state = State { plan, moments, held, counts, arrived: 0, victim: None, kills: 0 };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Some(broker) = upstream().and_then(|at| TcpStream::connect(at).ok()) else { continue };
                let _ = (client.set_nodelay(true), broker.set_nodelay(true));
                connect(client, broker, shared.clone());
            }
        });
        Proxy { port, state }
    }

    /// So many more faults may happen.
    pub(super) fn arm(&self, faults: u64) {
        self.state.lock().plan.left += faults;
    }

    /// The process that is killed now and then.
    pub(super) fn aim(&self, pid: Pid) {
        self.state.lock().victim = Some(pid);
    }

    /// Faults that have happened, and kills.
    pub(super) fn done(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.counts.values().sum(), state.kills)
    }

    /// What happened: for each kind of request how often it met each fault.
    pub(super) fn report(&self) -> String {
        let state = self.state.lock();
        let of = |request: i16| {
            let met = state.counts.iter().filter(|((api, _), _)| *api == request);
            let met: Vec<_> = met.map(|((_, fault), n)| format!("{n} {fault:?}")).collect();
            format!("{}: {}", name(request), met.join(", "))
        };
        let all: Vec<_> = state.plan.requests.iter().map(|request| of(*request)).collect();
        format!("{}; {} held requests arrived late", all.join("; "), state.arrived)
    }

    /// The requests and faults that have not met.
    pub(super) fn unmet(&self) -> Vec<String> {
        let state = self.state.lock();
        let pairs = state.plan.requests.iter().flat_map(|api| state.plan.faults.iter().map(|fault| (*api, *fault)));
        pairs.filter(|pair| !state.counts.contains_key(pair)).map(|(a, f)| format!("{f:?} of {}", name(a))).collect()
    }
}

impl State {
    fn orders(&mut self, request: &Request) -> Orders {
        let mut orders = Orders { fault: None, first: None, kill: None };
        let Some(id) = &request.id else { return orders };
        if let Some(held) = self.held.get_mut(id) {
            let due = match held.api {
                END => request.api == OFFSETS && held.ends > 0,
                _ => request.api == END && held.ends > 0,
            };
            held.ends += u32::from(request.api == END);
            if due {
                let after = held.api != END;
                orders.first = self.held.remove(id).map(|held| held.release);
                self.arrived += 1;
                if self.arrived.is_multiple_of(self.plan.kill_every) {
                    orders.kill = Some(if after { Kill::After } else { Kill::Before });
                }
            }
        } else {
            orders.fault = self.pick(request.api);
        }
        orders
    }

    /// The fault that a request meets, if any.
    fn pick(&mut self, request: i16) -> Option<Fault> {
        if self.plan.left == 0 || !self.plan.requests.contains(&request) {
            return None;
        }
        let count = |fault: &Fault| self.counts.get(&(request, *fault)).copied().unwrap_or(0);
        let least = self.plan.faults.iter().map(count).min()?;
        let rarest: Vec<Fault> = self.plan.faults.iter().filter(|fault| count(fault) == least).copied().collect();
        let own: u64 = self.plan.faults.iter().collect::<BTreeSet<_>>().into_iter().map(count).sum();
        let one_in = if request == INIT { self.plan.one_in.min(INIT_ONE_IN) } else { self.plan.one_in };
        let share = self.counts.values().sum::<u64>() / self.plan.requests.len() as u64 + SHARE_FREE;
        if own > share || own > 0 && self.moments.next_ms(0, one_in) > 0 {
            return None;
        }
        let fault = rarest[self.moments.next_ms(0, rarest.len() as u64) as usize];
        self.plan.left -= 1;
        *self.counts.entry((request, fault)).or_default() += 1;
        Some(fault)
    }

    fn kill(&mut self) {
        if let Some(pid) = self.victim.take() {
            self.kills += 1;
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn connect(client: TcpStream, broker: TcpStream, state: Arc<Mutex<State>>) {
    let pendings = Pendings::default();
    let (to_client, from_broker) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
    let answers = pendings.clone();
    std::thread::spawn(move || pass_answers(from_broker, to_client, &answers));
    std::thread::spawn(move || {
        let mut line = Line { client, broker: Arc::new(Mutex::new(broker)), pendings, state, fate: Fate::None };
        while let Some(bytes) = frame(&mut line.client) {
            if !line.pass(bytes) {
                break;
            }
        }
        let _ = line.client.shutdown(Shutdown::Both);
        // The broker's side is closed by its last holder: a held request may still go out on it.
        line.finish();
    });
}

/// Responses go to the client as long as it is there; a waiting thread is woken in any case.
fn pass_answers(mut broker: TcpStream, mut client: TcpStream, pendings: &Pendings) {
    while let Some(bytes) = frame(&mut broker) {
        let correlation = number(&bytes, 4).map(i32::from_be_bytes);
        let pending = correlation.and_then(|c| pendings.lock().remove(&c));
        let lost = pending.as_ref().is_some_and(|p| p.lose);
        if !lost {
            let _ = client.write_all(&bytes);
        }
        // Length, correlation, no tags, throttle time, error.
        let is_fine = bytes.get(13..15) == Some(&[0, 0]);
        if let Some(wait) = pending.as_ref().and_then(|p| p.cut).filter(|_| is_fine) {
            std::thread::sleep(wait);
            let _ = client.shutdown(Shutdown::Both);
        }
        if let Some(told) = pending.and_then(|p| p.told) {
            let _ = told.send(());
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}

/// The requests of one connection.
struct Line {
    client: TcpStream,
    broker: Arc<Mutex<TcpStream>>,
    pendings: Pendings,
    state: Arc<Mutex<State>>,
    fate: Fate,
}

/// What is waited for before a connection is cut.
#[derive(Clone, Copy, Default)]
enum Fate {
    /// It is not cut.
    #[default]
    None,
    /// The end of a transaction.
    Abort,
    /// A new epoch of its producer.
    Epoch,
}

impl Line {
    /// Passes a request on, or does to it what the plan says; `false` = the connection is over.
    fn pass(&mut self, bytes: Vec<u8>) -> bool {
        let Some(request) = parse(&bytes) else { return self.send(&bytes) };
        let orders = self.state.lock().orders(&request);
        if let Some(first) = orders.first {
            let (told, done) = mpsc::channel();
            let _ = first.send(told);
            let _ = done.recv_timeout(ANSWER_MAX);
        }
        match orders.kill {
            Some(Kill::Before) => self.state.lock().kill(),
            Some(Kill::After) => {
                let sent = self.send_and_wait(&request, &bytes);
                self.state.lock().kill();
                return sent;
            }
            None => {}
        }
        self.watch(&request);
        match orders.fault {
            None => self.send(&bytes),
            Some(fault) => self.harm(fault, request, bytes),
        }
    }

    /// Looks for the end of a transaction of which an answer was lost.
    fn watch(&mut self, request: &Request) {
        match (self.fate, request.api) {
            (Fate::Abort, END) => self.fate = Fate::Epoch,
            (Fate::Epoch, INIT) => {
                let wait = self.state.lock().moments.next_ms(ABORT_CUT_US.0, ABORT_CUT_US.1);
                let cut = Pending { cut: Some(Duration::from_micros(wait)), ..Pending::default() };
                self.pendings.lock().insert(request.correlation, cut);
            }
            _ => {}
        }
    }

    /// Does to a request what the plan says.
    fn harm(&mut self, fault: Fault, request: Request, bytes: Vec<u8>) -> bool {
        if matches!(fault, Fault::LoseAnswer | Fault::LoseThenCut | Fault::LoseUntilAbort | Fault::ResetAfter) {
            self.pendings.lock().insert(request.correlation, Pending::lost());
        }
        match fault {
            Fault::Swallow => true,
            Fault::LoseAnswer => self.send(&bytes),
            Fault::SwallowThenCut => self.cut_later(),
            Fault::LoseThenCut => self.cut_later() && self.send(&bytes),
            Fault::LoseUntilAbort => {
                self.fate = Fate::Abort;
                self.send(&bytes)
            }
            Fault::ResetBefore => false,
            Fault::ResetAfter => {
                self.send(&bytes);
                false
            }
            Fault::Forget => self.client.write_all(&ended(request.correlation, request.version)).is_ok(),
            Fault::Delay => {
                let wait = self.state.lock().moments.next_ms(20, 2_000);
                std::thread::sleep(Duration::from_millis(wait));
                self.send(&bytes)
            }
            Fault::Hold => {
                self.hold(request, bytes);
                false
            }
        }
    }

    fn cut_later(&self) -> bool {
        let wait = Duration::from_millis(self.state.lock().moments.next_ms(CUT_MS.0, CUT_MS.1));
        let client = self.client.try_clone().unwrap();
        std::thread::spawn(move || {
            std::thread::sleep(wait);
            let _ = client.shutdown(Shutdown::Both);
        });
        true
    }

    fn send(&self, bytes: &[u8]) -> bool {
        self.broker.lock().write_all(bytes).is_ok()
    }

    fn send_and_wait(&self, request: &Request, bytes: &[u8]) -> bool {
        let (told, done) = mpsc::channel();
        self.pendings.lock().insert(request.correlation, Pending { told: Some(told), ..Pending::default() });
        let sent = self.send(bytes);
        let _ = done.recv_timeout(ANSWER_MAX);
        sent
    }

    /// Keeps a request until it is called for; the client's connection ends meanwhile.
    fn hold(&self, request: Request, bytes: Vec<u8>) {
        let (release, called) = mpsc::channel::<Sender<()>>();
        let Some(id) = request.id else { return };
        self.state.lock().held.insert(id.clone(), Held { api: request.api, ends: 0, release });
        let (broker, pendings, state) = (self.broker.clone(), self.pendings.clone(), self.state.clone());
        std::thread::spawn(move || {
            match called.recv_timeout(HELD_MAX) {
                Ok(told) => {
                    pendings.lock().insert(request.correlation, Pending { told: Some(told), ..Pending::lost() });
                    let _ = broker.lock().write_all(&bytes);
                    // The answer is read on this connection: it stays until then.
                    std::thread::sleep(ANSWER_MAX);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    state.lock().held.remove(&id);
                }
            }
            let _ = broker.lock().shutdown(Shutdown::Write);
        });
    }

    /// Closes the broker's side unless a held request needs it.
    fn finish(self) {
        if Arc::strong_count(&self.broker) == 1 {
            // Only our direction: what was sent is to be read by the broker.
            let _ = self.broker.lock().shutdown(Shutdown::Write);
        }
    }
}
