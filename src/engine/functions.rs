//! Functions: the libraries they came in, who is found under which name, and the interpreter that has them all.
//!
//! The engine knows no language. What a library's text means, somebody else finds out and tells in a [`Library`]. There is
//! one interpreter for all workers, as functions run alone anyway: so what a library remembers between two calls is the same
//! for everyone.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::scripts::{Place, lend};
use super::{Charge, Charges};
use crate::error::{Error, Result};

/// Bytes that a library and a function take beside their texts: the places in the maps, and what the interpreter has of a
/// function.
const LIBRARY_BYTES: usize = 256;
const FUNCTION_BYTES: usize = 256;

/// See the module's text.
#[derive(Default)]
pub struct Functions {
    /// They are changed by putting others in their place.
    libraries: RwLock<Arc<Libraries>>,
    interpreter: Place,
    charges: Arc<Charges>,
    /// The number of the library that was made last.
    last: AtomicU64,
    /// Bytes that the interpreter held when it was used last.
    interpreter_bytes: AtomicUsize,
}

/// Libraries of which no two have a function of the same name.
#[derive(Clone, Default)]
pub struct Libraries {
    by_name: BTreeMap<String, Arc<Library>>,
    /// Whose each function is, by its name in lower case.
    owners: HashMap<String, Arc<Library>>,
}

/// A text, and what was found in it.
pub struct Library {
    /// What tells it from all others that ever were.
    pub number: u64,
    /// Letters, digits and underscores.
    pub name: String,
    /// The text as it came, its first line included.
    pub code: Box<[u8]>,
    /// Its functions, by name; no two differ by case alone.
    pub functions: Vec<Function>,
}

/// One function.
pub struct Function {
    /// Letters, digits and underscores.
    pub name: String,
    /// What it is for, in its author's words.
    pub description: Option<Box<[u8]>>,
    /// What it has promised, in the order in which it is listed.
    pub flags: Vec<&'static str>,
}

/// What happens to the libraries that are there when others are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restoring {
    /// They go.
    Flush,
    /// They stay, and none of the same name may come.
    Append,
    /// Those of the same names go.
    Replace,
}

impl Functions {
    /// No libraries.
    pub(super) fn new(charges: Arc<Charges>) -> Functions {
        Functions { charges, ..Functions::default() }
    }

    /// The libraries as they are now.
    pub fn libraries(&self) -> Arc<Libraries> {
        self.libraries.read().clone()
    }

    /// A number that no library has.
    pub fn next_number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Puts a library in, which may take the place of one of its name.
    pub fn load(&self, library: Library, replaces: bool) -> Result<()> {
        self.change(|libraries| libraries.put(library, replaces))
    }

    /// Takes a library out; whether it was there.
    pub fn delete(&self, name: &[u8]) -> bool {
        self.change(|libraries| Ok::<_, Error>(libraries.take(name).is_some())).unwrap_or_default()
    }

    /// Takes all out, and the interpreter with them if nobody uses it.
    pub fn flush(&self) {
        {
            let mut libraries = self.libraries.write();
            *libraries = Arc::default();
            self.charges.set(Charge::Libraries, 0);
        }
        if let Some(mut interpreter) = self.interpreter.try_lock() {
            let held = interpreter.take().map_or(0, |(_, bytes)| bytes);
            self.charges.change(Charge::Lua, held, 0);
            self.interpreter_bytes.store(0, Ordering::Relaxed);
        }
    }

    /// Puts many libraries in, or none.
    pub fn restore(&self, others: Libraries, how: Restoring) -> Result<()> {
        self.change(|libraries| {
            if how == Restoring::Flush {
                *libraries = others;
                return Ok(());
            }
            for name in others.by_name.keys() {
                if libraries.take(name.as_bytes()).is_some() && how == Restoring::Append {
                    return Err(Error::Refused(format!("Library {name} already exists").into()));
                }
            }
            others.by_name.into_values().try_for_each(|library| libraries.put_shared(library))
        })
    }

    /// Changes a copy, which is what there is from then on if all went well.
    fn change<R>(&self, f: impl FnOnce(&mut Libraries) -> Result<R>) -> Result<R> {
        let mut libraries = self.libraries.write();
        let mut changed = (**libraries).clone();
        let result = f(&mut changed)?;
        self.charges.set(Charge::Libraries, changed.bytes());
        *libraries = Arc::new(changed);
        Ok(result)
    }

    /// Bytes of all libraries.
    pub fn bytes(&self) -> usize {
        self.charges.of(Charge::Libraries) as usize
    }

    /// Bytes that the interpreter held when it was used last.
    pub fn interpreter_bytes(&self) -> usize {
        self.interpreter_bytes.load(Ordering::Relaxed)
    }

    /// Lends the interpreter, which `make` makes if there is none. `f` tells how many bytes it holds then, if it is worth
    /// keeping.
    pub fn with_interpreter<T: Any + Send, E, R>(
        &self,
        make: impl FnOnce() -> std::result::Result<T, E>,
        f: impl FnOnce(&mut T) -> (R, Option<usize>),
    ) -> std::result::Result<R, E> {
        lend(&self.interpreter, &self.charges, make, |interpreter| {
            let (result, heap) = f(interpreter);
            self.interpreter_bytes.store(heap.unwrap_or(0), Ordering::Relaxed);
            (result, heap)
        })
    }
}

