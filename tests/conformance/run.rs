//! One case, carried out on the simulated log with an engine and a server of its own.
//!
//! Topics first, then the statements (`POST /ksql`), then the records; then every query in order of creation, each to its end. What the
//! engine wrote is taken from the [`Layer`]'s tape, in the order in which it was handed over.
//!
//! A case of the HTTP suite goes to a `tidegate server` in a process of its own (`process`), as a client's requests do; the engine
//! here then only says which formats its statements mean, so that records can be written and read.

use crate::case::{Case, Input};
use crate::clock::StandingClock;
use crate::columns;
use crate::door::Door;
use crate::double::Double;
use crate::layer::{Layer, Taped};
use crate::process::{Process, Raw};
use crate::records::{KeyBounds, encode, with_window};
use crate::registry::{Declared, Registry};
use crate::report::{self, Report};
use crate::rest;
use crate::wire::SchemaKind;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate::catalog::topics::TopicRules;
use tidegate::catalog::{Format, Source};
use tidegate::config::{Config, LogConfig};
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::error::{Error, Result};
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Header, Log, RecordSet, TopicSpec, partition};
use tidegate::parse::statement::{Constraint, Parsed, PropertyValue, Statement};

/// How the records of a case reach a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    /// All at once.
    Whole,
    /// One after the other; the query runs, commits and stops after each.
    Records,
}

/// Where the engine registers and reads schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schemas {
    /// In the registry of the server itself.
    BuiltIn,
    /// In a registry of the runner's, over HTTP.
    Double,
}

/// How the cases are executed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    pub(crate) split: Split,
    pub(crate) schemas: Schemas,
    /// What ksqlDB rejects is rejected.
    pub(crate) strict: bool,
}

/// Why a case ended early.
pub(crate) enum Rejected {
    /// What the server said, and the statement that it belongs to.
    Told { status: u16, error: Value, statement: Option<usize> },
    /// An error that did not come over HTTP: of a record, or of the runner.
    Error(Error),
}

impl From<Error> for Rejected {
    fn from(error: Error) -> Rejected {
        Rejected::Error(error)
    }
}

/// Partitions of a topic whose number a case leaves open: the Java driver has a single one.
const PARTITIONS_OPEN: u32 = 1;
/// The same for cases that were made for a real broker, or that say the number of other topics.
const PARTITIONS_USUAL: u32 = 4;

/// The simulated log draws its faults, of which none are switched on here, from a seed.
const SEED: u64 = 1;

/// A case in progress.
pub(crate) struct Runner<'a> {
    pub(crate) case: &'a Case,
    pub(crate) engine: Engine,
    pub(crate) door: Door,
    /// Of every request.
    pub(crate) properties: Map<String, Value>,
    pub(crate) report: Report,
    /// For reading what the statements name; nothing is carried out in it.
    session: Session,
    below: Arc<dyn Log>,
    layer: Arc<Layer>,
    split: Split,
    /// The first source that was registered on each topic.
    sources: BTreeMap<String, First>,
    registry: Registry,
    /// The server of a case of the HTTP suite.
    process: Option<Process>,
    /// It lives as long as the case.
    _double: Option<Double>,
}

/// The first source of a topic, and the messages that its statement names for the key and for the value.
struct First {
    name: String,
    key_message: Option<String>,
    value_message: Option<String>,
}

/// Carries out a case.
pub(crate) fn run(case: &Case, mode: Mode) -> Report {
    let mut report = Report { suite: case.suite.clone(), full_name: case.full_name.clone(), ..Report::default() };
    let mut runner = match Runner::new(case, mode) {
        Ok(runner) => runner,
        Err(e) => {
            report.error = Some(report::error(&e, Some(0)));
            return report;
        }
    };
    runner.report = report;
    runner.report.whole = runner.split == Split::Whole;
    match runner.go() {
        Ok(()) => {}
        Err(Rejected::Error(e)) => runner.report.error = Some(report::error(&e, None)),
        Err(Rejected::Told { status, error, statement }) => {
            runner.report.error = Some(report::told(status, &error, statement));
        }
    }
    runner.describe();
    runner.report
}

