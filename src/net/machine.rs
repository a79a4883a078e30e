//! How much memory there is for this process: what the machine has, or what its control groups let it take where that is
//! less. A container is such a group, and whoever takes more than it may is killed without a word.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::here::bytes_in;

/// Memory, and where that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub bytes: u64,
    pub place: &'static str,
}

/// A group without a limit says a number this large or larger.
const UNLIMITED: u64 = 1 << 60;

/// What there is here; `None` where nothing tells.
pub(super) fn memory() -> Option<Found> {
    memory_under(Path::new("/")).or_else(counted_by_the_kernel)
}

/// The same for a machine whose files are under `root`.
fn memory_under(root: &Path) -> Option<Found> {
    let group = group_limit(root).map(|bytes| Found { bytes, place: "this control group" });
    let machine = machine(root).map(|bytes| Found { bytes, place: "this machine" });
    let machine = machine.or_else(|| group.is_some().then(counted_by_the_kernel).flatten());
    match (group, machine) {
        (Some(group), Some(machine)) if machine.bytes <= group.bytes => Some(machine),
        (group, machine) => group.or(machine),
    }
}

fn machine(root: &Path) -> Option<u64> {
    bytes_in(&root.join("proc/meminfo"), "MemTotal:")
}

/// Without /proc.
fn counted_by_the_kernel() -> Option<Found> {
    #[cfg(target_os = "linux")]
    {
        let info = rustix::system::sysinfo();
        // Wide enough for a word of any machine.
        let bytes = u128::from(info.totalram) * u128::from(info.mem_unit.max(1));
        let bytes = u64::try_from(bytes).ok()?;
        (bytes > 0).then_some(Found { bytes, place: "this machine" })
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// The lowest limit of the groups that this process is in, from its own up to the topmost that can be seen. Version 1 and
/// version 2 may both be mounted; whichever has limits counts.
fn group_limit(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let mut lowest = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (version, file) = match controllers {
            "" => ("cgroup2", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => ("cgroup", "memory.limit_in_bytes"),
            _ => continue,
        };
        for mount in mounts.lines().filter_map(|line| Mount::read(line, version)) {
            for folder in mount.folders(path) {
                let file = root.join(folder.strip_prefix("/").unwrap_or(&folder)).join(file);
                let limit = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
                let limit = limit.filter(|limit| *limit < UNLIMITED);
                lowest = lowest.into_iter().chain(limit).min();
            }
        }
    }
    lowest
}

/// Where groups are mounted.
struct Mount {
    /// The group that is seen at `point`.
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// Reads a line of mountinfo, if it is about groups of this version that may limit memory.
    fn read(line: &str, version: &str) -> Option<Mount> {
        let (before, behind) = line.split_once(" - ")?;
        let mut behind = behind.split(' ');
        let (kind, _, options) = (behind.next()?, behind.next()?, behind.next()?);
        if kind != version || (version == "cgroup" && !options.split(',').any(|name| name == "memory")) {
            return None;
        }
        let mut fields = before.split(' ').skip(3);
        Some(Mount { root: fields.next()?.into(), point: fields.next()?.into() })
    }

    /// The folders of a group and of those above it, the topmost last. Of a group outside of what is mounted only the
    /// topmost folder can be seen.
    fn folders(&self, group: &str) -> Vec<PathBuf> {
        let inside = Path::new(group).strip_prefix(&self.root).unwrap_or(Path::new(""));
        let is_plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
        let own = if is_plain { self.point.join(inside) } else { self.point.clone() };
        own.ancestors().take_while(|folder| folder.starts_with(&self.point)).map(Path::to_path_buf).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1 << 30;

    /// A machine with 8 GB and these files.
    fn machine_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let meminfo = ("proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n");
        for (path, text) in [meminfo].iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("written");
        }
        root
    }

    fn found(files: &[(&str, &str)]) -> (u64, &'static str) {
        let found = memory_under(machine_with(files).path()).expect("something");
        (found.bytes, found.place)
    }

    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "32 31 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                      33 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    #[test]
    fn without_groups_it_is_the_machines() {
        assert_eq!(found(&[]), (8 * GB, "this machine"));
        let files = [("proc/self/cgroup", "0::/\n"), ("proc/self/mountinfo", V2)];
        assert_eq!(found(&files), (8 * GB, "this machine"));
    }

    #[test]
    fn version_2_the_lowest_on_the_way_up_counts() {
        let mut files = vec![
            ("proc/self/cgroup", "0::/user.slice/app.service\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/user.slice/app.service/memory.max", "max\n"),
            ("sys/fs/cgroup/user.slice/memory.max", "1073741824\n"),
        ];
        assert_eq!(found(&files), (GB, "this control group"));
        files[2].1 = "134217728\n";
        assert_eq!(found(&files), (128 << 20, "this control group"));
        // More than the machine has is no limit.
        files[2].1 = "max\n";
        files[3].1 = "107374182400\n";
        assert_eq!(found(&files), (8 * GB, "this machine"));
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_topmost() {
        let files =
            [("proc/self/cgroup", "0::/\n"), ("proc/self/mountinfo", V2), ("sys/fs/cgroup/memory.max", "536870912\n")];
        assert_eq!(found(&files), (512 << 20, "this control group"));
        // Another name for it than the one that it is mounted by.
        let mount = V1.replace("0:29 / ", "0:29 /docker/abc ");
        let files = [
            ("proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/\n"),
            ("proc/self/mountinfo", mount.as_str()),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
        ];
        assert_eq!(found(&files), (256 << 20, "this control group"));
        let outside = [("proc/self/cgroup", "4:memory:/../other\n"), files[1], files[2]];
        assert_eq!(found(&outside), (256 << 20, "this control group"));
    }

    #[test]
    fn version_1_and_what_it_says_for_no_limit() {
        let mut files = vec![
            ("proc/self/cgroup", "4:memory:/a/b\n1:cpu:/\n0::/\n"),
            ("proc/self/mountinfo", V1),
            ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(found(&files), (GB, "this control group"));
        files[3].1 = "rubbish\n";
        assert_eq!(found(&files), (8 * GB, "this machine"));
    }

    #[test]
    fn this_machine_has_some() {
        assert!(memory().is_some_and(|found| found.bytes > 1 << 20));
        let nothing = tempfile::tempdir().expect("a directory");
        assert_eq!(memory_under(nothing.path()), None);
    }
}
