//! Names the compiler for `tidegate --version`. Nothing of the machine or of the time goes in, so that two builds of one commit
//! by one compiler are the same.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUSTC");
    let compiler = std::env::var_os("RUSTC").expect("cargo names the compiler");
    let output = Command::new(compiler).arg("--version").output().expect("the compiler runs, as it compiled this");
    let line = String::from_utf8_lossy(&output.stdout);
    let version = line.trim().trim_start_matches("rustc ");
    println!("cargo::rustc-env=TIDEGATE_RUSTC={version}");
}
