//! A TCP proxy in front of a broker that reads as much of Kafka's frames as it needs to lose, hold and repeat single
//! requests of a transaction.
//!
//! What hurts most is a request that arrives late: it is held, the client's connection is reset, the client repeats it on a
//! new connection and goes on; in the middle of its **next** transaction the held one reaches the broker after all. The
//! moments are picked by the frames that pass, so that they are met every time:
//!
//! - a held EndTxn arrives when the rows of the next transaction are written and its offsets are not;
//! - held offsets arrive when those of the next transaction are written and it is about to end.
//!
//! At such a moment the process behind the proxy may be killed, too: what it knew of its transactions is then gone.

use crate::crash::Moments;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

const ADD_PARTITIONS: i16 = 24;
const END: i16 = 26;
const OFFSETS: i16 = 28;
/// A held request that nothing has called for in this time is never sent.
const HELD_MAX: Duration = Duration::from_secs(8);
/// A broker answers within this time, or the proxy goes on without its answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// A frame that is longer is none of Kafka's.
const FRAME_MAX: usize = 200 << 20;

/// What may happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// The broker never gets it, the client waits.
    Swallow,
    /// The broker gets it, the client waits for the answer.
    LoseAnswer,
    /// The connection is reset before it reaches the broker.
    ResetBefore,
    /// The connection is reset when it has reached the broker.
    ResetAfter,
    /// It takes its time.
    Delay,
    /// See the module.
    Hold,
}

/// Which faults, and how often.
pub(super) struct Plan {
    pub(super) faults: Vec<Fault>,
    pub(super) left: u64,
    /// The process is killed after each so-many-th held request that has arrived.
    pub(super) kill_every: u64,
    /// One request in so many is met.
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
struct Pending {
    lose: bool,
    told: Option<Sender<()>>,
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

/// The part of a request that is looked at.
struct Request {
    api: i16,
    correlation: i32,
    /// Transactional id, where faults may hit.
    id: Option<String>,
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

    pub(super) fn report(&self) -> String {
        let state = self.state.lock();
        let name = |api| match api {
            ADD_PARTITIONS => "AddPartitionsToTxn",
            END => "EndTxn",
            _ => "TxnOffsetCommit",
        };
        let counts = state.counts.iter().map(|((api, fault), n)| format!("{n} x {fault:?} of {}", name(*api)));
        format!("{}; {} held requests arrived late", counts.collect::<Vec<_>>().join(", "), state.arrived)
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
        } else if self.plan.left > 0 && self.moments.next_ms(0, self.plan.one_in) == 0 {
            let pick = self.moments.next_ms(0, self.plan.faults.len() as u64) as usize;
            let fault = self.plan.faults[pick];
            self.plan.left -= 1;
            *self.counts.entry((request.api, fault)).or_default() += 1;
            orders.fault = Some(fault);
        }
        orders
    }

    fn kill(&mut self) {
        if let Some(pid) = self.victim.take() {
            self.kills += 1;
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Reads one frame with its length.
fn frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let size = u32::from_be_bytes(length) as usize;
    if size > FRAME_MAX {
        return None;
    }
    let mut bytes = vec![0; size + 4];
    bytes[..4].copy_from_slice(&length);
    stream.read_exact(&mut bytes[4..]).ok()?;
    Some(bytes)
}

fn parse(frame: &[u8]) -> Option<Request> {
    let api = i16::from_be_bytes(number(frame, 4)?);
    let version = i16::from_be_bytes(number(frame, 6)?);
    let correlation = i32::from_be_bytes(number(frame, 8)?);
    let id = if matches!(api, ADD_PARTITIONS | END | OFFSETS) { transactional_id(frame, version) } else { None };
    Some(Request { api, correlation, id })
}

/// The first field of these requests' bodies. From version 3 on strings are compact and the header ends with tags.
fn transactional_id(frame: &[u8], version: i16) -> Option<String> {
    let client = i16::from_be_bytes(number(frame, 12)?).max(0) as usize;
    let body = 14 + client;
    let (start, length) = if version >= 3 {
        // Ids are shorter than 127 bytes here, and there are no tags.
        (body + 2, usize::from(*frame.get(body + 1)?).checked_sub(1)?)
    } else {
        (body + 2, i16::from_be_bytes(number(frame, body)?) as usize)
    };
    String::from_utf8(frame.get(start..start + length)?.to_vec()).ok()
}

fn connect(client: TcpStream, broker: TcpStream, state: Arc<Mutex<State>>) {
    let pendings = Pendings::default();
    let (to_client, from_broker) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
    let answers = pendings.clone();
    std::thread::spawn(move || pass_answers(from_broker, to_client, &answers));
    std::thread::spawn(move || {
        let mut line = Line { client, broker: Arc::new(Mutex::new(broker)), pendings, state };
        while let Some(bytes) = frame(&mut line.client) {
            if !line.pass(bytes) {
                break;
            }
        }
        let _ = line.client.shutdown(Shutdown::Both);
        // The broker's side is closed by whoever holds it last: a held request may still go out on it.
        line.finish();
    });
}

/// Answers go to the client as long as it is there; who waits for one is told in any case.
fn pass_answers(mut broker: TcpStream, mut client: TcpStream, pendings: &Pendings) {
    while let Some(bytes) = frame(&mut broker) {
        let correlation = number(&bytes, 4).map(i32::from_be_bytes);
        let pending = correlation.and_then(|c| pendings.lock().remove(&c));
        let lost = pending.as_ref().is_some_and(|p| p.lose);
        if !lost {
            let _ = client.write_all(&bytes);
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
        match orders.fault {
            None => self.send(&bytes),
            Some(Fault::Swallow) => true,
            Some(Fault::LoseAnswer) => {
                self.pendings.lock().insert(request.correlation, Pending { lose: true, told: None });
                self.send(&bytes)
            }
            Some(Fault::ResetBefore) => false,
            Some(Fault::ResetAfter) => {
                self.pendings.lock().insert(request.correlation, Pending { lose: true, told: None });
                self.send(&bytes);
                false
            }
            Some(Fault::Delay) => {
                let wait = self.state.lock().moments.next_ms(20, 2_000);
                std::thread::sleep(Duration::from_millis(wait));
                self.send(&bytes)
            }
            Some(Fault::Hold) => {
                self.hold(request, bytes);
                false
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> bool {
        self.broker.lock().write_all(bytes).is_ok()
    }

    fn send_and_wait(&self, request: &Request, bytes: &[u8]) -> bool {
        let (told, done) = mpsc::channel();
        self.pendings.lock().insert(request.correlation, Pending { lose: false, told: Some(told) });
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
                    pendings.lock().insert(request.correlation, Pending { lose: true, told: Some(told) });
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
