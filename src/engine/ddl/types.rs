//! CREATE TYPE and DROP TYPE: names for types.

use crate::engine::Engine;
use crate::engine::command::Effect;
use crate::engine::command::status;
use crate::engine::ddl::apply::{NOT_RECORDED, plain_status};
use crate::engine::result::entity::Entity;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::parse::statement::{CreateType, Name, Parsed};
use crate::types::nearest;

impl Engine {
    pub(in crate::engine) fn create_type(
        &self,
        create: &CreateType,
        parsed: &Parsed,
        session: &Session,
    ) -> Result<Entity> {
        let mut ddl = self.ddl(&parsed.text)?;
        let name = &create.name.value;
        if let Some(known) = ddl.catalog.types().get(name) {
            let text =
                format!("Cannot register custom type '{name}' since it is already registered with type: {known}");
            return match create.if_not_exists {
                // As ksqlDB: the command succeeds and changes nothing.
                true => Ok(ddl.finish(plain_status(format!("type/{name}/create"), &text, NOT_RECORDED))),
                false => Err(Error::statement(text).at(create.name.span)),
            };
        }
        let effect = Effect::CreateType { name: name.clone(), ty: create.ty.clone() };
        let sequence = self.record(&mut ddl, &parsed.text, session, effect)?;
        ddl.change(|state| state.catalog_mut().put_type(name.clone(), create.ty.clone()));
        let message = status::registered(name, &create.ty.to_string());
        Ok(ddl.finish(plain_status(format!("type/{name}/create"), &message, sequence)))
    }

    pub(in crate::engine) fn drop_type(
        &self,
        name: &Name,
        if_exists: bool,
        parsed: &Parsed,
        session: &Session,
    ) -> Result<Entity> {
        let mut ddl = self.ddl(&parsed.text)?;
        if !ddl.catalog.types().contains_key(&name.value) {
            let text = format!("Type {} does not exist.", name.value);
            if if_exists {
                return Ok(ddl.finish(plain_status(format!("type/{}/drop", name.value), &text, NOT_RECORDED)));
            }
            let error = Error::statement(text).at(name.span);
            return Err(match nearest(&name.value, ddl.catalog.types().keys().map(String::as_str)) {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None => error.with_hint("SHOW TYPES lists them"),
            });
        }
        let sequence = self.record(&mut ddl, &parsed.text, session, Effect::DropType { name: name.value.clone() })?;
        ddl.change(|state| _ = state.catalog_mut().remove_type(&name.value));
        let name = &name.value;
        Ok(ddl.finish(plain_status(format!("type/{name}/drop"), &format!("Dropped type '{name}'"), sequence)))
    }
}
