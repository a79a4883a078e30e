//! Figures: what a bench program has measured, of whom, beside whom, and whether that is as good as it is to be.
//!
//! Each program writes its figures to a file of `target/peers`; the report reads all of them, so that programs which run
//! at different times, and for hours, end up in one table. A figure without a base is shown by itself; a goal that hangs
//! on a peer that was not there is neither held nor missed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};

/// The server that goals are for.
pub const OURS: &str = "cloakroom";

/// One number about one server.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The part of the comparison that it belongs to: `RESP`, `HTTP`, `memory` ...
    pub part: String,
    /// What was measured; with the part and the unit it names a row of the table.
    pub what: String,
    /// Whom it is about; a column of the table.
    pub server: String,
    /// The number.
    pub value: f64,
    /// What it counts: `µs`, `bytes`, `requests/s` ...
    pub unit: String,
    /// How it compares to the server that is the measure.
    pub ratio: Option<Ratio>,
    /// What it is to be.
    pub goal: Option<Goal>,
}

/// A share of somebody else's figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Ratio {
    /// Whose figure is 1.
    pub to: String,
    /// The share.
    pub value: f64,
}

/// What a figure is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// In words, as short as "≤ 0.90 × redis-server".
    pub text: String,
    /// The limit, when it is one for the ratio.
    pub ratio: Option<f64>,
    /// Whether it is so; unknown without the peer it hangs on.
    pub holds: Option<bool>,
}

impl Figure {
    /// Compares it with the base's figure, if there is one.
    pub fn over(&mut self, to: &str, base: Option<f64>) -> &mut Figure {
        let base = base.filter(|base| *base > 0.0);
        self.ratio = base.map(|base| Ratio { to: to.to_owned(), value: self.value / base });
        self
    }

    /// The value is to be no more than this.
    pub fn at_most(&mut self, limit: f64) -> &mut Figure {
        self.goal(format!("≤ {} {}", number(limit), self.unit), Some(self.value <= limit))
    }

    /// The value is to be no less than this.
    pub fn at_least(&mut self, limit: f64) -> &mut Figure {
        self.goal(format!("≥ {} {}", number(limit), self.unit), Some(self.value >= limit))
    }

    /// The ratio to this server is to be no more than this.
    pub fn ratio_at_most(&mut self, limit: f64, to: &str) -> &mut Figure {
        let holds = self.ratio.as_ref().map(|ratio| ratio.value <= limit);
        self.goal = Some(Goal { text: format!("≤ {limit:.2} × {to}"), ratio: Some(limit), holds });
        self
    }

    /// The ratio to this server is to be no less than this.
    pub fn ratio_at_least(&mut self, limit: f64, to: &str) -> &mut Figure {
        let holds = self.ratio.as_ref().map(|ratio| ratio.value >= limit);
        self.goal = Some(Goal { text: format!("≥ {limit:.2} × {to}"), ratio: Some(limit), holds });
        self
    }

    /// Besides, this is to be so; a goal that holds in part is missed.
    pub fn and(&mut self, text: &str, holds: bool) -> &mut Figure {
        if let Some(goal) = &mut self.goal {
            goal.text = format!("{}, {text}", goal.text);
            goal.holds = if holds { goal.holds } else { Some(false) };
        }
        self
    }

    /// Any other goal.
    pub fn goal(&mut self, text: String, holds: Option<bool>) -> &mut Figure {
        self.goal = Some(Goal { text, ratio: None, holds });
        self
    }

    fn to_json(&self) -> Value {
        let ratio = self.ratio.as_ref().map(|ratio| json!({ "to": ratio.to, "value": ratio.value }));
        let goal =
            self.goal.as_ref().map(|goal| json!({ "text": goal.text, "ratio": goal.ratio, "holds": goal.holds }));
        json!({
            "part": self.part, "what": self.what, "server": self.server, "value": self.value, "unit": self.unit,
            "ratio": ratio, "goal": goal,
        })
    }

    fn from_json(json: &Value) -> Option<Figure> {
        let text = |json: &Value, name: &str| Some(json.get(name)?.as_str()?.to_owned());
        let part = |name: &str| json.get(name).filter(|part| !part.is_null());
        let ratio = match part("ratio") {
            Some(ratio) => Some(Ratio { to: text(ratio, "to")?, value: ratio.get("value")?.as_f64()? }),
            None => None,
        };
        let goal = match part("goal") {
            Some(goal) => Some(Goal {
                text: text(goal, "text")?,
                ratio: goal.get("ratio").and_then(Value::as_f64),
                holds: goal.get("holds").and_then(Value::as_bool),
            }),
            None => None,
        };
        Some(Figure {
            part: text(json, "part")?,
            what: text(json, "what")?,
            server: text(json, "server")?,
            value: json.get("value")?.as_f64()?,
            unit: text(json, "unit")?,
            ratio,
            goal,
        })
    }
}

