//! Commands whose records the log does not confirm: written or not, or written later.
//!
//! ```text
//! unconfirmed   written, and the response is lost       the statement has succeeded
//! lost          never written                           it has failed, and the next one has its number
//! late          written after the statement failed      it counts: the next statement is refused, a restart carries it out
//! ```

use crate::log_below::log_below;
use parking_lot::Mutex;
use std::sync::Arc;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::command::CommandLog;
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::error::{Error, Kind, Result};
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Assignment, Isolation, Log, Reader, RecordSet};
use tidegate::types::clock::ManualClock;

/// What happens to the next append to the command log.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Unconfirmed,
    Lost,
    Late,
}

/// A log with a wire to it that loses things.
#[derive(Debug)]
struct Wire {
    below: Arc<SimulatedLog>,
    commands: String,
    fault: Mutex<Option<Fault>>,
    /// Records that arrive before the next append.
    late: Mutex<Vec<RecordSet>>,
}

impl Log for Wire {
    log_below!();

    fn reader(&self, assignment: Vec<Assignment>, isolation: Isolation) -> Result<Box<dyn Reader>> {
        self.below.reader(assignment, isolation)
    }

    fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        let fault = if topic == self.commands { self.fault.lock().take() } else { None };
        for late in self.late.lock().drain(..) {
            self.below.append(topic, &late)?;
        }
        match fault {
            None => return self.below.append(topic, records),
            Some(Fault::Lost) => {}
            Some(Fault::Unconfirmed) => self.below.append(topic, records)?,
            Some(Fault::Late) => self.late.lock().push(records.clone()),
        }
        Err(Error::io("the broker did not respond in time"))
    }
}

struct World {
    wire: Arc<Wire>,
    engine: Engine,
}

fn config() -> Config {
    Config::new(LogConfig::Temporary)
}

fn engine(wire: &Arc<Wire>) -> Engine {
    Engine::over(wire.clone(), config(), ManualClock::at(0), Drive::ByHand).unwrap()
}

impl World {
    fn new() -> World {
        let commands = CommandLog::topic(&config().service_id);
        let below = SimulatedLog::new(1, ManualClock::at(0));
        let wire = Arc::new(Wire { below, commands, fault: Mutex::default(), late: Mutex::default() });
        let engine = engine(&wire);
        let world = World { wire, engine };
        world.run("CREATE TYPE one AS INT;").unwrap();
        world
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.engine.run(sql, &mut Session::default()).map(drop)
    }

    fn fails_with(&self, fault: Fault, sql: &str) -> Result<()> {
        *self.wire.fault.lock() = Some(fault);
        self.run(sql)
    }

    /// Late records arrive now.
    fn deliver(&self) {
        for late in self.wire.late.lock().drain(..) {
            self.wire.below.append(&self.wire.commands, &late).unwrap();
        }
    }

    fn types(engine: &Engine) -> Vec<String> {
        engine.catalog().types().keys().map(|name| name.to_lowercase()).collect()
    }

    /// The types now, which are those after a restart.
    fn settled(&self) -> Vec<String> {
        let (now, then) = (World::types(&self.engine), World::types(&engine(&self.wire)));
        assert_eq!(now, then, "a restart changes the catalogue");
        now
    }
}

#[test]
fn a_statement_that_was_recorded_without_a_response_has_succeeded() {
    let world = World::new();
    world.fails_with(Fault::Unconfirmed, "CREATE TYPE two AS INT;").unwrap();
    assert_eq!(world.settled(), ["one", "two"]);
    world.run("CREATE TYPE three AS INT;").unwrap();
    assert_eq!(world.settled(), ["one", "three", "two"]);
}

#[test]
fn a_statement_that_was_never_recorded_has_failed() {
    let world = World::new();
    let error = world.fails_with(Fault::Lost, "CREATE TYPE two AS INT;").unwrap_err();
    assert_eq!(error.message(), "the broker did not respond in time");
    assert_eq!(world.settled(), ["one"]);
    world.run("CREATE TYPE three AS INT;").unwrap();
    world.run("CREATE TYPE four AS INT;").unwrap();
    assert_eq!(world.settled(), ["four", "one", "three"]);
}

#[test]
fn a_statement_that_is_repeated_counts_once_when_its_first_record_arrives_late() {
    let world = World::new();
    world.fails_with(Fault::Late, "CREATE TYPE two AS INT;").unwrap_err();
    world.run("CREATE TYPE two AS INT;").unwrap();
    assert_eq!(world.settled(), ["one", "two"]);
    world.run("DROP TYPE two;").unwrap();
    assert_eq!(world.settled(), ["one"]);
}

/// The other statement is refused, whether the late record arrives before it looks or between its look and its append.
#[test]
fn another_statement_does_not_take_the_place_of_a_record_that_arrives_late() {
    for arrives_before in [true, false] {
        let world = World::new();
        world.fails_with(Fault::Late, "CREATE TYPE two AS INT;").unwrap_err();
        if arrives_before {
            world.deliver();
        }
        let error = world.run("CREATE TYPE three AS INT;").unwrap_err();
        assert_eq!(error.kind(), Kind::Busy);
        assert_eq!(error.message(), "a statement that the log had not confirmed was recorded after all");
        assert_eq!(world.engine.check_ready().unwrap_err().kind(), Kind::Busy);
        world.run("CREATE TYPE four AS INT;").unwrap_err();
        let restarted = World { engine: engine(&world.wire), wire: world.wire };
        assert_eq!(World::types(&restarted.engine), ["one", "two"], "arrives before: {arrives_before}");
        restarted.run("CREATE TYPE three AS INT;").unwrap();
        assert_eq!(restarted.settled(), ["one", "three", "two"]);
    }
}
