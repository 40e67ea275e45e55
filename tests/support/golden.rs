//! Files of behaviour: what is done, `---`, what is expected, a blank line; and so on.
//!
//! ```text
//! # What this is about.            <- the story: comment lines, kept as they are
//!
//! sql                              <- a block's command: its first line names it
//! CREATE STREAM s (...) WITH (...);
//! ---
//! Stream created                   <- expected, up to a blank line or the end
//! ```

/// A file: blocks, and text behind the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Golden {
    pub(crate) blocks: Vec<Block>,
    tail: String,
}

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Comments and blank lines before it.
    lead: String,
    /// Line of its first command line, for messages; first line = 1.
    pub(crate) line: usize,
    /// First line: `sql`, `produce TOPIC` ...
    pub(crate) command: String,
    /// The following lines.
    pub(crate) body: String,
    /// What it printed when it was last looked at.
    pub(crate) expected: String,
}

impl Golden {
    /// Reads a file; a block without `---` is an error.
    pub(crate) fn parse(text: &str) -> Result<Golden, String> {
        let mut lines = text.lines().enumerate().peekable();
        let mut blocks = Vec::new();
        loop {
            let mut lead = String::new();
            while let Some((_, line)) = lines.next_if(|(_, l)| l.is_empty() || l.starts_with('#')) {
                push_line(&mut lead, line);
            }
            let Some((at, command)) = lines.next() else { return Ok(Golden { blocks, tail: lead }) };
            let (mut body, mut expected) = (String::new(), String::new());
            loop {
                match lines.next() {
                    Some((_, "---")) => break,
                    Some((_, line)) => push_line(&mut body, line),
                    None => return Err(format!("line {}: no `---` ends this block", at + 1)),
                }
            }
            while let Some((_, line)) = lines.next_if(|(_, l)| !l.is_empty()) {
                push_line(&mut expected, line);
            }
            blocks.push(Block { lead, line: at + 1, command: command.to_owned(), body, expected });
        }
    }

    /// The file's text again.
    pub(crate) fn print(&self) -> String {
        let mut text = String::new();
        for b in &self.blocks {
            text.push_str(&format!("{}{}\n{}---\n{}", b.lead, b.command, b.body, b.expected));
        }
        text + &self.tail
    }
}

/// What a block printed, in the form in which a file keeps it: no blank lines, which end a block; no trailing space.
pub(crate) fn tidy(printed: &str) -> String {
    let mut text = String::new();
    printed.lines().map(str::trim_end).filter(|l| !l.is_empty()).for_each(|l| push_line(&mut text, l));
    text
}

/// Where two texts differ, line by line.
pub(crate) fn difference(expected: &str, got: &str) -> String {
    let (mut expected, mut got) = (expected.lines(), got.lines());
    let mut text = String::new();
    loop {
        match (expected.next(), got.next()) {
            (None, None) => return text,
            (e, g) if e == g => push_line(&mut text, &format!("  {}", e.unwrap_or_default())),
            (e, g) => {
                e.iter().for_each(|e| push_line(&mut text, &format!("- {e}")));
                g.iter().for_each(|g| push_line(&mut text, &format!("+ {g}")));
            }
        }
    }
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
