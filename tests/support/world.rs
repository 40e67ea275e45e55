//! An engine over one of the three logs, which can be closed and opened again, and be waited for.

use crate::clock::StandingClock;
use crate::layer::Layer;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidegate::catalog::Source;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::query::persistent::{Query, State};
use tidegate::engine::{Drive, Engine};
use tidegate::error::{Error, Result};
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions};
use tidegate::log::kafka::{KafkaLog, KafkaSettings};
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Log, TopicPartition};
use tidegate::types::clock::{SharedClock, SystemClock};

/// Where the topics are.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In memory, deterministic.
    Simulated,
    /// In this folder; closed and opened again between all blocks.
    Embedded(PathBuf),
    /// On this broker, in a name space of its own.
    Kafka { bootstrap: String, prefix: String },
}

/// The simulated log draws its faults, of which none are switched on here, from a seed.
const SEED: u64 = 1;
/// How long queries may take until nothing is left to do.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// Pause between two looks, and how many looks in a row have to find the same.
const SETTLE_LOOK: Duration = Duration::from_millis(100);
const SETTLE_LOOKS: usize = 3;

/// A running engine.
#[derive(Debug)]
pub(crate) struct World {
    place: Place,
    config: Config,
    clock: SharedClock,
    below: Arc<dyn Log>,
    engine: Engine,
}

fn open_log(place: &Place, clock: &SharedClock) -> Result<Arc<dyn Log>> {
    Ok(match place {
        Place::Simulated => SimulatedLog::new(SEED, clock.clone()),
        Place::Embedded(dir) => EmbeddedLog::open(dir, EmbeddedOptions::default(), clock.clone())?,
        Place::Kafka { bootstrap, prefix } => {
            let settings = KafkaSettings::new(bootstrap);
            let log: Arc<dyn Log> = KafkaLog::connect(settings, clock.clone())?;
            Layer::over(log, prefix)
        }
    })
}

/// Waits until the log has no other holder: a batch query that LIMIT has ended releases it a moment later.
fn let_go(log: Arc<dyn Log>) -> Result<()> {
    let clock = SystemClock::shared();
    let begin = clock.monotonic();
    while Arc::strong_count(&log) > 1 {
        if clock.monotonic() > begin + SETTLE_MAX {
            return Err(Error::bug("somebody still holds the log of an engine that was closed"));
        }
        clock.sleep(Duration::from_millis(1));
    }
    Ok(())
}

impl World {
    pub(crate) fn open(place: Place) -> Result<World> {
        let clock = match place {
            Place::Kafka { .. } => StandingClock::real_time(),
            Place::Simulated | Place::Embedded(_) => StandingClock::virtual_time(),
        };
        // The layer knows where the topics are; for the engine this is a name.
        let mut config = Config::new(LogConfig::Temporary);
        config.properties.insert("cache.max.bytes.buffering".to_owned(), "0".to_owned());
        let below = open_log(&place, &clock)?;
        let engine = Engine::over(below.clone(), config.clone(), clock.clone(), drive(&place))?;
        Ok(World { place, config, clock, below, engine })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn log(&self) -> &dyn Log {
        &*self.below
    }

    /// Closes the engine and opens it again on the same topics.
    pub(crate) fn restart(self) -> Result<World> {
        let World { place, config, clock, below, engine } = self;
        engine.close();
        drop(engine);
        let below = match place {
            Place::Simulated => below,
            Place::Embedded(_) | Place::Kafka { .. } => {
                let_go(below)?;
                open_log(&place, &clock)?
            }
        };
        let engine = Engine::over(below.clone(), config.clone(), clock.clone(), drive(&place))?;
        Ok(World { place, config, clock, below, engine })
    }

    /// Is a restart due between any two blocks?
    pub(crate) fn restarts_always(&self) -> bool {
        matches!(self.place, Place::Embedded(_))
    }

    /// Lets queries work until nothing is left to do.
    pub(crate) fn settle(&self) -> Result<()> {
        match drive(&self.place) {
            Drive::ByHand => self.engine.drive(),
            Drive::Threads => self.wait(),
        }
    }

    fn wait(&self) -> Result<()> {
        let begin = self.clock.monotonic();
        let (mut last, mut same) = (String::new(), 0);
        while same < SETTLE_LOOKS {
            if self.clock.monotonic() > begin + SETTLE_MAX {
                return Err(Error::io(format!("the queries do not come to rest: {last}")));
            }
            self.clock.sleep(SETTLE_LOOK);
            let (at_rest, now) = self.look()?;
            same = if at_rest && now == last { same + 1 } else { 0 };
            last = now;
        }
        Ok(())
    }

    /// Is every query at rest, and what do topics and queries look like?
    fn look(&self) -> Result<(bool, String)> {
        let (mut rest, mut seen) = (true, String::new());
        for (id, query) in self.engine.queries() {
            rest &= self.rests(&id, &query)?;
            seen += &format!("{id}: {:?} {:?}; ", query.state(), query.counts());
        }
        for topic in self.below.topics()? {
            for p in 0..topic.partitions as i32 {
                let high = self.below.watermarks(&TopicPartition::new(topic.name.as_str(), p))?.high;
                seen += &format!("{}[{p}]: {high}; ", topic.name);
            }
        }
        Ok((rest, seen))
    }

    fn rests(&self, id: &str, query: &Query) -> Result<bool> {
        match query.state() {
            State::Paused | State::Error(_) => return Ok(true),
            State::Waiting(_) => return Ok(false),
            State::Running => {}
        }
        let catalog = self.engine.catalog();
        let read: &[String] = catalog.query(id).map_or(&[], |info| &info.reads);
        for source in read.iter().filter_map(|name| catalog.source(name)) {
            // The last record of a transaction is followed by its marker, which no offset has to pass.
            if catalog.writers(&source.name).next().is_none() && !self.has_read(query.group(), source)? {
                return Ok(false);
            }
        }
        Ok(query.is_idle())
    }

    fn has_read(&self, group: &str, source: &Source) -> Result<bool> {
        let partitions = 0..source.partitions as i32;
        let inputs: Vec<_> = partitions.map(|p| TopicPartition::new(source.topic.as_str(), p)).collect();
        for (input, offset) in inputs.iter().zip(self.below.committed(group, &inputs)?) {
            let high = self.below.watermarks(input)?.high;
            if high > 0 && offset.is_none_or(|o| o.offset < high) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Closes it; on a shared broker also removes its topics.
    pub(crate) fn end(self) -> Result<()> {
        self.engine.close();
        if let Place::Kafka { .. } = self.place {
            for topic in self.below.topics()? {
                self.below.delete_topic(&topic.name)?;
            }
        }
        Ok(())
    }
}

fn drive(place: &Place) -> Drive {
    match place {
        Place::Kafka { .. } => Drive::Threads,
        Place::Simulated | Place::Embedded(_) => Drive::ByHand,
    }
}
