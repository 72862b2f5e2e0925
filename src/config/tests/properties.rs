//! What holds for every text: reading and showing never fail, and places lie inside.

use proptest::prelude::*;

use super::variables;
use crate::config::{Config, Problem, Report};

const EXAMPLE: &str = include_str!("../../../sidecar.toml");

/// Reads `text`, and shows what is wrong with it.
fn survives(text: &str) {
    let shown = |report: &Report| {
        assert!(!report.problems().is_empty());
        for problem in report.problems() {
            assert!(report.text().get(problem.span.clone()).is_some(), "{problem:?}");
        }
        assert!(report.to_string().starts_with("error: "));
        assert!(report.located().all(|it| it.line > 0 && it.column > 0));
    };
    match Config::parse("f", text, &variables) {
        Ok(parsed) => parsed.quarantined.iter().for_each(|it| shown(&it.report)),
        Err(report) => shown(&report),
    }
}

/// Lines that mean something, in any order.
fn lines() -> impl Strategy<Value = String> {
    let lines: Vec<_> = EXAMPLE.lines().filter(|line| !line.starts_with('#')).collect();
    let values = prop::sample::select(vec![
        "1",
        "-1",
        "1.5",
        "true",
        "'x'",
        "''",
        "'${LANE}'",
        "'${'",
        "[]",
        "[1, 'x', {}]",
        "{}",
        "{ a = 1 }",
        "2020-01-01",
        "9999999999999999999999",
        "'1s'",
        "'off'",
        "'64KiB'",
        "nan",
        "'é:1'",
        "'[::]:0'",
        "\"\\u0000\"",
        "'*.'",
        "'/'",
        "'10.0.0.0/0'",
        "'::/0'",
    ]);
    let line = (prop::sample::select(lines), prop::option::of(values)).prop_map(|(line, value)| {
        match (line.split_once(" = "), value) {
            (Some((key, _)), Some(value)) => format!("{key} = {value}"),
            _ => line.to_owned(),
        }
    });
    prop::collection::vec(line, 0..30).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        survives(&text);
    }

    #[test]
    fn any_bytes_of_toml_are_read_or_refused(text in "[\\[\\]{}='\"\\\\a-c0-9.,:#${}\r\n\té日 -]{0,200}") {
        survives(&text);
    }

    #[test]
    fn any_lines_of_the_example_are_read_or_refused(text in lines()) {
        survives(&text);
    }

    #[test]
    fn a_mutilated_example_is_read_or_refused(
        at in 0..EXAMPLE.len(), length in 0_usize..40, put in "\\PC{0,10}|[\r\n\t'\"\\[\\]{}=]{0,4}",
    ) {
        let bytes = EXAMPLE.as_bytes();
        let end = (at + length).min(bytes.len());
        let text = [&bytes[..at], put.as_bytes(), &bytes[end..]].concat();

        survives(&String::from_utf8_lossy(&text));
    }

    #[test]
    fn any_place_can_be_shown(
        text in "[a \t\r\n\u{0}\u{1b}é日\u{301}😀]{0,300}",
        start in 0_usize..400, end in 0_usize..400, other in 0_usize..400,
    ) {
        let problem = Problem::new(start..end, "wrong").label(other..end, "here").help("none");
        let report = Report::new("f", text, vec![problem]);

        let shown = report.to_string();

        prop_assert!(shown.contains('^') && shown.contains('-'));
    }

    #[test]
    fn what_a_variable_holds_never_breaks_the_file(value in "\\PC{0,80}") {
        let text = "[workload]\nservice = 'a'\nzone = '${V:-z}'\nmetadata = { a = '${V}' }\n[inbound]\n";
        let variables = |_: &str| Some(value.clone());

        let parsed = Config::parse("f", text, &variables).unwrap();

        prop_assert_eq!(&parsed.config.workload.metadata["a"], &value);
    }
}
