//! The program as an operator meets it: arguments in; text, JSON and an exit code out.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use dyelane::app::Sidecar;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const LADDERS: &str = r#"
[workload]
service = "order.shop"

[inbound]
listen = "127.0.0.1:0"

[outbound]
listen = "127.0.0.1:0"

[admin]
listen = "127.0.0.1:0"

[tenants.bob]
enabled = false

[tenants.carol]
strict = true

[lanes.alice]
fallback = ["staging"]

[[rule]]
name = "beta users"
match = { headers = { x-beta = "yes" } }
set = { tenant = "alice" }

[services."user.shop"]
hosts = ["users:9000"]
[[services."user.shop".instances]]
address = "127.0.0.1:9001"
zone = "zone-a"
version = "1.4.2"
[[services."user.shop".instances]]
address = "127.0.0.1:9002"
lane = "staging"
"#;

/// A directory with one file in it.
pub(crate) struct Files {
    pub(crate) directory: tempfile::TempDir,
}

impl Files {
    pub(crate) fn with(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = Self { directory };
        std::fs::write(files.path(), text).unwrap();
        files
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("sidecar.toml")
    }

    pub(crate) fn dyelane(&self, arguments: &[&str]) -> Said {
        dyelane_in(self.directory.path(), arguments)
    }
}

/// What the program said, and how it ended.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {}", self.out))
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

pub(crate) fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyelane"));
    command.current_dir(directory).args(arguments).stdin(Stdio::null());
    command.env_remove("DYELANE_CONFIG").env_remove("DYELANE_ADMIN");
    command.env_remove("DYELANE_REGISTRY").env_remove("DYELANE_TOKEN");
    command
}

pub(crate) fn dyelane_in(directory: &Path, arguments: &[&str]) -> Said {
    command(directory, arguments).output().unwrap().into()
}

