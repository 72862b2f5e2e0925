//! How a report looks, for people and for machines.

use crate::config::{Problem, Report};

fn shown(text: &str, span: std::ops::Range<usize>) -> String {
    Report::new("f", text, vec![Problem::new(span, "wrong")]).to_string()
}

#[test]
fn the_mark_stands_under_what_is_wrong() {
    let report = shown("a = 1\nbb = 22\n", 11..13);

    assert_eq!(report, "error: wrong\n --> f:2:6\n  |\n2 | bb = 22\n  |      ^^\n");
}

#[test]
fn a_remedy_and_a_second_place_are_shown() {
    let text = "a = 1\n\n\nb = 1\n";
    let problem = Problem::new(12..13, "wrong").label(4..5, "first here").help("do better");

    let report = Report::new("f", text, vec![problem]).to_string();

    let expected = "error: wrong\n --> f:4:5\n  |\n1 | a = 1\n  |     - first here\n...\n\
                    4 | b = 1\n  |     ^\n  = help: do better\n";
    assert_eq!(report, expected);
}

#[test]
fn two_places_on_one_line_share_it() {
    let problem = Problem::new(7..8, "wrong").label(4..5, "first here");

    let report = Report::new("f", "x = 1, 1", vec![problem]).to_string();

    let marks = "1 | x = 1, 1\n  |        ^\n  |     - first here\n";
    assert!(report.ends_with(marks), "{report}");
}

#[test]
fn tabs_and_wide_characters_do_not_shift_the_mark() {
    assert!(shown("\ta = 1", 5..6).ends_with("1 |     a = 1\n  |         ^\n"));
    assert!(shown("é = 1", 5..6).ends_with("1 | é = 1\n  |     ^\n"));
    assert!(shown("\"订单\" = 1", 11..12).ends_with("1 | \"订单\" = 1\n  |          ^\n"));
}

#[test]
fn lines_that_end_in_return_and_feed_are_shown_without() {
    assert!(
        shown("a = 1\r\nb = 2\r\n", 11..12).ends_with(" --> f:2:5\n  |\n2 | b = 2\n  |     ^\n")
    );
    assert!(shown("a = '\r\n", 5..7).ends_with("1 | a = '\n  |      ^\n"));
}

#[test]
fn a_place_over_several_lines_is_marked_in_its_first() {
    assert!(shown("a = [\n1,\n]", 4..10).ends_with("1 | a = [\n  |     ^\n"));
}

#[test]
fn the_end_of_the_file_can_be_wrong() {
    assert!(shown("a = 1\n", 6..6).ends_with(" --> f:2:1\n  |\n2 |\n  | ^\n"));
    assert!(shown("", 0..0).ends_with(" --> f:1:1\n  |\n1 |\n  | ^\n"));
    assert!(shown("a", 5..9).ends_with("1 | a\n  |  ^\n"));
}

#[test]
fn a_long_line_is_shown_around_the_mark() {
    let text = format!("a = [{}99{}]", "1, ".repeat(100), ", 1".repeat(100));

    let report = shown(&text, 305..307);

    let lines: Vec<_> = report.lines().collect();
    let mark = lines[4].find('^').unwrap();
    let at = lines[3].chars().nth(mark).unwrap();
    assert!(lines[3].chars().count() < 130 && at == '9', "{report}");
}

#[test]
fn what_would_upset_a_terminal_is_not_shown() {
    assert!(!shown("a = '\u{1b}[31m'", 4..5).contains('\u{1b}'));
}

#[test]
fn machines_get_lines_and_columns() {
    let problem = Problem::new(11..13, "wrong").help("do better");
    let report = Report::new("f", "é = 1\nbb = 22\n", vec![problem, Problem::new(0..2, "odd")]);

    let json = serde_json::to_value(&report).unwrap();

    let expected = serde_json::json!([
        { "file": "f", "line": 1, "column": 1, "message": "odd" },
        { "file": "f", "line": 2, "column": 5, "message": "wrong", "help": "do better" },
    ]);
    assert_eq!(json, expected);
}

#[test]
fn a_byte_order_mark_does_not_shift_the_mark() {
    let report = crate::config::Config::check("f", "\u{feff}[tls]\n", &|_| None).unwrap_err();

    assert!(report.problems().iter().any(|it| &report.text()[it.span.clone()] == "tls"));
}
