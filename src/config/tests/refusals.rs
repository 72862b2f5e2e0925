//! What is refused: at which place, with which words, and with which remedy.

use super::{problems, told};
use crate::config::Config;

/// Checks that `text` has one problem: at `at`, with a message and a help that contain these.
#[track_caller]
fn refused(text: &str, at: &str, message: &str, help: &str) {
    let found = problems(text);

    let [(place, said, remedy)] = &*found else { panic!("not one problem: {found:#?}") };
    assert_eq!(place, at, "{said}");
    assert!(said.contains(message), "{said:?} does not contain {message:?}");
    assert!(remedy.contains(help), "{remedy:?} does not contain {help:?}");
}

#[test]
fn an_unknown_key_is_met_with_the_nearest_known_one() {
    refused("listne = 'x'", "listne", "unknown key `listne` in `[outbound]`", "mean `listen`?");
    refused("[tenants.a]\nenable = true", "enable", "`[tenants.a]`", "did you mean `enabled`?");
    refused("[service.x]", "service", "unknown section", "did you mean `services`?");
    refused("[rules]", "rules", "unknown section", "did you mean `rule`?");
    refused("[services.x]\ntimeout = {}", "timeout", "unknown key", "did you mean `timeouts`?");
}

#[test]
fn a_key_of_elsewhere_is_sent_home() {
    refused("workers = 1", "workers", "unknown key", "`workers` belongs to `[runtime]`");
    refused("[defaults]\nhosts = []", "hosts", "unknown key", "`[services.NAME]`");
    refused("[outlier]", "outlier", "unknown section", "write `[defaults.outlier]`");
    refused("[tenant.alice]", "alice", "unknown key", "written as `[tenants.alice]`");
    refused("[listen]", "listen", "unknown section", "`[inbound]`");
    refused("[[routes]]", "routes", "unknown section", "`[[rule]]`");
    refused("[tenants.a]\ndisabled = true", "disabled", "unknown key", "`enabled = false`");
    refused("[tls]", "tls", "unknown section", "known here: workload, inbound");
}

#[test]
fn a_value_of_the_wrong_type_is_told_what_is_expected() {
    refused("[tenants.a]\nstrict = 'yes'", "'yes'", "is a string", "`true` or `false`");
    refused("[limits]\nstreams = '5'", "'5'", "a whole number is expected", "1 to 10000, without");
    refused("[limits]\nheader_list = true", "true", "a size is expected", "4KiB to 1MiB");
    refused("[runtime]\npoll = 5", "5", "a period is expected", "with its unit");
    refused("[log]\nformat = 1", "1", "a string is expected", "\"text\" or \"json\"");
    refused("[log]\naccess = 1", "1", "a table is expected", "write `[log.access]`");
    refused("[lanes.a]\nfallback = 'b'", "'b'", "a list is expected", "lanes");
    refused("[rule]\nname = 'x'", "[rule]", "a list of tables is expected", "`[[rule]]`");
    refused("[tenants]\na = 'lane'", "'lane'", "a table is expected", "write `[tenants.a]`");
}

#[test]
fn a_value_out_of_bounds_is_told_the_bounds() {
    refused("[limits]\nstreams = 0", "0", "`streams` is out of bounds", "of 1 to 10000");
    refused("[limits]\nstreams = 99999999999999999999", "99999999999999999999", "out of", "10000");
    refused("[limits]\nheader_list = 1", "1", "out of bounds", "a size of 4KiB to 1MiB");
    refused("[limits]\nheader_list = '2MiB'", "'2MiB'", "out of bounds", "a size of 4KiB to 1MiB");
    refused("[limits]\nheader_list = '2MB'", "'2MB'", "is no size", "B, KiB, MiB or GiB");
    refused("[runtime]\npoll = '1ms'", "'1ms'", "out of bounds", "a period of 100ms to 1h");
    refused("[runtime]\npoll = '5'", "'5'", "is no period", "with its unit");
    refused("[runtime]\nworkers = 0", "0", "out of bounds", "or write \"auto\"");
    refused("[log.access]\nsample = 1.5", "1.5", "out of bounds", "a number of 0.0 to 1.0");
    refused("[log.access]\nsample = nan", "nan", "out of bounds", "a number of 0.0 to 1.0");
}

