//! One world, one request, one answer.

use super::{World, catalog, config, lane, tenant};
use crate::model::TenantId;
use crate::routing::{Decision, Reason, RouteTable, ServiceId, Who, decide};

#[test]
fn a_request_without_a_tenant_goes_to_the_baseline() {
    let world = World::new("", &["user", "user@alice"]);

    assert_eq!(world.says(&Who::Nobody), "baseline: taken => baseline;baseline");
}

#[test]
fn a_request_without_a_tenant_never_goes_to_a_lane() {
    let world = World::new("", &["user@alice", "user@bob"]);

    assert_eq!(world.says(&Who::Nobody), "baseline: absent => none;no_instance");
}

#[test]
fn a_tenant_goes_to_the_lane_of_its_own_name() {
    let world = World::new("", &["user", "user@alice", "user@bob"]);

    assert_eq!(world.says(&tenant("alice")), "alice: taken => alice;exact");
}

#[test]
fn a_tenant_without_its_lane_falls_back_to_the_baseline() {
    let world = World::new("", &["user", "user@bob", "order@alice"]);

    assert_eq!(world.says(&tenant("alice")), "alice: absent, baseline: taken => baseline;absent");
    assert_eq!(world.says(&tenant("carol")), "carol: absent, baseline: taken => baseline;absent");
}

#[test]
fn a_tenant_is_sent_to_the_lane_the_operator_says() {
    let world =
        World::new("[tenants.alice]\nlane = \"beta\"", &["user", "user@alice", "user@beta"]);

    assert_eq!(world.says(&tenant("alice")), "beta: taken => beta;exact");
}

#[test]
fn dotted_parents_are_tried_even_where_the_lane_has_no_instance_anywhere() {
    let world = World::new("", &["user", "user@dev.p1", "user@dev"]);

    assert_eq!(
        world.says(&tenant("dev.p1.alice")),
        "dev.p1.alice: absent, dev.p1: taken => dev.p1;parent"
    );
    assert_eq!(
        world.says(&tenant("dev.p2.x.bob")),
        "dev.p2.x.bob: absent, dev.p2.x: absent, dev.p2: absent, dev: taken => dev;parent"
    );
}

#[test]
fn a_name_that_only_begins_the_same_is_no_parent() {
    let world = World::new("", &["user", "user@dev.proj-ab"]);

    assert_eq!(
        world.says(&tenant("dev.proj-abc")),
        "dev.proj-abc: absent, dev: absent, baseline: taken => baseline;absent"
    );
}

#[test]
fn the_fallback_list_comes_after_the_parents_and_before_the_baseline() {
    let world = World::new(
        "[lanes.\"dev.alice\"]\nfallback = [\"beta\", \"dev\", \"staging\"]",
        &["user", "user@staging"],
    );

    assert_eq!(
        world.says(&tenant("dev.alice")),
        "dev.alice: absent, dev: absent, beta: absent, staging: taken => staging;fallback"
    );
}

#[test]
fn a_lane_of_the_fallback_list_brings_neither_its_parents_nor_its_own_list() {
    let world = World::new(
        "[lanes.alice]\nfallback = [\"dev.beta\"]\n[lanes.\"dev.beta\"]\nfallback = [\"bob\"]",
        &["user", "user@dev", "user@bob"],
    );

    assert_eq!(
        world.says(&tenant("alice")),
        "alice: absent, dev.beta: absent, baseline: taken => baseline;absent"
    );
}

#[test]
fn a_lane_without_a_section_has_that_of_its_nearest_parent() {
    let world = World::new(
        "[lanes.dev]\nfallback = [\"staging\"]\n[lanes.\"dev.p1\"]\nstrict = true",
        &["user", "user@staging"],
    );

    for name in ["dev.alice", "dev.p2.bob"] {
        assert!(
            world.says(&tenant(name)).ends_with("staging: taken => staging;fallback"),
            "{name}"
        );
    }
    assert!(world.says(&tenant("dev.p1.bob")).ends_with("baseline: strict => none;no_instance"));
}

#[test]
fn strictness_of_tenant_lane_or_service_forbids_the_baseline() {
    for text in [
        "[tenants.alice]\nstrict = true",
        "[lanes.alice]\nstrict = true",
        "[services.user]\nstrict = true",
        "[defaults]\nstrict = true",
    ] {
        let world = World::new(text, &["user"]);
        let seen = world.says(&tenant("alice"));
        assert_eq!(seen, "alice: absent, baseline: strict => none;no_instance", "{text}");
    }
}

