//! The workers of a process: threads that the queries share, so that one query uses all cores and a hundred idle ones use no
//! thread of the pool's.
//!
//! A query does its work in *rounds*: a list of items that do not depend on each other, and a function that makes a result of
//! each. The results come back in the order of the items, whichever worker made them, so that the number of workers is never
//! seen in them.
//!
//! ```text
//! query A   round: a0 a1 a2 a3  --ticket-->  A B C A ...  <-- worker 1 takes a1
//! query B   round: b0 b1        --ticket-->                   worker 2 takes b1
//!           the query's own thread takes a0, a2 ...           one item, then the ticket goes to the end
//! ```
//!
//! The thread that brings a round works on it as well, and takes back what no worker has begun. So a round ends even when all
//! workers are busy, a small round costs no hand-over at all, and a query with many rounds delays another one by an item of each
//! worker at most. Items are small by the measure of their callers: a few thousand rows.
//!
//! A panic in an item is an error of its round. The worker continues with the next item.

use crate::error::{Error, Result};
use crate::mutant::{self, Mutant};
use crate::threads;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// What panics of items are counted under, and the kind of the threads.
const KIND: &str = "worker";
/// Rounds of fewer bytes stay on the thread of their query: to wake a worker and to wait for it costs 20 to 50 us, in which a core
/// decodes 10 KiB or more; with four times as much in either half the hand-over costs less than it saves.
const HANDED_OVER_BYTES: usize = 64 * 1024;
/// Rounds after a refused thread in which no other one is asked for: a refusal is a line in the log, and a query may have thousands
/// of rounds a second.
const ROUNDS_AFTER_REFUSAL: usize = 10_000;

/// How rounds are given to workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// A worker for each core but one, on which the query's own thread works; small rounds stay there.
    #[default]
    Cores,
    /// So many workers, which take part in every round, however small it is: for tests.
    Eager(usize),
    /// No workers: the items of every round are done in an order drawn from this seed, for tests.
    Drawn(u64),
}

/// The pool.
pub struct Workers {
    shared: Arc<Shared>,
    /// Threads, at most.
    threads_max: usize,
    /// Rounds of fewer bytes are not handed over.
    bytes_min: usize,
    /// State of the generator that draws the order of items.
    drawn: Option<Mutex<u64>>,
    started: Mutex<Started>,
}

#[derive(Default)]
struct Started {
    threads: Vec<JoinHandle<()>>,
    /// Rounds that ask for no further thread, since one was refused.
    rounds_to_wait: usize,
}

/// A query's share of the pool.
#[derive(Clone, Debug)]
pub struct Crew {
    /// `None` = everything is done on the caller's thread.
    workers: Option<Arc<Workers>>,
    /// Workers besides the caller's thread, at most.
    helpers_max: usize,
    /// Whose work it is, for the log.
    label: Arc<str>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Signalled for each ticket, and at the end.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Each admits one worker to a round.
    tickets: VecDeque<Arc<dyn Share>>,
    /// Workers that wait.
    idle: usize,
    closed: bool,
}

/// A round, as a worker sees it.
trait Share: Send + Sync {
    /// Does one item; `false` = there is none left.
    fn take_one(&self) -> bool;
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("threads_max", &self.threads_max).finish_non_exhaustive()
    }
}

impl Workers {
    /// A pool. Its threads start when there is work for them.
    pub fn new(schedule: Schedule) -> Arc<Workers> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (threads_max, bytes_min, seed) = match schedule {
            Schedule::Cores => (cores - 1, HANDED_OVER_BYTES, None),
            Schedule::Eager(threads) => (threads, 0, None),
            Schedule::Drawn(seed) => (0, 0, Some(seed)),
        };
        Arc::new(Workers {
            shared: Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() }),
            threads_max,
            bytes_min,
            drawn: seed.map(Mutex::new),
            started: Mutex::default(),
        })
    }

    /// A query's share: at most so many workers at once, its own thread included. `None` = all.
    pub fn crew(self: &Arc<Workers>, label: &str, most: Option<usize>) -> Crew {
        let helpers_max = most.map_or(self.threads_max, |most| most.saturating_sub(1).min(self.threads_max));
        Crew { workers: Some(self.clone()), helpers_max, label: label.into() }
    }

    /// Threads that were started.
    pub fn started(&self) -> usize {
        self.started.lock().threads.len()
    }

    /// The order in which `count` items are done.
    fn order(&self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        if let Some(state) = &self.drawn {
            let mut state = state.lock();
            for last in (1..count).rev() {
                *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                order.swap(last, (*state >> 33) as usize % (last + 1));
            }
        }
        order
    }

    /// Admits `helpers` workers to a round; starts those that are missing.
    fn admit(&self, round: &Arc<dyn Share>, helpers: usize) {
        let mut queue = self.shared.queue.lock();
        queue.tickets.extend(std::iter::repeat_n(round, helpers).cloned());
        let missing = queue.tickets.len().saturating_sub(queue.idle);
        drop(queue);
        if missing > 0 {
            self.start(missing);
        }
        for _ in 0..helpers {
            self.shared.changed.notify_one();
        }
    }

    fn start(&self, missing: usize) {
        let Started { threads, rounds_to_wait } = &mut *self.started.lock();
        if *rounds_to_wait > 0 {
            *rounds_to_wait -= 1;
            return;
        }
        for _ in 0..missing.min(self.threads_max - threads.len()) {
            let shared = self.shared.clone();
            match threads::spawn(KIND, (threads.len() + 1).to_string(), move || shared.serve()) {
                Ok(thread) => threads.push(thread),
                // Logged; the callers do what no worker does.
                Err(_) => {
                    *rounds_to_wait = ROUNDS_AFTER_REFUSAL;
                    return;
                }
            }
        }
    }

    /// Takes back the tickets of a round of which all items are taken.
    fn withdraw(&self, round: &Arc<dyn Share>) {
        self.shared.queue.lock().tickets.retain(|ticket| !Arc::ptr_eq(ticket, round));
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.changed.notify_all();
        for thread in self.started.get_mut().threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// What a worker does: an item of the first round in the queue, which then goes to the end.
    fn serve(&self) {
        let mut queue = self.queue.lock();
        loop {
            match queue.tickets.pop_front() {
                Some(round) => {
                    let more = MutexGuard::unlocked(&mut queue, || round.take_one().then_some(round));
                    queue.tickets.extend(more);
                }
                None if queue.closed => return,
                None => {
                    queue.idle += 1;
                    self.changed.wait(&mut queue);
                    queue.idle -= 1;
                }
            }
        }
    }
}

