//! The header or trailer fields of a message, in their order on the wire.

use std::fmt;

/// The fields of a message, in order, as bytes.
///
/// Names are lower case, as HTTP/2 has them (RFC 9113 section 8.2); whoever pushes one has checked
/// it. All text lies in one allocation and the places in a second, however many fields there are.
#[derive(Clone, Default)]
pub struct Fields {
    text: Vec<u8>,
    places: Vec<Place>,
}

/// Where a field lies in the text: its name, then its value right behind.
#[derive(Clone, Copy)]
struct Place {
    start: u32,
    name: u32,
    value: u32,
    sensitive: bool,
}

impl Fields {
    /// An empty list with room for `fields` fields of `bytes` bytes together.
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), places: Vec::with_capacity(fields) }
    }

    /// Appends a field. `name` is lower case.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_parts(name, value, false);
    }

    /// Appends a field that no intermediary may put into a compression table (RFC 7541 section
    /// 7.1.3).
    pub fn push_sensitive(&mut self, name: &[u8], value: &[u8]) {
        self.push_parts(name, value, true);
    }

    fn push_parts(&mut self, name: &[u8], value: &[u8], sensitive: bool) {
        // A list is bounded far below 4 GiB by the limits of both protocols' readers.
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let start = length(&self.text);
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.places.push(Place { start, name: length(name), value: length(value), sensitive });
    }

    fn parts(&self, place: &Place) -> (&[u8], &[u8]) {
        let start = place.start as usize;
        let end = start + place.name as usize + place.value as usize;
        let both = self.text.get(start..end).unwrap_or_default();
        both.split_at_checked(place.name as usize).unwrap_or_default()
    }

    /// Returns the fields in order, as name and value.
    pub fn iter(&self) -> Iter<'_> {
        Iter { fields: self, places: self.places.iter() }
    }

    /// Returns the fields in order, as name, value and whether the field is sensitive.
    pub fn iter_marked(&self) -> impl Iterator<Item = (&[u8], &[u8], bool)> {
        self.places.iter().map(|place| {
            let (name, value) = self.parts(place);
            (name, value, place.sensitive)
        })
    }

    /// Returns the values of every field of that name, in order.
    pub fn all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(it, _)| *it == name).map(|(_, value)| value)
    }

    /// Returns the value of the first field of that name.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(it, _)| *it == name).map(|(_, value)| value)
    }

    /// Returns whether there is a field of that name.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.get(name).is_some()
    }

    /// Removes every field of that name; the others keep their order.
    pub fn remove(&mut self, name: &[u8]) {
        self.retain(|it, _| it != name);
    }

    /// Keeps the fields for which `keep` says so, in their order.
    ///
    /// The text of the others stays allocated until the list is dropped.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let mut places = std::mem::take(&mut self.places);
        places.retain(|place| {
            let (name, value) = self.parts(place);
            keep(name, value)
        });
        self.places = places;
    }

    /// Shows `edit` every field, as name and value, and does with it what it says; the fields keep
    /// their order, and a field that gets another value keeps its mark.
    pub fn edit(&mut self, mut edit: impl FnMut(&[u8], &[u8]) -> Edit) {
        let mut places = std::mem::take(&mut self.places);
        places.retain_mut(|place| {
            let (name, value) = self.parts(place);
            let new = match edit(name, value) {
                Edit::Keep => return true,
                Edit::Remove => return false,
                Edit::Replace(new) => new,
            };
            let name = name.to_vec();
            self.push_parts(&name, &new, place.sensitive);
            if let Some(new) = self.places.pop() {
                *place = new;
            }
            true
        });
        self.places = places;
    }

    /// Makes `value` the one value of that name: in the place of the first field of that name, or
    /// at the end.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        let Some(at) = self.iter().position(|(it, _)| it == name) else {
            return self.push(name, value);
        };
        self.push(name, value);
        let Some(new) = self.places.pop() else { return };
        let mut places = std::mem::take(&mut self.places);
        let mut index = 0;
        places.retain_mut(|place| {
            let mine = self.parts(place).0 == name;
            if index == at {
                *place = new;
            }
            index += 1;
            !mine || index == at + 1
        });
        self.places = places;
    }

    /// Returns how many fields there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Forgets all fields and keeps the room.
    pub fn clear(&mut self) {
        self.text.clear();
        self.places.clear();
    }

    /// Returns the size as HTTP/2 counts it: name and value and 32 bytes for each field (RFC 9113
    /// section 6.5.2, `SETTINGS_MAX_HEADER_LIST_SIZE`).
    pub fn list_size(&self) -> usize {
        self.places.iter().map(|it| it.name as usize + it.value as usize + 32).sum()
    }
}

/// What [`Fields::edit`] does with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// It stays as it is.
    Keep,
    /// It gets this value.
    Replace(Vec<u8>),
    /// It goes.
    Remove,
}

/// The fields of a list in order, as name and value.
pub struct Iter<'a> {
    fields: &'a Fields,
    places: std::slice::Iter<'a, Place>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.places.next().map(|place| self.fields.parts(place))
    }
}

impl<'a> IntoIterator for &'a Fields {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut fields = Self::default();
        for (name, value) in pairs {
            fields.push(name.as_ref(), value.as_ref());
        }
        fields
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter_marked().eq(other.iter_marked())
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let shown = self.iter_marked().map(|(name, value, sensitive)| {
            (text(name), if sensitive { "…".to_owned() } else { text(value) })
        });
        f.debug_map().entries(shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().copied().collect()
    }

    #[test]
    fn fields_keep_their_order_and_repeats() {
        let fields = list(&[("a", "1"), ("b", "2"), ("a", "3")]);

        let seen: Vec<_> = fields.all(b"a").collect();

        assert_eq!(seen, [b"1", b"3"]);
        assert_eq!(fields.get(b"b"), Some(&b"2"[..]));
        assert_eq!(fields.list_size(), 3 * 34);
    }

    #[test]
    fn setting_replaces_the_first_in_place_and_drops_its_repeats() {
        let mut fields = list(&[("x", "0"), ("a", "1"), ("b", "2"), ("a", "3")]);

        fields.set(b"a", b"new");
        fields.set(b"c", b"end");

        let seen: Vec<_> = fields.iter().collect();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"x", b"0"), (b"a", b"new"), (b"b", b"2"), (b"c", b"end")];
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_edit_touches_only_the_fields_it_names() {
        let mut fields = list(&[("a", "1"), ("b", "2")]);
        fields.push_sensitive(b"c", b"3");

        fields.edit(|name, _| match name {
            b"a" => Edit::Remove,
            b"c" => Edit::Replace(b"new".to_vec()),
            _ => Edit::Keep,
        });

        let mut expected = list(&[("b", "2")]);
        expected.push_sensitive(b"c", b"new");
        assert_eq!(fields, expected);
    }

    #[test]
    fn removing_takes_every_repeat() {
        let mut fields = list(&[("a", "1"), ("b", "2"), ("a", "3")]);

        fields.remove(b"a");

        assert_eq!(fields.iter().collect::<Vec<_>>(), [(&b"b"[..], &b"2"[..])]);
    }
}
