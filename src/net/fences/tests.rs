//! Sign-outs that outlast the cache they were made in, on a disk that works and on one that does not.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc;

use super::writer::{Placing, Syncing};
use super::*;
use crate::session::{Ended, LookUp, Origin, Profile, Settings, Source};
use crate::store::Store;

/// A session cache as a process has it that starts on a directory.
struct Process {
    sessions: SessionCache,
    answers: Store,
    log: FenceLog,
}

fn start(dir: &Path) -> Process {
    try_start(dir, true).unwrap_or_else(|why| panic!("{why}"))
}

fn try_start(dir: &Path, eager: bool) -> Result<Process, String> {
    start_with(dir, eager, |writer| writer)
}

fn start_with(dir: &Path, eager: bool, made: impl FnOnce(Writer) -> Writer) -> Result<Process, String> {
    let settings = Settings { source: Source::Upstream, profile: Some(Profile::NextAuth), ..Settings::default() };
    start_as(dir, settings, eager, made)
}

fn start_as(
    dir: &Path,
    settings: Settings,
    eager: bool,
    made: impl FnOnce(Writer) -> Writer,
) -> Result<Process, String> {
    let keyfile = Arc::new(KeyFile::open(dir)?);
    let builder = Store::builder().fence(settings.fence()).naming_key(keyfile.key().clone());
    let mut stores = builder.build_family(2);
    let (families, answers) = (stores.remove(1), stores.remove(0));
    let sessions = SessionCache::new(answers.clone(), families, settings);
    let log = FenceLog::open_with(keyfile, &sessions, eager, made)?;
    Ok(Process { sessions, answers, log })
}

impl Process {
    fn sign_out(&self, token: &str) {
        let now = self.answers.clock().now();
        let tokens = self.sessions.tokens([format!("next-auth.session-token={token}").as_bytes()]);
        let sign_out = self.sessions.begin_sign_out(&tokens, now);
        assert_eq!(self.sessions.end_sign_out(sign_out, None, now), Ended::SignedOut);
    }

    fn is_signed_out(&self, token: &str) -> bool {
        let tokens = self.sessions.tokens([format!("next-auth.session-token={token}").as_bytes()]);
        match self.sessions.look_up(&tokens, self.answers.clock().now()) {
            LookUp::Answer(answer) => answer.origin == Origin::Fence,
            _ => false,
        }
    }

    fn count(&self, name: &str) -> u64 {
        let rows = (self.log.rows())();
        rows.iter().find(|row| row.0 == name).expect("a row").2
    }

    fn settle(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(self.log.settle());
    }
}

#[test]
fn who_signed_out_stays_so_in_the_next_process_and_no_token_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = start(dir.path());
    first.sign_out("c4n4ry");
    first.settle();
    // Read while it is held open, as after a `kill -9`.
    let bytes = fs::read(dir.path().join(NAME)).expect("a log");
    assert!(!bytes.windows(6).any(|part| part == b"c4n4ry"));
    drop(first);
    let second = start(dir.path());
    assert!(second.is_signed_out("c4n4ry") && !second.is_signed_out("other"));
    assert_eq!(second.count("restored"), 1);
}

#[test]
fn all_sign_outs_that_come_during_one_sync_share_the_next() {
    let dir = tempfile::tempdir().expect("a directory");
    let (started, starts) = mpsc::channel();
    let (finish, finishes) = mpsc::channel::<()>();
    let held: Syncing = Box::new(move |file| {
        if file.metadata()?.len() == file::HEAD as u64 {
            return Ok(());
        }
        // Once the test has gone nobody is held.
        let _ = (started.send(()), finishes.recv());
        Ok(())
    });
    let process = start_with(dir.path(), true, |writer| writer.syncing_by(held)).unwrap_or_else(|why| panic!("{why}"));
    // Dropped before the process, which waits for its thread.
    let finish = finish;
    process.sign_out("first");
    starts.recv().expect("a sync");
    for number in 0..1000 {
        process.sign_out(&format!("user{number}"));
    }
    assert_eq!(process.count("syncs"), 0, "it is held");
    finish.send(()).expect("a thread");
    starts.recv().expect("a second sync");
    finish.send(()).expect("a thread");
    process.settle();
    assert_eq!((process.count("added"), process.count("syncs")), (1001, 2));
    assert_eq!(process.count("failures"), 0);
    drop(finish);
    drop(process);
    assert!(starts.try_recv().is_err(), "a third sync");
    let second = start(dir.path());
    assert!((0..1000).all(|number| second.is_signed_out(&format!("user{number}"))));
}

