//! Commands and flags. The environment is read here, by clap, and nowhere else in the command line.

use crate::engine::access::{Role, TopicRights};
use crate::http_client::TlsFiles;
use crate::serve::attach::client::Credentials;
use crate::telemetry::LogFormat;
use crate::types::nearest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::LazyLock;

/// Where `tidegate server` listens.
const SERVER_PORT: u16 = 8088;

/// What `--help` says: all there is on one screen. Commands and their flags say more of themselves.
const HELP: &str = "\
Streaming SQL for Kafka in one binary. Without a command it opens a prompt.

Usage: tidegate [OPTIONS] [URL | COMMAND]   URL: a server's, http(s)://HOST:PORT

  sql          Run statements and leave: tidegate sql -e 'SHOW STREAMS;'
  run          Run a file of statements and keep its queries running
  topic        List, print and write topics
  server       Serve ksqlDB's HTTP API
  repair       Show the command log's foreign records, remove them
  user         Write a line for a server's file of users
  demo         Racing cars: generated data, a continuous query, a prompt
  completions  Write a shell's completions     man  Write the manual page
  help         Say more of a command, as tidegate COMMAND --help does

  --data DIR                 Directory of the embedded log
  --temp                     A log in memory that is gone at the end
  --bootstrap-servers HOSTS  Brokers of a Kafka cluster: HOST:PORT,...
  --kafka-config FILE        Settings of the Kafka clients, such as a login
  --service-id ID            Name of this installation on its cluster
  --set NAME=VALUE           A setting, such as ksql.streams.state.dir=DIR
  --server URL  --user NAME  A server that runs the statements, a user there
  --ca FILE  --cert FILE  --key FILE   Certificates: trusted, and one to present
  --log-format FORMAT        Log lines on standard error: text, json
  -o, --output FORMAT        table, vertical, json, csv -h, --help -V, --version
";

/// What `--version` prints: also the libraries that are linked in, because a fault of theirs is mended by a release of this
/// program. `-V` prints the first line.
static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let (librdkafka, openssl) = crate::log::kafka::library_versions();
    format!("{}\nlibrdkafka {librdkafka}\nOpenSSL {openssl}", env!("CARGO_PKG_VERSION"))
});

/// Streaming SQL for Kafka. Without a command it opens a prompt.
#[derive(Clone, Debug, Parser)]
#[command(name = "tidegate", version, long_version = LONG_VERSION.as_str(), about, max_term_width = 100, subcommand_precedence_over_arg = true)]
#[command(override_help = HELP)]
pub struct Arguments {
    /// Server to talk to from the prompt: http://HOST:PORT or https://HOST:PORT.
    #[arg(value_name = "URL", value_parser = url, conflicts_with_all = ["data", "temp", "bootstrap_servers", "server"])]
    pub url: Option<String>,
    /// Where to work.
    #[command(flatten)]
    pub place: Place,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How results are written.
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// How log lines are written to standard error.
    #[arg(long, global = true, value_name = "FORMAT", value_enum, env = "TIDEGATE_LOG_FORMAT", default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// NO_COLOR in the environment: any text but none forbids colours.
    #[arg(long, global = true, env = "NO_COLOR", hide = true)]
    pub no_color: Option<String>,
    /// PAGER in the environment: the command that shows what is taller than the terminal; an empty text wants none.
    #[arg(long, global = true, env = "PAGER", hide = true)]
    pub pager: Option<String>,
}

