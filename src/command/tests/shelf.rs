//! A machine for tests: files in memory, which can be locked away.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::engine::{Machine, Processor};

/// Files in memory. Clones share them.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Files>>);

#[derive(Default)]
struct Files {
    texts: BTreeMap<PathBuf, Vec<u8>>,
    is_locked: bool,
}

impl Shelf {
    pub fn put(&self, path: impl AsRef<Path>, text: &str) {
        self.0.lock().texts.insert(path.as_ref().into(), text.into());
    }

    pub fn text(&self, path: impl AsRef<Path>) -> String {
        let files = self.0.lock();
        String::from_utf8_lossy(files.texts.get(path.as_ref()).expect("a file")).into_owned()
    }

    /// Whether nothing can be read or written.
    pub fn lock(&self, is_locked: bool) {
        self.0.lock().is_locked = is_locked;
    }

    fn open<R>(&self, f: impl FnOnce(&mut BTreeMap<PathBuf, Vec<u8>>) -> io::Result<R>) -> io::Result<R> {
        let mut files = self.0.lock();
        if files.is_locked { Err(io::ErrorKind::PermissionDenied.into()) } else { f(&mut files.texts) }
    }
}

impl Machine for Shelf {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.open(|texts| texts.get(path).cloned().ok_or(io::ErrorKind::NotFound.into()))
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.open(|texts| {
            texts.insert(path.into(), content.into());
            Ok(())
        })
    }

    fn release(&self) -> String {
        "6.1".to_owned()
    }

    fn memory(&self) -> (u64, u64) {
        (3 << 20, 8 << 30)
    }

    fn processor(&self) -> Processor {
        Processor { process: [1.5, 0.25], children: [0.0, 0.0], main_thread: [0.5, 0.125] }
    }
}
