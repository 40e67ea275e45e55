//! The commands and what each of them takes.

use super::sources::Sources;
use super::values::{duration, header, query_id, setting, tail_from, topics};
use crate::cli::tools::datagen::ValueFormat;
use crate::engine::access::Role;
use crate::engine::datagen::{COUNT, RATE};
use crate::engine::introspect::topics::TailFrom;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run statements and leave: of arguments, of a file, or of standard input.
    #[command(
        after_help = "Examples:\n  tidegate sql 'SHOW STREAMS;'\n  tidegate sql -o csv -q -c 'SELECT * FROM readings;' > readings.csv\n  tidegate sql -d day=7 -f report.sql\n  echo 'SHOW TOPICS;' | tidegate sql"
    )]
    Sql {
        /// Statements.
        #[arg(value_name = "SQL", conflicts_with_all = ["execute", "file"])]
        text: Option<String>,
        /// Statements, and files with statements.
        #[command(flatten)]
        sources: Sources,
    },
    /// Run a file of statements, then keep its queries running until interrupted.
    Run {
        /// File with statements.
        file: PathBuf,
    },
    /// List continuous queries, show one, or pause, resume or terminate it.
    #[command(
        after_help = "Examples:\n  tidegate query                          the list\n  tidegate query CTAS_LAPS_3              its plan and what it has done\n  tidegate query CTAS_LAPS_3 pause\n  tidegate query all resume --server URL"
    )]
    Query {
        /// The query's id; all: every query.
        #[arg(value_name = "ID", value_parser = query_id)]
        id: Option<String>,
        /// What to do with it; without one it is shown.
        #[arg(value_enum, requires = "id")]
        action: Option<QueryAction>,
    },
    /// Create, look at, write and delete topics.
    Topic {
        /// What to do.
        #[command(subcommand)]
        command: TopicCommand,
    },
    /// Plan the statements of files without carrying them out, for CI.
    #[command(
        after_help = "Examples:\n  tidegate check queries/*.sql\n  tidegate check -o json --data DIR new.sql   against what DIR has\n  tidegate check --server URL new.sql         against what a server has"
    )]
    Check {
        /// Files with statements; - reads standard input.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Write generated records: the schemas of ksql-datagen, cars and bids.
    #[command(
        after_help = "Examples:\n  tidegate datagen orders --count 1000 --rate 100\n  tidegate datagen pageviews --bootstrap-servers localhost:9092\n\nThe same inside of a service: CREATE STREAM orders WITH (SOURCE = 'datagen');"
    )]
    Datagen {
        /// orders, users, pageviews, clickstream, cars or bids.
        template: String,
        /// Topic [default: the template's name].
        #[arg(long, value_name = "TOPIC")]
        topic: Option<String>,
        /// Rows a second.
        #[arg(long, value_name = "N", default_value_t = RATE, value_parser = clap::value_parser!(u64).range(1..))]
        rate: u64,
        /// Rows altogether.
        #[arg(long, short = 'n', value_name = "N", default_value_t = COUNT)]
        count: u64,
        /// What the rows follow from: the same number, the same rows.
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// The form of values.
        #[arg(long, value_enum, default_value_t = ValueFormat::Json)]
        format: ValueFormat,
        /// Partitions of a topic that is created.
        #[arg(long, value_name = "N", default_value_t = 1)]
        partitions: u32,
        /// Print each row, too.
        #[arg(long)]
        print: bool,
    },
    /// The settings of this command line.
    Config {
        /// What to do.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Look for what would keep tidegate from working here: directory, lock, disk, clock, limits, broker, server.
    Doctor,
    /// Show and remove invalid records of the command log of a service that is not running.
    Repair {
        /// Remove all invalid records.
        #[arg(long)]
        remove: bool,
        /// Remove the record at this offset, even if it is a command (repeatable).
        #[arg(long, value_name = "N")]
        offset: Vec<i64>,
        /// Show commands, too.
        #[arg(long)]
        all: bool,
    },
    /// Serve the HTTP API.
    Server {
        /// Address to listen on.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8088")]
        listen: SocketAddr,
        /// Users file: names, roles and credentials.
        #[arg(long, value_name = "FILE")]
        users: Option<PathBuf>,
        /// Certificates (PEM), the server's first: speaks TLS.
        #[arg(long, value_name = "FILE", requires = "tls_key")]
        tls_cert: Option<PathBuf>,
        /// The certificate's key (PEM).
        #[arg(long, value_name = "FILE", requires = "tls_cert")]
        tls_key: Option<PathBuf>,
        /// Authorities (PEM) whose client certificates authenticate users.
        #[arg(long, value_name = "FILE", requires = "tls_cert", requires = "users")]
        client_ca: Option<PathBuf>,
        /// Require a client certificate.
        #[arg(long, requires = "client_ca")]
        client_cert_required: bool,
        /// Origin whose pages may send requests (repeatable).
        #[arg(long, value_name = "URL")]
        allow_origin: Vec<String>,
        /// Audit log file: statements, logins, refusals.
        #[arg(long, value_name = "FILE")]
        audit_log: Option<PathBuf>,
        /// Make every user a reader, whatever their role; existing queries continue.
        #[arg(long)]
        read_only: bool,
        /// Do not serve the web console.
        #[arg(long)]
        no_console: bool,
        /// Serve Postgres clients (psql, drivers, dashboards) on this address.
        #[arg(long, value_name = "ADDRESS")]
        pg_listen: Option<SocketAddr>,
    },
    /// Write a line of a server's users file; the password is read from standard input.
    User {
        /// Name.
        name: String,
        /// Role.
        #[arg(value_enum)]
        role: Role,
        /// Use a bearer token, which is printed to standard error, instead of a password.
        #[arg(long, conflicts_with = "certificate")]
        token: bool,
        /// Limit the user to these topics: names, and prefixes followed by *.
        #[arg(long, value_name = "NAME,PREFIX*,...", value_parser = topics)]
        topics: Option<String>,
        /// Use a client certificate with that name instead of a password.
        #[arg(long)]
        certificate: bool,
        /// Keep the password as Postgres does (SCRAM-SHA-256): drivers compute less than for the default.
        #[arg(long, conflicts_with_all = ["certificate", "token"])]
        scram: bool,
        /// Write the line to this file, in place of the user's previous password, instead of printing it.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Serve the web console to yourself: prints its address, with a token that only this run accepts.
    Console {
        /// Address to listen on; port 0 takes a free one.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Show a continuous query over generated data, then open a prompt on it.
    Demo {
        /// Leave after the table instead of opening a prompt.
        #[arg(long)]
        once: bool,
    },
    /// Write a shell's completions to standard output.
    Completions {
        /// Shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the manual page to standard output.
    Man,
}

/// What to do with settings.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show the options in force: of the command line, the environment, a profile, the configuration file, or a default.
    Show {
        /// Show where each comes from, too.
        #[arg(long)]
        origin: bool,
    },
}

/// What to do with topics.
#[derive(Clone, Debug, Subcommand)]
pub enum TopicCommand {
    /// List topics.
    List {
        /// Internal ones too.
        #[arg(long)]
        all: bool,
    },
    /// Create a topic.
    Create {
        /// Topic.
        topic: String,
        /// Partitions.
        #[arg(long, short, value_name = "N", default_value_t = 1)]
        partitions: u32,
        /// How long records are kept: milliseconds, or 30s, 5m, 12h.
        #[arg(long, value_name = "TIME", value_parser = duration)]
        retention: Option<Duration>,
        /// A setting, such as cleanup.policy=compact (repeatable). `--config` is the file of the command line's own.
        #[arg(long, short = 'c', value_name = "NAME=VALUE", value_parser = setting)]
        topic_config: Vec<(String, String)>,
        /// Succeed if it exists.
        #[arg(long)]
        if_not_exists: bool,
    },
    /// Show the settings and offsets of a topic.
    Describe {
        /// Topic.
        topic: String,
    },
    /// Change settings of a topic; the others stay as they are.
    #[command(
        after_help = "Examples:\n  tidegate topic alter readings --retention 12h\n  tidegate topic alter readings -c cleanup.policy=compact --reset segment.bytes",
        group(ArgGroup::new("change").args(["retention", "topic_config", "reset"]).required(true).multiple(true))
    )]
    Alter {
        /// Topic.
        topic: String,
        /// How long records are kept: milliseconds, or 30s, 5m, 12h.
        #[arg(long, value_name = "TIME", value_parser = duration)]
        retention: Option<Duration>,
        /// A setting, such as cleanup.policy=compact (repeatable).
        #[arg(long, short = 'c', value_name = "NAME=VALUE", value_parser = setting)]
        topic_config: Vec<(String, String)>,
        /// A setting that gets its default again (repeatable).
        #[arg(long, value_name = "NAME")]
        reset: Vec<String>,
    },
    /// Delete a topic with all its records. A query that reads it ends.
    Delete {
        /// Topic.
        topic: String,
        /// Succeed if it does not exist.
        #[arg(long)]
        if_exists: bool,
    },
    /// Write the lines of standard input as records.
    Produce(ProduceOptions),
    /// Delete the oldest records of a topic, whatever its retention.
    DeleteRecords {
        /// Topic.
        topic: String,
        /// Delete the records before this offset.
        #[arg(long, value_name = "OFFSET", required_unless_present = "all")]
        before: Option<u64>,
        /// Delete everything that is there now.
        #[arg(long, conflicts_with = "before")]
        all: bool,
        /// In this partition only.
        #[arg(long, short, value_name = "N")]
        partition: Option<u32>,
    },
    /// Print records.
    Print {
        /// Topic.
        topic: String,
        /// Begin at the oldest record.
        #[arg(long, short = 'b', conflicts_with = "offset")]
        from_beginning: bool,
        /// Begin at this offset of each partition, -N: N records before the end, @TIME: at a time in milliseconds.
        #[arg(long, value_name = "N|-N|@TIME", value_parser = tail_from, allow_hyphen_values = true)]
        offset: Option<TailFrom>,
        /// Print this partition only.
        #[arg(long, short, value_name = "N")]
        partition: Option<u32>,
        /// Stop after so many records.
        #[arg(long, short, value_name = "N")]
        limit: Option<u64>,
        /// Stop at the end instead of waiting for more.
        #[arg(long, short = 'e')]
        exit_at_end: bool,
        /// What is printed: %t topic, %p partition, %o offset, %k key, %v value, %h headers, %T time, %K %S sizes, \\n, \\t.
        #[arg(long, short = 'f', value_name = "TEXT")]
        format: Option<String>,
    },
}