#[test]
fn no_file_is_made_before_the_first_sign_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let process = try_start(dir.path(), false).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0);
    process.sign_out("a");
    process.settle();
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 2);
}

#[test]
fn two_servers_do_not_share_a_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = start(dir.path());
    let Err(why) = try_start(dir.path(), true) else { panic!("both use it") };
    assert!(why.contains("another server uses it"), "{why}");
    drop(first);
    start(dir.path());
}

#[test]
fn a_damaged_or_torn_log_gives_what_can_be_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(NAME);
    let process = start(dir.path());
    for token in ["a", "b", "c"] {
        process.sign_out(token);
    }
    drop(process);
    let whole = fs::read(&path).expect("a log");
    // Torn in the last record; what is added then is found behind the others.
    fs::write(&path, &whole[..whole.len() - 3]).expect("written");
    let process = start(dir.path());
    assert!(process.is_signed_out("a") && process.is_signed_out("b") && !process.is_signed_out("c"));
    process.sign_out("d");
    drop(process);
    assert!(start(dir.path()).is_signed_out("d"));
    // A bit of the first one.
    let mut flipped = whole.clone();
    flipped[file::HEAD + 10] ^= 4;
    fs::write(&path, &flipped).expect("written");
    let process = start(dir.path());
    assert!(!process.is_signed_out("a") && process.is_signed_out("b") && process.is_signed_out("c"));
    assert!(dir.path().join("cloakroom.fences.damaged").exists());
    // It was written anew, without the damage.
    assert!(fs::read(&path).expect("a log").len() < whole.len());
    drop(process);
    // A version to come is left alone.
    let mut newer = whole.clone();
    newer[15] = 2;
    fs::write(&path, &newer).expect("written");
    let Err(why) = try_start(dir.path(), false) else { panic!("taken") };
    assert!(why.contains("version 2"), "{why}");
    assert_eq!(fs::read(&path).expect("a log"), newer);
}

#[test]
fn a_disk_that_fails_delays_nobody_and_is_tried_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let process = try_start(dir.path(), false).unwrap_or_else(|why| panic!("{why}"));
    // In the way of the file, so that it cannot be made.
    let path = dir.path().join(NAME);
    fs::create_dir(&path).expect("a directory");
    process.sign_out("a");
    process.settle();
    assert!(process.is_signed_out("a"));
    assert!(process.count("failures") > 0 && process.count("syncs") == 0);
    fs::remove_dir(&path).expect("it was empty");
    process.sign_out("b");
    process.settle();
    assert!(process.count("syncs") > 0);
    drop(process);
    let second = start(dir.path());
    assert!(second.is_signed_out("a") && second.is_signed_out("b"));
}

#[test]
fn a_file_that_was_begun_and_came_to_nothing_is_gone_on_with() {
    let dir = tempfile::tempdir().expect("a directory");
    // With the head written, and then with a record behind it.
    let calls = AtomicU64::new(0);
    let sync: Syncing = Box::new(move |file| match calls.fetch_add(1, Ordering::Relaxed) {
        0 | 2 => Err(io::Error::other("a disk that fails")),
        _ => file.sync_data(),
    });
    let process = start_with(dir.path(), false, |writer| writer.syncing_by(sync)).unwrap_or_else(|why| panic!("{why}"));
    for token in ["a", "b", "c"] {
        process.sign_out(token);
        process.settle();
    }
    assert_eq!(process.count("failures"), 2);
    drop(process);
    let second = start(dir.path());
    assert!(["a", "b", "c"].iter().all(|token| second.is_signed_out(token)));

    // One that a crash or another version has left, found at start or while the server runs.
    let head = file::head(7);
    for (len, is_there_before) in [(0, false), (0, true), (9, false), (9, true), (file::HEAD - 1, true)] {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(NAME);
        let put = || fs::write(&path, &head[..len]).expect("written");
        if is_there_before {
            put();
        }
        let process = try_start(dir.path(), false).unwrap_or_else(|why| panic!("{why}"));
        if !is_there_before {
            put();
        }
        process.sign_out("a");
        process.settle();
        assert_eq!((process.count("failures"), process.count("syncs")), (0, 1), "{len} {is_there_before}");
        drop(process);
        assert!(start(dir.path()).is_signed_out("a"));
        assert!(!dir.path().join("cloakroom.fences.damaged").exists(), "nothing was in it");
    }
}

