//! Tests that measure their whole process, which is theirs alone under some runners only.

use std::env;
use std::process::Command;

const ALONE: &str = "DYELANE_TEST_ALONE";

/// Whether this process runs the test `name` of `module` and nothing else. If not, it has been run in
/// one that does, and has passed there.
///
/// `module` is what `module_path!()` says.
pub(crate) fn is_alone(module: &str, name: &str) -> bool {
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let (_, module) = module.split_once("::").unwrap();
    let mut run = Command::new(env::current_exe().unwrap());
    run.args(["--exact", &format!("{module}::{name}")]).env(ALONE, "1");
    let ended = run.output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && out.contains("1 passed"), "{out}{err}");
    false
}

/// The memory of this process in use, in bytes.
pub(crate) fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages = status.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
    pages * 4096
}
