//! What the README tells people to type, typed: its shell blocks against the binary, with the ports of this run, and
//! what it says they print. A block that is new must be given a place in [`BLOCKS`].

use std::path::Path;
use std::process::{Command, Stdio};

use cloakroom::config::words;
use cloakroom::net::settings;

use super::binary::Binary;
use super::faulty::Faulty;
use super::support::until;

/// How a block of the README is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    /// Typed into a shell here.
    Typed,
    /// Targets of the Makefile, which `make test` runs.
    Makefile,
    /// Run by `tests/clients/readme.mjs` with the real library, which npm has to install.
    Clients,
    /// Compared here with the example that `tests/e2e` builds and drives in a browser.
    Example,
    /// Its settings are read here, as the server reads them; what it opens is for others than this machine.
    Settings,
    /// Compared here with Cargo.toml; `make unit` builds the crate this way.
    Manifest,
    /// Compared here with the crate's own first page, which is run as a doc test.
    Doc,
}

/// Every block by its heading and language, in the README's order.
const BLOCKS: [(&str, &str, Trial); 9] = [
    ("cloakroom", "sh", Trial::Makefile),
    ("With redis-cli", "sh", Trial::Typed),
    ("In front of NextAuth, with curl", "sh", Trial::Typed),
    ("With ioredis", "js", Trial::Clients),
    ("With Next.js", "js", Trial::Example),
    ("Over HTTP, from serverless apps", "sh", Trial::Typed),
    ("As a crate", "toml", Trial::Manifest),
    ("As a crate", "rust", Trial::Doc),
    ("Security", "sh", Trial::Settings),
];

/// Comments behind a command that are no output, each with a command and what that prints.
const REMARKS: [(&str, &str, &str); 3] = [
    (
        "signs it out: later writes of this key answer FENCED for a while",
        "redis-cli set auth:session:$TOKEN '{}' EX 5",
        "(error) FENCED ",
    ),
    ("any other key is a plain Redis key", "redis-cli get cart:7", "\"[]\""),
    ("hits, waits, calls to the source, sign-outs", "redis-cli info sessions", "hits: waits: source_calls: sign_outs:"),
];

struct Block {
    heading: String,
    language: String,
    text: String,
}

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn blocks() -> Vec<Block> {
    blocks_of("README.md")
}

fn blocks_of(page: &str) -> Vec<Block> {
    let (mut heading, mut found, mut open) = (String::new(), Vec::new(), None);
    for line in file(page).lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block { heading: heading.clone(), language: language.to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) if line.starts_with('#') => heading = line.trim_start_matches('#').trim().to_owned(),
            (None, None) => {}
        }
    }
    found
}

fn block(heading: &str) -> String {
    blocks().into_iter().find(|block| block.heading == heading).expect("a block under this heading").text
}

/// The commands of a block, each with the comments behind it and below it.
fn commands(text: &str) -> Vec<(String, Vec<String>)> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        let (command, comment) = match line.split_once("# ") {
            Some((command, comment)) if command.is_empty() || command.ends_with("  ") => {
                (command.trim(), Some(comment))
            }
            _ => (line, None),
        };
        if !command.is_empty() {
            commands.push((command.to_owned(), Vec::new()));
        }
        commands.last_mut().expect("a command before its comment").1.extend(comment.map(str::to_owned));
    }
    commands
}

