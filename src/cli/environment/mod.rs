//! The environment of the command line: opens engines, logs, the server and the demonstration.

mod backend;
mod served;

use crate::catalog::topics::TopicRules;
use crate::cli::args::{Place, SERVER_PORT, base_of};
use crate::cli::demo::{self, Cars, Demo};
use crate::cli::{Environment, PAUSE, Session};
use crate::config::kafka::ClientProperties;
use crate::config::properties::AUTO_OFFSET_RESET;
use crate::config::{
    AUDIT_FILE, Config, DEFAULT_SERVICE_ID, LogConfig, READ_ONLY, default_data_dir, private, user_dir,
};
use crate::engine::command::repair::{Report, Wanted};
use crate::engine::insert::lines::NewLines;
use crate::engine::introspect::text::check::Diagnostic;
use crate::engine::introspect::topics::{LogTopics, Tail, TailFrom, TopicDetail, TopicLine, Topics};
use crate::engine::query::processing_log::AUTO_CREATE;
use crate::engine::session::Session as EngineSession;
use crate::engine::{Drive, Engine};
use crate::error::{Error, Kind, Result};
use crate::log::{Log, RecordSet, TopicChanges, partition};
use crate::serve::attach::client::Client;
use crate::serve::attach::owner::Owner;
use crate::serve::{Access, ListenConfig};
use crate::types::clock::{SharedClock, SystemClock};
use backend::{Backend, BackendHandle, Directory, open_directory};
use served::Server;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

/// Where the demonstration serves if the port is free; else on any.
const DEMO_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), SERVER_PORT);

/// The name of the user of `tidegate console`, in the audit log and in the console.
const CONSOLE_USER: &str = "console";

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
    /// An engine of this process, with the data directory that it owns if there is one.
    fn open(&self, config: Config) -> Result<(Engine, Option<Owner>)> {
        match config.log {
            LogConfig::Embedded(_) => {
                let owner = Owner::open(config, self.clock.clone())?;
                Ok((owner.engine()?, Some(owner)))
            }
            LogConfig::Temporary | LogConfig::Kafka { .. } => Ok((Engine::open(config, self.clock.clone())?, None)),
        }
    }

    fn require_local(&self, place: &Place) -> Result<()> {
        match &place.server {
            None => Ok(()),
            Some(url) => Err(Error::statement(format!("not supported against a remote server ({url})"))
                .with_hint("`tidegate URL` opens a prompt on it, `tidegate sql --server URL` runs statements")),
        }
    }
}

fn config(place: &Place) -> Result<Config> {
    let log = match (kafka(place)?, place.temp, &place.data) {
        (Some(log), _, _) => log,
        (None, true, _) => LogConfig::Temporary,
        (None, false, Some(dir)) => LogConfig::Embedded(dir.clone()),
        (None, false, None) => LogConfig::Embedded(default_data_dir()?),
    };
    let mut config = Config::new(log);
    config.properties.insert(AUTO_CREATE.to_owned(), "true".to_owned());
    config.service_id.clone_from(&place.service_id);
    if config.service_id.is_empty() {
        DEFAULT_SERVICE_ID.clone_into(&mut config.service_id);
    }
    for (name, value) in &place.set {
        config.set(name, value)?;
    }
    Ok(config)
}

/// The cluster that is named on the command line or in the file of client settings, if one is.
fn kafka(place: &Place) -> Result<Option<LogConfig>> {
    let mut properties = match &place.kafka_config {
        None => ClientProperties::default(),
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|e| Error::io(format!("cannot read {}", file.display())).with_detail(e.to_string()))?;
            let properties = ClientProperties::read(&text, &file.display().to_string())?;
            if properties.has_secrets() {
                private::warn_if_open(file, "the passwords in");
            }
            properties
        }
    };
    let named = properties.take_bootstrap();
    match (place.bootstrap_servers.clone().or(named), &place.kafka_config) {
        (Some(bootstrap), _) => Ok(Some(LogConfig::Kafka { bootstrap, properties })),
        (None, None) => Ok(None),
        (None, Some(file)) => Err(Error::statement(format!("{} names no brokers", file.display()))
            .with_hint("set bootstrap.servers=HOST:PORT in the file, or use --bootstrap-servers")),
    }
}

/// A server, with the credentials and files of the command line.
fn connect(url: &str, place: &Place) -> Result<Client> {
    let base = base_of(url).map_err(Error::statement)?;
    Client::connect(url, base, place.credentials(), &place.tls_files())
}

fn session(
    backend: BackendHandle,
    history_before: Option<PathBuf>,
    beside: Option<(Cars, Option<Server>)>,
) -> Result<Session> {
    let place = backend.log();
    let greeting = format!("Tidegate {} on {place}. Type help, or a statement and ;", env!("CARGO_PKG_VERSION"));
    let backend = Rc::new((beside, backend));
    let (named, asked, notices) = (backend.clone(), backend.clone(), backend.1.notices());
    let mut state = backend.1.session()?;
    Ok(Session {
        execute: Box::new(move |text| backend.1.execute(text, &mut state)),
        names: Box::new(move || named.1.names()),
        notices,
        is_attached: Box::new(move || asked.1.is_attached()),
        place,
        greeting,
        history: history(),
        history_before,
        depth: 0,
    })
}

