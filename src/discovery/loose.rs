//! JSON as clients and servers of all ages write it: numbers as texts, texts as numbers, one thing
//! instead of a list of one.
//!
//! Whatever has another shape than was meant is as good as not there. Only what is no JSON is an error.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A text, a number or a flag, as text; empty if it is none of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Text(pub(super) Arc<str>);

/// An object; none if it is none.
#[derive(Debug, Clone)]
pub(super) struct Object<T>(pub(super) Option<T>);

/// A list of objects; one object is a list of one, and what is neither is empty.
#[derive(Debug, Clone)]
pub(super) struct Several<T>(pub(super) Vec<T>);

/// Texts by name; empty if it is no object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Texts(pub(super) BTreeMap<Arc<str>, Text>);

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Default for Several<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// What may come, of whatever shape: what a type has no use for is read over.
pub(super) trait Shape<'de>: Sized + Default {
    fn scalar(_: &str) -> Self {
        Self::default()
    }

    fn list<A: SeqAccess<'de>>(mut all: A) -> Result<Self, A::Error> {
        while all.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }

    fn object<A: MapAccess<'de>>(mut all: A) -> Result<Self, A::Error> {
        while all.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

impl Shape<'_> for Text {
    fn scalar(text: &str) -> Self {
        Self(text.into())
    }
}

impl<'de, T: Deserialize<'de>> Shape<'de> for Object<T> {
    fn object<A: MapAccess<'de>>(all: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(all)).map(|it| Self(Some(it)))
    }
}

impl<'de, T: Deserialize<'de>> Shape<'de> for Several<T> {
    fn list<A: SeqAccess<'de>>(all: A) -> Result<Self, A::Error> {
        let all = Vec::<Object<T>>::deserialize(SeqAccessDeserializer::new(all))?;
        Ok(Self(all.into_iter().filter_map(|it| it.0).collect()))
    }

    fn object<A: MapAccess<'de>>(all: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(all)).map(|it| Self(vec![it]))
    }
}

impl<'de> Shape<'de> for Texts {
    fn object<A: MapAccess<'de>>(all: A) -> Result<Self, A::Error> {
        BTreeMap::deserialize(MapAccessDeserializer::new(all)).map(Self)
    }
}

/// Reads any JSON as a [`Shape`].
struct Any<T>(PhantomData<T>);

/// Reads whatever comes.
pub(super) fn any<'de, D: Deserializer<'de>, T: Shape<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(Any(PhantomData))
}

impl<'de, T: Shape<'de>> Visitor<'de> for Any<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E: Error>(self, it: bool) -> Result<T, E> {
        Ok(T::scalar(if it { "true" } else { "false" }))
    }

    fn visit_i64<E: Error>(self, it: i64) -> Result<T, E> {
        Ok(T::scalar(&it.to_string()))
    }

    fn visit_u64<E: Error>(self, it: u64) -> Result<T, E> {
        Ok(T::scalar(&it.to_string()))
    }

    fn visit_f64<E: Error>(self, it: f64) -> Result<T, E> {
        Ok(T::scalar(&it.to_string()))
    }

    fn visit_str<E: Error>(self, it: &str) -> Result<T, E> {
        Ok(T::scalar(it))
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, all: A) -> Result<T, A::Error> {
        T::list(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, all: A) -> Result<T, A::Error> {
        T::object(all)
    }
}

macro_rules! read_any {
    ($($name:ident $(<$of:ident>)?),+) => {$(
        impl<'de $(, $of: Deserialize<'de>)?> Deserialize<'de> for $name $(<$of>)? {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                any(from)
            }
        }
    )+};
}

read_any!(Text, Object<T>, Several<T>, Texts);

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> String {
        serde_json::from_str::<Text>(json).unwrap().0.to_string()
    }

    #[test]
    fn scalars_are_texts_and_the_rest_is_nothing() {
        let read = ["\"a\"", "7", "-7", "1.5", "true", "null", "[1]", "{\"a\":{}}"].map(text);

        assert_eq!(read, ["a", "7", "-7", "1.5", "true", "", "", ""]);
        assert!(serde_json::from_str::<Text>("{").is_err());
    }

    #[test]
    fn one_object_is_a_list_of_one() {
        let count = |json: &str| serde_json::from_str::<Several<Texts>>(json).unwrap().0.len();

        let counts = ["{}", "[]", "[{},{}]", "[{},null,7]", "null", "7"].map(count);

        assert_eq!(counts, [1, 0, 2, 1, 0, 0]);
    }
}