#[test]
fn where_instances_run_is_told_within_bounds() {
    refused("[defaults]\nsubset = 0", "0", "`subset` is out of bounds", "or write \"off\"");
    refused("[defaults]\nzones = { slack = 0.5 }", "0.5", "out of bounds", "1.0 to 10.0");
    refused("[services.x.zones]\nprefr = true", "prefr", "unknown key", "mean `prefer`?");
    refused("[services.x]\nclusters = 'a'", "'a'", "a list is expected", "clusters");
    refused("[services.x]\nclusters = ['a', \"a\"]", "\"a\"", "names a twice", "remove one");
}

#[test]
fn a_word_nobody_knows_is_met_with_the_nearest_one() {
    let text = "[inbound]\nclaims = 'acept'";
    refused(text, "'acept'", "knows no \"acept\"", "did you mean \"accept\"?");
    refused("[defaults]\nbalance = 'ring'", "'ring'", "knows no", "\"least_load\" or \"random\"");
    refused("[log]\nlevel = 'a=b=c'", "'a=b=c'", "is no level", "\"warn\"");
}

#[test]
fn a_bad_name_is_told_what_a_name_is() {
    refused("[tenants.a]\nlane = 'b c'", "'b c'", "`lane` is no name", "not ' '");
    refused("[tenants.'a b']", "'a b'", "no name of a tenant", "not ' '");
    refused("[services.'-']", "'-'", "no name of a service", "begins with a letter");
    refused("[lanes.a]\nfallback = ['']", "''", "is no name", "cannot be empty");
}

#[test]
fn a_bad_address_is_told_what_is_wrong_with_it() {
    let instance = |address: &str| format!("[[services.x.instances]]\naddress = '{address}'");
    refused(&instance("users:80"), "'users:80'", "names a host", "names are not resolved here");
    refused(&instance("10.0.0.1"), "'10.0.0.1'", "has no port", "behind a colon");
    refused(&instance(":80"), "':80'", "has no IP address", "\"0.0.0.0:80\"");
    refused(&instance("10.0.0.1:0"), "'10.0.0.1:0'", "has port 0", "write the port");
    refused(&instance("0.0.0.0:80"), "'0.0.0.0:80'", "nobody can be reached", "127.0.0.1");
    refused(&instance("10.0.0.1:99999"), "'10.0.0.1:99999'", "is no address", "write IP:port");
}

#[test]
fn a_carrier_is_a_field_that_travels_end_to_end() {
    refused("[tenant]\nheader = 'Host'", "'Host'", "names `host`", "`hosts`");
    refused("[tenant]\nheader = 'Connection'", "'Connection'", "frames a message", "end to end");
    refused("[tenant]\nheader = ':path'", "':path'", "pseudo-header", "`path_prefix`");
    refused("[tenant]\nheader = 'a b'", "'a b'", "no name of a header", "letters");
    refused("[tenant]\nheader = 'baggage'", "'baggage'", "many members", "as `baggage`");
    refused("[tenant]\nheader = 'cookie'", "'cookie'", "meaning of its own", "x-tenant");
    refused("[tenant]\nheader = 'x-dyelane-a'", "'x-dyelane-a'", "for ourselves", "x-tenant");
    refused("[tenant]\nbaggage = 'a b'", "'a b'", "is no key", "without spaces");
    refused("[tenant]\ntracestate = 'A'", "'A'", "no key of `tracestate`", "lower-case");
    refused("[tenant]\nread = []", "[]", "no carrier is read", "at least one");
    let text = "[tenant]\naliases = [{ header = 'X-Tenant' }]";
    refused(text, "{ header = 'X-Tenant' }", "names one carrier twice", "remove one");
    refused("[tenant]\naliases = [{}]", "{}", "has not exactly one key", "{ header = … }");
    let text = "[tenant]\naliases = [{ headr = 'a' }]";
    refused(text, "headr", "unknown key `headr`", "did you mean `header`?");
}

