//! How rows of both sides are found: by the joined value, and where keys are windowed by the start of the window (of
//! sessions also its end).

use crate::catalog::Format;
use crate::error::Result;
use crate::execute::change::ChangeBatch;
use crate::execute::pipeline::JoinStage;
use crate::execute::state::keys::{BatchKeys, KeyLayout};
use crate::types::time::WindowKind;
use crate::types::{Column, SqlType};
use arrow::array::{ArrayRef, Int64Array};
use arrow::buffer::ScalarBuffer;
use std::sync::Arc;

/// The key of a join.
#[derive(Debug)]
pub(super) struct KeyLookup {
    layout: KeyLayout,
    window: Option<WindowKind>,
}

impl KeyLookup {
    pub(super) fn new(stage: &JoinStage) -> Result<KeyLookup> {
        let window = stage.window.map(|w| w.kind);
        if window.is_none() {
            let layout = KeyLayout::new(stage.key_format, std::slice::from_ref(&stage.key))?;
            return Ok(KeyLookup { layout, window });
        }
        let bounds = ["#start", "#end"].map(|name| Column::key(name, SqlType::Bigint));
        let all: Vec<Column> = std::iter::once(stage.key.clone()).chain(bounds).collect();
        Ok(KeyLookup { layout: KeyLayout::new(Format::Json, &all[..width(window)])?, window })
    }

    /// What the keys have of a window.
    pub(super) fn window(&self) -> Option<WindowKind> {
        self.window
    }

    /// Are keys numbers?
    pub(super) fn is_number(&self) -> bool {
        self.layout.is_number()
    }

    /// How many of a row's columns are its key and its window.
    pub(super) fn head_columns(&self) -> usize {
        if self.window.is_some() { 3 } else { 1 }
    }

    /// The keys of rows whose columns begin with key and window.
    pub(super) fn read<'a>(&self, columns: &'a [ArrayRef]) -> Result<BatchKeys<'a>> {
        self.layout.read(&columns[..width(self.window).min(columns.len())])
    }

    /// The key of a batch's rows, and where it is windowed the bounds.
    pub(super) fn head(&self, batch: &ChangeBatch) -> Vec<ArrayRef> {
        let long = |values: &ScalarBuffer<i64>| -> ArrayRef { Arc::new(Int64Array::new(values.clone(), None)) };
        let mut head: Vec<ArrayRef> = batch.key.iter().take(1).cloned().collect();
        if let Some(bounds) = batch.window.as_ref().filter(|_| self.window.is_some()) {
            head.extend([long(&bounds.start), long(&bounds.end)]);
        }
        head
    }
}

/// Columns that are looked up.
fn width(window: Option<WindowKind>) -> usize {
    match window {
        None => 1,
        Some(WindowKind::Session { .. }) => 3,
        Some(_) => 2,
    }
}