impl Libraries {
    /// How many libraries and functions there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.by_name.len(), self.owners.len())
    }

    /// All libraries, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Library>> {
        self.by_name.values()
    }

    /// A library of exactly this name.
    pub fn library(&self, name: &[u8]) -> Option<&Arc<Library>> {
        self.by_name.get(std::str::from_utf8(name).ok()?)
    }

    /// A function, and the library that it is of. Upper and lower case are alike.
    pub fn function(&self, name: &[u8]) -> Option<(&Arc<Library>, &Function)> {
        let library = self.owners.get(std::str::from_utf8(&name.to_ascii_lowercase()).ok()?)?;
        let function = library.functions.iter().find(|function| name.eq_ignore_ascii_case(function.name.as_bytes()))?;
        Some((library, function))
    }

    /// Puts a library in, which may take the place of one of its name.
    pub fn put(&mut self, library: Library, replaces: bool) -> Result<()> {
        if !replaces && self.by_name.contains_key(&library.name) {
            return Err(Error::Refused(format!("Library '{}' already exists", library.name).into()));
        }
        let old = self.take(library.name.as_bytes());
        let result = self.put_shared(Arc::new(library));
        if let (Err(_), Some(old)) = (&result, old) {
            self.link(old);
        }
        result
    }

    /// Puts a library in whose name nobody has, if none of its functions is there.
    fn put_shared(&mut self, library: Arc<Library>) -> Result<()> {
        let taken = library.functions.iter().find(|function| self.function(function.name.as_bytes()).is_some());
        if let Some(function) = taken {
            return Err(Error::Refused(format!("Function {} already exists", function.name).into()));
        }
        self.link(library);
        Ok(())
    }

    fn link(&mut self, library: Arc<Library>) {
        for function in &library.functions {
            self.owners.insert(function.name.to_ascii_lowercase(), library.clone());
        }
        self.by_name.insert(library.name.clone(), library);
    }

    fn take(&mut self, name: &[u8]) -> Option<Arc<Library>> {
        let library = self.by_name.remove(std::str::from_utf8(name).ok()?)?;
        self.owners.retain(|_, owner| !Arc::ptr_eq(owner, &library));
        Some(library)
    }

    fn bytes(&self) -> usize {
        self.iter().map(|library| library.bytes()).sum()
    }
}

impl Library {
    fn bytes(&self) -> usize {
        let of_functions = self.functions.iter().map(Function::bytes).sum::<usize>();
        LIBRARY_BYTES + self.name.len() + self.code.len() + of_functions
    }
}

impl Function {
    fn bytes(&self) -> usize {
        FUNCTION_BYTES + self.name.len() + self.description.as_ref().map_or(0, |text| text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(name: &str, functions: &[&str]) -> Library {
        let function = |name: &&str| Function { name: (*name).into(), description: None, flags: Vec::new() };
        Library {
            number: 0,
            name: name.into(),
            code: b"x".as_slice().into(),
            functions: functions.iter().map(function).collect(),
        }
    }

    fn names(functions: &Functions) -> Vec<String> {
        let libraries = functions.libraries();
        let mut names: Vec<String> =
            libraries.iter().map(|library| format!("{}:{}", library.name, library.functions.len())).collect();
        names.push(format!("{:?}", libraries.counts()));
        names
    }

    fn text(result: Result<()>) -> String {
        result.map_or_else(|error| error.to_string(), |()| "done".into())
    }

    #[test]
    fn a_name_belongs_to_one_library() {
        let functions = Functions::default();
        assert_eq!(text(functions.load(library("a", &["f", "g"]), false)), "done");
        assert_eq!(text(functions.load(library("a", &["h"]), false)), "Library 'a' already exists");
        assert_eq!(text(functions.load(library("A", &["G"]), false)), "Function G already exists");
        assert_eq!(text(functions.load(library("b", &["h"]), false)), "done");
        let bytes = functions.bytes();
        assert_eq!(text(functions.load(library("b", &["F"]), true)), "Function F already exists");
        assert_eq!((names(&functions), functions.bytes()), (vec!["a:2".into(), "b:1".into(), "(2, 3)".into()], bytes));
        assert_eq!(text(functions.load(library("a", &["F"]), true)), "done");
        let libraries = functions.libraries();
        assert_eq!(libraries.function(b"f").map(|(owner, found)| (&*owner.name, &*found.name)), Some(("a", "F")));
        assert!(libraries.function(b"g").is_none() && libraries.library(b"B").is_none());
        assert!(functions.delete(b"a") && !functions.delete(b"a") && functions.bytes() > 0);
        functions.flush();
        assert_eq!((names(&functions), functions.bytes()), (vec!["(0, 0)".into()], 0));
    }

    #[test]
    fn libraries_are_restored_all_or_none() {
        let functions = Functions::default();
        let dump = |libraries: &[(&str, &[&str])]| {
            let mut all = Libraries::default();
            libraries.iter().for_each(|(name, of)| all.put(library(name, of), false).expect("no collision"));
            all
        };
        let restore = |libraries: &[(&str, &[&str])], how| {
            let result = text(functions.restore(dump(libraries), how));
            (result, names(&functions).join(" "))
        };
        let two: &[(&str, &[&str])] = &[("a", &["f"]), ("b", &["g"])];
        assert_eq!(restore(two, Restoring::Append), ("done".into(), "a:1 b:1 (2, 2)".into()));
        let more: &[(&str, &[&str])] = &[("b", &["f"]), ("c", &["h", "i"])];
        assert_eq!(restore(more, Restoring::Append), ("Library b already exists".into(), "a:1 b:1 (2, 2)".into()));
        assert_eq!(restore(more, Restoring::Replace), ("Function f already exists".into(), "a:1 b:1 (2, 2)".into()));
        assert_eq!(restore(&more[1..], Restoring::Replace), ("done".into(), "a:1 b:1 c:2 (3, 4)".into()));
        assert_eq!(restore(more, Restoring::Flush), ("done".into(), "b:1 c:2 (2, 3)".into()));
    }
}