#[test]
fn writing_anew_that_fails_leaves_no_draft_and_loses_nothing_that_comes_then() {
    for fails_late in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let keyfile = Arc::new(KeyFile::open(dir.path()).expect("a key"));
        let counters = Counters::default();
        // 1 while it fails, 2 once it has.
        let fails = Arc::new(AtomicU64::new(0));
        let failing = |fails: &AtomicU64, here: bool| {
            if !here || fails.load(Ordering::Relaxed) == 0 {
                return Ok(());
            }
            fails.store(2, Ordering::Relaxed);
            Err(io::Error::other("a disk that fails"))
        };
        let (of_sync, of_place) = (fails.clone(), fails.clone());
        // What is written anew is as good as empty.
        let sync: Syncing = Box::new(move |file| {
            let is_anew = file.metadata()?.len() < 1000;
            failing(&of_sync, is_anew && !fails_late)
        });
        let place: Placing = Box::new(move |_| failing(&of_place, fails_late));
        let writer = Writer::open(keyfile.clone(), 0, |_| {}).unwrap_or_else(|why| panic!("{why}"));
        let mut writer = writer.syncing_by(sync).placing_by(place);
        let write = |writer: &mut Writer, until: u64, count: usize, now: u64| {
            let mut bytes = Vec::new();
            file::write(&mut bytes, until, &[b"~a name of a token"]);
            let sizes = vec![(until, bytes.len() as u64); count];
            writer.write(&bytes.repeat(count), &sizes, now, &counters);
        };
        const DAY: u64 = 24 * 3_600_000;
        write(&mut writer, DAY, 7_000, 0);
        fails.store(1, Ordering::Relaxed);
        write(&mut writer, DAY, 1_000, 2 * DAY);
        assert_eq!(fails.swap(0, Ordering::Relaxed), 2, "it was tried");
        assert_eq!(counters.compactions.load(Ordering::Relaxed), 0);
        let files = fs::read_dir(dir.path()).expect("a directory").count();
        assert_eq!(files, 2, "a draft is left");
        write(&mut writer, 9 * DAY, 1, 2 * DAY);
        assert!(!writer.owes());
        drop(writer);
        let mut found = 0;
        assert!(Writer::open(keyfile, 2 * DAY, |_| found += 1).is_ok());
        assert_eq!(found, 1, "late: {fails_late}");
    }
}

#[test]
fn a_log_that_somebody_removes_is_made_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let process = start(dir.path());
    process.sign_out("a");
    process.settle();
    for (removed, token) in [(&[NAME][..], "b"), (&[NAME, "cloakroom.key"][..], "c")] {
        removed.iter().for_each(|name| fs::remove_file(dir.path().join(name)).expect("a file"));
        process.sign_out(token);
        process.settle();
    }
    drop(process);
    assert!(start(dir.path()).is_signed_out("c"));
}

#[test]
fn a_start_that_cannot_write_a_damaged_log_anew_goes_on_behind_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(NAME);
    let process = start(dir.path());
    ["a", "b"].iter().for_each(|token| process.sign_out(token));
    drop(process);
    let mut damaged = fs::read(&path).expect("a log");
    damaged[file::HEAD + 10] ^= 4;
    fs::write(&path, &damaged).expect("written");
    // In the way of the draft.
    fs::create_dir(dir.path().join("cloakroom.fences.new")).expect("a directory");
    let process = start(dir.path());
    process.sign_out("c");
    drop(process);
    let process = start(dir.path());
    assert!(!process.is_signed_out("a") && process.is_signed_out("b") && process.is_signed_out("c"));
}

#[test]
fn what_is_dead_goes_when_it_is_most_of_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let keyfile = Arc::new(KeyFile::open(dir.path()).expect("a key"));
    let counters = Counters::default();
    let mut writer = Writer::open(keyfile.clone(), 0, |_| {}).unwrap_or_else(|why| panic!("{why}"));
    const HOUR: u64 = 3_600_000;
    // Each hour a thousand that live for an hour, and one that lives for long.
    for hour in 1..100 {
        let (mut bytes, mut sizes) = (Vec::new(), Vec::new());
        for number in 0..=1000 {
            let (name, before) = (format!("~{hour:011}{number:011}"), bytes.len());
            let until = if number == 0 { 1000 * HOUR } else { (hour + 1) * HOUR };
            file::write(&mut bytes, until, &[name.as_bytes()]);
            sizes.push((until, (bytes.len() - before) as u64));
        }
        writer.write(&bytes, &sizes, hour * HOUR, &counters);
    }
    let len = fs::metadata(dir.path().join(NAME)).expect("a log").len();
    assert!(len < 1 << 20, "{len} bytes");
    assert!(counters.compactions.load(Ordering::Relaxed) > 3);
    drop(writer);
    let mut found = 0;
    let opened = Writer::open(keyfile, 500 * HOUR, |_| found += 1);
    assert!(opened.is_ok());
    assert_eq!(found, 99);
}

