//! JSON read without leaving it: where a value stands is what is asked.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::limits::DELTA_MEMBERS_MAX;

/// A JSON value as it is spelt in an event's data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    text: &'a str,
    /// The data that it is a part of.
    data: &'a str,
}

/// The members of an object that were not taken yet.
#[derive(Debug)]
pub(super) struct Object<'a> {
    members: Vec<(&'a str, Value<'a>)>,
}

impl<'a> Value<'a> {
    /// The whole data of an event, whatever it is.
    pub(super) fn of(data: &'a str) -> Self {
        Self { text: data, data }
    }

    /// The members of an object. One with many members, with two of one name, or with a name that
    /// is escaped, is none that anybody streams.
    pub(super) fn object(self) -> Option<Object<'a>> {
        let Raw(members) = serde_json::from_str(self.text).ok()?;
        let value = |(name, text)| (name, Self { text, data: self.data });
        Some(Object { members: members.into_iter().map(value).collect() })
    }

    /// The only element of an array.
    pub(super) fn only(self) -> Option<Self> {
        let [only]: [&RawValue; 1] = serde_json::from_str(self.text).ok()?;
        Some(Self { text: only.get(), data: self.data })
    }

    /// Where the text of a string stands in the data, as it is spelt. Half of a character is no
    /// text: not all who put text together make one of two halves.
    pub(super) fn string(self) -> Option<Range<usize>> {
        let text = self.text.strip_prefix('"')?.strip_suffix('"')?;
        let (first, last) = (text.get(..ESCAPE_BYTES), text.len().checked_sub(ESCAPE_BYTES));
        let last = last.and_then(|at| text.get(at..));
        let is_half = first.is_some_and(|escape| is_surrogate(escape, b"cdefCDEF"))
            || last.is_some_and(|escape| is_surrogate(escape, b"89abAB"));
        if is_half {
            return None;
        }
        let start = text.as_ptr().addr() - self.data.as_ptr().addr();
        Some(start..start + text.len())
    }

    /// Where it stands in the data.
    pub(super) fn place(self) -> Range<usize> {
        let start = self.text.as_ptr().addr() - self.data.as_ptr().addr();
        start..start + self.text.len()
    }

    /// Whether it is spelt like this.
    pub(super) fn is(self, json: &str) -> bool {
        self.text == json
    }

    pub(super) fn is_null(self) -> bool {
        self.is("null")
    }

    /// Whether it is an empty array.
    pub(super) fn is_empty(self) -> bool {
        serde_json::from_str::<[(); 0]>(self.text).is_ok()
    }

    /// Whether it is no array and no object.
    pub(super) fn is_scalar(self) -> bool {
        !self.text.starts_with(['[', '{'])
    }
}

impl<'a> Object<'a> {
    /// Takes a member out.
    pub(super) fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let index = self.members.iter().position(|(other, _)| *other == name)?;
        Some(self.members.swap_remove(index).1)
    }

    /// Takes a member out that says something.
    pub(super) fn take_some(&mut self, name: &str) -> Option<Value<'a>> {
        self.take(name).filter(|value| !value.is_null())
    }

    /// Whether there is nothing left that says anything.
    pub(super) fn is_spent(&self) -> bool {
        self.rest_is(Value::is_null)
    }

    /// Whether all that is left is of a sort.
    pub(super) fn rest_is(&self, sort: impl Fn(Value<'a>) -> bool) -> bool {
        self.members.iter().all(|(_, value)| sort(*value))
    }
}

/// `\uXXXX`.
const ESCAPE_BYTES: usize = 6;

/// Whether an escape stands for half of a character; `third` are the digits that say which half.
fn is_surrogate(escape: &str, third: &[u8]) -> bool {
    let [b'\\', b'u', b'd' | b'D', digit, _, _] = escape.as_bytes() else { return false };
    third.contains(digit)
}

/// The members of an object as they are spelt.
struct Raw<'a>(Vec<(&'a str, &'a str)>);

impl<'de> Deserialize<'de> for Raw<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Raw<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw<'de>, A::Error> {
        let mut members: Vec<(&str, &str)> = Vec::with_capacity(DELTA_MEMBERS_MAX / 2);
        while let Some((name, value)) = map.next_entry::<&str, &RawValue>()? {
            let is_new = members.iter().all(|(other, _)| *other != name);
            if !is_new || members.len() == DELTA_MEMBERS_MAX {
                return Err(A::Error::custom("it is no delta"));
            }
            members.push((name, value.get()));
        }
        Ok(Raw(members))
    }
}
