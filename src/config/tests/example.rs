//! `sidecar.toml` at the root of the repository.

use super::parse;

const EXAMPLE: &str = include_str!("../../../sidecar.toml");

#[test]
fn the_example_is_read_without_complaint() {
    let parsed = parse(EXAMPLE).unwrap_or_else(|report| panic!("\n{report}"));

    assert_eq!(parsed.quarantined, []);
    assert_eq!(parsed.config.instances.len(), 2);
}
