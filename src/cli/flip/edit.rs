//! `[tenants.NAME]` in the text of a file: changed where it stands, with everything around it left
//! as it was written.

use toml_edit::{DocumentMut, InlineTable, Item, Key, Table, TableLike, TomlError, Value};

use crate::config::Tenant;
use crate::model::TenantId;

/// Why a text cannot be edited.
#[derive(Debug, thiserror::Error)]
pub(super) enum EditError {
    /// It is no TOML.
    #[error("is no TOML")]
    Syntax(#[from] TomlError),
    /// `tenants`, or the tenant, is something else than a table.
    #[error("`{0}` is no table")]
    NoTable(String),
}

/// Returns `text` with the entry of `name` saying `after`, where it now says `before`; without an
/// entry if that is none.
pub(super) fn edit(
    text: &str,
    name: TenantId,
    before: Option<&Tenant>,
    after: Option<&Tenant>,
) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    match after {
        Some(after) => write(&mut document, name, before, after)?,
        None => remove(&mut document, name)?,
    }
    Ok(document.to_string())
}

/// Writes the keys in which `after` differs from `before`, into an entry that is made if need be.
fn write(
    document: &mut DocumentMut,
    name: TenantId,
    before: Option<&Tenant>,
    after: &Tenant,
) -> Result<(), EditError> {
    let is_first = !document.contains_key("tenants");
    let tenants = document.entry("tenants").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let is_inline = tenants.is_inline_table();
    let is_dotted = tenants.as_table().is_some_and(Table::is_dotted);
    let not_table = || EditError::NoTable("tenants".to_owned());
    let tenants = tenants.as_table_like_mut().ok_or_else(not_table)?;
    if !tenants.contains_key(name.as_str()) {
        let entry = if is_inline {
            Item::Value(Value::InlineTable(InlineTable::new()))
        } else {
            let mut table = Table::new();
            table.set_dotted(is_dotted);
            if !is_dotted {
                table.decor_mut().set_prefix("\n");
            }
            if is_first {
                table.set_position(Some(isize::MAX));
            }
            Item::Table(table)
        };
        add(tenants, name.as_str(), entry);
    }
    let entry = tenants.get_mut(name.as_str()).and_then(Item::as_table_like_mut);
    let entry = entry.ok_or_else(|| EditError::NoTable(format!("tenants.{name}")))?;
    let plain = Tenant::default();
    let before = before.unwrap_or(&plain);
    if before.lane != after.lane {
        match &after.lane {
            Some(lane) => set(entry, "lane", Value::from(lane.as_str())),
            None => drop(entry.remove("lane")),
        }
    }
    if before.disabled != after.disabled {
        set(entry, "enabled", Value::from(!after.disabled));
    }
    if before.strict != after.strict {
        set(entry, "strict", Value::from(after.strict));
    }
    Ok(())
}

/// Sets a key; one that is there keeps its place, and the comment behind it its column.
fn set(table: &mut dyn TableLike, key: &str, new: Value) {
    let Some(old) = table.get_mut(key).and_then(Item::as_value_mut) else {
        return add(table, key, Item::Value(new));
    };
    let mut decor = old.decor().clone();
    let width = |value: &Value| value.clone().decorated("", "").to_string().chars().count();
    if let Some(behind) = decor.suffix().and_then(|it| it.as_str())
        && let Some(at) = behind.find('#')
    {
        let column = width(old) + at;
        let room = column.saturating_sub(width(&new)).max(1);
        let comment = behind.get(at..).unwrap_or_default();
        decor.set_suffix(format!("{:room$}{comment}", ""));
    }
    *old = new;
    *old.decor_mut() = decor;
}

/// Adds a key at the end; the space behind what was last, as before a closing brace, stays last.
fn add(table: &mut dyn TableLike, key: &str, mut new: Item) {
    let last = table.iter_mut().last().and_then(|(_, item)| item.as_value_mut());
    if let (Some(last), Some(new)) = (last, new.as_value_mut())
        && let Some(space) = last.decor().suffix().and_then(|it| it.as_str()).map(str::to_owned)
        && space.trim().is_empty()
    {
        last.decor_mut().set_suffix("");
        new.decor_mut().set_prefix(" ");
        new.decor_mut().set_suffix(space);
    }
    table.entry_format(&Key::new(key)).or_insert(new);
}

