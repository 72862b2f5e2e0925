//! `dyelane demo`: the picture of the README, alive on loopback in under a second.
//!
//! Starts a registry, four services, alice's copy of one of them and a real sidecar beside each;
//! shows whose calls go where; turns alice off and on, in the registry and in a file, while calls
//! run; kills alice's copy and brings it back; says how to try it by hand. Everything printed was
//! observed and is checked: what is not as it should be is said, and makes the exit code 1.

mod application;
mod client;
mod hop;
mod load;
mod mesh;
mod registry;
mod screen;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

use self::client::Caller;
use self::hop::CallAnswer;
use self::load::{Alice, Load, Tally, judge};
use self::mesh::{ALICE, Mesh, Pod};
use self::registry::{Directory, LEASE};
use self::screen::{Look, Screen, thousands};
use crate::cli::Outcome;
use crate::cli::fetch;

/// How often we look whether something has happened that is to.
const GLANCE: Duration = Duration::from_millis(2);
/// How long it may take to happen.
const PATIENCE: Duration = Duration::from_secs(10);
/// Calls that are awaited between two flips, for [`A_WHILE`] at most.
const BETWEEN_FLIPS: u64 = 300;
/// How long so many are awaited: a slow machine makes fewer.
const A_WHILE: Duration = Duration::from_secs(2);
/// Flips under load: where each is made, and whether alice is on after it.
const FLIPS: [(Where, bool); 4] =
    [(Where::Registry, false), (Where::Registry, true), (Where::File, false), (Where::File, true)];

/// Where a tenant is flipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    /// In the registry: for every sidecar that follows it.
    Registry,
    /// In A's file, which goes before the registry.
    File,
}

/// Runs the demo, until Ctrl-C unless `once`.
pub(super) async fn run(once: bool) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let directory = Directory::start().await?;
    let mut mesh = Mesh::start(directory.address()).await?;
    let mut demo = Demo { screen: Screen::new(), wrong: Vec::new() };
    let channel = application::channel("a.demo", mesh.front()?.inbound)?;
    demo.show_picture(&mesh, directory.address(), started.elapsed())?;
    demo.call_by_grpc(&channel).await?;
    demo.call_by_http1(mesh.front()?).await?;
    demo.flip_under_load(&channel, mesh.front()?, &directory).await?;
    demo.kill_and_start(&channel, &mut mesh, &directory).await?;
    demo.conclude()?;
    if !once {
        demo.show_commands(mesh.front()?, directory.address())?;
        tokio::select! {
            _ = tokio::signal::ctrl_c() => demo.screen.line("")?,
            watched = demo.watch(&channel, mesh.front()?) => watched?,
        }
    }
    mesh.stop().await;
    directory.stop().await;
    Ok(if demo.wrong.is_empty() { Outcome::Good } else { Outcome::No })
}

/// The demo under way.
struct Demo {
    screen: Screen,
    /// What was not as it should be.
    wrong: Vec<String>,
}

impl Demo {
    /// Prints who is where.
    fn show_picture(
        &self,
        mesh: &Mesh,
        registry: SocketAddr,
        took: Duration,
    ) -> anyhow::Result<()> {
        let screen = &self.screen;
        let alice = |text| screen.paint(Look::Alice, text);
        screen.line(&screen.paint(Look::Heading, "Four services, and alice's own copy of one"))?;
        screen.line("")?;
        screen.line(&format!("   client ──► A ─┬─► {} ─┬─► C ──► D", alice("B·alice")))?;
        screen.line("                 └─► B ───────┘")?;
        screen.line("")?;
        let header = format!(
            "   {:<9}{:<10}{:<18}{:<18}{:<18}{}",
            "pod", "service", "application", "sidecar, inbound", "outbound", "admin"
        );
        screen.line(&screen.paint(Look::Faint, &header))?;
        for pod in mesh.pods() {
            let addresses = [pod.application, pod.inbound, pod.outbound].map(|it| it.to_string());
            let [application, inbound, outbound] = addresses;
            screen.line(&format!(
                "   {:<9}{:<10}{application:<18}{inbound:<18}{outbound:<18}{}",
                pod.name, pod.service, pod.admin
            ))?;
        }
        screen.line(&format!(
            "   5 applications, 5 sidecars and a registry at {registry}, up in {};\n   \
             no file names another pod: sidecars tell the registry of theirs, and ask it for the rest",
            in_ms(took)
        ))?;
        Ok(())
    }

