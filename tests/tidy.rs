//! The rules of the house, so that the layout cannot rot: which module may know which, where unsafe code may be, where
//! waiting and clocks live, how long a file may be, and that what the documents repeat is what the tables say.

use std::fs;
use std::path::{Path, PathBuf};

/// Every module of `src/` with its floor. A module imports its own files and lower floors; never upwards, never a
/// neighbour. `lib` is the map and `main` the roof: both see everything.
const FLOORS: &[(&str, u8)] = &[
    ("clock", 0),
    ("error", 0),
    ("num", 0),
    ("glob", 0),
    ("metrics", 0),
    ("config", 1),
    ("rdb", 1),
    ("store", 2),
    ("resp", 2),
    ("engine", 3),
    ("command", 4),
    ("session", 4),
    ("net", 5),
    ("cli", 6),
];

/// Lines a file may have, and a family of commands, whose rows take room. Examples in documents are not counted.
const LINES_MAX: usize = 620;
const FAMILY_LINES_MAX: usize = 1100;

struct Source {
    path: PathBuf,
    module: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                if !path.ends_with("node_modules") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let read = |path: PathBuf| {
        let first = path.strip_prefix(&src).expect("below src").components().next().expect("a name");
        let module = first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).expect("a readable file");
        Source { path, module, text }
    };
    let sources: Vec<Source> = rust_files("src").into_iter().map(read).collect();
    assert!(sources.len() > 30, "only {} files found", sources.len());
    sources
}

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// The lines of code, without comments; tests included.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(at, line)| (at + 1, line))
}

/// Fails with every line that breaks a rule.
#[track_caller]
fn none(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

fn is_test(source: &Source) -> bool {
    source.path.components().any(|part| part.as_os_str().to_string_lossy().contains("tests"))
}

#[test]
fn every_module_stands_on_a_floor() {
    for source in sources() {
        let known = floor(&source.module).is_some() || ["lib", "main"].contains(&source.module.as_str());
        assert!(known, "{} is on no floor", source.path.display());
    }
}

#[test]
fn modules_import_only_lower_floors() {
    let mut broken = Vec::new();
    for source in sources() {
        let Some(own) = floor(&source.module) else { continue };
        for (line, text) in code(&source.text) {
            for (at, _) in text.match_indices("crate::") {
                let name: String =
                    text[at + 7..].chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect();
                if let Some(other) = floor(&name)
                    && name != source.module
                    && other >= own
                {
                    broken.push(format!("{}:{line}: {} imports {name}", source.path.display(), source.module));
                }
            }
        }
    }
    none(broken);
}

#[test]
fn nothing_below_net_waits() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !["net", "cli", "main"].contains(&source.module.as_str())) {
        for (line, text) in code(&source.text) {
            for word in ["async fn", "async move", ".await", "tokio::", "hyper::", "hyper_util::"] {
                if text.contains(word) {
                    broken.push(format!("{}:{line}: {word}", source.path.display()));
                }
            }
        }
    }
    none(broken);
}

#[test]
fn only_the_edge_asks_a_clock_or_touches_a_file() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !["net", "cli", "main"].contains(&source.module.as_str())) {
        for (line, text) in code(&source.text).take_while(|(_, text)| !text.contains("#[cfg(test)]")) {
            for word in ["Instant::now", "SystemTime::now", "thread::sleep", "fs::"] {
                let is_own = source.module == "clock" && word != "fs::";
                if text.contains(word) && !is_own && !is_test(source) {
                    broken.push(format!("{}:{line}: {word}", source.path.display()));
                }
            }
        }
    }
    none(broken);
}

#[test]
fn one_file_alone_has_unsafe_code() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.path.ends_with("src/store/prefetch.rs")) {
        for (line, text) in code(&source.text) {
            if text.split(|char: char| !char.is_alphanumeric() && char != '_').any(|word| word == "unsafe") {
                broken.push(format!("{}:{line}: {}", source.path.display(), text.trim()));
            }
        }
    }
    none(broken);
}

#[test]
fn one_file_alone_is_for_unix() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.path.ends_with("net/system/unix.rs")) {
        for (line, text) in code(&source.text).take_while(|(_, text)| !text.contains("#[cfg(test)]")) {
            if text.contains("std::os::unix") && !is_test(source) {
                broken.push(format!("{}:{line}: Windows has no {}", source.path.display(), text.trim()));
            }
        }
    }
    none(broken);
}

