//! The corpus of the fuzz targets, replayed: what was found once stays found.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/oracles/mod.rs"]
pub(crate) mod oracles;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn every_file_of_the_corpus_holds() {
    for (target, oracle) in oracles::TARGETS {
        for file in files(&fuzz().join("corpus").join(target)) {
            println!("{}", file.display());
            oracle(&fs::read(&file).unwrap());
        }
    }
}

#[test]
fn every_target_is_built_and_has_a_corpus() {
    let stems = |folder: &str| -> BTreeSet<String> {
        let files = files(&fuzz().join(folder)).into_iter();
        files.map(|it| it.file_stem().unwrap().to_string_lossy().into_owned()).collect()
    };
    let targets: BTreeSet<_> =
        oracles::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();

    assert_eq!(stems("fuzz_targets"), targets);
    assert_eq!(stems("corpus"), targets);
}

#[test]
fn the_example_is_a_good_file_to_start_from() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("sidecar.toml");

    oracles::config(&fs::read(example).unwrap());
}