/// The prompt's history: the user's, wherever statements run.
fn history() -> Option<PathBuf> {
    user_dir("XDG_STATE_HOME", ".local/state").map(|folder| folder.join("history"))
}

/// Where earlier versions kept it: in the data directory.
fn history_before(config: Option<&Config>) -> Option<PathBuf> {
    let folder = match config.map(|config| &config.log) {
        Some(LogConfig::Embedded(folder)) => Some(folder.clone()),
        _ => default_data_dir().ok(),
    };
    folder.map(|folder| folder.join("history"))
}

/// A server on this machine beside the demonstration, if any port can be had.
fn serve_demo(engine: &Engine) -> Option<Server> {
    let start = |listen: SocketAddr| {
        Access::default().open(listen).and_then(|config| Server::start(engine, listen, None, config)).ok()
    };
    start(DEMO_LISTEN).or_else(|| start(SocketAddr::new(DEMO_LISTEN.ip(), 0)))
}

/// Topics of a log in this process. The owner is the last field, so that it is dropped after the log.
#[derive(Debug)]
struct OwnTopics {
    topics: LogTopics,
    engine: OwnEngine,
    owner: Option<Owner>,
}

/// The engine of the process, which is opened when its first lines are written into a stream.
#[derive(Debug)]
struct OwnEngine {
    config: Config,
    clock: SharedClock,
    log: Arc<dyn Log>,
    opened: OnceCell<Engine>,
}

impl OwnEngine {
    fn get(&self, owner: Option<&Owner>) -> Result<Engine> {
        match (owner, self.opened.get()) {
            (Some(owner), _) => owner.engine(),
            (None, Some(engine)) => Ok(engine.clone()),
            (None, None) => {
                let log = self.log.clone();
                let opened = Engine::over(log, self.config.clone(), self.clock.clone(), Drive::Threads)?;
                Ok(self.opened.get_or_init(|| opened).clone())
            }
        }
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        // The owner of a data directory closes its engine itself.
        if let Some(engine) = self.opened.take() {
            engine.close();
        }
    }
}

impl Topics for OwnTopics {
    fn write(&self, target: &str, lines: &NewLines) -> Result<usize> {
        self.engine.get(self.owner.as_ref())?.write_lines(target, lines, &EngineSession::default())
    }

    fn all(&self) -> Result<Vec<TopicLine>> {
        self.topics.all()
    }

    fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        self.topics.partitions(topic)
    }

    fn describe(&self, topic: &str) -> Result<Option<TopicDetail>> {
        self.topics.describe(topic)
    }

    fn create(&self, topic: &str, partitions: u32, config: &BTreeMap<String, String>) -> Result<()> {
        self.topics.create(topic, partitions, config)
    }

    fn alter(&self, topic: &str, changes: &TopicChanges) -> Result<()> {
        self.topics.alter(topic, changes)
    }

    fn delete(&self, topic: &str) -> Result<()> {
        self.topics.delete(topic)
    }

    fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        self.topics.append(topic, records)
    }

    fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<i64> {
        self.topics.delete_records(topic, partition, before)
    }

    fn tail(&self, topic: &str, from: TailFrom) -> Result<Box<dyn Tail>> {
        self.topics.tail(topic, from)
    }
}

impl Environment for Machine {
    fn session(&mut self, place: &Place) -> Result<Session> {
        let (backend, history) = match &place.server {
            Some(url) => {
                let client = Backend::Attached(Arc::new(connect(url, place)?));
                (
                    BackendHandle::over(client, None, Config::new(LogConfig::Temporary), self.clock.clone()),
                    history_before(None),
                )
            }
            None => {
                let config = config(place)?;
                let history = history_before(Some(&config));
                (BackendHandle::open(config, self.clock.clone())?, history)
            }
        };
        session(backend, history, None)
    }

    fn topics(&mut self, place: &Place) -> Result<Box<dyn Topics>> {
        if let Some(url) = &place.server {
            return Ok(Box::new(connect(url, place)?));
        }
        let config = config(place)?;
        let rules = Arc::new(TopicRules::of(&config)?);
        let own = |log: Arc<dyn Log>, owner: Option<Owner>| {
            let topics = LogTopics::new(log.clone(), rules);
            let (config, clock) = (config.clone(), self.clock.clone());
            let engine = OwnEngine { config, clock, log, opened: OnceCell::new() };
            Box::new(OwnTopics { topics, engine, owner })
        };
        let LogConfig::Embedded(directory) = &config.log else {
            return Ok(own(Engine::open_log(&config, &self.clock)?, None));
        };
        Ok(match open_directory(&config, directory, &self.clock)? {
            Directory::Owned(owner) => own(owner.log().clone(), Some(owner)),
            Directory::Attached(client) => client,
        })
    }

