//! `cloakroom check`: what a server with these settings would meet, without starting it. Each finding is a line that says
//! what is, and what helps.

mod certificates;
mod doors;
mod hazards;
mod here;
mod otlp;
mod upstream;

use std::ffi::OsString;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::paint::Paint;
use super::{FAILED, Row, Unserved, Way, say};
use crate::net::settings::{self, Stop};

const JSON: &str = "json";

pub(super) const ROW: Row = Row {
    name: "check",
    about: "Checks settings, ports, files and the upstream; starts nothing",
    more: "The settings are those of cloakroom --help. Exit codes: 0 there is no problem, 1 there is one. A warning is no problem.",
    way: Way::Settings(&[(JSON, "Prints JSON, for machines.")], check),
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// As it should be.
    Ok,
    /// It works, but may not be meant.
    Warning,
    /// It does not work, or not safely.
    Problem,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem => "problem",
        }
    }
}

/// What was found.
#[derive(Debug)]
struct Finding {
    level: Level,
    /// What it is about.
    about: String,
    what: String,
    /// What helps; empty where nothing has to.
    cure: String,
}

/// All that was found.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, level: Level, about: &str, what: impl Into<String>, cure: impl Into<String>) {
        self.0.push(Finding { level, about: about.to_owned(), what: what.into(), cure: cure.into() });
    }

    fn ok(&mut self, about: &str, what: impl Into<String>) {
        self.add(Level::Ok, about, what, "");
    }

    fn warn(&mut self, about: &str, what: impl Into<String>, cure: impl Into<String>) {
        self.add(Level::Warning, about, what, cure);
    }

    fn problem(&mut self, about: &str, what: impl Into<String>, cure: impl Into<String>) {
        self.add(Level::Problem, about, what, cure);
    }

    /// A refusal in one line, as the server itself gives it: what helps stands behind the last colon, or else is this.
    fn refused(&mut self, about: &str, line: &str, otherwise: &str) {
        const CURES: [&str; 10] = ["set", "give", "write", "leave", "name", "raise", "use", "take", "choose", "did"];
        let is_cure = |text: &str| text.split(' ').next().is_some_and(|word| CURES.contains(&word));
        let parts = [": ", "; "].into_iter().filter_map(|mark| line.rsplit_once(mark));
        match parts.into_iter().find(|(_, cure)| is_cure(cure)) {
            Some((what, cure)) => self.problem(about, what, cure),
            None => self.problem(about, line, otherwise),
        }
    }

    fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }

    fn json(&self) -> Value {
        let finding = |finding: &Finding| {
            let Finding { level, about, what, cure } = finding;
            json!({ "level": level.word(), "about": about, "what": what, "cure": cure })
        };
        json!({
            "findings": self.0.iter().map(finding).collect::<Vec<_>>(),
            "problems": self.count(Level::Problem),
            "warnings": self.count(Level::Warning),
        })
    }

    fn text(&self, paint: Paint) -> String {
        let width = self.0.iter().map(|finding| finding.about.chars().count()).max().unwrap_or(0);
        let mut out = String::new();
        for Finding { level, about, what, cure } in &self.0 {
            let word = format!("{:<8}", level.word());
            let word = match level {
                Level::Ok => paint.green(&word),
                Level::Warning => paint.yellow(&word),
                Level::Problem => paint.red(&word),
            };
            let cure = if cure.is_empty() { String::new() } else { format!(" — {cure}") };
            out.push_str(&format!("{word} {about:width$}  {what}{cure}\n"));
        }
        let (problems, warnings) = (self.count(Level::Problem), self.count(Level::Warning));
        out.push_str(&match (problems, warnings) {
            (0, 0) => "all is well\n".to_owned(),
            _ => format!("problems: {problems}, warnings: {warnings}\n"),
        });
        out
    }
}

fn check(args: Vec<OsString>) -> Result<ExitCode, Unserved> {
    // What reads as a problem of settings is a finding here, and whether machines read it has to be known all the same.
    let wants_json = args.iter().any(|arg| arg == "--json");
    let mut found = Findings::default();
    let wants_json = match settings::load_beside(&[JSON], args, std::env::vars_os()) {
        Ok(loaded) => {
            let file = loaded.config.config_file.as_ref().map(|file| format!(" from {}", file.display()));
            found.ok("settings", format!("read{} and make sense together", file.unwrap_or_default()));
            for warning in &loaded.warnings {
                found.warn("settings", warning, "take it out, or write what was meant");
            }
            doors::look(&mut found, &loaded.config);
            here::look(&mut found, &loaded.config);
            certificates::look(&mut found, &loaded.config);
            hazards::look(&mut found, &loaded);
            upstream::look(&mut found, &loaded.config);
            otlp::look(&mut found, &loaded.config);
            loaded.switches.contains(&JSON)
        }
        Err(Stop::Problem(line)) => {
            found.refused("settings", &line, "cloakroom --help lists what is taken");
            wants_json
        }
        Err(stop) => return Err(stop.into()),
    };
    match wants_json {
        true => say(&format!("{:#}\n", found.json()))?,
        false => say(&found.text(Paint::stdout()))?,
    }
    Ok(if found.count(Level::Problem) == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