    /// Calls in the name of each caller by gRPC.
    async fn call_by_grpc(&mut self, channel: &Channel) -> anyhow::Result<()> {
        self.screen.heading("gRPC: three callers on one HTTP/2 connection")?;
        for caller in [Caller::Nobody, Caller::Alice, Caller::Bob] {
            let answer = client::call(channel, caller).await;
            self.report(caller, Alice::On, answer.map_err(|status| status.to_string()))?;
        }
        Ok(())
    }

    /// Calls in the name of each caller by HTTP/1.1.
    async fn call_by_http1(&mut self, front: &Pod) -> anyhow::Result<()> {
        self.screen.heading("HTTP/1.1: the same sidecars, the same ports")?;
        for caller in [Caller::Nobody, Caller::Alice] {
            let answer = get_path(front, caller).await.map_err(|error| format!("{error:#}"));
            self.report(caller, Alice::On, answer)?;
        }
        Ok(())
    }

    /// Prints the way of one call, and remembers it if it is wrong.
    fn report(
        &mut self,
        caller: Caller,
        alice: Alice,
        answer: Result<CallAnswer, String>,
    ) -> anyhow::Result<()> {
        let (drawn, verdict) = match answer {
            Ok(answer) => {
                let told = if answer.all_saw(caller.tenant()) {
                    judge(caller, alice, &answer.path())
                } else {
                    Err(format!("{caller}: not every application was told whose call it was"))
                };
                (format!("{}{}", self.screen.path(&answer), note(&answer)), told)
            }
            Err(why) => (self.screen.paint(Look::Bad, &why), Err(format!("{caller}: {why}"))),
        };
        self.wrong.extend(verdict.err());
        self.screen.line(&format!("   {caller:<17}{drawn}"))?;
        Ok(())
    }

    /// Turns alice off and on while calls run.
    async fn flip_under_load(
        &mut self,
        channel: &Channel,
        front: &Pod,
        directory: &Directory,
    ) -> anyhow::Result<()> {
        let load = Load::start(channel);
        let mut before = None;
        for (place, on) in FLIPS {
            if before.replace(place) != Some(place) {
                self.screen.heading(match place {
                    Where::Registry => {
                        "Flipping alice in the registry while 8 callers call without a pause"
                    }
                    Where::File => "The same in A's sidecar.toml, which goes before the registry",
                })?;
            }
            self.let_them_call(&load).await;
            load.expect(Alice::Changing);
            let took = flip(place, on, front, directory).await?;
            let alice = if on { Alice::On } else { Alice::Off };
            load.expect(alice);
            let word = match (place, on) {
                (Where::Registry, false) => "flip alice --off --registry …",
                (Where::Registry, true) => "flip alice --on  --registry …",
                (Where::File, false) => "[tenants.alice] enabled = false",
                (Where::File, true) => "the entry is removed",
            };
            let took = self.screen.paint(Look::Faint, &format!("in force after {}", in_ms(took)));
            self.screen.line(&format!("   {word:<33}{took}"))?;
            self.call_as_alice(channel, alice).await?;
        }
        self.let_them_call(&load).await;
        self.show_tally(&load.finish().await)
    }