impl Crew {
    /// A crew of the caller's thread alone.
    pub fn alone() -> Crew {
        Crew { workers: None, helpers_max: 0, label: "".into() }
    }

    /// Whether the caller's thread does everything, and in the order of the items.
    pub fn is_alone(&self) -> bool {
        self.helpers_max == 0 && self.workers.as_ref().is_none_or(|workers| workers.drawn.is_none())
    }

    /// Makes a result of each item, in their order. `bytes` is how much there is to do, roughly, in bytes of input.
    ///
    /// The first error in the order of the items is returned; what the others made is dropped then, and so are items
    /// that had not been begun.
    pub fn run<T, R, W>(&self, bytes: usize, items: Vec<T>, work: W) -> Result<Vec<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
        W: Fn(T) -> Result<R> + Send + Sync + 'static,
    {
        let helpers = self.helpers_max.min(items.len().saturating_sub(1));
        match &self.workers {
            Some(workers) if workers.drawn.is_some() => in_order(&workers.order(items.len()), items, work),
            Some(workers) if helpers > 0 && bytes >= workers.bytes_min => {
                let round = Round::new(items, work, self.label.clone());
                let shared: Arc<dyn Share> = round.clone();
                workers.admit(&shared, helpers);
                while round.take_one() {}
                workers.withdraw(&shared);
                round.results()
            }
            _ => items.into_iter().map(work).collect(),
        }
    }
}

/// Does the items in this order, and returns the results in their own.
fn in_order<T, R>(order: &[usize], items: Vec<T>, work: impl Fn(T) -> Result<R>) -> Result<Vec<R>> {
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    let mut results: Vec<Option<Result<R>>> = items.iter().map(|_| None).collect();
    for &index in order {
        results[index] = items[index].take().map(&work);
    }
    results.into_iter().flatten().collect()
}

/// A round at work.
struct Round<T, R, W> {
    items: Vec<Mutex<Option<T>>>,
    /// The next item.
    next: AtomicUsize,
    results: Mutex<Results<R>>,
    /// Signalled when the last result is there.
    done: Condvar,
    work: W,
    label: Arc<str>,
    span: tracing::Span,
    bug: Option<Mutant>,
}

struct Results<R> {
    of: Vec<Option<Result<R>>>,
    missing: usize,
}

impl<T, R, W> Round<T, R, W> {
    fn new(items: Vec<T>, work: W, label: Arc<str>) -> Arc<Round<T, R, W>> {
        let results = Results { of: items.iter().map(|_| None).collect(), missing: items.len() };
        Arc::new(Round {
            items: items.into_iter().map(|item| Mutex::new(Some(item))).collect(),
            next: AtomicUsize::new(0),
            results: Mutex::new(results),
            done: Condvar::new(),
            work,
            label,
            span: tracing::Span::current(),
            bug: mutant::current(),
        })
    }

    /// Waits for the items that workers have begun.
    fn results(&self) -> Result<Vec<R>> {
        let mut results = self.results.lock();
        while results.missing > 0 {
            self.done.wait(&mut results);
        }
        let of = std::mem::take(&mut results.of);
        of.into_iter().map(|result| result.unwrap_or_else(|| Err(Error::bug("an item has no result")))).collect()
    }
}