/// Removes the entry, and `tenants` with the last one.
fn remove(document: &mut DocumentMut, name: TenantId) -> Result<(), EditError> {
    let Some(tenants) = document.get_mut("tenants") else { return Ok(()) };
    let not_table = || EditError::NoTable("tenants".to_owned());
    let tenants = tenants.as_table_like_mut().ok_or_else(not_table)?;
    tenants.remove(name.as_str());
    if tenants.is_empty() {
        document.remove("tenants");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../sidecar.toml");

    fn tenant(lane: Option<&str>, disabled: bool) -> Tenant {
        Tenant { lane: lane.map(|it| it.parse().unwrap()), disabled, strict: false }
    }

    fn edited(text: &str, before: Option<&Tenant>, after: Option<&Tenant>) -> String {
        edit(text, TenantId::new("alice").unwrap(), before, after).unwrap()
    }

    /// Turns alice off in `text`, in which she has the given lane and is on.
    fn off(text: &str, lane: Option<&str>) -> String {
        edited(text, Some(&tenant(lane, false)), Some(&tenant(lane, true)))
    }

    #[test]
    fn a_value_is_changed_where_it_stands_and_nothing_else() {
        let line = "enabled = true                      # turned off";
        let expected = EXAMPLE.replace(line, "enabled = false                     # turned off");

        let text = off(EXAMPLE, Some("alice"));

        assert_eq!(text, expected);
        assert_eq!(edited(&text, Some(&tenant(None, true)), Some(&tenant(None, false))), EXAMPLE);
    }

    #[test]
    fn an_entry_is_found_however_it_is_written() {
        for (before, after) in [
            ("[tenants.alice]\nlane = 'a'\n", "[tenants.alice]\nlane = 'a'\nenabled = false\n"),
            (
                "[tenants.\"alice\"]\nlane = 'a'",
                "[tenants.\"alice\"]\nlane = 'a'\nenabled = false\n",
            ),
            (
                "tenants.alice.lane = 'a'\n",
                "tenants.alice.lane = 'a'\ntenants.alice.enabled = false\n",
            ),
            (
                "[tenants]\nalice.lane = 'a'\n",
                "[tenants]\nalice.lane = 'a'\nalice.enabled = false\n",
            ),
            (
                "[tenants]\nalice = { lane = 'a' } # x\n",
                "[tenants]\nalice = { lane = 'a', enabled = false } # x\n",
            ),
            (
                "tenants = { alice = { lane = 'a' } }\n",
                "tenants = { alice = { lane = 'a', enabled = false } }\n",
            ),
        ] {
            assert_eq!(off(before, Some("a")), after);
        }
    }

    #[test]
    fn an_entry_that_is_not_there_is_added_beside_the_others() {
        let on_lane = Some(tenant(Some("b"), false));
        for (before, after) in [
            ("", "\n[tenants.alice]\nlane = \"b\"\n"),
            ("a = 1\n[log]\n[admin]\n", "a = 1\n[log]\n[admin]\n\n[tenants.alice]\nlane = \"b\"\n"),
            (
                "[services.x]\n[log]\n[services.y]\n",
                "[services.x]\n[log]\n[services.y]\n\n[tenants.alice]\nlane = \"b\"\n",
            ),
            (
                "[tenants.bob]\n# his\nlane = 'x'\n\n# log\n[log]\n",
                "[tenants.bob]\n# his\nlane = 'x'\n\n[tenants.alice]\nlane = \"b\"\n\n# log\n[log]\n",
            ),
            ("[tenants]\n", "[tenants]\n\n[tenants.alice]\nlane = \"b\"\n"),
            (
                "tenants.bob.strict = true\n",
                "tenants.bob.strict = true\ntenants.alice.lane = \"b\"\n",
            ),
            ("tenants = { bob = {} }\n", "tenants = { bob = {}, alice = { lane = \"b\" } }\n"),
        ] {
            assert_eq!(edited(before, None, on_lane.as_ref()), after);
        }
    }

    #[test]
    fn an_entry_that_is_removed_leaves_the_others() {
        let text = "[tenants.alice]\nlane = 'a'\n\n[tenants.bob]\n";

        assert_eq!(edited(text, None, None), "\n[tenants.bob]\n");
        assert_eq!(edited("a = 1\n[tenants.alice]\n", None, None), "a = 1\n");
        assert_eq!(edited("a = 1\n", None, None), "a = 1\n");
    }

    #[test]
    fn what_is_no_table_is_left_alone() {
        let name = TenantId::new("alice").unwrap();
        let off = tenant(None, true);

        for text in ["tenants = 1", "[tenants]\nalice = 1", "[[tenants]]", "a = "] {
            assert!(edit(text, name, None, Some(&off)).is_err(), "{text}");
        }
    }
}
