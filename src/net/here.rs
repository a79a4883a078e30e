//! The machine that the server runs on, as its engine sees it. On Linux the kernel's files tell what it uses; elsewhere nothing
//! does.

use std::fs;
use std::io;
use std::path::Path;

use super::whole;
use crate::engine::{Machine, Processor};

/// This machine.
pub(super) struct Here;

impl Machine for Here {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        whole::replace(path, content)
    }

    fn release(&self) -> String {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        release.trim().to_owned()
    }

    fn memory(&self) -> (u64, u64) {
        let total = bytes_in(Path::new("/proc/meminfo"), "MemTotal:");
        (resident().unwrap_or_default(), total.unwrap_or_default())
    }

    fn processor(&self) -> Processor {
        let [process, children] = seconds_in("/proc/self/stat");
        let [main_thread, _] = seconds_in(&format!("/proc/self/task/{}/stat", std::process::id()));
        Processor { process, children, main_thread }
    }
}

/// Bytes of memory that the process takes; `None` where nothing tells.
pub(super) fn resident() -> Option<u64> {
    bytes_in(Path::new("/proc/self/status"), "VmRSS:")
}

/// A line of kilobytes in one of the kernel's files.
pub(super) fn bytes_in(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Seconds of a process or thread on the processor, its own and its children's, each in user and system mode.
fn seconds_in(path: &str) -> [[f64; 2]; 2] {
    /// The kernel's unit in these files, the same everywhere.
    const TICKS: f64 = 100.0;
    let text = fs::read_to_string(path).unwrap_or_default();
    // The second field is the name in parentheses, which may hold anything; fourteen follow before these.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = rest.split_whitespace().skip(11).map(|field| field.parse::<f64>().unwrap_or(0.0) / TICKS);
    [(); 2].map(|()| [(); 2].map(|()| fields.next().unwrap_or(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernel_is_asked_and_may_be_silent() {
        let (resident, total) = Here.memory();
        assert!(resident > 1 << 20 && total > resident);
        assert!(!Here.release().is_empty());
        let began = Here.processor().process;
        while Here.processor().process == began {}
        assert_eq!(bytes_in(Path::new("/nosuch"), "VmRSS:"), None);
        assert_eq!(seconds_in("/nosuch"), [[0.0; 2]; 2]);
    }
}
