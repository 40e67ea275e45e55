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

/// The text of `--help`: everything on one screen. `COMMAND --help` has the details.
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
    /// NO_COLOR in the environment: disables colours unless it is empty.
    #[arg(long, global = true, env = "NO_COLOR", hide = true)]
    pub no_color: Option<String>,
    /// PAGER in the environment: the command for results taller than the terminal; empty: no pager.
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
    /// Server that runs the statements: http://HOST:PORT.
    #[arg(long, global = true, value_name = "URL", value_parser = url,
          conflicts_with_all = ["data", "temp", "bootstrap_servers"])]
    pub server: Option<String>,
    /// Certificates (PEM) to trust instead of the system's.
    #[arg(long, global = true, value_name = "FILE", env = "TIDEGATE_CA")]
    pub ca: Option<PathBuf>,
    /// Certificate (PEM) to present to a server.
    #[arg(long, global = true, value_name = "FILE", env = "TIDEGATE_CERT", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The certificate's key (PEM).
    #[arg(long, global = true, value_name = "FILE", env = "TIDEGATE_KEY", requires = "cert")]
    pub key: Option<PathBuf>,
    /// User name at a server; the password is read from TIDEGATE_PASSWORD.
    #[arg(long, global = true, value_name = "NAME", env = "TIDEGATE_USER")]
    pub user: Option<String>,
    /// The password: from the environment only, so that a list of processes does not show it.
    #[arg(long, global = true, env = "TIDEGATE_PASSWORD", hide = true, hide_env_values = true)]
    pub server_password: Option<String>,
    /// A token instead of user and password.
    #[arg(long, global = true, env = "TIDEGATE_TOKEN", hide = true, hide_env_values = true)]
    pub server_token: Option<String>,
    /// File with settings of the Kafka clients, such as a login, one name=value a line.
    #[arg(long, global = true, value_name = "FILE", conflicts_with_all = ["data", "temp", "server"])]
    pub kafka_config: Option<PathBuf>,
    /// A setting of the process, or the default of one that SET changes, such as ksql.streams.state.dir=DIR.
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
        /// Write the line to this file, in place of the user's previous password, instead of printing it.
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
