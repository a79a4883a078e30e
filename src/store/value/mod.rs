//! What the value of an entry means, one file per type.
//!
//! A type is a [`Type`], and what [`Value`] shows of it. Strings lie in the entry's own bytes and are changed by methods of
//! [`Slot`](super::Slot). What holds more than bytes is a [`Collection`]: it hangs off its entry, knows nothing of keys,
//! deadlines or locks, and is reached through `Slot::see`, `Slot::edit` and `Slot::edit_or_new`. It tells its size at once,
//! as that is asked before and after each change.

mod compact;
mod dump;
mod fields;
mod hash;
mod intset;
mod keyed;
mod list;
mod listpack;
mod ranked;
mod sequence;
mod set;
mod string;
mod zset;

pub(super) use compact::Settings;
pub use dump::{Restored, restore, restore_content};
pub use hash::Hash;
pub use list::{End, List};
pub use listpack::{Element, Listpack};
pub use set::Set;
pub use string::STRING_MAX;
pub use zset::{Iter as ZSetIter, ZSet};

use super::entry::{Entry, Kind};
use super::objects::Objects;
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::num;

/// The types that commands tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A string of bytes.
    String,
    /// Elements in a row.
    List,
    /// Members without order.
    Set,
    /// Members by score.
    ZSet,
    /// Fields with values.
    Hash,
}

impl Type {
    /// The name that TYPE answers.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Set => "set",
            Type::ZSet => "zset",
            Type::Hash => "hash",
        }
    }
}

/// A collection of any type.
#[derive(Clone)]
pub enum Object {
    /// Elements in a row.
    List(List),
    /// Members without order.
    Set(Set),
    /// Members by score.
    ZSet(ZSet),
    /// Fields with values.
    Hash(Hash),
}

macro_rules! of_each {
    ($object:expr, $collection:ident => $what:expr) => {
        match $object {
            Object::List($collection) => $what,
            Object::Set($collection) => $what,
            Object::ZSet($collection) => $what,
            Object::Hash($collection) => $what,
        }
    };
}

impl Object {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Object::List(_) => Kind::List,
            Object::Set(_) => Kind::Set,
            Object::ZSet(_) => Kind::ZSet,
            Object::Hash(_) => Kind::Hash,
        }
    }

    /// Bytes that it takes on the heap.
    pub fn size(&self) -> usize {
        of_each!(self, collection => collection.size())
    }

    /// Elements, members or fields in it.
    pub fn len(&self) -> usize {
        of_each!(self, collection => collection.len())
    }

    /// Whether nothing is in it. Such a collection is not kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many pieces of memory it takes.
    pub(super) fn pieces(&self) -> usize {
        of_each!(self, collection => collection.pieces())
    }

    /// Frees about so many of them; `false` when no more than one is left. It is of no use afterwards.
    pub(super) fn wreck(&mut self, most: usize) -> bool {
        of_each!(self, collection => collection.wreck(most))
    }

    /// The encoding that OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        of_each!(self, collection => collection.encoding())
    }
}

/// A type that holds more than bytes.
pub trait Collection: Default + Into<Object> {
    /// The collection, if it is of this type.
    fn of(object: &Object) -> Option<&Self>;
    /// The same, to change.
    fn of_mut(object: &mut Object) -> Option<&mut Self>;
}

macro_rules! collections {
    ($($name:ident),+) => {$(
        impl From<$name> for Object {
            fn from(collection: $name) -> Object {
                Object::$name(collection)
            }
        }

        impl Collection for $name {
            fn of(object: &Object) -> Option<&$name> {
                match object {
                    Object::$name(collection) => Some(collection),
                    _ => None,
                }
            }

            fn of_mut(object: &mut Object) -> Option<&mut $name> {
                match object {
                    Object::$name(collection) => Some(collection),
                    _ => None,
                }
            }
        }
    )+};
}

collections!(List, Set, ZSet, Hash);

/// A live value, for as long as a closure runs.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    entry: Entry<'a>,
    objects: &'a Objects,
}

/// Up to this many bytes Redis keeps a string beside its object header, and says `embstr`.
const EMBEDDED_MAX: usize = 44;

impl<'a> Value<'a> {
    /// Shows an entry that commands may see.
    pub(super) fn of(entry: Entry<'a>, objects: &'a Objects) -> Value<'a> {
        debug_assert!(entry.kind().is_visible());
        Value { entry, objects }
    }

    /// Its type.
    pub fn kind(self) -> Type {
        match self.entry.kind() {
            Kind::List => Type::List,
            Kind::Set => Type::Set,
            Kind::ZSet => Type::ZSet,
            Kind::Hash => Type::Hash,
            Kind::String | Kind::Alias | Kind::Fence => Type::String,
        }
    }

    /// The bytes, if it is a string.
    pub fn string(self) -> Result<&'a [u8]> {
        match self.entry.kind() {
            Kind::String => Ok(self.entry.value()),
            _ => wrong_type(),
        }
    }

    /// The collection of any type, if it is one.
    pub fn object(self) -> Option<&'a Object> {
        self.objects.get(self.entry.object()?)
    }

    /// The collection, if it is of this type.
    pub fn collection<T: Collection>(self) -> Result<&'a T> {
        self.object().and_then(T::of).ok_or(Error::WrongType)
    }

    /// Its key as stored; under a secret namespace that is the hashed name.
    pub fn name(self) -> &'a [u8] {
        self.entry.key()
    }

    /// When it dies; [`Millis::NEVER`] if it does not.
    pub fn deadline(self) -> Millis {
        self.entry.deadline()
    }

    /// The encoding that OBJECT ENCODING answers, by Redis' thresholds.
    pub fn encoding(self) -> &'static str {
        if let Some(object) = self.object() {
            return object.encoding();
        }
        let bytes = self.entry.value();
        if self.entry.grown() {
            "raw"
        } else if num::parse_i64(bytes).is_some() {
            "int"
        } else if bytes.len() <= EMBEDDED_MAX {
            "embstr"
        } else {
            "raw"
        }
    }

    /// Bytes that it takes, key and all.
    pub fn size(self) -> usize {
        self.entry.size() + self.object().map_or(0, |object| size_of::<Object>() + object.size())
    }

    /// The 24-bit access clock, see [`super::Access`].
    pub fn access(self) -> u32 {
        self.entry.access()
    }
}

/// The error for a value of another type than the command works on.
pub fn wrong_type<T>() -> Result<T> {
    Err(Error::WrongType)
}
