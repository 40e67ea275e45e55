//! Results that are not rows, as data: the HTTP API prints them as JSON, the prompt as tables.

use crate::catalog::{KeyWindow, SchemaType, Source};
use crate::engine::facts::query::QueryFacts;
pub use crate::engine::facts::query::{Counts, PartitionLag, StandbyFacts};
use crate::engine::result::connector::ConnectorEntity;
use crate::parse::statement::SourceKind;
use crate::types::{Schema, SqlType};
use std::borrow::Cow;
use std::sync::Arc;

/// A result that is not a result set.
#[derive(Clone, Debug)]
pub enum Entity {
    /// A statement was carried out.
    Status(Status),
    /// Nothing was to do (`IF NOT EXISTS`): why.
    Warning(String),
    /// ASSERT TOPIC succeeded.
    AssertedTopic {
        /// Topic.
        topic: String,
        /// Whether it was asserted to exist.
        exists: bool,
    },
    /// ASSERT SCHEMA succeeded.
    AssertedSchema {
        /// SUBJECT.
        subject: Option<String>,
        /// ID.
        id: Option<u64>,
        /// Whether it was asserted to exist.
        exists: bool,
    },
    /// CREATE, DROP, SHOW, DESCRIBE CONNECTOR.
    Connector(ConnectorEntity),
    /// SHOW SCHEMAS.
    Schemas(Vec<SchemaRow>),
    /// INSERT VALUES, SET, DEFINE: done, without a message.
    Done,
    /// SHOW STREAMS, SHOW TABLES.
    Sources(SourceKind, Vec<Arc<Source>>),
    /// SHOW TOPICS.
    Topics(Vec<TopicRow>),
    /// SHOW QUERIES.
    Queries(Vec<QueryRow>),
    /// DESCRIBE.
    Description(Box<Description>),
    /// SHOW STREAMS EXTENDED, SHOW TABLES EXTENDED.
    Descriptions(Vec<Description>),
    /// TERMINATE of a push query.
    PushTerminated(String),
    /// SHOW PROPERTIES: name, value, origin.
    Properties(Vec<(String, String, &'static str)>),
    /// SHOW VARIABLES.
    Variables(Vec<(String, String)>),
    /// SHOW FUNCTIONS.
    Functions(Vec<FunctionRow>),
    /// DESCRIBE FUNCTION.
    Function(FunctionHelp),
    /// SHOW TYPES.
    Types(Vec<(String, SqlType)>),
    /// EXPLAIN.
    Explanation(Box<Explanation>),
    /// SHOW QUERIES EXTENDED.
    Explanations(Vec<Explanation>),
}

impl From<ConnectorEntity> for Entity {
    fn from(entity: ConnectorEntity) -> Entity {
        Entity::Connector(entity)
    }
}

impl From<Explanation> for Entity {
    fn from(explanation: Explanation) -> Entity {
        Entity::Explanation(Box::new(explanation))
    }
}

/// What the registry says about a function.
#[derive(Clone, Debug)]
pub struct FunctionHelp {
    /// Name.
    pub name: String,
    /// SCALAR, TABLE, AGGREGATE, or WINDOW: only with OVER.
    pub kind: &'static str,
    /// STRING, MATHEMATICAL, ...
    pub category: &'static str,
    /// What it does.
    pub description: Cow<'static, str>,
    /// Calls with the types of their arguments and results.
    pub signatures: Vec<Signature>,
    /// Calls and their results.
    pub examples: Vec<(&'static str, &'static str)>,
}

/// A function in a list.
#[derive(Clone, Debug)]
pub struct FunctionRow {
    /// Name.
    pub name: String,
    /// As that of [`FunctionHelp`].
    pub kind: &'static str,
    /// What it does, in one line.
    pub description: String,
}

/// A carried-out statement.
#[derive(Clone, Debug)]
pub struct Status {
    /// ``stream/`NAME`/create``
    pub command_id: String,
    /// `Stream created`
    pub message: String,
    /// The query that was started.
    pub query_id: Option<String>,
    /// Sequence number in the command log; -1 = it was not recorded.
    pub sequence: i64,
    /// What did not succeed beside it, such as the deletion of what a dropped query no longer needs.
    pub warnings: Vec<String>,
}

/// One topic.
#[derive(Clone, Debug)]
pub struct TopicRow {
    /// Name.
    pub name: String,
    /// Partitions.
    pub partitions: u32,
    /// Replicas of each partition.
    pub replicas: u16,
    /// EXTENDED: how many queries of this service read it.
    pub readers: Option<usize>,
    /// EXTENDED: size of its records; `None` = the log does not report it.
    pub bytes: Option<u64>,
}

/// One subject of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaRow {
    /// The subject.
    pub subject: String,
    /// Its latest version with id and type; `None` = it was not looked up.
    pub latest: Option<(i32, i32, SchemaType)>,
}

/// A schema of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedSchema {
    /// `key` or `value`
    pub part: &'static str,
    /// Subject.
    pub subject: String,
    /// Version below it; 0 = the schema was chosen by its id.
    pub version: i32,
    /// Id.
    pub id: i32,
    /// Type.
    pub kind: SchemaType,
    /// Text.
    pub text: Arc<str>,
    /// The latest version of the subject, where that is another.
    pub newer: Option<i32>,
}