#[test]
fn strictness_says_nothing_to_a_request_without_a_tenant() {
    let world = World::new("[services.user]\nstrict = true", &["user"]);

    assert_eq!(world.says(&Who::Nobody), "baseline: taken => baseline;baseline");
}

#[test]
fn a_disabled_tenant_is_routed_as_if_it_had_no_tenant() {
    let world = World::new(
        "[tenants.alice]\nenabled = false\nstrict = true\n[services.user]\nstrict = true",
        &["user", "user@alice"],
    );

    assert_eq!(world.says(&tenant("alice")), "baseline: taken => baseline;disabled");
}

#[test]
fn an_unhealthy_lane_counts_as_absent_with_its_own_reason() {
    let world = World::new("", &["user", "user@alice"]).sick("user@alice");

    assert_eq!(
        world.says(&tenant("alice")),
        "alice: unhealthy, baseline: taken => baseline;unhealthy"
    );
}

#[test]
fn a_lane_of_which_all_instances_are_down_is_unhealthy() {
    let world = World::new("", &["user", "user@alice!", "user@bob!", "user@bob"]);

    assert_eq!(
        world.says(&tenant("alice")),
        "alice: unhealthy, baseline: taken => baseline;unhealthy"
    );
    assert_eq!(world.says(&tenant("bob")), "bob: taken => bob;exact");
}

#[test]
fn a_lower_lane_that_serves_is_the_reason_whatever_was_wrong_above() {
    let world = World::new("", &["user", "user@dev.alice", "user@dev"]).sick("user@dev.alice");

    assert_eq!(world.says(&tenant("dev.alice")), "dev.alice: unhealthy, dev: taken => dev;parent");
}

#[test]
fn an_unhealthy_lane_fails_if_the_operator_says_so() {
    let text = "[lanes.dev]\non_unhealthy = \"fail\"\n[lanes.\"dev.bob\"]";
    let world = World::new(text, &["user", "user@dev", "user@dev.alice", "user@dev.bob"])
        .sick("user@dev")
        .sick("user@dev.alice")
        .sick("user@dev.bob");

    assert_eq!(world.says(&tenant("dev.alice")), "dev.alice: failed => none;no_instance");
    assert_eq!(
        world.says(&tenant("dev.bob")),
        "dev.bob: unhealthy, dev: failed => none;no_instance"
    );
    let absent = World::new(text, &["user"]);
    assert!(absent.says(&tenant("dev.alice")).ends_with("baseline;absent"), "absent is no failure");
}

#[test]
fn an_exhausted_ladder_says_what_was_unhealthy() {
    let world = World::new("", &["user", "user@alice"]).sick("user@alice").sick("user");

    assert_eq!(
        world.says(&tenant("alice")),
        "alice: unhealthy, baseline: unhealthy => none;no_instance"
    );
}

#[test]
fn own_traffic_of_a_sandbox_goes_to_its_lane_whatever_is_said_of_the_tenant() {
    let text = "[tenants.\"dev.alice\"]\nlane = \"beta\"\nenabled = false\nstrict = true";
    let world = World::new(text, &["user", "user@dev.alice", "user@beta"]);
    let bare = World::new(text, &["user", "user@beta"]);
    let who = Who::Lane(lane("dev.alice"));

    assert_eq!(world.says(&who), "dev.alice: taken => dev.alice;exact");
    assert_eq!(
        bare.says(&who),
        "dev.alice: absent, dev: absent, baseline: taken => baseline;absent"
    );
}

#[test]
fn a_service_without_an_instance_has_none_to_give() {
    let world = World::new("[services.user]\n", &["order"]);

    assert_eq!(world.says(&tenant("alice")), "alice: absent, baseline: absent => none;no_instance");
}

#[test]
fn a_service_of_another_table_has_no_instance() {
    let table = RouteTable::build(&config(""), &catalog(&["user"]));

    let seen = decide(&table, ServiceId::from(7), &Who::Nobody, |_| true, &mut ());

    assert_eq!(seen, Decision { rung: None, lane: None, reason: Reason::NoInstance });
}

#[test]
fn names_of_the_operator_and_of_instances_are_known_and_no_others() {
    let text = "[tenants.a]\nlane = \"to\"\n[lanes.b]\nfallback = [\"list\"]";
    let world = World::new(text, &["user@c.d"]);
    let is_known = |name| world.table.is_known_tenant(&TenantId::new(name).unwrap());

    assert!(["a", "b", "c.d"].into_iter().all(is_known));
    assert!(!["to", "list", "c", "e"].into_iter().any(is_known));
}