#[test]
fn a_rule_says_for_whom_it_is_and_what_they_get() {
    let set = "set = { tenant = 'b' }";
    refused(&format!("[[rule]]\nname = 'a'\n{set}"), "[[rule]]", "which requests", "`match = {}`");
    refused("[[rule]]\nname = 'a'\nmatch = {}", "[[rule]]", "`tenant` is missing", "NAME");
    refused(&format!("[[rule]]\nmatch = {{}}\n{set}"), "[[rule]]", "`name` is missing", "name");
    let text = format!("[[rule]]\nname = 'a'\npercent = 5\n{set}");
    refused(&text, "5", "does not say what the share is drawn by", "by = \"source\"");
    let text = format!("[[rule]]\nname = 'a'\nmatch = {{}}\nby = 'source'\n{set}");
    refused(&text, "'source'", "has no `percent`", "remove `by`");
    let text = format!("[[rule]]\nname = 'a'\npercent = 0.00001\nby = 'source'\n{set}");
    refused(&text, "0.00001", "finer than a ten-thousandth", "four digits");
    let text = format!("[[rule]]\nname = 'a'\npercent = 5\nby = 'header:host'\n{set}");
    refused(&text, "'header:host'", "names `host`", "hosts");
}

#[test]
fn a_rule_matches_only_what_can_be() {
    let rule = |matches: &str| {
        format!("[[rule]]\nname = 'a'\nset = {{ tenant = 'b' }}\nmatch = {{ {matches} }}")
    };
    refused(&rule("hosts = ['http://a']"), "'http://a'", "but a URL", "host only");
    refused(&rule("hosts = ['a:80']"), "'a:80'", "has a port", "without it");
    refused(&rule("path_prefix = 'a'"), "'a'", "begin with a slash", "\"/a\"");
    refused(&rule("path_prefix = '/a?b'"), "'/a?b'", "has \"?\"", "the path alone");
    refused(&rule("methods = ['get']"), "'get'", "lower case", "\"GET\"");
    refused(&rule("headers = { Host = 'a' }"), "Host", "names `host`", "`hosts`");
    refused(&rule("cookies = { a = { present = false } }"), "false", "only what is there", "true");
    refused(&rule("headers = { a = { prefix = '' } }"), "''", "is empty", "present");
    refused(&rule("sources = ['10.1.0.0/8']"), "'10.1.0.0/8'", "has bits", "\"10.0.0.0/8\"");
    refused(&rule("sources = ['x']"), "'x'", "is no network", "10.0.0.0/8");
}

#[test]
fn nothing_belongs_to_two() {
    let text = "[services.a]\nhosts = ['Users']\n[services.b]\nhosts = ['users']";
    refused(text, "'users'", "host `users` is named by two services", "let one service have it");
    refused("[services.a]\n[services.b]\nhosts = ['a']", "'a'", "two services", "own name");
    refused("[services.a]\nlisten = '127.0.0.1:15001'", "'127.0.0.1:15001'", "taken", "its own");
    let text = "[services.a]\nlisten = '0.0.0.0:1'\n[services.b]\nlisten = '127.0.0.1:1'";
    refused(text, "'127.0.0.1:1'", "`services.b.listen` listens at 127.0.0.1:1", "of its own");
    let text = "[[services.a.instances]]\naddress = '1.1.1.1:1'\n\
                [[services.a.instances]]\naddress = \"1.1.1.1:1\"";
    refused(text, "\"1.1.1.1:1\"", "instance of `a` 1.1.1.1:1 is given twice", "remove one");
    let rule = "[[rule]]\nmatch = {}\nset = { tenant = 'b' }\nname = ";
    refused(&format!("{rule}'r'\n{rule}\"r\""), "\"r\"", "rule `r` is given twice", "remove one");
}

#[test]
fn limits_stand_in_their_order() {
    let timeouts = |text: &str| format!("[defaults]\ntimeouts = {{ {text} }}");
    let later = "connect = '40s', head = '30s'";
    refused(&timeouts(later), "'40s'", "`connect` is more than `head`", "at most");
    let later = "head = '30s', total = '2s'";
    refused(&timeouts(later), "'30s'", "`head` is more than `total`", "at most");
    refused(&timeouts("total = '1ms'"), "'1ms'", "`connect` is more", "at most");
    refused("[defaults]\noutlier = { ejection = '6m' }", "'6m'", "`max_ejection`", "at most");
    refused(
        "[limits]\nstream_window = '16MiB'\nconnection_buffer = '64KiB'",
        "'16MiB'",
        "more",
        "",
    );
}