/// What the lines of `tidegate topic produce` become.
#[derive(Args, Clone, Debug)]
pub struct ProduceOptions {
    /// Topic.
    #[arg(required_unless_present = "into")]
    pub topic: Option<String>,
    /// Write into this stream or table, by its columns and formats: a value is a JSON object of columns.
    #[arg(long, value_name = "STREAM", conflicts_with_all = ["topic", "partitions", "key_format"])]
    pub into: Option<String>,
    /// What parts a line into key and value; without it there is no key.
    #[arg(long, short = 'k', value_name = "TEXT")]
    pub key_separator: Option<String>,
    /// How the bytes of a key are written.
    #[arg(long, value_enum, default_value_t = KeyFormat::Text)]
    pub key_format: KeyFormat,
    /// A key or value that equals this text is null: a record without value deletes its key in a table.
    #[arg(long, value_name = "TEXT")]
    pub null: Option<String>,
    /// A header of each record (repeatable).
    #[arg(long, short = 'H', value_name = "NAME=VALUE", value_parser = header)]
    pub header: Vec<(String, String)>,
    /// The time of each record in milliseconds since 1970; without it the time at which its line is read.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(i64).range(0..))]
    pub timestamp: Option<i64>,
    /// Write to this partition, whatever the key.
    #[arg(long, short, value_name = "N")]
    pub partition: Option<u32>,
    /// Create the topic with so many partitions if it does not exist.
    #[arg(long, value_name = "N")]
    pub partitions: Option<u32>,
}

/// What to do with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QueryAction {
    /// Stop it at its place; it keeps its state.
    Pause,
    /// Let it continue from its place.
    Resume,
    /// End it for good; its source and topic stay.
    Terminate,
}

impl QueryAction {
    /// The first word of the statement that does it.
    pub fn keyword(self) -> &'static str {
        match self {
            QueryAction::Pause => "PAUSE",
            QueryAction::Resume => "RESUME",
            QueryAction::Terminate => "TERMINATE",
        }
    }
}

/// How `tidegate topic produce` writes keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyFormat {
    /// The text of the line.
    Text,
    /// An INT of the KAFKA format: four bytes.
    Int,
    /// A BIGINT of the KAFKA format: eight bytes.
    Bigint,
    /// A DOUBLE of the KAFKA format: eight bytes.
    Double,
}
