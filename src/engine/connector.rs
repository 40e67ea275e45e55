//! CREATE and DROP CONNECTOR: requests to Kafka Connect, which keeps all state of connectors.
//!
//! ```text
//! CREATE   1. the name is not taken, without regard to case     GET /connectors
//!          2. the settings are right                            PUT /connector-plugins/CLASS/config/validate
//!          3. it is created                                     POST /connectors
//! DROP     DELETE /connectors/NAME
//! ```
//!
//! In the sandbox a request takes the first two steps, which change nothing. The catalogue has no connectors, so that neither the DDL
//! lock nor the command log is involved, and no lock is held while Connect is asked. Errors have ksqlDB's texts and Connect's status.

use crate::connect::body::{CLASS, Config, ConnectorInfo};
use crate::connect::{Connect, ConnectError};
use crate::engine::Engine;
use crate::engine::result::connector::ConnectorEntity;
use crate::engine::result::entity::Entity;
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::http_client::service::TIMED_OUT;
use crate::parse::statement::{CreateConnector, Name, PropertyValue};

/// ksqlDB's code of a name that is taken: HTTP's 409.
const CONFLICT: u32 = 40_900;
/// Code of a Connect cluster that does not respond: HTTP's 503.
const CONNECT_AWAY: u32 = 50_300;
/// The connector for which ksqlDB has settings of its own.
const JDBC_SOURCE: &str = "io.confluent.connect.jdbc.JdbcSourceConnector";

/// A statement that changes a connector.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum ConnectorChange<'a> {
    /// CREATE SOURCE|SINK CONNECTOR.
    Create(&'a CreateConnector),
    /// DROP CONNECTOR.
    Drop {
        /// The connector.
        name: &'a Name,
        /// IF EXISTS.
        if_exists: bool,
    },
}

impl Engine {
    /// Carries the statement out.
    pub(in crate::engine) fn change_connector(&self, change: ConnectorChange<'_>, session: &Session) -> Result<Entity> {
        check_topics(session, "CREATE and DROP CONNECTOR")?;
        match change {
            ConnectorChange::Create(create) => self.create_connector(create),
            ConnectorChange::Drop { name, if_exists } => self.drop_connector(name, if_exists),
        }
    }

    /// Checks what can be checked without a change.
    pub(in crate::engine) fn validate_connector(&self, change: ConnectorChange<'_>, session: &Session) -> Result<()> {
        check_topics(session, "CREATE and DROP CONNECTOR")?;
        match change {
            ConnectorChange::Create(create) => self.check_connector(create).map(drop),
            ConnectorChange::Drop { .. } => Ok(()),
        }
    }

    /// Its settings, if they are right and the name is not taken.
    fn check_connector(&self, create: &CreateConnector) -> Result<Config> {
        let connect = &self.inner.connect;
        let name = &create.name;
        if !create.if_not_exists && is_taken(connect, name)? {
            return Err(Error::statement(taken(name)).with_code(CONFLICT).at(name.span));
        }
        let config = settings(create);
        let wrong = |errors: &str| Error::statement(format!("Validation error: {errors}")).at(name.span);
        let class = match config.get(CLASS).cloned().flatten() {
            None => return Err(wrong(&format!("Connector config {} contains no connector type", java(create)))),
            Some(class) if class.trim().is_empty() => return Err(wrong("Connector type cannot be empty")),
            Some(class) => class,
        };
        match connect.validate(&class, &config) {
            Ok(errors) if errors.is_empty() => Ok(config),
            Ok(errors) => Err(wrong(&errors.join("\n"))),
            Err(error) if error.is_bad_request() => {
                Err(wrong(&error.to_string())
                    .with_hint("SHOW CONNECTOR PLUGINS lists the classes that the workers have"))
            }
            Err(error) => Err(failed("Validation error: ", error).at(name.span)),
        }
    }