#[test]
fn a_value_that_is_wrong_is_not_compared_as_well() {
    refused("[defaults]\ntimeouts = { connect = '2m', head = '1ms' }", "'2m'", "out of bounds", "");
}

#[test]
fn a_lane_does_not_fall_back_to_itself() {
    refused("[lanes.a]\nfallback = ['a']", "'a'", "names the lane itself", "remove it");
    refused("[lanes.a]\nfallback = ['b', \"b\"]", "\"b\"", "names b twice", "remove one");
    let text = "[lanes.a]\nfallback = ['1', '2', '3', '4', '5', '6', '7', '8', '9']";
    refused(text, "'9'", "more than 8 lanes", "remove");
}

#[test]
fn a_variable_that_is_not_set_is_named_at_its_place() {
    refused("[tenants.a]\nlane = 'x-${NONE}'", "${NONE}", "`NONE` is not set", "${NONE:-default}");
    refused("[tenants.a]\nlane = '${a-b}'", "${a-b}", "names no variable", "${NAME}");
    refused("[tenants.a]\nlane = '${NONE'", "${NONE", "is not closed", "${NAME}");
}

#[test]
fn a_failure_that_is_none_is_told_what_there_is() {
    let retries = |on: &str| format!("[defaults]\nretries = {{ on = [{on}] }}");
    refused(&retries("'5xx'"), "'5xx'", "knows no failure", "400 to 599");
    refused(&retries("200"), "200", "out of bounds", "400 to 599");
    refused(&retries("'grpc:0'"), "'grpc:0'", "knows no failure", "grpc:14");
}

#[test]
fn a_sidecar_listens_somewhere() {
    let check = |text: &str| Config::check("f", text, &|_| None);

    let report = check("[workload]\nservice = 'a'\n").unwrap_err();

    assert!(told(&report)[0].1.contains("would listen nowhere"));
    assert!(check("[workload]\nservice = 'a'\n[services.b]\nlisten = '127.0.0.1:1'\n").is_ok());
    assert!(check("[workload]\nservice = 'a'\n[inbound]\nlisten = []\n").is_err());
}

#[test]
fn the_application_is_not_the_sidecar() {
    let text = "[workload]\nservice = 'a'\naddress = '127.0.0.1:15006'\n[inbound]\n";

    let report = Config::check("f", text, &|_| None).unwrap_err();

    assert!(report.to_string().contains("is where the sidecar itself listens"));
}

#[test]
fn an_empty_file_is_told_what_to_begin_with() {
    let report = Config::check("f", "", &|_| None).unwrap_err();

    let helps: Vec<_> = told(&report).into_iter().map(|(_, _, help)| help).collect();
    assert!(helps[0].contains("write `[workload]`, and under it `service = "));
}

#[test]
fn all_that_is_wrong_is_reported_in_the_order_of_the_text() {
    let text = "zone = 1\n[tenants.a]\nlan = 'x'\n[log]\nformat = 'xml'\n[lanes.b]\nstrict = 1";

    let found = problems(text);

    let places: Vec<_> = found.iter().map(|(at, _, _)| &**at).collect();
    assert_eq!(places, ["zone", "lan", "'xml'", "1"]);
}

#[test]
fn a_text_that_is_no_toml_is_reported_in_our_words() {
    refused("a = 5s\n", "5s", "`5s` is no value", "in quotes: \"5s\"");
    refused("a = 127.0.0.1:80\n", "127.0.0.1:80", "is no value", "in quotes");
    refused("a = [1, 10.0.0.0/8]\n", "10.0.0.0/8", "is no value", "in quotes");
    refused("a = \n", "", "a value is missing", "write one");
    refused("a\n", "", "a key has no value", "key = value");
    refused("[workload]\n", "workload", "`workload` is given twice", "keep one");
    refused("[tenants.a]\n[tenants.a]\n", "a", "`a` is given twice", "keep one");
    refused("[log\n", "", "unclosed table", "close what is opened");
}

#[test]
fn a_key_of_odd_characters_stays_on_its_line() {
    let found = problems("\"a\\nb\" = 1\n[tenants.\"c\\nd\"]\n[lanes]\n\"e\\nf\" = 1");

    assert!(found.iter().all(|(_, message, help)| !message.contains('\n') && !help.contains('\n')));
}
