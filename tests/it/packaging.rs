//! What the program is packed with: help, completions, manual page, and the files under `examples/deploy`.

use clap::CommandFactory;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tidegate::cli::args::Arguments;

const TIDEGATE: &str = env!("CARGO_BIN_EXE_tidegate");

fn tidegate(args: &[&str]) -> String {
    let output = Command::new(TIDEGATE).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy").join(name)
}

/// The output of a tool that need not be there.
fn tool(test: &str, name: &str, args: &[&str]) -> Option<Output> {
    match Command::new(name).args(args).output() {
        Ok(output) => Some(output),
        Err(_) => {
            // Not eprintln: the harness would keep it to itself.
            let _ = writeln!(std::io::stderr(), "SKIPPED packaging::{test}: {name} is not installed");
            None
        }
    }
}

#[test]
fn help_fits_a_screen_and_names_everything() {
    let help = tidegate(&["--help"]);
    assert!(help.lines().count() <= 24, "{} lines\n{help}", help.lines().count());
    let wide: Vec<&str> = help.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    assert_eq!(tidegate(&["-h"]), help);
    let mut command = Arguments::command();
    command.build();
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        assert!(help.contains(&format!("  {}  ", sub.get_name())), "{} is missing", sub.get_name());
    }
    for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
        let name = argument.get_long().map(|long| format!("--{long}"));
        assert!(name.is_none_or(|name| help.contains(&name)), "{argument} is missing");
    }
}

#[test]
fn shells_are_told_of_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = tidegate(&["completions", shell]);
        for word in ["server", "delete-records", "bootstrap-servers"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    // A script with a mistake in it would greet every new shell.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate");
    fs::write(&file, tidegate(&["completions", "bash"])).unwrap();
    if let Some(output) = tool("shells_are_told_of_every_command", "bash", &["-n", file.to_str().unwrap()]) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_manual_page_has_every_command() {
    let page = tidegate(&["man"]);
    assert!(page.contains(".TH tidegate 1"), "{page}");
    for part in
        ["SH \"tidegate server\"", "SH \"tidegate topic delete-records\"", "SH \"EXIT STATUS\"", "\\-\\-tls\\-cert"]
    {
        assert!(page.contains(part), "{part}\n{page}");
    }
    assert!(!page.contains("TIDEGATE_PASSWORD="), "nothing of the environment that made it");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate.1");
    fs::write(&file, &page).unwrap();
    if let Some(output) =
        tool("the_manual_page_has_every_command", "man", &["--warnings", "-l", file.to_str().unwrap()])
    {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("warning"), "{said}");
    }
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let unit = fs::read_to_string(deploy("tidegate.service")).unwrap();
    // The program is not installed where the unit looks for it; everything else is looked at.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate.service");
    fs::write(&file, unit.replace("/usr/local/bin/tidegate", TIDEGATE)).unwrap();
    let args = ["verify", "--man=no", file.to_str().unwrap()];
    let Some(output) = tool("the_unit_is_one_that_systemd_takes", "systemd-analyze", &args) else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    let about = said.lines().filter(|line| line.contains("tidegate.service")).collect::<Vec<_>>();
    assert!(about.is_empty(), "{about:#?}");
}

