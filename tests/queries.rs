//! Behaviour as text: every `queries/<area>/<behaviour>.test` is one test, on three logs.
//!
//! `csas::filter[simulated]` runs record by record on the simulated log; `[embedded-restart]` closes and opens the engine on
//! its folder between all blocks; `[kafka]` runs the queries on threads against a real broker. All three must print the same
//! text. `UPDATE_GOLDENFILES=1` writes down what the simulated log prints; read the difference before it is committed.
//! The commands are implemented in `support/script.rs`.

#[path = "support/broker.rs"]
mod broker;
#[path = "support/clock.rs"]
mod clock;
#[path = "support/golden.rs"]
mod golden;
#[path = "support/layer.rs"]
mod layer;
#[path = "support/records.rs"]
mod records;
#[path = "support/render.rs"]
mod render;
#[path = "support/rows.rs"]
mod rows;
#[path = "support/script.rs"]
mod script;
#[path = "support/world.rs"]
mod world;

use golden::{Golden, difference, tidy};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tidegate::engine::session::Session;
use world::{Place, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Simulated,
    EmbeddedRestart,
    Kafka,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Simulated => "simulated",
            Mode::EmbeddedRestart => "embedded-restart",
            Mode::Kafka => "kafka",
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let update = tidegate::config::environment("UPDATE_GOLDENFILES").is_some();
    let modes: &[Mode] = match update {
        true => &[Mode::Simulated],
        false => &[Mode::Simulated, Mode::EmbeddedRestart, Mode::Kafka],
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    let mut trials = Vec::new();
    for file in test_files(&folder) {
        let name = test_name(&folder, &file);
        for mode in modes.iter().copied() {
            let (file, test) = (file.clone(), name.clone());
            let full = format!("{name}[{}]", mode.name());
            trials.push(Trial::ignorable_test(full, move || run(&file, &test, mode, update)));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    broker::stop();
    conclusion.exit_code()
}

fn test_files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().map(|e| e.expect("the folder can be read").path()) {
            match entry.is_dir() {
                true => open.push(entry),
                false if entry.extension().is_some_and(|e| e == "test") => found.push(entry),
                false => {}
            }
        }
    }
    found.sort();
    found
}

/// `queries/csas/filter.test` is `csas::filter`.
fn test_name(folder: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(folder).expect("it was found there").with_extension("");
    inside.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("::")
}

fn run(file: &Path, name: &str, mode: Mode, update: bool) -> Result<Completion, Failed> {
    let folder = tempfile::tempdir()?;
    let place = match mode {
        Mode::Simulated => Place::Simulated,
        Mode::EmbeddedRestart => Place::Embedded(folder.path().to_path_buf()),
        Mode::Kafka => match broker::bootstrap() {
            broker::Broker::At(bootstrap) => {
                Place::Kafka { bootstrap, prefix: format!("{}.", name.replace("::", ".")) }
            }
            broker::Broker::Missing(why) => return Ok(Completion::ignored_with(why)),
            broker::Broker::Broken(why) => return Err(why.into()),
        },
    };
    let mut golden = Golden::parse(&fs::read_to_string(file)?)?;
    let before = golden.clone();
    play(&mut golden, place).map_err(|why| format!("{}: {why}", file.display()))?;
    if update {
        fs::write(file, golden.print())?;
        return Ok(Completion::Completed);
    }
    let mut faults = String::new();
    for (expected, got) in before.blocks.iter().zip(&golden.blocks) {
        if expected.expected != got.expected {
            let shown = difference(&expected.expected, &got.expected);
            faults += &format!("{}:{}: {}\n{shown}", file.display(), got.line, got.command);
        }
    }
    match faults.is_empty() {
        true => Ok(Completion::Completed),
        false => Err(faults.into()),
    }
}

/// Carries out all blocks; what they print replaces what was expected.
fn play(golden: &mut Golden, place: Place) -> Result<(), String> {
    let told = |line: usize, e: tidegate::error::Error| format!("line {line}: {e:?}");
    let mut world = World::open(place).map_err(|e| told(1, e))?;
    let mut session = Session::default();
    for (n, block) in golden.blocks.iter_mut().enumerate() {
        if block.command == "restart" || (n > 0 && world.restarts_always()) {
            world = world.restart().map_err(|e| told(block.line, e))?;
        }
        let printed = match block.command.as_str() {
            "restart" => String::new(),
            command => {
                script::carry_out(&world, &mut session, command, &block.body).map_err(|e| told(block.line, e))?
            }
        };
        block.expected = tidy(&printed);
    }
    world.end().map_err(|e| told(0, e))
}