    /// Kills alice's copy of B without a word, and starts it again elsewhere.
    async fn kill_and_start(
        &mut self,
        channel: &Channel,
        mesh: &mut Mesh,
        directory: &Directory,
    ) -> anyhow::Result<()> {
        self.screen.heading("Killing B·alice: its lease runs out; then a new one registers")?;
        let all = mesh.pods().len();
        directory.has(all).await?;
        mesh.kill_sandbox().await?;
        let killed = Instant::now();
        self.call_as_alice(channel, Alice::Off).await?;
        directory.has(all - 1).await?;
        self.say("evicted", killed, &format!("; its lease is {} here, else 90s", seconds(LEASE)))?;
        mesh.front()?.knows(all - 1).await?;
        let again = Instant::now();
        mesh.start_sandbox().await?;
        mesh.front()?.knows(all).await?;
        self.say("started, registered, and known to A", again, "")?;
        self.call_as_alice(channel, Alice::On).await
    }

    /// Prints what has happened since a moment.
    fn say(&self, what: &str, since: Instant, more: &str) -> anyhow::Result<()> {
        let sandbox = self.screen.paint(Look::Alice, mesh::SANDBOX);
        let after = format!("after {}{more}", in_ms(since.elapsed()));
        let after = self.screen.paint(Look::Faint, &after);
        Ok(self.screen.line(&format!("   {sandbox} is {what} {after}"))?)
    }

    /// Calls once as alice, who is expected to be where `alice` says.
    async fn call_as_alice(&mut self, channel: &Channel, alice: Alice) -> anyhow::Result<()> {
        let answer = client::call(channel, Caller::Alice).await;
        self.report(Caller::Alice, alice, answer.map_err(|status| status.to_string()))
    }

    /// Lets the load go on for as long as there is to be between two flips. Says so if not even
    /// one call for each caller is answered.
    async fn let_them_call(&mut self, load: &Load) {
        let (before, start) = (load.answered(), Instant::now());
        loop {
            let (answered, waited) = (load.answered() - before, start.elapsed());
            if answered >= BETWEEN_FLIPS || (answered >= load::CALLERS && waited >= A_WHILE) {
                return;
            }
            if waited >= PATIENCE {
                self.wrong.push(format!("the callers made only {answered} calls in {PATIENCE:?}"));
                return;
            }
            sleep(GLANCE).await;
        }
    }

    /// Prints what came of the load.
    fn show_tally(&mut self, tally: &Tally) -> anyhow::Result<()> {
        let look = if tally.failed == 0 { Look::Good } else { Look::Bad };
        let verdict = format!("{} failed", thousands(tally.failed));
        let total = thousands(tally.total());
        self.screen.line(&format!("   {total} calls, {}", self.screen.paint(look, &verdict)))?;
        for (path, calls) in &tally.paths {
            self.screen.line(&format!("   {:>12}  {path}", thousands(*calls)))?;
        }
        if tally.failed > 0 {
            self.wrong.push(format!("{} of {total} calls under load failed", tally.failed));
            self.wrong.extend(tally.examples.iter().cloned());
        }
        Ok(())
    }

    /// Says whether everything was as it should be.
    fn conclude(&self) -> anyhow::Result<()> {
        self.screen.line("")?;
        if self.wrong.is_empty() {
            let good = "Every call went where it should, and every one was answered.";
            self.screen.line(&self.screen.paint(Look::Good, good))?;
        }
        for wrong in &self.wrong {
            self.screen.line(&self.screen.paint(Look::Bad, &format!("wrong: {wrong}")))?;
        }
        Ok(())
    }

