//! `docs/ARCHITECTURE.md`, as a test: who may use whom, and what every file owes its reader.

use std::fs;
use std::path::Path;

/// Top-level modules, lowest floor first. A module uses those on lower floors only.
const FLOORS: &[&[&str]] = &[
    &["model", "live"],
    &["config", "telemetry", "net"],
    &["tenant", "routing", "balance"],
    &["http", "registry"],
    &["proxy", "discovery", "presence"],
    &["admin"],
    &["app"],
    &["cli"],
];
/// Modules that compute and never wait, look at a clock or open anything.
const PURE: &[&str] = &["model", "config", "tenant", "routing", "balance"];
/// Files of other modules that do nothing else either, by how their path below `src` begins.
const PURE_FILES: &[&str] = &[
    "src/registry/record.rs",
    "src/registry/wire.rs",
    "src/registry/rules.rs",
    "src/registry/store",
    "src/registry/peers/protocol",
    "src/discovery/answers.rs",
    "src/discovery/belief.rs",
    "src/discovery/eureka/apps.rs",
    "src/discovery/eureka/mirror.rs",
    "src/discovery/known.rs",
    "src/discovery/loose.rs",
    "src/discovery/merge.rs",
    "src/discovery/registry/apps.rs",
    "src/discovery/registry/mirror.rs",
    "src/discovery/registry/seen.rs",
    "src/discovery/registry/wanted.rs",
    "src/discovery/rules.rs",
    "src/discovery/said.rs",
    "src/discovery/usable.rs",
];
/// What a module that computes has no use for.
const NOT_PURE: &[&str] =
    &["async ", ".await", "tokio::", "std::fs", "std::net::Tcp", "std::net::Udp", "Instant::now"];
/// What only those who were there when a line was written could follow. Each is kept in halves, or
/// this list would find itself.
const PRIVATE: &[(&str, &str)] = &[
    ("issue ", "#"),
    ("shar", "ed/"),
    ("sit", "ting"),
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("/wo", "rk/"),
    ("/tmp/", "wt"),
];
/// What a build leaves behind, and what git keeps.
const NOT_OURS: &[&str] = &["target", "node_modules", "__pycache__", ".git", "Cargo.lock"];

/// One text file of the repository.
struct Source {
    /// Its path below the root.
    name: String,
    /// For a file of `src`, the top-level module it belongs to.
    module: String,
    text: String,
}

impl Source {
    /// Lines of code outside comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }
}

/// Every text file below `folder` of the repository whose name ends in `ending`.
fn files(folder: &str, ending: &str) -> Vec<Source> {
    fn visit(path: &Path, root: &Path, ending: &str, found: &mut Vec<Source>) {
        let own_name = path.file_name().unwrap().to_str().unwrap();
        if NOT_OURS.contains(&own_name) {
            return;
        }
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                visit(&entry.unwrap().path(), root, ending, found);
            }
        } else if own_name.ends_with(ending)
            && let Ok(text) = fs::read_to_string(path)
        {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let below_src = name.strip_prefix("src/").unwrap_or(&name);
            let module = below_src.split(['/', '.']).next().unwrap().to_owned();
            found.push(Source { name, module, text });
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    visit(&root.join(folder), root, ending, &mut found);
    found
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The modules of this crate that a line names.
fn used(line: &str) -> impl Iterator<Item = &str> {
    let after = line.split("crate::").skip(1);
    after.map(|it| it.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap())
}

#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn modules_only_use_lower_floors() {
    let mut wrong = Vec::new();

    for source in files("src", ".rs") {
        let module = source.module.as_str();
        if ["main", "lib"].contains(&module) {
            continue;
        }
        let Some(own) = floor(module) else {
            wrong.push(format!("{}: give module {module} a floor", source.name));
            continue;
        };
        for (number, line) in source.code() {
            // `use crate::{…}` names no module here, so it is refused too: one module a line.
            for used in used(line).filter(|used| *used != module) {
                if floor(used).is_none_or(|theirs| theirs >= own) {
                    wrong.push(format!("{}:{number}: {module} uses {used:?}", source.name));
                }
            }
            if line.contains("super::super") {
                wrong.push(format!("{}:{number}: say crate::… instead", source.name));
            }
        }
    }

    assert_none(&wrong);
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();

    for source in files("src", ".rs") {
        let is_pure_file = PURE_FILES.iter().any(|it| source.name.starts_with(it));
        if !is_pure_file && !PURE.contains(&source.module.as_str()) {
            continue;
        }
        for (number, line) in source.code() {
            for word in NOT_PURE.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{number}: {word}", source.name));
            }
        }
    }

    assert_none(&wrong);
}

#[test]
fn every_file_says_what_it_is() {
    let mut wrong = Vec::new();

    for source in ["src", "tests", "benches"].iter().flat_map(|folder| files(folder, ".rs")) {
        if !source.text.starts_with("//!") {
            wrong.push(format!("{}: no header", source.name));
        }
    }
    for source in files("tests/interop", ".py") {
        if !source.text.starts_with("\"\"\"") {
            wrong.push(format!("{}: no header", source.name));
        }
    }

    assert_none(&wrong);
}

#[test]
fn no_file_speaks_of_what_its_reader_cannot_see() {
    let mut wrong = Vec::new();

    for source in files("", "") {
        for (number, line) in source.lines() {
            let line = line.to_lowercase();
            for word in PRIVATE.iter().map(|(head, tail)| [*head, *tail].concat()) {
                if line.contains(&word) {
                    wrong.push(format!("{}:{number}: {word:?}", source.name));
                }
            }
        }
    }

    assert_none(&wrong);
}