    fn create_connector(&self, create: &CreateConnector) -> Result<Entity> {
        let connect = &self.inner.connect;
        let config = self.check_connector(create)?;
        if create.if_not_exists && is_taken(connect, &create.name)? {
            return Ok(Entity::Warning(taken(&create.name)));
        }
        match connect.create(&create.name.value, &config) {
            Ok(info) => Ok(created(info)),
            Err(error @ ConnectError::Unreachable { may_be_done: true, .. }) => {
                Err(failed("Failed to create connector: ", error)
                    .and_detail("whether it was created is not known")
                    .with_hint("SHOW CONNECTORS lists it if it was"))
            }
            Err(error) => Err(failed("Failed to create connector: ", error).at(create.name.span)),
        }
    }

    fn drop_connector(&self, name: &Name, if_exists: bool) -> Result<Entity> {
        match self.inner.connect.delete(&name.value) {
            Ok(()) => Ok(ConnectorEntity::Dropped(name.value.clone()).into()),
            Err(ConnectError::Refused { status: 404, .. }) if if_exists => {
                Ok(Entity::Warning(format!("Connector '{}' does not exist.", name.value)))
            }
            Err(error) => Err(self.unknown_connector(failed("Failed to drop connector: ", error), name)),
        }
    }

    /// Adds to the error that a connector does not exist a name that does: names without quotes are upper-cased here, and are not
    /// in Connect.
    pub(in crate::engine) fn unknown_connector(&self, error: Error, name: &Name) -> Error {
        if error.kind() != Kind::NotFound {
            return error;
        }
        let names = self.inner.connect.names().unwrap_or_default();
        let error = error.at(name.span);
        match names.iter().find(|known| known.eq_ignore_ascii_case(&name.value)) {
            Some(known) => error.with_hint(format!("did you mean `{known}`? Names without quotes are upper case")),
            None => error.with_hint("SHOW CONNECTORS lists what exists"),
        }
    }
}

/// Connectors read and write topics with the permissions of Connect: a user who is limited to some topics must not have any.
pub(in crate::engine) fn check_topics(session: &Session, what: &str) -> Result<()> {
    session.principal().require_all_topics(what)
}

/// The error of a request that failed; `prefix` is ksqlDB's.
pub(in crate::engine) fn failed(prefix: &str, error: ConnectError) -> Error {
    match error {
        ConnectError::Refused { status: status @ (401 | 403), .. } => {
            // Its status would say that this server refuses the client's credentials.
            Error::io(format!("{prefix}{error}"))
                .with_detail(format!("Kafka Connect responds with status {status}"))
                .with_hint(
                    "ksql.connect.basic.auth.credentials.source=FILE takes user and password of Connect from a file",
                )
        }
        ConnectError::Refused { status, .. } => {
            let kind = match status {
                404 => Kind::NotFound,
                400..=499 => Kind::Statement,
                _ => Kind::Io,
            };
            Error::new(kind, format!("{prefix}{error}")).with_code(u32::from(status.max(400)) * 100)
        }
        ConnectError::Unreachable { reason, .. } => {
            let hint = match reason.contains(TIMED_OUT) {
                true => "--set ksql.connect.request.timeout.ms=NUMBER gives a worker more time",
                false => {
                    "start a worker of Kafka Connect, or name one when this process is started: \
                     --set ksql.connect.url=http://HOST:8083"
                }
            };
            let error = Error::io(format!("{prefix}Kafka Connect does not respond"));
            error.with_code(CONNECT_AWAY).with_detail(reason).with_hint(hint)
        }
        ConnectError::Settings(error) => error,
    }
}

fn created(info: ConnectorInfo) -> Entity {
    ConnectorEntity::Created(info).into()
}

fn taken(name: &Name) -> String {
    format!("Connector {} already exists", name.value)
}

/// Whether there is a connector with this name, without regard to case, as in ksqlDB.
fn is_taken(connect: &Connect, name: &Name) -> Result<bool> {
    let names = connect.names().map_err(|e| failed("Failed to check for existing connector: ", e))?;
    Ok(names.iter().any(|known| known.eq_ignore_ascii_case(&name.value)))
}