    /// Prints what to try by hand.
    fn show_commands(&self, front: &Pod, registry: SocketAddr) -> anyhow::Result<()> {
        let Pod { inbound, outbound, admin, .. } = front;
        let file = front.file.display();
        let me = std::env::args().next().unwrap_or_else(|| "dyelane".to_owned());
        self.screen.heading("Try it")?;
        for command in [
            format!("curl -s http://{inbound}/path"),
            format!("curl -s -H 'x-tenant: {ALICE}' http://{inbound}/path"),
            format!(
                "curl -s -H 'baggage: tenant={ALICE}' --http2-prior-knowledge http://{inbound}/path"
            ),
            format!(
                "curl -si -H 'host: b.demo' -H 'x-tenant: {ALICE}' -H 'x-dyelane-echo: 1' http://{outbound}/path | grep x-dyelane-path"
            ),
            format!("curl -s 'http://{admin}/decide?service=b.demo&tenant={ALICE}'"),
            format!("{me} services --registry {registry}"),
            format!("{me} tenants --registry {registry}"),
            format!("curl -s http://{admin}/metrics | grep ^dyelane_requests_total"),
            format!("{me} explain b.demo --tenant {ALICE} --admin {admin}"),
            format!("{me} status --admin {admin}"),
        ] {
            self.screen.line(&format!("   {command}"))?;
        }
        self.screen.heading("Turn alice off and on by hand, and watch here")?;
        for command in [
            format!("{me} flip {ALICE} --off --registry {registry} --token {}", registry::TOKEN),
            format!("{me} flip {ALICE} --on --registry {registry} --token {}", registry::TOKEN),
            format!("{me} flip {ALICE} --off --file {file}"),
            format!("{me} flip {ALICE} --clear --file {file}"),
        ] {
            self.screen.line(&format!("   {command}"))?;
        }
        self.screen.line(&format!("\n{}", self.screen.paint(Look::Faint, "Ctrl-C ends it.")))?;
        Ok(())
    }

    /// Shows where alice goes each time A's sidecar has taken up its file. Never returns but with
    /// an error.
    async fn watch(&self, channel: &Channel, front: &Pod) -> anyhow::Result<()> {
        let mut seen = front.generation();
        loop {
            sleep(Duration::from_millis(100)).await;
            let generation = front.generation();
            if generation == seen {
                continue;
            }
            seen = generation;
            let went = match client::call(channel, Caller::Alice).await {
                Ok(answer) => self.screen.path(&answer),
                Err(status) => self.screen.paint(Look::Bad, &status.to_string()),
            };
            let line = format!("   generation {generation:<6}{:<17}{went}", Caller::Alice);
            self.screen.line(&line)?;
        }
    }
}

/// What is to be said beside a path: of the last application, whom it thinks the call is for.
fn note(answer: &CallAnswer) -> String {
    match answer.steps.last() {
        Some(last) if last.tenant.is_empty() => String::new(),
        Some(last) => format!("   {} was told tenant={}", last.application, last.tenant),
        None => "   nobody answered".to_owned(),
    }
}

/// Asks A for its path by HTTP/1.1.
async fn get_path(front: &Pod, caller: Caller) -> anyhow::Result<CallAnswer> {
    let answer = fetch::get(front.inbound, "a.demo", "/path", caller.fields()).await?;
    anyhow::ensure!(answer.status.is_success(), "{} {}", answer.status, answer.text().trim());
    serde_json::from_slice(&answer.body).context("the answer is not a path")
}

/// Flips alice and waits until A's sidecar goes by it. Returns how long that took.
async fn flip(
    place: Where,
    on: bool,
    front: &Pod,
    directory: &Directory,
) -> anyhow::Result<Duration> {
    let before = front.generation();
    let start = Instant::now();
    match place {
        Where::Registry => directory.flip(on).await?,
        Where::File => mesh::flip(&front.file, on)?,
    }
    while front.generation() == before {
        let late = start.elapsed() > PATIENCE;
        anyhow::ensure!(!late, "A's sidecar does not take up a flip in {place:?}");
        sleep(GLANCE).await;
    }
    Ok(start.elapsed())
}

/// A time in whole milliseconds.
fn in_ms(time: Duration) -> String {
    format!("{} ms", thousands(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

/// A time in words: `3s`.
fn seconds(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}
