//! Commands and flags. The environment is read here, by clap, and nowhere else in the command line.

mod commands;
mod help;
pub mod layers;
pub(super) mod origin;
mod sources;
mod values;

use crate::http_client::TlsFiles;
use crate::serve::attach::client::Credentials;
use crate::telemetry::LogFormat;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::error::ErrorKind;
use clap::{Args, FromArgMatches, Parser, ValueEnum};
pub use commands::{Command, ConfigCommand, KeyFormat, ProduceOptions, QueryAction, TopicCommand};
pub(super) use help::command;
pub use sources::{Source, Sources};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;
pub(super) use values::base_of;
use values::{address_of, duration, is_loopback, setting, url};

/// Where `tidegate server` listens.
pub(super) const SERVER_PORT: u16 = 8088;

/// The text of `--help`: everything on one screen. `COMMAND --help` has the details.
const HELP: &str = "\
Streaming SQL for Kafka in one binary. Without a command it opens a prompt.
Usage: tidegate [OPTIONS] [URL | COMMAND]   URL: a server's, http(s)://HOST:PORT
       tidegate -c 'SHOW STREAMS;'          tidegate demo
  sql      Run statements and leave            run          Run a file and stay
  check    Plan a file and change nothing      topic        Topics without SQL
  datagen  Write generated records             server       Serve the HTTP API
  demo     Racing cars, moving                 doctor       Find what is wrong
  user     Write a line of a users file        repair       Mend the command log
  man      Write the manual page               completions  Write a shell's
  console  A page for your browser             config       Settings in force
  query    Pause, resume or end a query

  -c, -e, --execute SQL  -f, --file FILE   Run these and leave; repeatable
  --data DIR  --temp         The embedded log: its directory, or in memory
  --bootstrap-servers HOSTS  Brokers of a Kafka cluster: HOST:PORT,...
  --kafka-config FILE        Settings of the Kafka clients, such as a login
  --server URL  --user NAME  A server that runs the statements, a user there
  --ca FILE  --cert FILE  --key FILE  --service-id ID  --set NAME=VALUE
  -o, --output FORMAT        table, vertical, json, csv, tsv, markdown
  -q, --quiet  Rows and errors only    -d, --define NAME=VALUE  ${NAME} in SQL
  --query-timeout TIME  --query-row-limit N   Where queries stop
  --config FILE  --profile NAME  --no-init    Settings of this command line
  --log-format FORMAT        text, json        -h, --help  -V, --version
";

/// What `--version` names: this program, the libraries that are linked in, the compiler, the target.
fn versions() -> [(&'static str, String); 6] {
    let (librdkafka, openssl) = crate::log::kafka::library_versions();
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    [
        ("tidegate", version_line()),
        ("librdkafka", librdkafka.to_string()),
        ("OpenSSL", openssl.to_string()),
        ("DataFusion", datafusion::DATAFUSION_VERSION.to_owned()),
        ("rustc", env!("TIDEGATE_RUSTC").to_owned()),
        ("target", target),
    ]
}

/// `--version -o json`.
fn version_object() -> String {
    let object: serde_json::Map<_, _> =
        versions().into_iter().map(|(name, version)| (name.to_lowercase(), version.into())).collect();
    format!("{}\n", serde_json::Value::Object(object))
}

/// What `--version` prints: also the libraries that are linked in, because a fault of theirs is mended by a release of this
/// program. `-V` prints the first line.
static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let lines = versions().map(|(name, version)| format!("{name} {version}")).join("\n");
    // The name of the program is written in front by clap.
    lines.trim_start_matches("tidegate ").to_owned()
});

/// Streaming SQL for Kafka. Without a command it opens a prompt.
#[derive(Clone, Debug, Parser)]
#[command(name = "tidegate", version, long_version = LONG_VERSION.as_str(), about, max_term_width = 100, subcommand_precedence_over_arg = true)]
#[command(override_help = HELP)]
pub struct Arguments {
    /// Server to talk to from the prompt: http://HOST:PORT or https://HOST:PORT.
    #[arg(value_name = "URL", value_parser = url, conflicts_with_all = ["data", "temp", "bootstrap_servers", "server", "execute", "file"])]
    pub url: Option<String>,
    /// Where to work.
    #[command(flatten)]
    pub place: Place,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Statements to run instead of a prompt.
    #[command(flatten)]
    pub sources: Sources,
    /// How results are written.
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// Write rows and errors only: no notes, no messages of statements among formats for programs.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// A variable of the session, which statements contain as ${NAME} (repeatable).
    #[arg(long, short, global = true, value_name = "NAME=VALUE", value_parser = setting)]
    pub define: Vec<(String, String)>,
    /// Stop a query after this time: milliseconds, or 30s, 5m.
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    pub query_timeout: Option<Duration>,
    /// Stop a query after so many rows.
    #[arg(long, global = true, value_name = "N")]
    pub query_row_limit: Option<u64>,
    /// Settings of this command line [default: tidegate/config.toml in the user's configuration directory].
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A profile of that file: settings under a name.
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Do not run tidegate/init.sql in the user's configuration directory, with which a prompt begins.
    #[arg(long, global = true)]
    pub no_init: bool,
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

impl Arguments {
    /// Reads the command line; help, versions and wrong options end the process, as clap ends it.
    pub fn read(arguments: Vec<OsString>) -> Arguments {
        let mut command = help::command();
        let read = command.try_get_matches_from_mut(&arguments).and_then(|found| Arguments::from_arg_matches(&found));
        let error = match read {
            Ok(arguments) => return arguments,
            Err(error) => error,
        };
        let others = arguments.into_iter().filter(|argument| argument != "--version" && argument != "-V");
        let is_version = error.kind() == ErrorKind::DisplayVersion;
        if is_version && Arguments::try_parse_from(others).is_ok_and(|others| others.output == Format::Json) {
            // A closed standard output ends the command with success.
            let _ = std::io::stdout().write_all(version_object().as_bytes());
            std::process::exit(0);
        }
        error.format(&mut command).exit()
    }
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
    /// Values with tabs between them, with a header; NULL is \N.
    Tsv,
    /// A table in Markdown.
    #[value(alias = "md")]
    Markdown,
}

/// The first line of `--version`, with the commit if the build was told of it.
pub(super) fn version_line() -> String {
    let commit = option_env!("TIDEGATE_COMMIT").map(|commit| format!(" ({})", commit.get(..12).unwrap_or(commit)));
    format!("{}{}", env!("CARGO_PKG_VERSION"), commit.unwrap_or_default())
}

impl Place {
    /// Another place with the same credentials: a URL, HOST:PORT of brokers, or a data directory.
    pub(super) fn at(&self, target: &str) -> Place {
        let elsewhere = Place { data: None, temp: false, bootstrap_servers: None, server: None, ..self.clone() };
        let is_broker = |text: &str| {
            !text.contains('/') && text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        };
        if target.starts_with("http://") || target.starts_with("https://") {
            Place { server: Some(target.to_owned()), kafka_config: None, ..elsewhere }
        } else if is_broker(target) {
            Place { bootstrap_servers: Some(target.to_owned()), ..elsewhere }
        } else {
            Place { data: Some(PathBuf::from(target)), kafka_config: None, ..elsewhere }
        }
    }

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
