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

/// The types that commands tell apart. [`Value::kind`] tells which one a value is of.
///
/// ```
/// use cloakroom::{Store, clock::Ttl, store::Type};
///
/// let store = Store::new();
/// store.put(b"coat", b"blue", Ttl::seconds(60))?;
/// assert_eq!(store.get(b"coat", store.clock().now(), |value| value.kind()), Some(Type::String));
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[non_exhaustive]
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
    ///
    /// ```
    /// # use cloakroom::store::Type;
    /// assert_eq!(Type::ZSet.name(), "zset");
    /// ```
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

/// A live value where it lies, for as long as a closure runs.
///
/// ```
/// use cloakroom::{Store, clock::Ttl};
///
/// let store = Store::new();
/// let now = store.clock().now();
/// store.put(b"coat", b"blue", Ttl::seconds(60))?;
/// let (len, left) = store
///     .get(b"coat", now, |value| (value.string().map_or(0, <[u8]>::len), value.deadline().since(now)))
///     .expect("a coat");
/// assert!(len == 4 && left >= Ttl::seconds(60));
/// # Ok::<(), cloakroom::Error>(())
/// ```
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
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::Ttl, store::Type};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.put(b"coat", b"blue", Ttl::seconds(60))?;
    /// assert_eq!(store.get(b"coat", now, |value| value.kind()), Some(Type::String));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn kind(self) -> Type {
        match self.entry.kind() {
            Kind::List => Type::List,
            Kind::Set => Type::Set,
            Kind::ZSet => Type::ZSet,
            Kind::Hash => Type::Hash,
            Kind::String | Kind::Alias | Kind::Fence => Type::String,
        }
    }

    /// The bytes, if it is a string; [`Error::WrongType`] if not.
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::Ttl, store::Type};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.put(b"coat", b"blue", Ttl::seconds(60))?;
    /// let is_blue = store.get(b"coat", now, |value| value.string() == Ok(b"blue"));
    /// assert_eq!(is_blue, Some(true));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn string(self) -> Result<&'a [u8]> {
        match self.entry.kind() {
            Kind::String => Ok(self.entry.value()),
            _ => wrong_type(),
        }
    }

    /// The collection of any type, if it is one.
    #[cfg_attr(doc, doc(hidden))]
    pub fn object(self) -> Option<&'a Object> {
        self.objects.get(self.entry.object()?)
    }

    /// The collection, if it is of this type.
    #[cfg_attr(doc, doc(hidden))]
    pub fn collection<T: Collection>(self) -> Result<&'a T> {
        self.object().and_then(T::of).ok_or(Error::WrongType)
    }

    /// Its key as stored; under a secret namespace that is the hashed name.
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::Ttl, store::Type};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.put(b"auth:session:a-token", b"{}", Ttl::seconds(60))?;
    /// let name = store.get(b"auth:session:a-token", now, |value| value.name().to_vec()).expect("a session");
    /// assert!(name.starts_with(b"auth:session:~") && !name.ends_with(b"a-token"));
    /// // It names the entry as the token does.
    /// assert_eq!(store.fetch(&name).as_deref(), Some(&b"{}"[..]));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn name(self) -> &'a [u8] {
        self.entry.key()
    }

    /// When it dies; [`Millis::NEVER`] if it does not.
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::Ttl, store::Type};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.with(b"coat", now, |slot| slot.put_bytes(b"blue", now + Ttl(7)))?;
    /// assert_eq!(store.get(b"coat", now, |value| value.deadline()), Some(now + Ttl(7)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn deadline(self) -> Millis {
        self.entry.deadline()
    }

    /// The encoding that OBJECT ENCODING answers, by Redis' thresholds.
    #[cfg_attr(doc, doc(hidden))]
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
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::Ttl, store::Type};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.put(b"coat", &[0; 1_000], Ttl::seconds(60))?;
    /// let size = store.get(b"coat", now, |value| value.size()).expect("a coat");
    /// assert!((1_004..1_040).contains(&size));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn size(self) -> usize {
        self.entry.size() + self.object().map_or(0, |object| size_of::<Object>() + object.size())
    }

    /// The 24-bit access clock, see [`super::Access`].
    #[cfg_attr(doc, doc(hidden))]
    pub fn access(self) -> u32 {
        self.entry.access()
    }
}

/// The error for a value of another type than the command works on.
pub fn wrong_type<T>() -> Result<T> {
    Err(Error::WrongType)
}

impl std::fmt::Debug for Value<'_> {
    /// What it is; name and bytes are nobody's business.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Value");
        out.field("kind", &self.kind()).field("size", &self.size()).field("deadline", &self.deadline());
        out.finish_non_exhaustive()
    }
}
