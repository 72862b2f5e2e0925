//! `dyelane services`, `tenants` and `check`: what there is, and who says so.

use dyelane::app::Sidecar;
use serde_json::{Value, json};

use crate::cli::{Files, Said, dyelane};

const FILE: &str = r#"
[workload]
service = "order.shop"
[outbound]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"

[tenants.bob]
enabled = false
[tenants.carol]
lane = "staging"
strict = true

[services."user.shop"]
[[services."user.shop".instances]]
address = "127.0.0.1:9001"
zone = "zone-a"
[[services."user.shop".instances]]
address = "127.0.0.1:9002"
lane = "alice"
version = "2.0"
[services."mail.shop"]
"#;

fn by_sidecar(sidecar: &Sidecar, arguments: &[&str]) -> Said {
    let admin = sidecar.admin().unwrap().to_string();
    dyelane(&[arguments, &["--admin", &admin]].concat())
}

#[test]
fn a_file_says_who_is_there() {
    let files = Files::with(FILE);

    let brief = files.dyelane(&["services", "--file", "sidecar.toml"]);
    let detail = files.dyelane(&["services", "user.shop", "--file", "sidecar.toml"]);
    let pattern = files.dyelane(&["services", "*.mall", "--file", "sidecar.toml"]);

    assert_eq!((brief.code, &*brief.err), (Some(0), ""));
    insta::assert_snapshot!(brief.out, @r"
     SERVICE    LANE      INSTANCES
     user.shop  baseline  1 of 1 up
     user.shop  alice     1 of 1 up
    ");
    insta::assert_snapshot!(detail.out, @r"
     SERVICE    LANE      INSTANCE        HEALTH  WEIGHT  ZONE    CLUSTER  VERSION  HOST
     user.shop  baseline  127.0.0.1:9001  up      100     zone-a  -        -        -
     user.shop  alice     127.0.0.1:9002  up      100     -       -        2.0      -
    ");
    assert_eq!((pattern.code, &*pattern.out), (Some(1), "none, by the file alone\n"));
}

#[tokio::test]
async fn a_running_sidecar_says_the_same_and_how_they_are() {
    let files = Files::with(FILE);
    let sidecar = Sidecar::start(&files.path()).await.unwrap();

    let brief = by_sidecar(&sidecar, &["services"]);
    let detail = by_sidecar(&sidecar, &["services", "user.shop", "-o", "json"]);

    assert_eq!(brief.code, Some(0), "{}", brief.err);
    assert!(brief.out.contains("user.shop  alice     1 of 1 up"), "{}", brief.out);
    let lanes = &detail.json()["services"][0]["lanes"];
    assert_eq!((&lanes[0]["lane"], &lanes[1]["lane"]), (&Value::Null, &json!("alice")));
    assert_eq!(lanes[1]["instances"][0]["health"], "healthy");
}

#[tokio::test]
async fn tenants_are_told_with_whoever_says_so() {
    let files = Files::with(FILE);
    let sidecar = Sidecar::start(&files.path()).await.unwrap();

    let by_file = files.dyelane(&["tenants", "--file", "sidecar.toml"]);
    let running = by_sidecar(&sidecar, &["tenants"]);
    let document = by_sidecar(&sidecar, &["tenants", "-o", "json"]).json();

    insta::assert_snapshot!(by_file.out, @r"
     TENANT  LANE     STATE          SAID BY
     bob     bob      off    -       file
     carol   staging  on     strict  file
    ");
    assert_eq!((running.code, running.out), (Some(0), by_file.out));
    let bob =
        json!({ "tenant": "bob", "lane": null, "enabled": false, "strict": false, "from": "file" });
    assert_eq!(document["tenants"][0], bob);
}

#[test]
fn whoever_is_asked_and_does_not_answer_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let free = free.to_string();

    for verb in ["services", "tenants"] {
        for option in ["--admin", "--registry"] {
            let said = dyelane(&[verb, option, &free]);

            assert_eq!((said.code, &*said.out), (Some(1), ""), "{verb} {option}");
            assert!(said.err.contains(&free), "{}", said.err);
        }
        let said = dyelane(&[verb, "--admin", &free, "--registry", &free]);
        assert_eq!((said.code, &*said.out), (Some(2), ""));
    }
}

#[test]
fn a_registrys_file_is_checked_as_one() {
    let good = dyelane(&["check", "docs/registry.toml"]);
    let files = Files::with("[registry]\npeers = ['a']\n[leases]\nlease = '2h'\n");

    let bad = files.dyelane(&["check"]);
    let document = files.dyelane(&["check", "-o", "json"]);

    assert_eq!((good.code, &*good.err), (Some(0), ""));
    let says = "docs/registry.toml is good: a registry at 127.0.0.1:7171 in zone default, 0 peers, \
                0 other zones; nobody may write rules\n";
    assert_eq!(good.out, says);
    assert_eq!(bad.code, Some(2));
    assert!(bad.out.contains("`peers` has no port"), "{}", bad.out);
    assert!(bad.out.ends_with("has 2 problems: a registry would not start\n"), "{}", bad.out);
    assert_eq!(document.json()["problems"][1]["line"], 4);
}