/// The settings as Connect is sent them: texts.
fn settings(create: &CreateConnector) -> Config {
    let given = create.with.iter().map(|(name, value)| (name.value.clone(), Some(text(value))));
    let mut config: Config = given.collect();
    if config.get(CLASS).is_some_and(|class| class.as_deref() == Some(JDBC_SOURCE)) {
        complete_jdbc(&mut config);
    }
    config.insert("name".to_owned(), Some(create.name.value.clone()));
    config
}

/// ksqlDB's `key` of a JDBC source: the column that becomes the record's key.
fn complete_jdbc(config: &mut Config) {
    const TRANSFORMS: &str = "ksqlCreateKey,ksqlExtractString";
    if let Some(key) = config.remove("key").flatten() {
        let before = config.get("transforms").cloned().flatten();
        let all = before.map_or_else(|| TRANSFORMS.to_owned(), |before| format!("{before},{TRANSFORMS}"));
        for (name, value) in [
            ("transforms", all.as_str()),
            ("transforms.ksqlCreateKey.type", "org.apache.kafka.connect.transforms.ValueToKey"),
            ("transforms.ksqlCreateKey.fields", key.as_str()),
            ("transforms.ksqlExtractString.type", "org.apache.kafka.connect.transforms.ExtractField$Key"),
            ("transforms.ksqlExtractString.field", key.as_str()),
        ] {
            config.insert(name.to_owned(), Some(value.to_owned()));
        }
    }
    config.entry("tasks.max".to_owned()).or_insert_with(|| Some("1".to_owned()));
}

fn text(value: &PropertyValue) -> String {
    match value {
        PropertyValue::Text(text) | PropertyValue::Number(text) => text.clone(),
        PropertyValue::Boolean(value) => value.to_string(),
    }
}

/// The settings as Java prints a map.
fn java(create: &CreateConnector) -> String {
    let name = format!("name={}", create.name.value);
    let given = create.with.iter().filter(|(given, _)| given.value != "name");
    let given = given.map(|(name, value)| format!("{}={}", name.value, text(value)));
    format!("{{{}}}", std::iter::once(name).chain(given).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::statement::Statement;

    fn of(sql: &str) -> CreateConnector {
        match crate::parse::parse(sql).unwrap().remove(0).statement {
            Statement::CreateConnector(create) => create,
            other => panic!("{other}"),
        }
    }

    fn get<'a>(config: &'a Config, name: &str) -> Option<&'a str> {
        config.get(name)?.as_deref()
    }

    #[test]
    fn settings_are_texts() {
        let create = of("CREATE SINK CONNECTOR c WITH ('a.b' = 'x', 'n' = -2, 'd' = 1.50, ok = true, `Mixed` = 'y');");
        let config = settings(&create);
        assert_eq!(get(&config, "a.b"), Some("x"));
        assert_eq!((get(&config, "n"), get(&config, "d")), (Some("-2"), Some("1.50")));
        assert_eq!((get(&config, "OK"), get(&config, "Mixed")), (Some("true"), Some("y")));
        assert_eq!(get(&config, "name"), Some("C"));
    }

    #[test]
    fn a_key_of_a_jdbc_source_is_taken_from_the_value() {
        let class = format!("'connector.class' = '{JDBC_SOURCE}'");
        let config =
            settings(&of(&format!("CREATE SOURCE CONNECTOR c WITH ({class}, 'transforms' = 'a', 'key' = 'id');")));
        assert_eq!(get(&config, "transforms"), Some("a,ksqlCreateKey,ksqlExtractString"));
        assert_eq!(get(&config, "transforms.ksqlExtractString.field"), Some("id"));
        assert_eq!((get(&config, "tasks.max"), get(&config, "key")), (Some("1"), None));
        let other = settings(&of("CREATE SOURCE CONNECTOR c WITH ('connector.class' = 'x', 'key' = 'id');"));
        assert_eq!((get(&other, "key"), get(&other, "tasks.max")), (Some("id"), None));
    }

    #[test]
    fn the_settings_are_printed_as_by_java() {
        let create = of("CREATE SOURCE CONNECTOR `connector-name` WITH ('foo' = 'bar');");
        assert_eq!(java(&create), "{name=connector-name, foo=bar}");
    }
}