/// Words of a unit or Dockerfile that begin with `tidegate`'s own arguments are taken by it.
#[test]
fn commands_in_deployment_files_are_ones_that_there_are() {
    use clap::Parser;
    let unit = fs::read_to_string(deploy("tidegate.service")).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/")).unwrap();
    let docker = fs::read_to_string(deploy("Dockerfile")).unwrap();
    let list = |line: &str| line.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let find = |word: &str| docker.lines().find_map(|line| line.strip_prefix(word)).map(list).unwrap();
    let container = [find("ENTRYPOINT "), find("CMD ")].concat();
    let [compose, cluster] =
        ["compose.yaml", "cluster.compose.yaml"].map(|name| fs::read_to_string(deploy(name)).unwrap());
    let lines = compose.lines().chain(cluster.lines()).filter_map(|line| line.trim().strip_prefix("command: "));
    let composed: Vec<Vec<String>> = lines.map(|line| [vec!["tidegate".to_owned()], list(line)].concat()).collect();
    assert_eq!(composed.len(), 1 + 3);
    for words in [start.split(' ').map(str::to_owned).collect(), container].into_iter().chain(composed) {
        assert!(Arguments::try_parse_from(&words).is_ok(), "{words:?}");
    }
    for (file, said) in [("Dockerfile", &docker), ("compose.yaml", &compose), ("cluster.compose.yaml", &cluster)] {
        assert!(!said.contains(":latest"), "{file}: a version that changes by itself");
    }
    // What the image copies exists.
    for line in docker.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from")) {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        for source in &words[..words.len() - 1] {
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(source).exists(), "{source}");
        }
    }
}

/// Text of a file at the top of the repository.
fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn a_release_is_of_this_version_and_its_commands_are_ones_that_there_are() {
    use clap::Parser;
    let chart = file("examples/deploy/helm/tidegate/Chart.yaml");
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        chart.contains(&format!("\nversion: {version}\n")) && chart.contains(&format!("appVersion: \"{version}\""))
    );
    // What the chart runs in its container.
    for name in ["rendered.yaml", "rendered.cluster.yaml"] {
        let rendered = file(&format!("examples/deploy/helm/{name}"));
        let args = rendered.lines().skip_while(|line| line.trim() != "args:").skip(1);
        let args: Vec<&str> = args.map_while(|line| line.trim().strip_prefix("- ")).collect();
        assert!(args.len() > 3, "{args:?}");
        Arguments::try_parse_from(["tidegate"].iter().chain(&args)).unwrap();
    }
    let docker = file("examples/deploy/release.Dockerfile");
    let command = docker.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    let words: Vec<&str> = command.split('"').skip(1).step_by(2).collect();
    Arguments::try_parse_from(["tidegate"].iter().chain(&words)).unwrap();
    // The archive of a release has the name that `cargo binstall` asks for.
    let manifest = file("Cargo.toml");
    assert!(manifest.contains("/v{ version }/{ name }-{ version }-{ target }.tar.gz"));
    let release = file(".github/workflows/release.yml");
    assert!(release.contains("folder=\"tidegate-$VERSION-$TARGET\"") && release.contains("dist/$folder.tar.gz"));
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin"] {
        assert!(release.contains(target), "{target}");
    }
}

#[test]
fn workflows_and_chart_pass_their_linters() {
    let root = env!("CARGO_MANIFEST_DIR");
    let chart = format!("{root}/examples/deploy/helm/tidegate");
    let passes = |name: &str, args: &[&str]| {
        let output = tool("workflows_and_chart_pass_their_linters", name, args)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} {args:?}: {said}");
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let workflows = ["test", "release"].map(|name| format!("{root}/.github/workflows/{name}.yml"));
    passes("actionlint", &[&workflows[0], &workflows[1]]);
    let config = format!("{root}/.yamllint");
    passes("yamllint", &["--strict", "-c", &config, &workflows[0], &workflows[1]]);
    let version = ["--kube-version", "1.31.0"];
    passes("helm", &["lint", "--strict", version[0], version[1], &chart]);
    let cluster = ["replicas=3", "bootstrapServers=kafka:9092", "clusterSecret=tidegate-cluster"];
    let cluster: Vec<&str> = cluster.iter().flat_map(|value| ["--set", value]).collect();
    for (name, values) in [("rendered.yaml", &[][..]), ("rendered.cluster.yaml", &cluster[..])] {
        let args = [&["template", "tidegate", version[0], version[1], &chart], values].concat();
        if let Some(rendered) = passes("helm", &args) {
            let kept = file(&format!("examples/deploy/helm/{name}"));
            assert_eq!(rendered, kept, "{name}: helm template writes the new one");
        }
    }
}
