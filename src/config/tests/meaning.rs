//! What a good file says.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::good;
use crate::config::{
    Carrier, CorrelationId, Outlier, Percentage, PercentageKey, RetryOn, StringMatch, Timeouts,
};
use crate::model::{LaneName, TenantId};

#[test]
fn a_variable_stands_for_its_value_and_an_empty_one_for_nothing() {
    let text = "[tenants.a]\nlane = '${LANE}'\n[tenants.b]\nlane = '${NONE:-}'\n\
                [tenants.c]\nlane = '${EMPTY}'\n[limits]\nstreams = '${COUNT}'\n";

    let config = good(text);

    let lane = |tenant: &str| config.tenants[&TenantId::new(tenant).unwrap()].lane;
    assert_eq!(lane("a"), Some(LaneName::new("dev.alice").unwrap()));
    assert_eq!(lane("b"), None);
    assert_eq!(lane("c"), None);
    assert_eq!(config.limits.streams, 7);
}

#[test]
fn what_a_variable_holds_cannot_add_to_the_file() {
    let text = "[[services.a.instances]]\naddress = '1.1.1.1:1'\nmetadata = { m = '${INJECTION}' }";

    let config = good(text);

    assert_eq!(config.instances[0].metadata["m"], "x\"\nstrict = true");
    assert!(!config.services.get("a").unwrap().strict);
}

#[test]
fn a_list_of_listeners_may_be_one_address() {
    let text = "listen = ['127.0.0.1:1', '[::1]:1', '${NONE:-}']\n[inbound]\nlisten = '1.1.1.1:2'";

    let config = good(text);

    assert_eq!(config.outbound.listen.len(), 2);
    assert_eq!(config.inbound.listen, ["1.1.1.1:2".parse().unwrap()]);
}

#[test]
fn carriers_are_read_ours_first_and_then_the_aliases() {
    let text = "[tenant]\nread = ['baggage', 'header']\nheader = 'X-Who'\n\
                aliases = [{ tracestate = 'old' }, { header = 'X-Old' }]\n\
                correlation = { ids = ['x-b3-traceid', 'X-Own'] }";

    let tenant = good(text).tenant;

    let [baggage, header] = [Carrier::Baggage("tenant".into()), Carrier::Header("x-who".into())];
    let [old, alias] = [Carrier::Tracestate("old".into()), Carrier::Header("x-old".into())];
    assert_eq!(tenant.read, [baggage, header, old, alias]);
    assert_eq!(tenant.correlation.ids, [CorrelationId::B3, CorrelationId::Header("x-own".into())]);
}

#[test]
fn a_rule_is_read_whole() {
    let text = "[[rule]]\nname = 'beta'\npercent = 5\nby = 'cookie:id'\n\
                set = { tenant = 'beta', override = true }\n\
                [rule.match]\nhosts = ['*.Example.com']\npath_prefix = '/cart/'\n\
                headers = { X-Beta = 'yes', a = { contains = 'b' } }\nsources = ['10.0.0.0/8', '::1']";

    let rule = good(text).rules.remove(0);

    let exact = |name: &str, text: &str| (name.to_owned(), StringMatch::Exact(text.to_owned()));
    let contains = ("a".to_owned(), StringMatch::Contains("b".to_owned()));
    assert_eq!(rule.matches.hosts, ["*.example.com"]);
    assert_eq!(rule.matches.path_prefix.as_deref(), Some("/cart"));
    assert_eq!(rule.matches.headers, [exact("x-beta", "yes"), contains]);
    assert_eq!(rule.matches.sources[0], (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8));
    assert_eq!(rule.matches.sources[1].1, 128);
    let key = PercentageKey::Cookie("id".to_owned());
    assert_eq!(rule.percentage, Some(Percentage { percent: 5.0, key }));
    assert!(rule.set.overrides);
}

#[test]
fn a_service_is_the_defaults_with_its_own_keys_over_them() {
    let text = "[defaults]\nconnections = 9\ntimeouts = { connect = '2s', idle = 'off' }\n\
                outlier = { failures = 'off' }\nretries = { on = [] }\n\
                [services.a]\nstrict = true\ntimeouts = { total = '1m' }\n\
                [services.b]\noutlier = { failures = 3 }\nretries = { on = [503, 'grpc:14'] }\n";

    let config = good(text);

    let service = |name: &str| config.services.get(name).unwrap();
    let timeouts = Timeouts { connect: Duration::from_secs(2), idle: None, ..Timeouts::default() };
    let total = Some(Duration::from_secs(60));
    assert_eq!(service("a").timeouts, Timeouts { total, ..timeouts });
    assert_eq!((service("a").connections, service("a").strict), (9, true));
    assert_eq!(service("a").outlier.failures, None);
    assert_eq!(service("b").outlier, Outlier { failures: Some(3), ..Outlier::default() });
    assert_eq!(service("b").retries.on, [RetryOn::Status(503), RetryOn::Grpc(14)]);
    assert_eq!(service("a").retries.on, []);
}

#[test]
fn an_instance_may_serve_two_services_at_one_address() {
    let text = "[[services.a.instances]]\naddress = '1.1.1.1:1'\n\
                [[services.b.instances]]\naddress = '1.1.1.1:1'\nlane = 'x'\nweight = 5\n";

    let instances = good(text).instances;

    assert_eq!(instances.len(), 2);
    assert_eq!((instances[1].weight, instances[1].lane), (5, LaneName::new("x").ok()));
}

#[test]
fn what_is_off_is_none() {
    let config = good("[admin]\nlisten = 'off'\n[runtime]\nworkers = 'auto'\n");

    assert_eq!(config.admin.listen, None);
    assert_eq!(config.runtime.workers, None);
}

#[test]
fn lanes_may_fall_back_to_each_other() {
    let config = good("[lanes.a]\nfallback = ['b']\n[lanes.b]\nfallback = ['a']\n");

    assert_eq!(config.lanes.len(), 2);
}

#[test]
fn ports_of_the_systems_choice_do_not_clash() {
    let text = "listen = ['127.0.0.1:0', '127.0.0.1:0']\n[admin]\nlisten = '127.0.0.1:0'\n";

    assert_eq!(good(text).outbound.listen.len(), 2);
}
