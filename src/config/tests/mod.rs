//! What a file says, and what is said of a file.

mod example;
mod meaning;
mod properties;
mod quarantine;
mod reference;
mod refusals;
mod registry;
mod rendering;

use crate::config::{Config, Parsed, Report};

/// The least file, to which tests add.
const LEAST: &str = "[workload]\nservice = \"order.shop\"\n[outbound]\n";

fn variables(name: &str) -> Option<String> {
    match name {
        "LANE" => Some("dev.alice".to_owned()),
        "COUNT" => Some("7".to_owned()),
        "EMPTY" => Some(String::new()),
        "INJECTION" => Some("x\"\nstrict = true".to_owned()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Parsed, Report> {
    Config::parse("sidecar.toml", text, &variables)
}

/// Reads the least file with `text` added; it must be good.
fn good(text: &str) -> Config {
    parse(&format!("{LEAST}{text}")).unwrap_or_else(|report| panic!("\n{report}")).config
}

/// Reads the least file with `text` added; it must be bad. Gives each problem as the text it is
/// at, its message and its help.
fn problems(text: &str) -> Vec<(String, String, String)> {
    told(&Config::check("sidecar.toml", &format!("{LEAST}{text}"), &variables).unwrap_err())
}

fn told(report: &Report) -> Vec<(String, String, String)> {
    let told = report.problems().iter().map(|problem| {
        let at = report.text().get(problem.span.clone()).unwrap().to_owned();
        (at, problem.message.clone(), problem.help.clone().unwrap_or_default())
    });
    told.collect()
}
