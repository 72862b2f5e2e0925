//! A node of the registry as an operator meets it: the program started, asked, flipped and ended.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Stdio};

use dyelane::registry::node::Settings;
use dyelane::registry::record::{Key, Registration};
use dyelane::registry::server::Registry;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::cli::{Files, Said, command};

/// A node as a process.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts one, and waits until it says where it listens.
    pub(crate) fn start(files: &Files, arguments: &[&str]) -> Self {
        let arguments = [&["registry"], arguments].concat();
        let mut child = command(files.directory.path(), &arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { child, address }
    }

    pub(crate) fn tell(&self, what: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), what).unwrap();
    }

    /// Reads what it logs until a line has `words`.
    fn logs(log: &mut BufReader<ChildStderr>, words: &str) -> String {
        log.lines().map(Result::unwrap).find(|line| line.contains(words)).unwrap()
    }

    fn ask(&self, files: &Files, arguments: &[&str]) -> Said {
        let address = self.address.to_string();
        files.dyelane(&[arguments, &["--registry", &address]].concat())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) const ALONE: &[&str] = &["--listen", "127.0.0.1:0", "--host", "here"];

fn with_token(files: &Files) {
    std::fs::write(files.directory.path().join("token"), "sesame\n").unwrap();
}

#[test]
fn a_node_runs_until_it_is_told_to_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let files = Files::with("");
        let mut node = Process::start(&files, ALONE);

        let services = node.ask(&files, &["services"]);
        node.tell(signal);
        let ended = node.child.wait().unwrap();
        let mut log = String::new();
        node.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();

        assert_eq!((services.code, &*services.err), (Some(0), ""));
        assert!(services.out.contains("infra.discovery  baseline  1 of 1 up"), "{}", services.out);
        assert_eq!(ended.code(), Some(0), "{log}");
        assert!(log.contains("ending") && log.contains("ended"), "{log}");
    }
}

#[test]
fn rules_outlive_the_process_in_its_directory() {
    let files = Files::with("");
    with_token(&files);
    let arguments = [ALONE, &["--data-dir", "data", "--token-file", "token"]].concat();
    let mut first = Process::start(&files, &arguments);

    let flipped = first.ask(&files, &["flip", "alice", "--off", "--token-file", "token"]);
    first.tell(Signal::SIGTERM);
    first.child.wait().unwrap();
    let second = Process::start(&files, &arguments);
    let tenants = second.ask(&files, &["tenants"]);

    assert_eq!(flipped.code, Some(0), "{}", flipped.err);
    let was = format!(
        "alice in the registry at {}: lane alice, as nothing is said of it → off, routed as no \
         tenant\nchanged: {0} tells the sidecars now\n",
        first.address
    );
    assert_eq!(flipped.out, was);
    assert!(tenants.out.contains("alice   alice  off    -  registry"), "{}", tenants.out);
}

#[test]
fn only_who_has_the_token_flips() {
    let files = Files::with("");
    with_token(&files);
    let open = Process::start(&files, &[ALONE, &["--token-file", "token"]].concat());
    let closed = Process::start(&files, ALONE);

    let nameless = open.ask(&files, &["flip", "alice", "--off"]);
    let stranger = open.ask(&files, &["flip", "alice", "--off", "--token", "abracadabra"]);
    let nobody = closed.ask(&files, &["flip", "alice", "--off", "--token", "sesame"]);
    let by_flag = open.ask(&files, &["flip", "alice", "--off", "--token", "sesame"]);
    let address = open.address.to_string();
    let by_environment = command(files.directory.path(), &["flip", "alice", "--on"])
        .env("DYELANE_REGISTRY", &address)
        .env("DYELANE_TOKEN", "sesame")
        .output()
        .unwrap();

    for (said, status) in [(&nameless, "401"), (&stranger, "403"), (&nobody, "403")] {
        assert_eq!(said.code, Some(1), "{}", said.err);
        assert!(said.err.contains(status), "{}", said.err);
    }
    assert!(nameless.err.contains("--token-file"), "{}", nameless.err);
    assert_eq!(by_flag.code, Some(0), "{}", by_flag.err);
    assert_eq!(by_environment.status.code(), Some(0), "{by_environment:?}");
}

#[test]
fn a_flip_for_a_time_is_left_to_the_registry() {
    let files = Files::with("");
    with_token(&files);
    let node = Process::start(&files, &[ALONE, &["--token-file", "token"]].concat());

    let flip = ["flip", "alice", "staging", "--ttl", "1h", "--token-file", "token"];
    let said = node.ask(&files, &flip);
    let tenants = node.ask(&files, &["tenants", "-o", "json"]).json();

    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.ends_with("tells the sidecars now, to be undone in 1h\n"), "{}", said.out);
    assert_eq!(tenants["tenants"][0]["lane"], "staging");
}