impl<'a> Runner<'a> {
    fn new(case: &'a Case, mode: Mode) -> Result<Runner<'a>> {
        let Mode { split, strict, .. } = mode;
        let clock = StandingClock::virtual_time();
        let below: Arc<dyn Log> = SimulatedLog::new(SEED, clock.clone());
        let layer = Layer::over(below.clone(), "");
        let mut config = Config::new(LogConfig::Temporary);
        config.properties.insert("cache.max.bytes.buffering".to_owned(), "0".to_owned());
        if case.is_rest() {
            // As the server is set that these cases were made for.
            config.properties.insert("ksql.query.push.v2.enabled".to_owned(), "true".to_owned());
        }
        // Few cases need a registry; the double costs a thread.
        let apart = mode.schemas == Schemas::Double && case.names_registry_formats();
        let double = apart.then(Double::open).transpose()?;
        if let Some(double) = &double {
            config.properties.insert("ksql.schema.registry.url".to_owned(), double.url.clone());
        }
        let topics = topics(case)?;
        topics.iter().try_for_each(|topic| below.create_topic(topic).map(|_| ()))?;
        let process = if case.is_rest() { Some(Process::start(&topics, &config.properties)?) } else { None };
        if let Some(process) = &process {
            let registry = format!("http://{}/schema-registry", process.address());
            config.properties.entry("ksql.schema.registry.url".to_owned()).or_insert(registry);
        }
        let engine = Engine::over(layer.clone(), config, clock, Drive::ByHand)?;
        let mut session = Session::default().with_properties(case.properties())?;
        if strict {
            session.set("tidegate.dialect", "ksqldb")?;
        }
        let split = if case.names_partitions() || case.mixes_topics() { Split::Records } else { split };
        let mut properties: Map<String, Value> = case.properties().map(|(name, value)| (name, value.into())).collect();
        if strict {
            properties.insert("tidegate.dialect".to_owned(), "ksqldb".into());
        }
        let door = match &process {
            Some(process) => Door::to(process.address()),
            None => Door::open(engine.clone())?,
        };
        let (sources, report) = (BTreeMap::new(), Report::default());
        let url = double.as_ref().map_or_else(|| door.url("/schema-registry"), |double| double.url.clone());
        let (registry, _double) = (Registry::new(url), double);
        Ok(Runner {
            case,
            engine,
            door,
            properties,
            report,
            session,
            below,
            layer,
            split,
            sources,
            registry,
            process,
            _double,
        })
    }

    fn go(&mut self) -> Result<(), Rejected> {
        if self.case.names_registry_formats() {
            self.registry.prepare(self.case, &self.declared()).map_err(Error::io)?;
        }
        if self.case.is_rest() {
            return rest::go(self);
        }
        self.statements(&self.case.statements.join("\n"))?;
        Ok(self.feed()?)
    }

    /// Sends a text that is the head of the case's joined statements; returns the list of entities.
    pub(crate) fn statements(&mut self, text: &str) -> Result<Value, Rejected> {
        let told = self.door.statements(text, &self.properties)?;
        if told.status != 200 {
            let statement = self.named(&told.body["statementText"]);
            return Err(Rejected::Told { status: told.status, error: told.body, statement });
        }
        if self.process.is_some() {
            // What a server accepted means the same here.
            self.engine.run(text, &mut self.session.clone())?;
        }
        for parsed in self.engine.parse(text, &self.session)? {
            self.note_source(&parsed);
        }
        Ok(told.body)
    }

    /// The statement that an error names.
    fn named(&self, text: &Value) -> Option<usize> {
        let bare = |s: &str| s.trim().trim_end_matches(';').trim_end().to_owned();
        let text = bare(text.as_str()?);
        let statements = &self.case.statements;
        let same = statements.iter().position(|s| bare(s) == text);
        same.or_else(|| statements.iter().position(|s| s.contains(&text)))
    }

    fn note_source(&mut self, parsed: &Parsed) {
        let (name, with) = match &parsed.statement {
            Statement::CreateSource(create) => (&create.name.value, &create.with),
            Statement::CreateAs(create) => (&create.name.value, &create.with),
            _ => return,
        };
        if let Some(source) = self.engine.catalog().source(name) {
            self.sources.entry(source.topic.clone()).or_insert_with(|| First {
                name: name.clone(),
                key_message: property(with, "KEY_SCHEMA_FULL_NAME"),
                value_message: property(with, "VALUE_SCHEMA_FULL_NAME"),
            });
        }
    }

    /// The source by whose formats a topic is written and read.
    pub(crate) fn source(&self, topic: &str) -> Option<Arc<Source>> {
        let catalog = self.engine.catalog();
        let first = self.sources.get(topic).and_then(|first| catalog.source(&first.name)).cloned();
        first.or_else(|| catalog.all().find(|s| s.topic == topic).cloned())
    }

    /// Topics whose columns a statement declares in formats that have schemas.
    fn declared(&self) -> Vec<Declared> {
        let mut found = Vec::new();
        for text in &self.case.statements {
            for parsed in self.engine.parse(text, &self.session).unwrap_or_default() {
                let Statement::CreateSource(create) = &parsed.statement else { continue };
                let Some(topic) = property(&create.with, "KAFKA_TOPIC") else { continue };
                let side = |is_key: bool| {
                    let name = if is_key { "KEY_FORMAT" } else { "VALUE_FORMAT" };
                    let format = property(&create.with, name).or_else(|| property(&create.with, "FORMAT"));
                    let columns = create.columns.iter().any(|c| match c.constraint {
                        Constraint::Key | Constraint::PrimaryKey => is_key,
                        Constraint::None => !is_key,
                        Constraint::Headers | Constraint::Header(_) => false,
                    });
                    u32::from(columns && format.is_some_and(|format| SchemaKind::named_format(&format).is_some()))
                };
                found.push(Declared { topic, schemas: side(true) + side(false) });
            }
        }
        found
    }

    /// Produces the records and runs the queries.
    fn feed(&mut self) -> Result<()> {
        let inputs: Vec<Input> = self.case.inputs.iter().flatten().cloned().collect();
        let mut left = inputs.as_slice();
        if self.split == Split::Records {
            // Later queries read what is there by then: each query has its input to itself, as in the Java driver.
            while let Some((record, rest)) = left.split_first() {
                self.produce(std::slice::from_ref(record), false)?;
                if let Some((_, first)) = self.engine.queries().first() {
                    first.drive()?;
                }
                left = rest;
            }
        }
        self.produce(left, false)?;
        self.engine.drive()
    }

    /// Appends records; by key as Java's producer does, or all to the first partition.
    pub(crate) fn produce(&self, records: &[Input], by_key: bool) -> Result<()> {
        for record in records {
            let source = self.source(&record.topic);
            let mut key = self.side(record, source.as_deref(), true)?;
            let value = self.side(record, source.as_deref(), false)?;
            let partitions = self.below.topic(&record.topic)?.map_or(1, |t| t.partitions);
            let target = key.as_deref().filter(|_| by_key).map_or(0, |k| partition::java(k, partitions));
            if let (Some(bytes), Some(window)) = (&mut key, &record.window) {
                let session = window.kind.eq_ignore_ascii_case("session");
                let bounds = KeyBounds { session, start: window.start, end: window.end };
                *bytes = with_window(std::mem::take(bytes), bounds);
            }
            let (key, value, timestamp) = (key.as_deref(), value.as_deref(), record.timestamp.unwrap_or(0));
            if let Some(process) = &self.process {
                let headers = record.headers.iter().flatten().map(|h| (h.key.clone(), h.value.clone())).collect();
                process.produce(&record.topic, &Raw { partition: target, timestamp, key, value, headers })?;
                continue;
            }
            let mut set = RecordSet::default();
            set.push(target, timestamp, key, value);
            let headers = headers(record)?;
            if !headers.is_empty() {
                set.headers.push((0, headers));
            }
            self.below.append(&record.topic, &set)?;
        }
        Ok(())
    }

    /// Lets every query come to the end of its topics.
    pub(crate) fn drive(&self) -> Result<()> {
        match &self.process {
            Some(process) => process.settle(),
            None => self.engine.drive(),
        }
    }

    /// Bytes of a key or value: JSON as it is written, what has a schema by its latest, anything else from its text.
    fn side(&self, record: &Input, source: Option<&Source>, is_key: bool) -> Result<Option<Vec<u8>>> {
        let value = if is_key { &record.key } else { &record.value };
        let Some(value) = value.as_ref().filter(|v| !v.is_null()) else { return Ok(None) };
        let (format, columns) = match source {
            Some(s) if is_key => (Some(s.key_format), &*s.schema.key),
            Some(s) => (Some(s.value_format), &*s.schema.value),
            None => (None, &[][..]),
        };
        let listed = || self.case.topics.iter().flatten().find(|t| t.name == record.topic)?.format(is_key);
        if let Some(kind) = format.map_or_else(listed, |f| Some(f.name())).and_then(SchemaKind::named_format) {
            let first = self.sources.get(&record.topic);
            let message =
                first.and_then(|f| if is_key { f.key_message.as_deref() } else { f.value_message.as_deref() });
            let message = message.filter(|_| kind == SchemaKind::Protobuf);
            return self.registry.encode(&record.topic, is_key, message, value).map(Some).map_err(Error::data);
        }
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match format {
            Some(Format::None) => Ok(None),
            Some(Format::ProtobufNosr) => columns::encode(columns, value).map(Some).map_err(Error::data),
            Some(Format::Json) => Ok(Some(value.to_string().into_bytes())),
            Some(format) => encode(format, columns, &text).map(Some),
            None => Ok(Some(text.into_bytes())),
        }
    }

    /// What the engine wrote to a topic. Of another process only topics are read that get nothing from the case itself.
    fn written(&self, topic: &str) -> Vec<Taped> {
        match &self.process {
            None => self.layer.taped(topic),
            Some(_) if self.case.inputs.iter().flatten().any(|record| record.topic == topic) => vec![],
            Some(process) => process.records(topic).unwrap_or_default(),
        }
    }

    /// Records and sources at the end.
    fn describe(&mut self) {
        let rules = TopicRules::default();
        for topic in self.below.topics().unwrap_or_default() {
            let written = self.written(&topic.name);
            if !written.is_empty() && !rules.is_hidden(&topic.name) {
                let source = self.source(&topic.name);
                let records = written.iter().map(|r| report::record(r, source.as_deref(), &self.registry)).collect();
                self.report.topics.insert(topic.name, records);
            }
        }
        self.report.sources = self.engine.catalog().all().map(|s| report::source(s)).collect();
        self.engine.close();
    }
}

/// Listed topics, topics of CREATE with columns, topics of records; a query makes its own unless it is listed.
fn topics(case: &Case) -> Result<Vec<TopicSpec>> {
    let clock = StandingClock::virtual_time();
    let log = SimulatedLog::new(SEED, clock.clone());
    let engine = Engine::over(log, Config::new(LogConfig::Temporary), clock, Drive::ByHand)?;
    let session = Session::default().with_properties(case.properties())?;
    let usual = case.is_rest() || case.names_partitions();
    let open = if usual { PARTITIONS_USUAL } else { PARTITIONS_OPEN };
    let mut wanted: Vec<(String, u32)> = Vec::new();
    let mut want = |name: &str, partitions: u32| {
        if !wanted.iter().any(|(n, _)| n == name) {
            wanted.push((name.to_owned(), partitions));
        }
    };
    let (mut sinks, mut named, mut declared) = (Vec::new(), BTreeMap::new(), Vec::new());
    for text in &case.statements {
        for parsed in engine.parse(text, &session).unwrap_or_default() {
            match &parsed.statement {
                Statement::CreateSource(create) => {
                    let Some(topic) = property(&create.with, "KAFKA_TOPIC") else { continue };
                    let partitions = property(&create.with, "PARTITIONS").and_then(|p| p.parse().ok());
                    if let Some(partitions) = partitions {
                        named.entry(topic.clone()).or_insert(partitions);
                    }
                    if !create.columns.is_empty() {
                        declared.push((topic, partitions.unwrap_or(open)));
                    }
                }
                Statement::CreateAs(create) => {
                    let named = property(&create.with, "KAFKA_TOPIC");
                    sinks.push(named.unwrap_or_else(|| create.name.value.clone()));
                }
                _ => {}
            }
        }
    }
    // The cases' own topic client does not compare the number that a statement names with the topic's.
    let listed = case.topics.iter().flatten();
    let listed = listed.map(|t| (t.name.clone(), t.partitions.or_else(|| named.get(&t.name).copied()).unwrap_or(1)));
    listed.chain(declared).for_each(|(name, partitions)| want(&name, partitions));
    let inputs = case.inputs.iter().flatten().map(|r| &r.topic);
    for name in inputs.chain(case.outputs.iter().flatten().map(|r| &r.topic)) {
        if !sinks.contains(name) && !case.wants_error() {
            want(name, open);
        }
    }
    let wanted = wanted.iter().filter(|(_, partitions)| *partitions > 0);
    Ok(wanted.map(|(name, partitions)| TopicSpec::new(name.as_str(), *partitions).with("retention.ms", -1)).collect())
}

fn property(with: &[(tidegate::parse::statement::Name, PropertyValue)], name: &str) -> Option<String> {
    with.iter().find(|(n, _)| n.value.eq_ignore_ascii_case(name)).map(|(_, value)| match value {
        PropertyValue::Text(text) | PropertyValue::Number(text) => text.clone(),
        PropertyValue::Boolean(b) => b.to_string(),
    })
}

fn headers(record: &Input) -> Result<Vec<Header>> {
    use base64::Engine as _;
    let decode = |text: &String| {
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|e| Error::data("a header's value is not base64").with_detail(e.to_string()))
    };
    let headers = record.headers.iter().flatten();
    headers.map(|h| Ok(Header { key: h.key.clone(), value: h.value.as_ref().map(decode).transpose()? })).collect()
}