/// Whether a line printed is the one promised. What differs from run to run is alike: a time, a name's hash.
fn alike(promised: &str, printed: &str) -> bool {
    let plain = |line: &str| {
        let words = line.trim_end().split(' ').map(|word| match word.split_once("auth:session:~") {
            Some((before, hash)) if hash.trim_end_matches('"').len() == 22 => format!("{before}auth:session:~HASH"),
            _ if word.strip_suffix("ms").is_some_and(|number| number.parse::<f64>().is_ok()) => "TIME".to_owned(),
            _ => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    };
    plain(promised) == plain(printed)
}

/// A shell beside a server, and what is said in it.
struct Shell {
    server: Binary,
    token: &'static str,
}

impl Shell {
    fn prints(&self, command: &str) -> String {
        // redis-cli prints for people only when it is told that it sees one.
        let redis_cli = format!("redis-cli --no-raw -p {} ", self.server.resp.port());
        let command = command.replace("redis-cli ", &redis_cli);
        let command = command.replace("127.0.0.1:8379", &self.server.http.to_string());
        assert!(!command.contains("6379") && !command.contains("8379"), "it would leave this test: {command}");
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("set -euo pipefail; {command}")]).env("TOKEN", self.token).stdin(Stdio::null());
        let output = shell.output().expect("a shell");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Types a command and looks for everything that the README promises of it.
    fn type_in(&self, command: &str, promises: &[String]) {
        let printed = self.prints(command);
        for promise in promises {
            if let Some((_, proof, expected)) = REMARKS.iter().find(|(remark, _, _)| remark == promise) {
                let proof = self.prints(proof);
                for part in expected.split(' ').filter(|part| !part.is_empty()) {
                    assert!(proof.contains(part), "{command} # {promise}: no {part} in {proof}");
                }
                continue;
            }
            // A remark may stand in the same line, behind some space.
            let (promised, _) = promise.split_once("   ").unwrap_or((promise, ""));
            assert!(
                printed.lines().any(|line| alike(promised, line)),
                "{command} is said to print\n{promised}\nand prints\n{printed}"
            );
        }
    }
}

#[test]
fn every_block_of_the_readme_has_its_trial() {
    let found: Vec<(String, String)> = blocks().into_iter().map(|block| (block.heading, block.language)).collect();
    let known = BLOCKS.map(|(heading, language, _)| (heading.to_owned(), language.to_owned()));
    assert_eq!(found, known);
    let typed: String = blocks()
        .into_iter()
        .zip(BLOCKS)
        .filter(|(_, (_, _, trial))| *trial == Trial::Typed)
        .map(|(block, _)| block.text)
        .collect();
    assert!(
        REMARKS.iter().all(|(remark, _, _)| typed.contains(&format!("# {remark}\n"))),
        "a remark that nobody makes"
    );
    assert!(file("tests/clients/readme.mjs").contains("### With ioredis"));
}

#[test]
fn the_curl_lines_print_what_the_readme_says() {
    let upstream = Faulty::start();
    let mut lines = commands(&block("In front of NextAuth, with curl")).into_iter();
    let (start, _) = lines.next().expect("the server's own line");
    let start = start.replace("6379", "0").replace("8379", "0").replace("127.0.0.1:3000", &upstream.addr.to_string());
    let mut words = start.split(' ');
    assert_eq!(words.next(), Some("cloakroom"));
    // A busy machine takes more than five seconds for the lines below.
    let server = Binary::with(&words.chain(["--session-ttl", "1m"]).collect::<Vec<_>>());
    let shell = Shell { server, token: "alice.1" };
    for (command, promises) in lines {
        assert!(!promises.is_empty(), "{command} is said to print nothing");
        shell.type_in(&command, &promises);
    }
    assert_eq!(upstream.checks(), 1, "the second check was to be answered here");
}

#[test]
fn the_lines_about_security_are_settings_that_fit() {
    let words = words::split(&block("Security").replace("\\\n", " ")).expect("words");
    assert_eq!(words[0], "cloakroom");
    let loaded = settings::load(words[1..].iter().map(Into::into), []).expect("settings that make sense together");
    assert_eq!(loaded.config.plain_port(), None);
    assert!(loaded.config.uses_tls());
}

#[test]
fn the_lines_about_decoded_tokens_are_settings_that_fit() {
    let page = blocks_of("docs/sessions.md");
    let block = page.iter().find(|block| block.heading == "Without asking anybody").expect("a block");
    let words = words::split(&block.text).expect("words");
    assert_eq!(words[0], "cloakroom");
    let loaded = settings::load(words[1..].iter().map(Into::into), []).expect("settings that make sense together");
    let said = ["source", "secret-file"].map(|name| loaded.config.get(name));
    assert_eq!(said, ["nextauth", "nextauth-secret"].map(|value| Some(value.to_owned())));
}

#[test]
fn the_redis_cli_lines_print_what_the_readme_says() {
    let shell = Shell { server: Binary::start(&[]), token: "3f1c" };
    let mut before = String::new();
    for (command, promises) in commands(&block("With redis-cli")) {
        // A busy machine takes longer for two lines than what the first of them writes is to live ...
        let command = command.replace(" PX 1500", " PX 60000");
        if command.contains(" ttl ") {
            // ... and where it takes half a second for them a second less is left.
            until("all of its time is left", || {
                shell.prints(&before);
                shell.prints(&command).lines().any(|line| alike(&promises[0], line))
            });
        } else {
            shell.type_in(&command, &promises);
        }
        // The one line without a comment that reads shows what the first has written.
        if command.starts_with("curl") {
            assert_eq!(shell.prints(&command), r#"{"user":{"name":"alice"}}"#);
        }
        before = command;
    }
}

#[test]
fn the_lines_of_the_rest_door_print_what_the_readme_says() {
    let mut lines = commands(&block("Over HTTP, from serverless apps")).into_iter();
    let (start, _) = lines.next().expect("the server's own line");
    assert_eq!(start, "CLOAKROOM_REST_TOKEN=$TOKEN cloakroom");
    let shell = Shell { server: Binary::start(&["--rest-token", "sesame"]), token: "sesame" };
    for (command, promises) in lines {
        assert_eq!(promises.len(), 1, "{command}");
        shell.type_in(&command, &promises);
    }
}

#[test]
fn the_next_js_lines_are_what_the_example_app_has() {
    assert!(block("With Next.js").starts_with("// next.config.mjs: "));
    let script = "
        import assert from 'node:assert/strict'
        const said = (await import(`data:text/javascript,${encodeURIComponent(process.env.BLOCK)}`)).default
        for (const app of ['nextjs', 'nextjs-v5']) {
          const done = (await import(`${process.env.ROOT}/examples/${app}/next.config.mjs`)).default
          assert.deepEqual(await said.rewrites(), await done.rewrites())
        }";
    let output = Command::new("node")
        .args(["--input-type=module", "--eval", script])
        .env("BLOCK", block("With Next.js"))
        .env("ROOT", env!("CARGO_MANIFEST_DIR"))
        .env("CLOAKROOM_URL", "http://127.0.0.1:8379")
        .output()
        .expect("node");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_dependency_line_fits_this_crate() {
    let line = block("As a crate");
    let said: toml::Table = line.parse().expect("TOML");
    let version = said["cloakroom"]["version"].as_str().expect("a version");
    assert!(env!("CARGO_PKG_VERSION").starts_with(&format!("{version}.")), "{version}");
    assert_eq!(said["cloakroom"]["default-features"].as_bool(), Some(false));
}

#[test]
fn the_lines_of_rust_are_those_of_the_crates_first_page() {
    let lines: String = file("src/lib.rs")
        .lines()
        .map(|line| line.strip_prefix("//! ").or(line.strip_prefix("//!")).unwrap_or_default())
        .filter(|line| !line.starts_with("# "))
        .map(|line| format!("{line}\n"))
        .collect();
    let said = blocks().into_iter().find(|block| block.language == "rust").expect("a block of Rust").text;
    assert!(lines.contains(&format!("```\n{said}```\n")), "{said}\nis not in\n{lines}");
}

#[test]
fn the_targets_and_paths_that_the_readme_names_are_there() {
    let (readme, makefile, manifest) = (file("README.md"), file("Makefile"), file("Cargo.toml"));
    for (command, _) in commands(&block("cloakroom")) {
        let target = command.strip_prefix("make ").expect("a target of the Makefile");
        assert!(makefile.contains(&format!("\n{target}: ")), "make {target}");
    }
    let (mut paths, mut examples) = (0, 0);
    for quoted in readme.split('`').skip(1).step_by(2) {
        if quoted.starts_with("examples/") {
            paths += 1;
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(quoted).exists(), "{quoted}");
        } else if quoted.starts_with("cargo run") {
            examples += 1;
            let name = quoted.split("--example ").nth(1).and_then(|rest| rest.split(' ').next()).expect("an example");
            assert!(file(&format!("examples/{name}.rs")).contains(quoted), "the example itself is to say {quoted}");
            assert!(quoted.contains("--no-default-features") != manifest.contains(&format!("name = \"{name}\"")));
        }
    }
    assert!(paths >= 3 && examples >= 2, "{paths} paths, {examples} examples");
}

#[test]
fn the_lines_about_profiles_are_settings_that_fit() {
    let page = file("docs/profiles.md");
    let lines: Vec<&str> = page.lines().filter(|line| line.starts_with("cloakroom --profile ")).collect();
    for line in &lines {
        let words = words::split(line).expect("words");
        let config = settings::load(words[1..].iter().map(Into::into), []).expect(line).config;
        assert_eq!((config.get("profile"), config.check()), (Some(words[2].clone()), Ok(())), "{line}");
    }
    assert_eq!(lines.len(), 5);
}