/// Which log to work on.
#[derive(Args, Clone, Debug, Default)]
pub struct Place {
    /// Directory of the embedded log [default: the user's data directory].
    #[arg(long, global = true, value_name = "DIR", conflicts_with_all = ["temp", "bootstrap_servers"])]
    pub data: Option<PathBuf>,
    /// Use a log in memory that is gone at the end.
    #[arg(long, global = true, conflicts_with = "bootstrap_servers")]
    pub temp: bool,
    /// Brokers of a Kafka cluster to work on.
    #[arg(long, global = true, value_name = "HOST:PORT,...")]
    pub bootstrap_servers: Option<String>,
    /// Server that carries the statements out: http://HOST:PORT.
    #[arg(long, global = true, value_name = "URL", value_parser = url,
          conflicts_with_all = ["data", "temp", "bootstrap_servers"])]
    pub server: Option<String>,
    /// Certificates (PEM) to trust a server's https with, instead of the system's.
    #[arg(long, global = true, value_name = "FILE", env = "TIDEGATE_CA")]
    pub ca: Option<PathBuf>,
    /// Certificate (PEM) to show a server that asks for one.
    #[arg(long, global = true, value_name = "FILE", env = "TIDEGATE_CERT", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The certificate's key (PEM).
    #[arg(long, global = true, value_name = "FILE", env = "TIDEGATE_KEY", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Name to give a server that asks for one; the password is in TIDEGATE_PASSWORD.
    #[arg(long, global = true, value_name = "NAME", env = "TIDEGATE_USER")]
    pub user: Option<String>,
    /// The password: from the environment only, where nobody's list of processes shows it.
    #[arg(long, global = true, env = "TIDEGATE_PASSWORD", hide = true, hide_env_values = true)]
    pub server_password: Option<String>,
    /// A token instead of both.
    #[arg(long, global = true, env = "TIDEGATE_TOKEN", hide = true, hide_env_values = true)]
    pub server_token: Option<String>,
    /// File with settings of the Kafka clients, such as a login, one name=value a line.
    #[arg(long, global = true, value_name = "FILE", conflicts_with_all = ["data", "temp", "server"])]
    pub kafka_config: Option<PathBuf>,
    /// A setting of the process or the default of one that SET changes, such as ksql.streams.state.dir=DIR.
    #[arg(long, global = true, value_name = "NAME=VALUE", value_parser = setting, conflicts_with = "server")]
    pub set: Vec<(String, String)>,
    /// Name of this installation: part of every internal topic and group.
    #[arg(long, global = true, value_name = "ID", default_value = "default_")]
    pub service_id: String,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run statements and leave.
    Sql {
        /// Statements.
        #[arg(short = 'e', long, value_name = "SQL", conflicts_with = "file", required_unless_present = "file")]
        execute: Option<String>,
        /// File with statements; - reads standard input.
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Run a file of statements, then keep its queries running until interrupted.
    Run {
        /// File with statements.
        file: PathBuf,
    },
    /// Look at topics, write records.
    Topic {
        /// What to do.
        #[command(subcommand)]
        command: TopicCommand,
    },
    /// Show what does not belong into the command log of a service that does not run, and remove it.
    Repair {
        /// Remove all records that are no commands: no start mentions them any more.
        #[arg(long)]
        remove: bool,
        /// Remove this record, a command too: no start carries it out any more (several: say it again).
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
        /// File of users: who may ask, and for what.
        #[arg(long, value_name = "FILE")]
        users: Option<PathBuf>,
        /// Certificates (PEM), the server's first: speaks TLS.
        #[arg(long, value_name = "FILE", requires = "tls_key")]
        tls_cert: Option<PathBuf>,
        /// The certificate's key (PEM).
        #[arg(long, value_name = "FILE", requires = "tls_cert")]
        tls_key: Option<PathBuf>,
        /// Authorities (PEM) whose certificates prove that a client is the user whom they name.
        #[arg(long, value_name = "FILE", requires = "tls_cert", requires = "users")]
        client_ca: Option<PathBuf>,
        /// Let no client in without such a certificate.
        #[arg(long, requires = "client_ca")]
        client_cert_required: bool,
        /// Origin whose pages may ask (several: say it again).
        #[arg(long, value_name = "URL")]
        allow_origin: Vec<String>,
        /// File to which it is written who did what: statements, logins, refusals.
        #[arg(long, value_name = "FILE")]
        audit_log: Option<PathBuf>,
        /// Let every user read only, whatever their role; queries that exist continue.
        #[arg(long)]
        read_only: bool,
    },
    /// Write a line for a server's file of users; the password comes from standard input.
    User {
        /// Name.
        name: String,
        /// What they may do.
        #[arg(value_enum)]
        role: Role,
        /// With a bearer token, which is printed to standard error, instead of a password.
        #[arg(long, conflicts_with = "certificate")]
        token: bool,
        /// Topics that they are limited to: names, and prefixes with * behind them.
        #[arg(long, value_name = "NAME,PREFIX*,...", value_parser = topics)]
        topics: Option<String>,
        /// With a certificate of that name, instead of a password.
        #[arg(long)]
        certificate: bool,
        /// Put the line into this file, in place of the user's former password, instead of printing it.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Show a continuous query over generated data, then open a prompt on it.
    Demo,
    /// Write a shell's completions to standard output.
    Completions {
        /// Shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the manual page to standard output.
    Man,
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
    /// Write the lines of standard input as records.
    Produce {
        /// Topic.
        topic: String,
        /// What parts a line into key and value; without it there is no key.
        #[arg(long, short = 'k', value_name = "TEXT")]
        key_separator: Option<String>,
        /// Create the topic with so many partitions if it does not exist.
        #[arg(long, value_name = "N")]
        partitions: Option<u32>,
    },
    /// Delete the oldest records of a topic, whatever its retention.
    DeleteRecords {
        /// Topic.
        topic: String,
        /// Delete what stands before this offset.
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
        #[arg(long, short = 'b')]
        from_beginning: bool,
        /// Stop after so many records.
        #[arg(long, short, value_name = "N")]
        limit: Option<u64>,
        /// Stop at the end instead of waiting for more.
        #[arg(long)]
        exit_at_end: bool,
    },
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns side by side.
    #[default]
    Table,
    /// One value a line.
    Vertical,
    /// One JSON object a row and line.
    #[value(alias = "ndjson")]
    Json,
    /// Comma-separated values with a header.
    Csv,
}

impl Place {
    /// What authenticates this client to a server.
    pub(super) fn credentials(&self) -> Credentials {
        match (&self.server_token, &self.user) {
            (Some(token), _) => Credentials::Token(format!("Bearer {token}")),
            (None, Some(user)) => {
                let password = self.server_password.as_deref().unwrap_or_default();
                Credentials::Password(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            (None, None) => Credentials::None,
        }
    }

    /// The files for TLS to a server.
    pub(super) fn tls_files(&self) -> TlsFiles {
        TlsFiles { ca: self.ca.clone(), cert: self.cert.clone(), key: self.key.clone() }
    }

    /// A warning if a password or token would leave this machine unencrypted.
    pub(super) fn caution(&self) -> Option<String> {
        let url = self.server.as_deref().filter(|url| url.starts_with("http://"))?;
        let address = address_of(url).ok().filter(|address| !is_loopback(address))?;
        let what = match self.credentials() {
            Credentials::None => return None,
            Credentials::Password(_) => "password",
            Credentials::Token(_) => "token",
        };
        Some(format!("warning: the {what} is sent to {address} unencrypted; use https://"))
    }
}

/// Does this host, with its port, name this machine?
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `host:port` of `http://host:port` or `https://host:port`.
fn address_of(url: &str) -> Result<String, String> {
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return Err(neither(url));
    };
    let host = rest.trim_end_matches('/');
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    match port {
        _ if host.is_empty() || host.contains(['/', '@', ' ']) => Err("expected http://HOST:PORT".to_owned()),
        None => Ok(format!("{host}:{SERVER_PORT}")),
        Some(port) if port.parse::<u16>().is_ok() => Ok(host.to_owned()),
        Some(port) => Err(format!("invalid port {port}")),
    }
}

/// The URL with its port, and nothing behind it.
pub(super) fn base_of(url: &str) -> Result<String, String> {
    let scheme = if url.starts_with("https://") { "https" } else { "http" };
    address_of(url).map(|address| format!("{scheme}://{address}"))
}

fn neither(word: &str) -> String {
    let command = Arguments::command();
    let near = nearest(word, command.get_subcommands().map(clap::Command::get_name));
    match near {
        Some(near) => format!("unknown command {word}, did you mean {near}?"),
        None => format!("expected a command, or a server as http://HOST:PORT or https://HOST:PORT, got {word}"),
    }
}

/// `NAME=VALUE`.
fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn topics(list: &str) -> Result<String, String> {
    TopicRights::parse(list).map(|_| list.replace(' ', ""))
}

fn url(text: &str) -> Result<String, String> {
    address_of(text).map(|_| text.to_owned())
}