#[test]
fn no_state_belongs_to_the_whole_process() {
    let mut broken = Vec::new();
    // What a script calls, and where it is left if it takes long, is known by thread, and only while it runs or rests there.
    let is_stage = |source: &Source| {
        ["src/net/script.rs", "src/command/script/server.rs"].iter().any(|path| source.path.ends_with(path))
    };
    for source in sources().iter().filter(|source| !is_test(source) && !is_stage(source)) {
        for (line, text) in code(&source.text).take_while(|(_, text)| !text.contains("#[cfg(test)]")) {
            let text = text.trim_start();
            let is_static = text.starts_with("static ") || text.starts_with("pub static ") || text.starts_with("pub(");
            let changes =
                ["Mutex", "Atomic", "OnceLock", "LazyLock", "RwLock", "Cell<"].iter().any(|word| text.contains(word));
            if text.contains("static mut")
                || text.contains("thread_local!")
                || (is_static && text.contains("static ") && changes)
            {
                broken.push(format!("{}:{line}: {text}", source.path.display()));
            }
        }
    }
    none(broken);
}

#[test]
fn tests_start_the_binary_where_it_leaves_nothing_behind() {
    // `Launch` gives it a directory of its own.
    let starts = |path: &PathBuf| fs::read_to_string(path).expect("a readable file").contains("\"CARGO_BIN_EXE_");
    let found: Vec<PathBuf> = rust_files("tests/it").into_iter().filter(starts).collect();
    assert_eq!(found, [root().join("tests/it/binary.rs")]);
}

/// Lines of a file without the examples in its documents.
fn lines_to_read(text: &str) -> usize {
    let mut is_example = false;
    text.lines()
        .filter(|line| {
            let document = line.trim_start().strip_prefix("///").or_else(|| line.trim_start().strip_prefix("//!"));
            let is_fence = document.is_some_and(|said| said.trim_start().starts_with("```"));
            is_example ^= is_fence;
            !is_example && !is_fence
        })
        .count()
}

#[test]
fn no_file_is_longer_than_can_be_read() {
    let mut broken = Vec::new();
    for path in ["src", "tests", "benches", "examples"].iter().flat_map(|folder| rust_files(folder)) {
        let lines = lines_to_read(&fs::read_to_string(&path).expect("a readable file"));
        let is_family = path.parent().is_some_and(|folder| folder.ends_with("src/command"));
        let max = if is_family { FAMILY_LINES_MAX } else { LINES_MAX };
        if lines > max {
            broken.push(format!("{}: {lines} lines, {max} are enough", path.display()));
        }
    }
    none(broken);
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut broken = Vec::new();
    for path in ["src", "tests", "benches", "examples"].iter().flat_map(|folder| rust_files(folder)) {
        let text = fs::read_to_string(&path).expect("a readable file");
        if !text.starts_with("//!") {
            broken.push(path.display().to_string());
        }
        for word in ["TODO", "FIXME", "XXX"] {
            // The words themselves are spelled here.
            if text.contains(word) && !path.ends_with("tidy.rs") {
                broken.push(format!("{}: {word}", path.display()));
            }
        }
    }
    none(broken);
}

#[test]
fn the_documents_repeat_the_tables() {
    use cloakroom::{command, config};
    let mut broken = Vec::new();
    let page = |path: &str| fs::read_to_string(root().join(path)).expect("a page");
    let (settings, commands) = (page("docs/settings.md"), page("docs/commands.md"));
    let tables = [
        ("settings.md", &settings, config::reference_in(&settings), config::reference()),
        ("commands.md", &commands, command::commands_reference_in(&commands), command::commands_reference()),
    ];
    for (name, page, said, table) in tables {
        let said = said.expect("the marks between which a table stands");
        if said != table {
            let right = page.replace(&format!("\n{said}<!-- end of"), &format!("\n{table}<!-- end of"));
            fs::write(root().join("target").join(name), right).expect("a file in target");
            broken.push(format!("docs/{name} is out of date: cp target/{name} docs/{name}"));
        }
    }
    none(broken);
}

#[test]
fn the_settings_that_the_readme_shows_have_these_defaults() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    let (_, table) = readme.split_once("\n| setting | default | |\n|---|---|---|\n").expect("the short table");
    let mut rows = 0;
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let param = cloakroom::config::PARAMS.iter().find(|param| param.name == cells[1]).expect(row);
        assert_eq!(param.default, cells[2], "{row}");
        rows += 1;
    }
    assert!(rows > 5, "{rows} rows");
}

/// What a heading is called in a link: small letters, digits and dashes.
fn anchor(heading: &str) -> String {
    let letters = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = letters.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
    kept.map(|char| if char == ' ' { '-' } else { char }).collect()
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let folders = [".", "docs", "examples/nextjs", "examples/nextjs-v5"].map(|folder| root().join(folder));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("a folder").flatten());
    let pages: Vec<PathBuf> =
        files.map(|file| file.path()).filter(|path| path.extension() == Some("md".as_ref())).collect();
    let (mut broken, mut links) = (Vec::new(), 0);
    for page in &pages {
        let text = fs::read_to_string(page).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            links += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().expect("a folder").join(file) };
            let known = target.exists()
                && (heading.is_empty()
                    || fs::read_to_string(&target)
                        .expect("a page")
                        .lines()
                        .any(|line| line.starts_with('#') && anchor(line) == heading));
            if !known {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(links > 30, "{links} links");
    none(broken);
}
