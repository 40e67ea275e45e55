//! What a user or request carries from statement to statement: properties and variables.

use crate::config;
use crate::error::Result;
use std::collections::BTreeMap;

/// Properties set with SET and variables set with DEFINE.
#[derive(Clone, Debug, Default)]
pub struct Session {
    properties: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
}

impl Session {
    /// A session with these properties, checked as SET checks them.
    pub fn with_properties(properties: impl IntoIterator<Item = (String, String)>) -> Result<Session> {
        let mut session = Session::default();
        for (name, value) in properties {
            session.set(&name, &value)?;
        }
        Ok(session)
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

    /// DEFINE; variable names do not care for case.
    pub fn define(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_uppercase(), value.to_owned());
    }

    /// UNDEFINE; answers whether it was defined.
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