    fn partition(&self, key: &[u8], partitions: u32) -> i32 {
        partition::java(key, partitions)
    }

    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    fn clock(&self) -> SharedClock {
        self.clock.clone()
    }

    fn check(&mut self, place: &Place, text: &str) -> Result<Vec<Error>> {
        if let Some(url) = &place.server {
            return connect(url, place)?.check(text);
        }
        // What exists is only asked for by name.
        let anywhere = place.data.is_none() && place.bootstrap_servers.is_none() && place.kafka_config.is_none();
        let place = Place { temp: place.temp || anywhere, ..place.clone() };
        let config = config(&place)?;
        let log = match (Engine::open_log(&config, &self.clock), &config.log) {
            // Another process has the directory, and knows what exists.
            (Err(busy), LogConfig::Embedded(directory)) if busy.kind() == Kind::Busy => {
                match open_directory(&config, directory, &self.clock)? {
                    Directory::Attached(client) => return client.check(text),
                    // It has ended meanwhile.
                    Directory::Owned(owner) => {
                        drop(owner);
                        Engine::open_log(&config, &self.clock)?
                    }
                }
            }
            (opened, _) => opened?,
        };
        // Nothing runs: queries would write.
        let engine = Engine::over(log, config, self.clock.clone(), Drive::ByHand)?;
        let checked = engine.check_whole(text, &EngineSession::default());
        engine.close();
        Ok(checked.diagnostics.iter().map(Diagnostic::error).collect())
    }

    fn serve(&mut self, place: &Place, listen: SocketAddr, access: &Access, stop: &dyn Fn() -> bool) -> Result<()> {
        self.require_local(place)?;
        let listen_config = access.open(listen)?;
        let mut config = config(place)?;
        // Clients of a server expect ksqlDB's default; the user of a prompt wants to see existing records.
        if !place.set.iter().any(|(name, _)| name.ends_with(AUTO_OFFSET_RESET)) {
            config.properties.insert(AUTO_OFFSET_RESET.to_owned(), "latest".to_owned());
        }
        if let Some(file) = &access.audit_log {
            config.set(AUDIT_FILE, &file.display().to_string())?;
        }
        if access.read_only {
            config.set(READ_ONLY, "true")?;
        }
        let (engine, _owner) = self.open(config)?;
        let mut server = Server::start(&engine, listen, access.postgres, listen_config)?;
        while !stop() && !server.is_finished() {
            self.clock.sleep(PAUSE);
        }
        // Requests are served, and queries continue, until other processes have taken over; what is left commits afterwards.
        engine.drain();
        let served = server.stop();
        engine.close();
        served
    }

    fn console(
        &mut self,
        place: &Place,
        listen: SocketAddr,
        announce: &mut dyn FnMut(&str) -> Result<()>,
        stop: &dyn Fn() -> bool,
    ) -> Result<()> {
        self.require_local(place)?;
        if !listen.ip().is_loopback() {
            return Err(Error::statement(format!("the console of one user is not served on {listen}"))
                .with_hint("listen on 127.0.0.1, or run `tidegate server --listen` with --users"));
        }
        let (listen_config, token) = ListenConfig::for_one_user(CONSOLE_USER)?;
        let (engine, _owner) = self.open(config(place)?)?;
        let mut server = Server::start(&engine, listen, None, listen_config)?;
        announce(&format!("http://{}/console/#token={token}", server.address))?;
        while !stop() && !server.is_finished() {
            self.clock.sleep(PAUSE);
        }
        let served = server.stop();
        engine.close();
        served
    }

    fn demo(&mut self, place: &Place) -> Result<Demo> {
        // The demonstration leaves nothing behind, unless a log is named.
        self.require_local(place)?;
        let anywhere = place.data.is_none() && place.bootstrap_servers.is_none();
        let place = Place { temp: place.temp || anywhere, ..place.clone() };
        let config = config(&place)?;
        let history = history_before(Some(&config));
        let (engine, owner) = self.open(config.clone())?;
        let (carried_out, shown, cars) = demo::start(&engine, &self.clock)?;
        let server = serve_demo(&engine);
        let address = server.as_ref().map(|server| server.address);
        let backend = BackendHandle::over(Backend::Local(engine), owner, config, self.clock.clone());
        let session = session(backend, history, Some((cars, server)))?;
        Ok(Demo { session, carried_out, shown, address })
    }

    fn repair(&mut self, place: &Place, wanted: &Wanted) -> Result<Report> {
        self.require_local(place)?;
        let config = config(place)?;
        match &config.log {
            LogConfig::Temporary => return Err(Error::statement("a log in memory cannot be repaired")),
            LogConfig::Embedded(directory) if !directory.is_dir() => {
                return Err(Error::not_found(format!("data directory {} does not exist", directory.display())));
            }
            LogConfig::Embedded(_) | LogConfig::Kafka { .. } => {}
        }
        Engine::repair(&config, &self.clock, wanted).map_err(|e| match e.kind() {
            Kind::Busy => e.with_hint("stop the process that runs this service, repair, and start it again"),
            _ => e,
        })
    }

    fn pause(&self) {
        self.clock.sleep(PAUSE);
    }
}