/// So many sign-outs of about a thousand bytes each, of other names than those of another letter, and what the desk says of
/// them.
fn batch(letter: char, count: usize) -> (Vec<u8>, Vec<(u64, u64)>) {
    let mut bytes = Vec::new();
    for number in 0..count {
        let names = [0, 1, 2, 3].map(|part| format!("{letter}{part}{number:0248}"));
        file::write(&mut bytes, u64::MAX, &names.each_ref().map(String::as_bytes));
    }
    let sizes = vec![(u64::MAX, (bytes.len() / count) as u64); count];
    (bytes, sizes)
}

#[test]
fn a_batch_larger_than_what_may_wait_is_written_by_a_disk_that_works() {
    let dir = tempfile::tempdir().expect("a directory");
    let keyfile = Arc::new(KeyFile::open(dir.path()).expect("a key"));
    let counters = Counters::default();
    let mut writer = Writer::open(keyfile, 0, |_| {}).unwrap_or_else(|why| panic!("{why}"));
    let (bytes, sizes) = batch('a', (UNSAVED_MAX + 5000) / 1000);
    assert!(bytes.len() > UNSAVED_MAX);
    writer.write(&bytes, &sizes, 0, &counters);
    assert_eq!(counters.failures.load(Ordering::Relaxed), 0);
    let len = fs::metadata(dir.path().join(NAME)).expect("a log").len();
    assert_eq!(len, (file::HEAD + bytes.len()) as u64);
}

#[test]
fn what_a_disk_that_fails_leaves_no_room_for_is_counted_and_the_rest_is_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let keyfile = Arc::new(KeyFile::open(dir.path()).expect("a key"));
    let counters = Counters::default();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut writer = Writer::open(keyfile, 0, |_| {}).unwrap_or_else(|why| panic!("{why}"));
    let path = dir.path().join(NAME);
    fs::create_dir(&path).expect("a directory");
    let (bytes, sizes) = batch('a', UNSAVED_MAX / 10 * 6 / 1000);
    writer.write(&bytes, &sizes, 0, &counters);
    assert_eq!((count(&counters.failures), count(&counters.lost)), (1, 0));
    let (bytes, _) = batch('b', sizes.len());
    writer.write(&bytes, &sizes, 0, &counters);
    let fit = UNSAVED_MAX / sizes[0].1 as usize;
    assert_eq!((count(&counters.failures), count(&counters.lost)), (2, (2 * sizes.len() - fit) as u64));
    fs::remove_dir(&path).expect("it was empty");
    writer.write(&[], &[], 0, &counters);
    assert_eq!(fs::metadata(&path).expect("a log").len(), (file::HEAD + fit * sizes[0].1 as usize) as u64);
    assert!(!writer.owes());
}

#[test]
fn what_comes_while_the_disk_is_waited_for_has_room_or_is_counted() {
    let desk = Desk::default();
    let names = [[b'n'; 250].as_slice(); 60];
    let mut record = Vec::new();
    file::write(&mut record, u64::MAX, &names);
    let fit = UNSAVED_MAX / record.len();
    (0..fit + 2).for_each(|_| desk.add(&names, u64::MAX));
    let state = desk.state.lock();
    assert_eq!((state.pending.len(), state.sizes.len(), state.lost), (fit * record.len(), fit, 2));
    assert_eq!(state.added, fit as u64 + 2);
}

#[test]
fn one_token_that_is_signed_out_again_and_again_is_written_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let process = start(dir.path());
    for round in 0..5_000 {
        process.sign_out("made-up");
        if round == 0 {
            process.settle();
        }
    }
    process.sign_out("other");
    process.settle();
    assert_eq!(process.count("added"), 2);
    let len = fs::metadata(dir.path().join(NAME)).expect("a log").len();
    assert!(len < 200, "{len} bytes");
    drop(process);
    let second = start(dir.path());
    assert!(second.is_signed_out("made-up") && second.is_signed_out("other"));
    // What another process has kept need not be written again either.
    second.sign_out("made-up");
    assert_eq!(second.count("added"), 0);
}

