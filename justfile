# Shortcuts. Plain cargo suffices: `cargo build`, `cargo test`, `cargo run`. Nothing here does what cargo cannot.

# List the recipes.
default:
    @just --list

# Format, lint, and run every test: what a change has to pass.
ci:
    .ci/run

# Format and lint.
check:
    cargo fmt
    cargo clippy --all-targets -- -D warnings

# All tests, or those whose name holds FILTER.
test FILTER="":
    cargo test {{FILTER}}

# One behaviour of queries/, in all its modes: `just query csas::filter`.
query NAME="":
    cargo test --test queries -- {{NAME}}

# Rewrite the expectations of queries/ and look at what changed.
update NAME="":
    UPDATE_GOLDENFILES=1 cargo test --test queries -- "{{NAME}}"
    git diff --stat queries

# kill -9 under load, as often as before a release.
crash ROUNDS="20":
    TIDEGATE_CRASH_ROUNDS={{ROUNDS}} cargo test --test it crash

# Lost, late, cut and repeated requests of transactions, and kill -9 among them, as often as before a release: half an hour.
faults FAULTS="500" KILLS="20":
    TIDEGATE_FAULTS={{FAULTS}} TIDEGATE_FAULT_KILLS={{KILLS}} cargo test --test it kafka::faults -- --nocapture

# Hostile readers, writers, logins and connections at once, as long as before a release.
soak SECONDS="600":
    TIDEGATE_SOAK_SECONDS={{SECONDS}} cargo test --test it http::soak -- --nocapture

# The laws on many more random cases than an ordinary run takes: a mistake of the past showed only at seed 4119.
deep SEEDS="10000":
    TIDEGATE_LAW_SEEDS={{SEEDS}} TIDEGATE_SIMULATION_SEEDS={{SEEDS}} cargo test --test it -- law simulation oracle

# Damaged statements, payloads and files against the parser, the planner and all decoders, as long as before a release; with
# cargo-fuzz and a nightly compiler also what libFuzzer comes up with, whose first build takes as long as Tidegate's own.
fuzz SECONDS="600":
    TIDEGATE_FUZZ_SECONDS={{SECONDS}} cargo test --test it fuzz:: -- --nocapture
    if cargo +nightly fuzz --version > /dev/null 2>&1; then \
      for target in parse plan json delimited kafka protobuf avro; do \
        cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none -D $target -- -max_total_time={{SECONDS}} -max_len=4096 || exit 1; \
      done; \
    else echo "skipped: cargo-fuzz or a nightly compiler is not installed"; fi

# Measure the pipelines.
bench OUT="pipelines.jsonl":
    cargo bench --bench pipelines -- --json {{OUT}}

# The binary to hand out: optimised, without line tables, and without the paths of the machine that built it. OpenSSL holds the
# directory of its build as the place of loadable modules, of which Tidegate uses none; a path of the same length that cannot exist
# replaces it.
dist:
    #!/usr/bin/env bash
    set -euo pipefail
    export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/dist"
    RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=registry --remap-path-prefix=$PWD=tidegate" \
      cargo build --release --locked --bin tidegate
    perl -0777 -pi -e 's{\Q$ENV{CARGO_TARGET_DIR}\E}{"/dev/null" . "/" x (length($&) - 9)}ge' "$CARGO_TARGET_DIR/release/tidegate"
    ! grep -aqF -e "$CARGO_TARGET_DIR" -e "${CARGO_HOME:-$HOME/.cargo}" -e "$PWD/" "$CARGO_TARGET_DIR/release/tidegate"

# The demo.
demo:
    cargo run -- demo