/// One query.
#[derive(Clone, Debug)]
pub struct QueryRow {
    /// Id.
    pub id: String,
    /// PERSISTENT or PUSH.
    pub kind: &'static str,
    /// RUNNING, PAUSED, ERROR, WAITING.
    pub state: String,
    /// Source that it writes.
    pub sink: Option<String>,
    /// Topic that it writes.
    pub sink_topic: Option<String>,
    /// Its text.
    pub sql: String,
    /// Why it does not run.
    pub trouble: Option<String>,
    /// Where it runs, if several processes share the queries.
    pub host: Option<String>,
    /// Which other processes keep its state up to date.
    pub standbys: Vec<StandbyFacts>,
    /// Its counters.
    pub counts: Counts,
}

/// Progress of a query on its inputs.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The query's id.
    pub id: String,
    /// Its consumer group.
    pub group: String,
    /// Every partition of its inputs.
    pub partitions: Vec<PartitionLag>,
    /// Lag over all partitions; `None` = it has committed nothing yet.
    pub lag: Option<i64>,
    /// Records read per second, on average since its start.
    pub per_second: f64,
    /// Everything that is counted of it.
    pub facts: QueryFacts,
}

/// DESCRIBE.
#[derive(Clone, Debug)]
pub struct Description {
    /// The source.
    pub source: Arc<Source>,
    /// Queries that read it.
    pub readers: Vec<QueryRow>,
    /// Queries that write it.
    pub writers: Vec<QueryRow>,
    /// EXTENDED: offsets of its topic: partition, low, high.
    pub offsets: Vec<(i32, i64, i64)>,
    /// EXTENDED: progress of those queries.
    pub reading: Vec<Reading>,
    /// EXTENDED: its schemas, in formats with a registry.
    pub schemas: Vec<DescribedSchema>,
    /// Whether EXTENDED was given.
    pub extended: bool,
}

/// A persistent query that is explained.
#[derive(Clone, Debug)]
pub struct ExplainedQuery {
    /// Its id.
    pub id: String,
    /// RUNNING, PAUSED, ERROR, WAITING.
    pub state: &'static str,
    /// Where it runs, if several processes share the queries.
    pub host: Option<String>,
    /// Its consumer group.
    pub group: String,
}

/// EXPLAIN.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The persistent query, unless a statement is explained.
    pub query: Option<ExplainedQuery>,
    /// Its text.
    pub sql: String,
    /// Columns of its result.
    pub schema: Schema,
    /// The source that it writes or would write.
    pub sink: Option<String>,
    /// The window of the keys of its result.
    pub window: Option<KeyWindow>,
    /// Sources that it reads.
    pub sources: Vec<String>,
    /// The drawn plan.
    pub plan: String,
}

/// One way to call a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Types of the arguments.
    pub arguments: Vec<String>,
    /// The last argument may be repeated.
    pub variadic: bool,
    /// Type of the result.
    pub returns: String,
}
