//! A session: the user, and the properties and variables that live from statement to statement.

use crate::config::{self, Config};
use crate::engine::access::Principal;
use crate::engine::result::entity::Entity;
use crate::error::Result;
use std::collections::BTreeMap;

/// A statement that changes its session.
#[derive(Clone, Copy, Debug)]
pub(super) enum Setting<'a> {
    /// SET.
    Set {
        /// Property.
        name: &'a str,
        /// Value.
        value: &'a str,
    },
    /// UNSET.
    Unset(&'a str),
    /// DEFINE.
    Define {
        /// Variable.
        name: &'a str,
        /// Text.
        value: &'a str,
    },
    /// UNDEFINE.
    Undefine(&'a str),
}

/// The user, properties set with SET and variables set with DEFINE.
#[derive(Clone, Debug)]
pub struct Session {
    principal: Principal,
    properties: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
}

impl Session {
    /// A session of this user.
    pub fn of(principal: Principal) -> Session {
        Session { principal, properties: BTreeMap::new(), variables: BTreeMap::new() }
    }

    /// The same with these properties, checked as SET checks them.
    pub fn with_properties(self, properties: impl IntoIterator<Item = (String, String)>) -> Result<Session> {
        let mut session = self;
        for (name, value) in properties {
            session.set(&name, &value)?;
        }
        Ok(session)
    }

    /// Its user.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Carries out a statement about the session.
    pub(super) fn carry_out(&mut self, setting: Setting<'_>, config: &Config) -> Result<Entity> {
        match setting {
            Setting::Set { name, value } => {
                config.check_ceiling(name, value)?;
                self.set(name, value)?;
                if let Some((property, reason)) =
                    config::property_of(name).and_then(|p| Some((p.name, p.without_effect?)))
                {
                    return Ok(Entity::Warning(format!("{property} has no effect: {reason}")));
                }
            }
            Setting::Unset(name) => self.unset(name)?,
            Setting::Define { name, value } => self.define(name, value),
            Setting::Undefine(name) if self.undefine(name) => {}
            Setting::Undefine(name) => {
                let text = format!("Cannot undefine variable '{name}' which was never defined");
                return Ok(Entity::Warning(text));
            }
        }
        Ok(Entity::Done)
    }

    /// SET.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let name = config::check_property(name, Some(value))?;
        self.properties.insert(name, value.to_owned());
        Ok(())
    }

    /// UNSET.
    pub fn unset(&mut self, name: &str) -> Result<()> {
        let name = config::check_property(name, None)?;
        self.properties.remove(&name);
        Ok(())
    }

    /// DEFINE; variable names are case-insensitive.
    pub fn define(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_uppercase(), value.to_owned());
    }

    /// UNDEFINE; returns whether it was defined.
    pub fn undefine(&mut self, name: &str) -> bool {
        self.variables.remove(&name.to_uppercase()).is_some()
    }

    /// Variables by upper-case name.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Overridden properties.
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }
}

/// A session of the local administrator. Network interfaces never create one: `tests/it/architecture.rs`.
impl Default for Session {
    fn default() -> Session {
        Session::of(Principal::local())
    }
}