#[test]
fn a_service_has_its_own_settings_or_the_defaults() {
    let world =
        World::new("[defaults]\nconnections = 7\n[services.order]\nhosts = [\"o\"]", &["user"]);
    let service = |name| world.table.by_name(name).and_then(|id| world.table.service(id)).unwrap();

    assert_eq!(service("user").settings.connections, 7);
    assert_eq!(service("order").settings.hosts, ["o"]);
    assert_eq!(world.table.by_host("O:80"), Some(service("order").id));
    assert_eq!(world.table.by_host("user"), Some(service("user").id));
    assert_eq!(world.table.by_name("USER"), None);
}

#[test]
fn a_host_that_was_written_down_comes_before_a_name() {
    let world = World::new("[services.order]\nhosts = [\"user\"]", &["user"]);

    assert_eq!(world.table.by_host("user"), world.table.by_name("order"));
}

#[test]
fn rungs_are_in_order_of_service_and_lane_with_the_baseline_first() {
    let world = World::new("", &["user@b", "user", "user@a", "user!", "order@z"]);
    let table = &world.table;
    let seen: Vec<_> = table
        .rungs()
        .iter()
        .map(|it| {
            let lane = it.lane.as_ref().map_or("", |it| it.as_str());
            let service = table.service(it.service).unwrap().name.as_str();
            (it.id.number(), service, lane, it.instances.len(), it.down.len())
        })
        .collect();

    let expected = [
        (0, "order", "z", 1, 0),
        (1, "user", "", 1, 1),
        (2, "user", "a", 1, 0),
        (3, "user", "b", 1, 0),
    ];
    assert_eq!(seen, expected);
    let user = table.service(table.by_name("user").unwrap()).unwrap();
    assert_eq!(table.rungs_of(user).len(), 3);
}

#[test]
fn no_two_lanes_or_services_are_mixed_up_in_a_large_world() {
    let name = |service: usize, lane: usize| format!("service{service}@lane{lane}");
    let has = |service: usize, lane: usize| (service * 7 + lane * 3) % 5 < 2;
    let pairs = || (0..250).flat_map(|service| (0..250).map(move |lane| (service, lane)));
    let there = pairs().filter(|(service, lane)| has(*service, *lane));
    let instances: Vec<_> = there.map(|(service, lane)| name(service, lane)).collect();
    let world = World::new("", &instances.iter().map(String::as_str).collect::<Vec<_>>());

    let found = |service: usize, lane: usize| {
        let who = tenant(&format!("lane{lane}"));
        let (decision, _) = world.decide(&format!("service{service}"), &who);
        let instance = &world.table.rung(decision.rung?).unwrap().instances[0];
        Some(format!("{}@{}", instance.service, instance.lane.unwrap()))
    };

    for (service, lane) in pairs() {
        let expected = has(service, lane).then(|| name(service, lane));
        assert_eq!(found(service, lane), expected);
    }
}

#[test]
fn a_decision_can_be_written_as_json() {
    let world = World::new("", &["user@dev"]);
    let (decision, trail) = world.decide("user", &tenant("dev.x"));

    let seen = serde_json::to_string(&(decision, trail)).unwrap();

    let expected = concat!(
        r#"[{"lane":"dev","reason":"parent"},"#,
        r#"[{"lane":"dev.x","outcome":"absent"},{"lane":"dev","outcome":"taken"}]]"#
    );
    assert_eq!(seen, expected);
}

#[test]
fn a_decision_allocates_nothing() {
    let text = "[lanes.\"dev.p1\"]\nfallback = [\"staging\"]\n[services.user]\nhosts = [\"u\"]";
    let world = World::new(text, &["user", "user@dev", "user@staging", "order", "order@alice!"]);
    let names = ["alice", "dev.p1.alice", "dev.p1", "staging", "x.y.z", "nobody-knows-me"];
    let whos: Vec<_> = names
        .into_iter()
        .flat_map(|name| [tenant(name), Who::Lane(lane(name)), Who::Nobody])
        .collect();
    let services = ["U.:80", "user", "order:9", "nowhere"];

    let measured = allocation_counter::measure(|| {
        for service in services.into_iter().filter_map(|it| world.table.by_host(it)) {
            for who in &whos {
                std::hint::black_box(decide(&world.table, service, who, |_| true, &mut ()));
            }
        }
    });

    assert_eq!(measured.count_total, 0);
}
