//! Schema registries: the client over HTTP, and what statements and queries do with one.

#[path = "registry/client.rs"]
mod client;
#[path = "registry/keys.rs"]
mod keys;
#[path = "registry/reading.rs"]
mod reading;
#[path = "registry/server.rs"]
mod server;
#[path = "registry/statements.rs"]
mod statements;

use std::sync::Arc;
use tidegate::catalog::{SchemaText, SchemaType};
use tidegate::config::{Config, LogConfig};
use tidegate::engine::result::entity::Entity;
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::error::Error;
use tidegate::log::simulated::SimulatedLog;
use tidegate::registry::Schemas;
use tidegate::registry::fixed::Fixed;
use tidegate::types::clock::{ManualClock, SharedClock};

/// A schema without references.
fn schema(kind: SchemaType, text: &str) -> SchemaText {
    SchemaText { kind, text: text.into(), references: Vec::new() }
}

/// `{"A": int32, ...}` as JSON_SR declares it.
fn json_object(fields: &[(&str, &str)]) -> SchemaText {
    let field = |(at, (name, ty)): (usize, &(&str, &str))| {
        format!("\"{name}\":{{\"connect.index\":{at},\"oneOf\":[{{\"type\":\"null\"}},{ty}]}}")
    };
    let fields: Vec<String> = fields.iter().enumerate().map(field).collect();
    schema(SchemaType::Json, &format!("{{\"type\":\"object\",\"properties\":{{{}}}}}", fields.join(",")))
}

const INT: &str = "{\"type\":\"integer\",\"connect.type\":\"int32\"}";
const BIGINT: &str = "{\"type\":\"integer\",\"connect.type\":\"int64\"}";
const STRING: &str = "{\"type\":\"string\"}";

/// An engine over a simulated log and a registry in memory.
struct World {
    log: Arc<SimulatedLog>,
    clock: SharedClock,
    registry: Arc<Fixed>,
}

impl World {
    fn new() -> World {
        let clock: SharedClock = ManualClock::at(0);
        World { log: SimulatedLog::new(1, clock.clone()), clock, registry: Arc::default() }
    }

    fn engine(&self) -> Engine {
        self.engine_with(self.registry.clone())
    }

    fn engine_with(&self, registry: Arc<dyn Schemas>) -> Engine {
        let config = Config::new(LogConfig::Temporary);
        Engine::with_registry(self.log.clone(), config, self.clock.clone(), Drive::ByHand, registry).unwrap()
    }

    fn with_builtin(&self) -> Engine {
        Engine::over(self.log.clone(), Config::new(LogConfig::Temporary), self.clock.clone(), Drive::ByHand).unwrap()
    }
}

fn run(engine: &Engine, sql: &str) -> Vec<Answer> {
    engine.run(sql, &mut Session::default()).unwrap_or_else(|e| panic!("{sql}: {e:?}"))
}

fn refused(engine: &Engine, sql: &str) -> Error {
    match engine.run(sql, &mut Session::default()) {
        Ok(answers) => panic!("{sql}: {answers:?}"),
        Err(error) => error,
    }
}

/// The columns of a source.
fn columns(engine: &Engine, name: &str) -> String {
    engine.catalog().source(name).unwrap_or_else(|| panic!("{name} does not exist")).schema.to_string()
}

fn entity(engine: &Engine, sql: &str) -> Entity {
    match run(engine, sql).remove(0) {
        Answer::Entity(entity) => entity,
        Answer::Rows(_) => panic!("{sql} returns rows"),
    }
}