#[test]
fn what_is_said_twice_counts_once_when_the_file_is_written_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let keyfile = Arc::new(KeyFile::open(dir.path()).expect("a key"));
    let counters = Counters::default();
    let open = |found: &mut dyn FnMut(&file::Fence)| {
        Writer::open(keyfile.clone(), 0, |fence| found(fence)).unwrap_or_else(|why| panic!("{why}"))
    };
    let mut writer = open(&mut |_| {});
    let path = dir.path().join(NAME);
    // A hundred names, each a little later in every round; every fifth is lifted in the end.
    let (mut largest, name) = (0, |number: u64| format!("~{number:022}").into_bytes());
    let add = |writer: &mut Writer, until: u64, names: &[&[u8]]| {
        let mut bytes = Vec::new();
        file::write(&mut bytes, until, names);
        writer.write(&bytes, &[(until, bytes.len() as u64)], 0, &counters);
    };
    let names: Vec<Vec<u8>> = (0..100).map(name).collect();
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    for round in 1..=1_000 {
        add(&mut writer, round, &names);
        largest = largest.max(fs::metadata(&path).expect("a log").len());
    }
    assert!(largest < 1 << 20, "{largest} bytes");
    assert!(counters.compactions.load(Ordering::Relaxed) >= 3);
    names.iter().step_by(5).for_each(|name| add(&mut writer, file::LIFTED, &[name]));
    (0..2_000).for_each(|_| add(&mut writer, 1_001, &names[..2]));
    drop(writer);
    let mut standing = std::collections::BTreeMap::new();
    drop(open(&mut |fence| {
        for name in &fence.names {
            if fence.until == file::LIFTED {
                standing.remove(name)
            } else {
                standing.insert(name.clone(), fence.until)
            };
        }
    }));
    assert_eq!(standing.len(), 81);
    assert!(
        standing.iter().all(|(name, until)| *until == 1_000 || (*until == 1_001 && names[..2].contains(&&name[..])))
    );
    // A file that a process without this has left behind is put in order at the start.
    let mut bytes = fs::read(&path).expect("a log");
    (0..200).for_each(|_| file::write(&mut bytes, 1_001, &names));
    fs::write(&path, &bytes).expect("written");
    drop(open(&mut |_| {}));
    let len = fs::metadata(&path).expect("a log").len();
    assert!(len < 10_000, "{len} bytes");
}

#[test]
fn who_has_signed_in_with_the_same_token_is_not_signed_out_by_a_restart() {
    use crate::session::Service;
    let dir = tempfile::tempdir().expect("a directory");
    let generic = || Settings {
        source: Source::Upstream,
        service: Service::generic("/me"),
        cookie: Some("sid".into()),
        ..Settings::default()
    };
    let tokens = |process: &Process, token: &str| process.sessions.tokens([format!("sid={token}").as_bytes()]);
    let sign_out = |process: &Process, token: &str| {
        process.sessions.sign_out(&tokens(process, token), [], process.answers.clock().now());
    };
    let is_out = |process: &Process, token: &str| {
        let looked = process.sessions.look_up(&tokens(process, token), process.answers.clock().now());
        matches!(looked, LookUp::Answer(answer) if answer.origin == Origin::Fence)
    };
    let sign_in = |process: &Process, token: &str| {
        let began = process.sessions.begin_sign_in();
        let set = [("set-cookie".into(), format!("sid={token}; Path=/").into())];
        let nobody = process.sessions.tokens([]);
        process.sessions.end_sign_in(began, &nobody, 200, &set, process.answers.clock().now())
    };
    let first = start_as(dir.path(), generic(), true, |writer| writer).unwrap_or_else(|why| panic!("{why}"));
    for token in ["alice", "bob", "carol"] {
        sign_out(&first, token);
    }
    assert!(sign_in(&first, "alice") && sign_in(&first, "bob") && !is_out(&first, "alice"));
    sign_out(&first, "bob");
    drop(first);
    let second = start_as(dir.path(), generic(), true, |writer| writer).unwrap_or_else(|why| panic!("{why}"));
    let out = |process: &Process| ["alice", "bob", "carol"].map(|token| is_out(process, token));
    assert_eq!(out(&second), [false, true, true]);
    // What an earlier process has written down is lifted as well.
    assert!(sign_in(&second, "carol"));
    drop(second);
    let third = start_as(dir.path(), generic(), true, |writer| writer).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(out(&third), [false, true, false]);
}