impl<T, R, W> Share for Round<T, R, W>
where
    T: Send,
    R: Send,
    W: Fn(T) -> Result<R> + Send + Sync,
{
    fn take_one(&self) -> bool {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(item) = self.items.get(index).and_then(|item| item.lock().take()) else { return false };
        let result = self.span.in_scope(|| {
            let work = || mutant::carry(self.bug, || (self.work)(item));
            threads::guard(KIND, &self.label, work).flatten()
        });
        let mut results = self.results.lock();
        results.of[index] = Some(result);
        results.missing -= 1;
        if results.missing == 0 {
            self.done.notify_all();
        }
        index + 1 < self.items.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread::ThreadId;

    fn here() -> ThreadId {
        std::thread::current().id()
    }

    /// The threads of a round of two items that wait for each other.
    fn threads_of_two(crew: &Crew) -> BTreeSet<String> {
        type Item = (Sender<()>, Receiver<()>);
        let ((to_a, a), (to_b, b)) = (channel(), channel());
        let items: Vec<Item> = vec![(to_b, a), (to_a, b)];
        let met = crew.run(usize::MAX, items, |(other, own)| {
            other.send(()).map_err(|_| Error::bug("the other item is gone"))?;
            own.recv().map_err(|_| Error::bug("the other item is gone"))?;
            Ok(format!("{:?}", here()))
        });
        met.unwrap().into_iter().collect()
    }

    #[test]
    fn results_are_in_the_order_of_the_items_whoever_makes_them() {
        let want: Vec<usize> = (0..100).map(|n| n * n).collect();
        for schedule in [Schedule::Cores, Schedule::Eager(1), Schedule::Eager(3), Schedule::Drawn(7)] {
            let workers = Workers::new(schedule);
            for most in [None, Some(1), Some(2), Some(9)] {
                let crew = workers.crew("unit", most);
                assert_eq!(crew.run(usize::MAX, (0..100).collect(), |n| Ok(n * n)).unwrap(), want, "{schedule:?}");
                assert_eq!(crew.run(usize::MAX, Vec::<usize>::new(), Ok).unwrap(), Vec::<usize>::new());
            }
        }
    }

    #[test]
    fn a_worker_takes_part_and_is_used_again() {
        let workers = Workers::new(Schedule::Eager(1));
        let crew = workers.crew("unit", None);
        for _ in 0..50 {
            assert_eq!(threads_of_two(&crew).len(), 2);
        }
        assert_eq!(workers.started(), 1);
    }

    #[test]
    fn small_rounds_and_crews_of_one_stay_on_their_thread() {
        let workers = Workers::new(Schedule::Cores);
        let own = |crew: &Crew, bytes| {
            let threads = crew.run(bytes, vec![(); 64], |()| Ok(here())).unwrap();
            threads.into_iter().all(|thread| thread == here())
        };
        assert!(own(&workers.crew("unit", None), HANDED_OVER_BYTES - 1));
        assert!(own(&workers.crew("unit", Some(1)), usize::MAX));
        assert!(own(&Crew::alone(), usize::MAX));
        assert_eq!(workers.started(), 0, "nothing was handed over, so no thread was started");
    }

    #[test]
    fn the_first_error_in_the_order_of_the_items_is_returned() {
        let failing = |n: i32| if n % 3 == 2 { Err(Error::data(format!("item {n}"))) } else { Ok(n) };
        for schedule in [Schedule::Cores, Schedule::Eager(2), Schedule::Drawn(3)] {
            let crew = Workers::new(schedule).crew("unit", None);
            let error = crew.run(usize::MAX, (0..20).collect(), failing).unwrap_err();
            assert_eq!(error.message(), "item 2", "{schedule:?}");
        }
    }

    #[test]
    fn a_panic_is_an_error_of_its_round_and_the_worker_lives() {
        let workers = Workers::new(Schedule::Eager(1));
        let crew = workers.crew("unit", None);
        for _ in 0..5 {
            let error = crew.run(usize::MAX, vec![0, 1], |n: i32| -> Result<i32> { panic!("no {n}") }).unwrap_err();
            assert_eq!(error.message(), "a thread of tidegate panicked: no 0");
            assert_eq!(threads_of_two(&crew).len(), 2);
        }
        assert_eq!(workers.started(), 1);
    }

    #[test]
    fn a_busy_pool_delays_no_round_of_another_query() {
        let workers = Workers::new(Schedule::Eager(1));
        let (begun, has_begun) = channel();
        let (release, released) = channel::<()>();
        let released = Mutex::new(released);
        let busy = workers.crew("busy", None);
        // The one worker and the caller of this round wait until the other query is done.
        let heavy = std::thread::spawn(move || {
            busy.run(usize::MAX, vec![0, 1], move |_| {
                begun.send(()).map_err(|_| Error::bug("the test is over"))?;
                let _ = released.lock().recv();
                Ok(())
            })
        });
        (0..2).for_each(|_| has_begun.recv().unwrap());
        let light = workers.crew("light", None);
        assert_eq!(light.run(usize::MAX, (0..10).collect::<Vec<i32>>(), Ok).unwrap().len(), 10);
        drop(release);
        assert!(heavy.join().unwrap().is_ok());
    }

    #[test]
    fn a_seed_draws_an_order() {
        let order = |seed| Workers::new(Schedule::Drawn(seed)).order(20);
        let sorted: BTreeSet<usize> = order(1).into_iter().collect();
        assert_eq!(sorted, (0..20).collect());
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }
}