#[test]
fn a_changed_file_is_taken_up_as_far_as_it_can_be() {
    let files = Files::with("");
    let write = |text: &str| {
        let text = format!("[registry]\nlisten = '127.0.0.1:0'\n{text}");
        std::fs::write(files.directory.path().join("registry.toml"), text).unwrap();
    };
    write("");
    let mut node = Process::start(&files, &["registry.toml"]);
    let mut log = BufReader::new(node.child.stderr.take().unwrap());

    write("[leases]\nlease = '10s'\n[log]\nlevel = 'debug'\n");
    node.tell(Signal::SIGHUP);
    let waits = Process::logs(&mut log, "wait for a restart");
    write("[leases]\nleese = '10s'\n");
    node.tell(Signal::SIGHUP);
    let bad = Process::logs(&mut log, "is not taken up");
    write("");
    node.tell(Signal::SIGHUP);
    let good = Process::logs(&mut log, "is taken up");

    assert!(waits.contains("leases") && !waits.contains("log"), "{waits}");
    assert!(bad.contains("ERROR"), "{bad}");
    assert!(good.contains("INFO"), "{good}");
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let files = Files::with("");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    std::fs::write(files.directory.path().join("bad.toml"), "[registry]\nzon = 'a'\n").unwrap();

    for (arguments, code, why) in [
        (&["--listen", &*taken][..], 1, &*taken),
        (&["--listen", "7171"], 2, "127.0.0.1:7171"),
        (&["--listen", "0.0.0.0:0"], 2, "--advertise"),
        (&["--peer", "nowhere"], 2, "has no port"),
        (&["--token-file", "gone"], 2, "gone"),
        (&["bad.toml"], 2, "did you mean `zone`?"),
        (&["gone.toml"], 2, "cannot read gone.toml"),
        (&["--data", "bad.toml"], 1, "bad.toml"),
    ] {
        let said = files.dyelane(&[&["registry"], arguments].concat());

        assert_eq!((said.code, &*said.out), (Some(code), ""), "{arguments:?}: {}", said.err);
        assert!(said.err.contains(why), "{arguments:?}: {}", said.err);
    }
}

/// A node in this process, with an instance of `user.shop` in lane `alice`.
async fn node_with_alice(settings: Settings) -> Registry {
    let registry = Registry::start(settings).await.unwrap();
    let key = Key {
        env: "prod".into(),
        appid: "user.shop".into(),
        zone: "zone-a".into(),
        hostname: "pod-1".into(),
    };
    let registration = Registration {
        addrs: vec!["http://10.0.0.1:9000".into()],
        version: "2.0".into(),
        metadata: [("lane".into(), "alice".into())].into_iter().collect(),
        ..Registration::default()
    };
    registry.node().write(|store, now| store.register(key, registration, now).map(drop)).unwrap();
    registry
}

async fn said_by(address: SocketAddr, arguments: &[&str]) -> Said {
    let address = address.to_string();
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let ask = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        crate::cli::dyelane(&[&arguments[..], &["--registry", &address]].concat())
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

#[tokio::test]
async fn services_are_told_by_lane_and_by_instance() {
    let registry = node_with_alice(Settings::default()).await;

    let brief = said_by(registry.address(), &["services"]).await;
    let detail = said_by(registry.address(), &["services", "user.shop", "-o", "json"]).await;
    let nobody = said_by(registry.address(), &["services", "--env", "uat"]).await;

    assert!(brief.out.contains("user.shop        alice     1 of 1 up"), "{}", brief.out);
    let lane = &detail.json()["services"][0]["lanes"][0];
    assert_eq!(lane["lane"], "alice");
    let instance = &lane["instances"][0];
    assert_eq!(
        (&instance["address"], &instance["host"], &instance["zone"]),
        (&json!("http://10.0.0.1:9000"), &json!("pod-1"), &json!("zone-a"))
    );
    let none = format!("none, by uat in the registry at {}\n", registry.address());
    assert_eq!((nobody.code, nobody.out), (Some(0), none));
}

#[tokio::test]
async fn status_asks_every_node_and_names_the_silent() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let alone = node_with_alice(Settings::default()).await;
    let peers = vec![silent.to_string().into()];
    let cut_off = node_with_alice(Settings { peers, ..Settings::default() }).await;

    let well = said_by(alone.address(), &["status"]).await;
    let document = said_by(alone.address(), &["status", "-o", "json"]).await.json();
    let bad = said_by(cut_off.address(), &["status"]).await;

    assert_eq!((well.code, &*well.err), (Some(0), ""), "{}", well.out);
    assert!(well.out.contains("instances    the same on every node"), "{}", well.out);
    assert!(well.out.contains("kept in memory alone, written by nobody"), "{}", well.out);
    let status = &document["nodes"][0]["status"];
    assert_eq!((&status["instances"], &status["readable"]), (&json!(2), &Value::Bool(true)));
    assert_eq!(bad.code, Some(1), "{}", bad.out);
    assert!(bad.out.contains(&format!("{silent} is silent")), "{}", bad.out);
    assert!(bad.out.contains(&format!("does not reach {silent} of zone default")), "{}", bad.out);
}
