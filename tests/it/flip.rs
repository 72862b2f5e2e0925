//! `dyelane flip` on a file: what it says, what it writes, what it leaves alone.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use dyelane::app::Sidecar;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cli::{Files, command};

const FILE: &str = r#"# Ours.
[workload]
service = "order.shop"   # the one

[outbound]
listen = "127.0.0.1:0"

[tenants.alice]
enabled = true           # flipped by whoever needs it
strict = true

[runtime]
poll = "1h"
[admin]
listen = "off"
"#;

fn text(files: &Files) -> String {
    std::fs::read_to_string(files.path()).unwrap()
}

#[test]
fn a_flip_shows_what_changes_and_changes_nothing_else() {
    let files = Files::with(FILE);

    let said = files.dyelane(&["flip", "alice", "--off"]);

    assert_eq!((said.code, &*said.err), (Some(0), ""));
    insta::assert_snapshot!(said.out, @r"
    alice in sidecar.toml: lane alice, strict → off, routed as no tenant, strict

      [tenants.alice]
    - enabled = true           # flipped by whoever needs it
    + enabled = false          # flipped by whoever needs it
      strict = true

    changed: sidecars that run on this file take it up now
    ");
    assert_eq!(text(&files), FILE.replace("enabled = true ", "enabled = false"));
}

#[test]
fn a_flip_there_and_back_leaves_the_file_as_it_was() {
    let files = Files::with(FILE);

    for (there, back) in [("--off", "--on"), ("dev.x", "alice")] {
        assert_eq!(files.dyelane(&["flip", "alice", there]).code, Some(0));
        assert_ne!(text(&files), FILE);
        assert_eq!(files.dyelane(&["flip", "alice", back]).code, Some(0));
    }
    let lane = "strict = true\nlane = \"alice\"\n";
    assert_eq!(text(&files), FILE.replace("strict = true\n", lane));
}

#[test]
fn a_tenant_nothing_was_said_of_gets_an_entry_and_loses_it() {
    let files = Files::with(FILE);

    let added = files.dyelane(&["flip", "bob", "staging", "-o", "json"]);
    let with_bob = text(&files);
    let removed = files.dyelane(&["flip", "bob", "--clear", "-o", "json"]);

    let rule = serde_json::json!({ "lane": "staging", "enabled": true, "strict": false });
    assert_eq!((added.code, removed.code), (Some(0), Some(0)));
    assert_eq!(
        (&added.json()["before"], &added.json()["after"]),
        (&serde_json::Value::Null, &rule)
    );
    assert_eq!((&removed.json()["before"], &removed.json()["written"]), (&rule, &true.into()));
    assert!(with_bob.contains("strict = true\n\n[tenants.bob]\nlane = \"staging\"\n\n[runtime]"));
    assert_eq!(text(&files), FILE);
}

#[test]
fn what_is_so_already_or_only_asked_for_is_not_written() {
    let files = Files::with(FILE);

    let already = files.dyelane(&["flip", "alice", "--on"]);
    let nobody = files.dyelane(&["flip", "bob", "bob"]);
    let dry = files.dyelane(&["flip", "alice", "--off", "--dry-run"]);

    assert_eq!((already.code, nobody.code, dry.code), (Some(0), Some(0), Some(0)));
    assert!(already.out.ends_with("lane alice, strict; nothing to change\n"), "{}", already.out);
    assert!(nobody.out.contains("nothing is said of it; nothing to change"), "{}", nobody.out);
    assert!(dry.out.contains("+ enabled = false"), "{}", dry.out);
    assert_eq!(text(&files), FILE);
}

#[test]
fn a_file_that_no_sidecar_would_take_is_left_alone() {
    let bad = FILE.replace("[outbound]", "[outbond]");
    let files = Files::with(&bad);

    let said = files.dyelane(&["flip", "alice", "--off"]);
    let gone = files.dyelane(&["flip", "alice", "--off", "--file", "gone.toml"]);

    assert_eq!((said.code, &*said.out), (Some(2), ""));
    assert!(said.err.contains("did you mean `outbound`?"), "{}", said.err);
    assert_eq!(text(&files), bad);
    assert_eq!(gone.code, Some(2));
    assert!(gone.err.contains("cannot read gone.toml"), "{}", gone.err);
}

#[test]
fn an_entry_that_is_wrong_is_not_flipped_around_its_fault() {
    let files = Files::with(&FILE.replace("strict = true", "strikt = true"));

    let said = files.dyelane(&["flip", "alice", "--off"]);

    assert_eq!((said.code, &*said.out), (Some(2), ""));
    assert!(said.err.contains("did you mean `strict`?"), "{}", said.err);
}

#[test]
fn what_makes_no_sense_is_bad_input() {
    let files = Files::with(FILE);

    for arguments in [
        &["alice"][..],
        &["alice", "--on", "--off"],
        &["alice", "lane", "--off"],
        &["a b", "--off"],
        &["alice", ".x"],
        &["alice", "--off", "--ttl", "soon"],
        &["alice", "--off", "--file", "x", "--registry", "127.0.0.1:1"],
        &["alice", "--off", "--registry", "nowhere"],
    ] {
        let said = files.dyelane(&[&["flip"], arguments].concat());

        assert_eq!((said.code, &*said.out), (Some(2), ""), "{arguments:?}");
        assert!(!said.err.is_empty(), "{arguments:?}");
    }
    assert_eq!(text(&files), FILE);
}

#[test]
fn a_flip_for_a_time_is_undone_at_its_end() {
    let files = Files::with(FILE);

    let said = files.dyelane(&["flip", "alice", "--off", "--ttl", "10ms"]);

    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("to be undone in 10ms"), "{}", said.out);
    assert!(said.out.ends_with("undone: alice is lane alice, strict again\n"), "{}", said.out);
    assert_eq!(text(&files), FILE);
}

#[test]
fn a_flip_for_a_time_is_undone_when_it_is_told_to_end() {
    let files = Files::with(FILE);
    let mut child = command(files.directory.path(), &["flip", "alice", "--off", "--ttl", "1h"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();

    out.find(|line| line.as_ref().unwrap().starts_with("to be undone in 1h")).unwrap().unwrap();
    let flipped = text(&files);
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let ended = child.wait().unwrap();

    assert_eq!(ended.code(), Some(0));
    assert!(flipped.contains("enabled = false"));
    assert_eq!(text(&files), FILE);
}

#[tokio::test]
async fn a_running_sidecar_takes_a_flip_up() {
    let files = Files::with(FILE);
    let sidecar = Sidecar::start(&files.path()).await.unwrap();

    let said = files.dyelane(&["flip", "alice", "--off"]);
    let generation = sidecar.reload().await;

    assert_eq!((said.code, generation), (Some(0), Ok(2)));
}