pub(crate) fn dyelane(arguments: &[&str]) -> Said {
    dyelane_in(&root(), arguments)
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn help_names_every_verb_with_examples_and_exit_codes() {
    let said = dyelane(&["--help"]);

    assert_eq!((said.code, &*said.err), (Some(0), ""));
    let verbs = ["run", "check", "explain", "flip", "services", "tenants", "status", "demo"];
    for word in verbs.into_iter().chain(["completions", "Exit codes:"]) {
        assert!(said.out.contains(word), "{word} in {}", said.out);
    }
}

#[test]
fn no_verb_and_a_wrong_verb_are_bad_input() {
    for arguments in [&[][..], &["go"], &["check", "a", "--config", "b"], &["explain"]] {
        let said = dyelane(arguments);

        assert_eq!((said.code, &*said.out), (Some(2), ""), "{arguments:?}");
        assert!(!said.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_version_is_the_packages() {
    let said = dyelane(&["--version"]);

    assert_eq!(said.out, format!("dyelane {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_are_written_for_each_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let said = dyelane(&["completions", shell]);

        assert_eq!(said.code, Some(0), "{shell}");
        assert!(said.out.contains("explain"), "{shell}");
    }
}

#[test]
fn output_that_nobody_reads_is_no_error() {
    let mut child = command(&root(), &["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();

    drop(child.stdout.take());
    let said = Said::from(child.wait_with_output().unwrap());

    assert_eq!((said.code, &*said.err), (Some(0), ""));
}

#[test]
fn the_example_is_a_good_file() {
    let said = dyelane(&["check", "sidecar.toml"]);

    assert_eq!((said.code, &*said.err), (Some(0), ""));
    assert!(said.out.starts_with("sidecar.toml is good"), "{}", said.out);
}

#[test]
fn every_problem_of_a_bad_file_is_reported_with_its_line() {
    let files = Files::with(&LADDERS.replace("listen", "lisen"));

    let said = files.dyelane(&["check"]);
    let json = files.dyelane(&["check", "-o", "json"]);

    assert_eq!(said.code, Some(2));
    assert_eq!(said.out.matches("lisen = ").count(), 3, "{}", said.out);
    assert!(said.out.contains("--> sidecar.toml:6:1"), "{}", said.out);
    assert_eq!(json.code, Some(2));
    assert_eq!(json.json()["good"], false);
    assert_eq!(json.json()["problems"][0]["line"], 6);
}

#[test]
fn a_bad_tenant_alone_would_be_left_out_and_is_named() {
    let files = Files::with(&LADDERS.replace("enabled = false", "enabled = \"no\""));

    let said = files.dyelane(&["check", "-o", "json"]);

    assert_eq!(said.code, Some(2));
    assert_eq!(said.json()["good"], false);
    assert_eq!(said.json()["left_out"][0], "tenant bob");
}

#[test]
fn a_file_that_is_not_there_is_bad_input() {
    for verb in [&["check", "gone.toml"][..], &["explain", "a", "--config", "gone.toml"]] {
        let said = dyelane(verb);

        assert_eq!(said.code, Some(2), "{verb:?}");
        assert!(said.err.contains("gone.toml"), "{}", said.err);
    }
}

#[test]
fn the_file_is_the_one_named_in_the_environment_where_none_is_named() {
    let files = Files::with(LADDERS);

    let said =
        command(Path::new("/"), &["check"]).env("DYELANE_CONFIG", files.path()).output().unwrap();

    assert_eq!(said.status.code(), Some(0));
}

#[test]
fn explain_shows_the_ladder_rung_by_rung() {
    let said = Files::with(LADDERS).dyelane(&["explain", "user.shop", "--tenant", "alice"]);

    assert_eq!((said.code, &*said.err), (Some(0), ""));
    insta::assert_snapshot!(said.out, @r"
    user.shop for tenant alice, by the file alone

     LANE     OUTCOME
     alice    absent   no instance there
     staging  taken    has an instance to take it

    => staging (fallback: from the lane's fallback list)

     INSTANCE        HEALTH  WEIGHT  LOAD  ZONE  VERSION
     127.0.0.1:9002  up      100     -     -     -
    ");
}

#[test]
fn explain_says_the_same_in_json() {
    let files = Files::with(LADDERS);
    let ask = |arguments: &[&str]| {
        let said = files.dyelane(&[&["explain", "-o", "json"], arguments].concat());
        let json = said.json();
        let text = |key: &str| json[key].as_str().unwrap_or("-").to_owned();
        (said.code, text("tenant"), text("known_by"), text("lane"), text("reason"))
    };
    let answer = |code, tenant: &str, known_by: &str, lane: &str, reason: &str| {
        let text = str::to_owned;
        (Some(code), text(tenant), text(known_by), text(lane), text(reason))
    };

    let nobody = ask(&["user.shop"]);
    let by_host = ask(&["users:9000", "-t", "alice"]);
    let disabled = ask(&["user.shop", "-t", "bob"]);
    let strict = ask(&["user.shop", "-t", "carol"]);
    let by_field = ask(&["user.shop", "-H", "baggage: a=1, tenant=staging"]);
    let by_rule = ask(&["user.shop", "-H", "x-beta: yes"]);
    let unclear = ask(&["user.shop", "-H", "x-tenant: a", "-H", "x-tenant: b"]);

    assert_eq!(nobody, answer(0, "-", "none", "-", "baseline"));
    assert_eq!(by_host, answer(0, "alice", "asked", "staging", "fallback"));
    assert_eq!(disabled, answer(0, "bob", "asked", "-", "disabled"));
    assert_eq!(strict, answer(1, "carol", "asked", "-", "no_instance"));
    assert_eq!(by_field, answer(0, "staging", "baggage", "staging", "exact"));
    assert_eq!(by_rule, answer(0, "alice", "rule \"beta users\"", "staging", "fallback"));
    assert_eq!((unclear.0, &*unclear.4), (Some(1), "claim"));
}

#[test]
fn explain_says_what_is_wrong_with_a_question() {
    let files = Files::with(LADDERS);
    for (arguments, code, says) in [
        (&["user.shp"][..], 1, "there is \"user.shop\""),
        (&["user.shop", "-t", "a b"], 2, "\"a b\" is no tenant"),
        (&["user.shop", "-H", "nonsense"], 2, "header cannot be"),
        (&["user.shop", "--path", "x"], 2, "path cannot be"),
        (&["user.shop", "--source", "x"], 2, "source cannot be"),
    ] {
        let said = files.dyelane(&[&["explain"], arguments].concat());

        assert_eq!((said.code, &*said.out), (Some(code), ""), "{arguments:?}");
        assert!(said.err.contains(says), "{}", said.err);
    }
}

#[test]
fn a_sidecar_that_is_not_there_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let free = free.to_string();
    for verb in [&["status"][..], &["explain", "user.shop"]] {
        let said = dyelane(&[verb, &["--admin", &free]].concat());

        assert_eq!((said.code, &*said.out), (Some(1), ""));
        assert!(said.err.contains(&format!("nothing listens at {free}")), "{}", said.err);
    }
}

/// What the program says while a sidecar runs in this process.
fn asked_beside(sidecar: &Sidecar, arguments: &[&str]) -> Said {
    let admin = sidecar.admin().unwrap().to_string();
    let arguments = [arguments, &["--admin", &admin]].concat();
    dyelane(&arguments)
}

#[tokio::test]
async fn a_running_sidecar_explains_by_what_it_knows() {
    let files = Files::with(LADDERS);
    let sidecar = Sidecar::start(&files.path()).await.unwrap();

    let good = asked_beside(&sidecar, &["explain", "user.shop", "-t", "alice"]);
    let strict = asked_beside(&sidecar, &["explain", "user.shop", "-t", "carol"]);
    let unknown = asked_beside(&sidecar, &["explain", "user.shp"]);

    assert_eq!((good.code, &*good.err), (Some(0), ""));
    assert!(good.out.contains("by generation 1"), "{}", good.out);
    assert!(good.out.contains("=> staging (fallback"), "{}", good.out);
    assert!(good.out.contains("127.0.0.1:9002  healthy  100     0 in flight"), "{}", good.out);
    assert_eq!(strict.code, Some(1));
    assert!(strict.out.contains("=> refused (no_instance"), "{}", strict.out);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.err.contains("there is \"user.shop\""), "{}", unknown.err);
}

#[tokio::test]
async fn status_is_well_until_the_file_is_not() {
    let files = Files::with(LADDERS);
    let sidecar = Sidecar::start(&files.path()).await.unwrap();

    let well = asked_beside(&sidecar, &["status"]);
    std::fs::write(files.path(), LADDERS.replace("strict", "strikt")).unwrap();
    sidecar.reload().await.unwrap();
    let quarantined = asked_beside(&sidecar, &["status"]);
    std::fs::write(files.path(), LADDERS.replace("listen", "lisen")).unwrap();
    sidecar.reload().await.unwrap_err();
    let refused = asked_beside(&sidecar, &["status"]);
    let json = asked_beside(&sidecar, &["status", "-o", "json"]);

    assert_eq!((well.code, &*well.err), (Some(0), ""), "{}", well.out);
    assert!(well.out.contains("ready            yes\n"), "{}", well.out);
    assert_eq!(quarantined.code, Some(1));
    assert!(quarantined.out.contains("left as before   tenant carol\n"), "{}", quarantined.out);
    assert_eq!(refused.code, Some(1));
    assert!(refused.out.contains("in force         no: refused at "), "{}", refused.out);
    assert!(refused.out.contains("unknown key `lisen`"), "{}", refused.out);
    assert_eq!(json.code, Some(1));
    assert_eq!(json.json()["ready"], true);
}

#[test]
fn a_bad_file_at_the_start_is_reported_and_bad_input() {
    let files = Files::with(&LADDERS.replace("listen", "lisen"));

    let bad = files.dyelane(&["run"]);
    let gone = files.dyelane(&["run", "gone.toml"]);

    assert_eq!((bad.code, &*bad.out), (Some(2), ""));
    assert!(bad.err.contains("unknown key `lisen`"), "{}", bad.err);
    assert_eq!(gone.code, Some(2));
    assert!(gone.err.contains("cannot read gone.toml"), "{}", gone.err);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let files = Files::with(&LADDERS.replacen("127.0.0.1:0", &taken.to_string(), 1));

    let said = files.dyelane(&["run"]);

    assert_eq!(said.code, Some(1));
    assert!(said.err.contains(&format!("cannot listen on {taken}")), "{}", said.err);
}

#[test]
fn a_sidecar_runs_until_it_is_told_to_end() {
    let files = Files::with(LADDERS);
    let mut child = command(files.directory.path(), &["run"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());

    let mut line = String::new();
    while !line.contains("taking requests") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended too early");
    }
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    let ended = child.wait_with_output().unwrap();

    assert_eq!((ended.status.code(), &*ended.stdout), (Some(0), &b""[..]), "{rest}");
    assert!(line.contains("inbound"), "{line}");
}

#[test]
fn the_demo_finds_everything_as_it_should_be() {
    let said = dyelane(&["demo", "--once"]);

    assert_eq!((said.code, &*said.err), (Some(0), ""), "{}", said.out);
    assert!(said.out.contains("client → A → B·alice → C → D   D was told tenant=alice"));
    assert!(said.out.contains("calls, 0 failed"), "{}", said.out);
    assert!(said.out.contains("B·alice is evicted after"), "{}", said.out);
    assert!(said.out.contains("B·alice is started, registered, and known to A"), "{}", said.out);
}