/// The figures of one run of a program, and under what conditions they came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// The file's name, without its end: the program's, or that of a part of it which can be run alone.
    pub program: String,
    /// When, on what, and how: lines for whoever reads the table.
    pub when: String,
    /// CPU model and kernel.
    pub machine: String,
    /// Rounds, durations, connections.
    pub conditions: String,
    /// The servers that are not ours, and their versions.
    pub versions: Vec<(String, String)>,
    /// The figures, in the order of the table.
    pub figures: Vec<Figure>,
}

impl Figures {
    /// None yet, measured now and here.
    pub fn new(program: &str, conditions: &str) -> Figures {
        Figures {
            program: program.to_owned(),
            when: httpdate::fmt_http_date(SystemTime::now()),
            machine: machine(),
            conditions: conditions.to_owned(),
            versions: Vec::new(),
            figures: Vec::new(),
        }
    }

    /// Says which version of a server was measured.
    pub fn version(&mut self, server: &str, version: &str) {
        if !self.versions.iter().any(|(name, _)| name == server) {
            self.versions.push((server.to_owned(), version.to_owned()));
        }
    }

    /// Adds a figure; what it is compared with, and its goal, can be said of the result.
    pub fn add(&mut self, part: &str, what: &str, server: &str, value: f64, unit: &str) -> &mut Figure {
        let (part, what, server) = (part.to_owned(), what.to_owned(), server.to_owned());
        let at = self.figures.len();
        self.figures.push(Figure { part, what, server, value, unit: unit.to_owned(), ratio: None, goal: None });
        &mut self.figures[at]
    }

    /// Writes the file that the report reads, in place of the one before.
    pub fn write(&self) -> io::Result<()> {
        let json = json!({
            "program": self.program, "when": self.when, "machine": self.machine, "conditions": self.conditions,
            "versions": self.versions, "figures": self.figures.iter().map(Figure::to_json).collect::<Vec<_>>(),
        });
        fs::create_dir_all(folder())?;
        fs::write(folder().join(format!("{}.json", self.program)), format!("{json:#}\n"))
    }

    /// What all programs have written, in the order of their names.
    pub fn read_all() -> io::Result<Vec<Figures>> {
        let unwritten = |error| match io::Error::kind(&error) {
            io::ErrorKind::NotFound => io::Error::other(format!("nothing was measured: no {}", folder().display())),
            _ => error,
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(folder()).map_err(unwritten)? {
            files.push(entry?.path());
        }
        files.retain(|path| path.extension().is_some_and(|end| end == "json"));
        files.sort();
        files.iter().map(|path| Figures::read(path)).collect()
    }

    fn read(path: &Path) -> io::Result<Figures> {
        let json: Value = serde_json::from_slice(&fs::read(path)?)?;
        Figures::from_json(&json).ok_or_else(|| io::Error::other(format!("{} holds no figures", path.display())))
    }

    fn from_json(json: &Value) -> Option<Figures> {
        let text = |name: &str| Some(json.get(name)?.as_str()?.to_owned());
        let version = |pair: &Value| Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.as_str()?.to_owned()));
        Some(Figures {
            program: text("program")?,
            when: text("when")?,
            machine: text("machine")?,
            conditions: text("conditions")?,
            versions: json.get("versions")?.as_array()?.iter().map(version).collect::<Option<_>>()?,
            figures: json.get("figures")?.as_array()?.iter().map(Figure::from_json).collect::<Option<_>>()?,
        })
    }
}

/// The middle of some values, or of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted[middle],
        _ if sorted.is_empty() => f64::NAN,
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// A number with as many digits as are worth reading; a whole one has no others.
pub fn number(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => grouped(format!("{value:.0}")),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => grouped(format!("{value:.0}")),
    }
}

/// Groups the digits of a large number by thousands.
fn grouped(text: String) -> String {
    if text.len() < 5 || text.starts_with('-') {
        return text;
    }
    let bytes = text.as_bytes().rchunks(3).rev();
    bytes.map(|chunk| String::from_utf8_lossy(chunk).into_owned()).collect::<Vec<_>>().join(" ")
}

/// Where the files are.
fn folder() -> PathBuf {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    scratch.parent().unwrap_or(scratch).join("peers")
}

/// CPU model, cores and kernel.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let models = || cpuinfo.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = models().next().map_or("an unknown CPU", |(_, model)| model.trim());
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{model}, {} cores, Linux {}", models().count().max(1), kernel.trim())
}
