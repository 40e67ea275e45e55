//! Tidegate inside another program: an engine on a log in memory, a continuous query, and its result as it changes.
//!
//! ```sh
//! cargo run --example embed
//! ```

use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::result::rows::RowEvent;
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Engine};
use tidegate::error::Result;
use tidegate::types::cell;
use tidegate::types::clock::SystemClock;

#[expect(clippy::print_stdout, reason = "an example shows its result")]
fn main() -> Result<()> {
    let engine = Engine::open(Config::new(LogConfig::Temporary), SystemClock::shared())?;
    let mut session = Session::default();
    engine.run(
        "CREATE STREAM words (id INT KEY, word VARCHAR) WITH (KAFKA_TOPIC = 'words', VALUE_FORMAT = 'JSON', PARTITIONS = 2);
         CREATE TABLE counts AS SELECT word, COUNT(*) AS n FROM words GROUP BY word;
         INSERT INTO words VALUES (1, 'tide');
         INSERT INTO words VALUES (2, 'gate');
         INSERT INTO words VALUES (3, 'tide');",
        &mut session,
    )?;
    let answers = engine.run("SELECT word, n FROM counts EMIT CHANGES LIMIT 2;", &mut session)?;
    for answer in answers {
        let Answer::Rows(mut rows) = answer else { continue };
        loop {
            match rows.next(Duration::from_secs(1))? {
                RowEvent::Rows { columns, .. } => {
                    for row in 0..columns.first().map_or(0, |c| c.len()) {
                        let cells = columns.iter().map(|c| cell::display(c, row)).collect::<Result<Vec<_>>>()?;
                        println!("{}", cells.join(" | "));
                    }
                }
                RowEvent::Idle => {}
                RowEvent::Done(_) => break,
            }
        }
    }
    engine.close();
    Ok(())
}
