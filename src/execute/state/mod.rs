//! Keyed state: what operators remember between batches, with the image of the last commit to go back to.
//!
//! Keys are interned ([`key_table`], [`keys`]); groups are rows of words in an [`arena`], found by key within a time
//! [`segment`] and written as bytes by [`group_codec`]; tables keep whole rows as columns ([`table_store`]). What does not
//! fit into memory goes to files of the [`spill_pool`]. Nothing here knows a topic: a store hands over
//! [`ChangelogEntry`]s and takes them back at a restart, a batch at a time ([`restore_batch`]).

pub(super) mod arena;
pub mod entry_batch;
pub(super) mod group_codec;
pub(super) mod key_table;
pub(super) mod keys;
pub(super) mod restore_batch;
pub(super) mod segment;
pub mod spill_pool;
pub(super) mod table_store;

/// One entry of a store's changelog: what a commit changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangelogEntry {
    /// Key bytes as the store's internal key format writes them (a windowed key: key bytes ++ 8-byte BE start).
    pub key: Vec<u8>,
    /// State bytes; `None` = the entry is gone.
    pub value: Option<Vec<u8>>,
    /// Time of the record: the group's highest rowtime.
    pub timestamp: i64,
}
