//! What an engine asks of the machine under it.

use std::io;
use std::path::Path;

/// The machine that an engine runs on. The engine itself touches no file: whoever runs it says how that is done.
#[cfg_attr(doc, doc(hidden))]
pub trait Machine: Send + Sync {
    /// What is in a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Puts content in a file's place: whoever reads it finds the old or the new, also after a crash. A new file may be read
    /// by its owner alone.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// The release of its system; empty where nothing tells.
    fn release(&self) -> String;

    /// Bytes of its memory in use by this process, and bytes that there are in all; zero where nothing tells.
    fn memory(&self) -> (u64, u64);

    /// What this process has used of its processors.
    fn processor(&self) -> Processor;
}

/// Seconds on the processor, each in user and in system mode.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(doc, doc(hidden))]
pub struct Processor {
    /// Of all threads of the process.
    pub process: [f64; 2],
    /// Of processes that it began and that have ended.
    pub children: [f64; 2],
    /// Of the thread that it began with.
    pub main_thread: [f64; 2],
}

/// Where nobody has said what an engine runs on.
pub(super) struct Nowhere;

impl Machine for Nowhere {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn replace(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn release(&self) -> String {
        String::new()
    }

    fn memory(&self) -> (u64, u64) {
        (0, 0)
    }

    fn processor(&self) -> Processor {
        Processor::default()
    }
}
