//! Opens what the command line works on: engines, logs, the server, the demonstration.

use super::answer::outcome;
use super::args::Place;
use super::{Doors, PAUSE, Session, cars};
use crate::config::{Config, DEFAULT_SERVICE_ID, LogConfig, default_data_dir};
use crate::engine::Engine;
use crate::engine::session::Session as EngineSession;
use crate::error::{Error, Result};
use crate::log::{Log, partition};
use crate::serve;
use crate::types::clock::{SharedClock, SystemClock};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// The demonstration's statements.
const DEMO: &str = include_str!("../../queries/demo/cars.sql");
/// What the demonstration shows of its result before it hands over the prompt.
const DEMO_SHOWN: &str = "SELECT car, TIMESTAMPTOSTRING(WINDOWSTART) FROM car_stats EMIT CHANGES LIMIT 12";
/// Topic and partitions that the demonstration feeds.
const DEMO_TOPIC: &str = "readings";
const DEMO_PARTITIONS: u32 = 4;

/// This machine.
#[derive(Debug)]
pub struct Machine {
    clock: SharedClock,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine { clock: SystemClock::shared() }
    }
}

impl Machine {
    fn open(&self, place: &Place) -> Result<Engine> {
        Engine::open(config(place)?, self.clock.clone())
    }
}

fn config(place: &Place) -> Result<Config> {
    let log = match (&place.bootstrap_servers, place.temp, &place.data) {
        (Some(bootstrap), _, _) => {
            let properties = place.kafka_config.as_deref().map_or(Ok(BTreeMap::new()), client_properties)?;
            LogConfig::Kafka { bootstrap: bootstrap.clone(), properties }
        }
        (None, true, _) => LogConfig::Temporary,
        (None, false, Some(dir)) => LogConfig::Embedded(dir.clone()),
        (None, false, None) => LogConfig::Embedded(default_data_dir()?),
    };
    let mut config = Config::new(log);
    config.service_id.clone_from(&place.service_id);
    if config.service_id.is_empty() {
        DEFAULT_SERVICE_ID.clone_into(&mut config.service_id);
    }
    Ok(config)
}

/// A file of `name=value` lines, as Kafka's own tools read them.
fn client_properties(file: &Path) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Error::io(format!("cannot read {}", file.display())).with_detail(e.to_string()))?;
    let mut properties = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| Error::statement(format!("{}:{}: expected name=value", file.display(), number + 1)))?;
        properties.insert(name.trim().to_owned(), value.trim().to_owned());
    }
    Ok(properties)
}

fn session(engine: Engine, guard: Option<Driver>) -> Session {
    let greeting = format!(
        "Tidegate {} on {}. Type help, or a statement and ;",
        env!("CARGO_PKG_VERSION"),
        engine.log().describe()
    );
    let history = match &engine.config().log {
        LogConfig::Embedded(dir) => Some(dir.join("history")),
        LogConfig::Temporary | LogConfig::Kafka { .. } => history_elsewhere(),
    };
    let names = engine.clone();
    let closing = Closing { engine: engine.clone(), _driver: guard };
    let mut state = EngineSession::default();
    Session {
        execute: Box::new(move |text| {
            let _ = &closing;
            let mut answers = engine.run(text, &mut state)?;
            Ok(match answers.len() {
                1 => outcome(answers.remove(0)),
                _ => crate::engine::outcome::Outcome::Many(answers.into_iter().map(outcome).collect()),
            })
        }),
        names: Box::new(move || names.catalog().all().map(|s| s.name.clone()).collect()),
        greeting,
        history,
    }
}

fn history_elsewhere() -> Option<PathBuf> {
    default_data_dir().ok().map(|dir| dir.join("history"))
}

/// Commits and ends the engine's queries when the session goes.
struct Closing {
    engine: Engine,
    _driver: Option<Driver>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.engine.close();
    }
}

/// The thread that drives the demonstration's cars.
struct Driver {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has already been reported by its own message.
            let _ = thread.join();
        }
    }
}

impl Doors for Machine {
    fn session(&mut self, place: &Place) -> Result<Session> {
        Ok(session(self.open(place)?, None))
    }

    fn log(&mut self, place: &Place) -> Result<Arc<dyn Log>> {
        Engine::open_log(&config(place)?, &self.clock)
    }

    fn partition(&self, key: &[u8], partitions: u32) -> i32 {
        partition::java(key, partitions)
    }

    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    fn serve(&mut self, place: &Place, listen: SocketAddr, stop: &dyn Fn() -> bool) -> Result<()> {
        serve::check_listener(listen)?;
        let mut config = config(place)?;
        // Clients of a server expect ksqlDB's default; a prompt's user wants to see what is there.
        config.properties.insert("auto.offset.reset".to_owned(), "latest".to_owned());
        let engine = Engine::open(config, self.clock.clone())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(listen))
            .map_err(|e| Error::io(format!("cannot listen on {listen}")).with_detail(e.to_string()))?;
        tracing::info!(address = %listen, log = %engine.log().describe(), "serving HTTP");
        let server = runtime.spawn(serve::serve(engine.clone(), listener, async {
            // A sender that is gone means stop, too.
            let _ = receiver.await;
        }));
        while !stop() && !server.is_finished() {
            self.clock.sleep(PAUSE);
        }
        drop(sender);
        let served = runtime.block_on(server);
        engine.close();
        served.unwrap_or_else(|e| Err(Error::bug("the server's thread ended early").because(e)))
    }

    fn demo(&mut self, place: &Place) -> Result<(Session, String)> {
        // Nothing of the demonstration stays, unless a place is named.
        let anywhere = place.data.is_none() && place.bootstrap_servers.is_none();
        let place = Place { temp: place.temp || anywhere, ..place.clone() };
        let engine = self.open(&place)?;
        engine.run(DEMO, &mut EngineSession::default())?;
        let stop = Arc::new(AtomicBool::new(false));
        let (log, clock, stopped) = (engine.log().clone(), self.clock.clone(), stop.clone());
        let drive = move || {
            if let Err(e) = cars::drive(&log, DEMO_TOPIC, DEMO_PARTITIONS, &clock, &stopped) {
                tracing::error!(error = %e, "the cars stand still");
            }
        };
        let thread = std::thread::Builder::new().name("cars".to_owned()).spawn(drive)?;
        Ok((session(engine, Some(Driver { stop, thread: Some(thread) })), DEMO_SHOWN.to_owned()))
    }

    fn pause(&self) {
        self.clock.sleep(PAUSE);
    }
}
