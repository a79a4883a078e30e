//! The kept inputs of the fuzz targets, run as tests: what was found once is looked for every time, without a fuzzer.

#![allow(missing_docs)]

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
mod targets;

#[test]
fn the_kept_inputs_break_no_promise() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, run) in targets::TARGETS {
        let files = fs::read_dir(corpus.join(name)).unwrap_or_else(|why| panic!("{name} has no inputs: {why}"));
        let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        paths.sort();
        assert!(paths.len() > 1, "{name} has hardly any inputs");
        for path in paths {
            // Said when the test fails.
            println!("{}", path.display());
            run(&fs::read(&path).expect("a readable file"));
        }
    }
}
