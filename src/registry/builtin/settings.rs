//! Levels of compatibility and modes, of a subject or global.

use super::Builtin;
use super::record::Record;
use super::refusal;
use super::store::Store;
use super::terms::Mode;
use crate::registry::Result;
use crate::registry::compatibility::Level;

impl Builtin {
    /// The level of a subject, or the global one. `inherit` = the global one where the subject has none.
    pub fn level(&self, subject: Option<&str>, inherit: bool) -> Result<Level> {
        self.topic.read(|store| match subject {
            Some(subject) if !inherit => store.level(Some(subject)).ok_or_else(|| refusal::no_level(subject)),
            Some(subject) => Ok(store.level_for(subject)),
            None => Ok(store.level(None).unwrap_or_default()),
        })
    }

    /// Sets a level.
    pub fn set_level(&self, subject: Option<&str>, level: Level) -> Result<()> {
        let subject = subject.map(str::to_owned);
        self.topic.change(|_| Ok(((), vec![Record::Level { subject: subject.clone(), level: Some(level) }])))
    }

    /// Removes a level, and yields the one that was set.
    pub fn unset_level(&self, subject: Option<&str>) -> Result<Level> {
        self.topic.change(|store| {
            let was = match (store.level(subject), subject) {
                (Some(level), _) => level,
                (None, Some(subject)) => return Err(refusal::no_subject(subject)),
                (None, None) => return Ok((Level::default(), Vec::new())),
            };
            Ok((was, vec![Record::Level { subject: subject.map(str::to_owned), level: None }]))
        })
    }

    /// The mode of a subject, or the global one. `inherit` = the global one where the subject has none.
    pub fn mode(&self, subject: Option<&str>, inherit: bool) -> Result<Mode> {
        self.topic.read(|store| match subject {
            Some(subject) if !inherit => store.mode(Some(subject)).ok_or_else(|| refusal::no_mode(subject)),
            subject => Ok(store.mode_for(subject)),
        })
    }

    /// Sets a mode. IMPORT needs an empty registry, or an empty subject, unless it is forced.
    pub fn set_mode(&self, subject: Option<&str>, mode: Mode, force: bool) -> Result<()> {
        self.topic.change(|store| {
            let own = subject.map(str::to_owned);
            let mut records = vec![Record::Mode { subject: own.clone(), mode: Some(mode) }];
            if mode == Mode::Import && store.mode_for(subject) != Mode::Import && !force {
                if has_schemas(store, subject) {
                    return Err(refusal::not_permitted("Cannot import since found existing subjects"));
                }
                records.insert(0, Record::Clear { subject: own });
            }
            Ok(((), records))
        })
    }

    /// Removes a mode, and yields the one that was set.
    pub fn unset_mode(&self, subject: Option<&str>) -> Result<Mode> {
        self.topic.change(|store| {
            let was = match (store.mode(subject), subject) {
                (Some(mode), _) => mode,
                (None, Some(subject)) => return Err(refusal::no_subject(subject)),
                (None, None) => return Ok((Mode::default(), Vec::new())),
            };
            Ok((was, vec![Record::Mode { subject: subject.map(str::to_owned), mode: None }]))
        })
    }
}

fn has_schemas(store: &Store, subject: Option<&str>) -> bool {
    match subject {
        Some(subject) => store.live(subject).next().is_some(),
        None => store.subjects().any(|(_, mut versions)| versions.any(|version| !version.is_deleted)),
    }
}
