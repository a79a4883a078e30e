//! All figures as one table: a row for what was measured, a column for each server, ratios beside the values, and at the
//! end of a row what it is to be and whether it is.

use crate::support::figures::{Figure, Figures, OURS, number};

/// The servers' order in a table; others follow as they come.
const ORDER: [&str; 7] = [OURS, "redis-server", "nginx", "mini-redis", "valkey", "pogocache", "varnish"];

/// Figures of several servers that answer one question.
pub struct Row<'a> {
    pub what: &'a str,
    pub unit: &'a str,
    pub figures: Vec<&'a Figure>,
}

impl<'a> Row<'a> {
    /// The figure of a server.
    pub fn of(&self, server: &str) -> Option<&'a Figure> {
        self.figures.iter().find(|figure| figure.server == server).copied()
    }

    /// The figure that has a goal.
    pub fn judged(&self) -> Option<&'a Figure> {
        self.figures.iter().find(|figure| figure.goal.is_some()).copied()
    }
}

/// Rows that belong together.
pub struct Section<'a> {
    pub part: &'a str,
    pub rows: Vec<Row<'a>>,
    pub servers: Vec<&'a str>,
}

/// Figures by part and by row, in the order in which they were written.
pub fn sections(files: &[Figures]) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for figure in files.iter().flat_map(|file| &file.figures) {
        let section = found(
            &mut sections,
            |section| section.part == figure.part,
            || Section { part: &figure.part, rows: Vec::new(), servers: Vec::new() },
        );
        found(&mut section.servers, |server| *server == figure.server, || &figure.server);
        let row = found(
            &mut section.rows,
            |row| row.what == figure.what && row.unit == figure.unit,
            || Row { what: &figure.what, unit: &figure.unit, figures: Vec::new() },
        );
        row.figures.push(figure);
    }
    for section in &mut sections {
        let place = |server: &&str| ORDER.iter().position(|name| name == server).unwrap_or(ORDER.len());
        section.servers.sort_by_key(place);
    }
    sections
}

/// The first that fits, or a new one at the end.
fn found<T>(list: &mut Vec<T>, fits: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let at = list.iter().position(fits).unwrap_or_else(|| {
        list.push(new());
        list.len() - 1
    });
    &mut list[at]
}

/// The lines that say where figures come from: each once, however many programs it is true of.
pub fn origins(files: &[Figures]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for file in files {
        found(&mut lines, |line| *line == file.machine, || file.machine.clone());
    }
    let mut versions: Vec<String> = Vec::new();
    for (server, version) in files.iter().flat_map(|file| &file.versions) {
        let both = format!("{server} {version}");
        found(&mut versions, |line| *line == both, || both.clone());
    }
    lines.push(versions.join(", "));
    lines.retain(|line| !line.is_empty());
    lines
}

/// Prints the table.
pub fn print(files: &[Figures]) {
    println!();
    origins(files).iter().for_each(|line| println!("{line}"));
    for file in files {
        println!("{}: {}; {}", file.program, file.when, file.conditions);
    }
    let sections = sections(files);
    let label = |row: &Row<'_>| format!("{}, {}", row.what, row.unit);
    let widest = sections.iter().flat_map(|section| &section.rows).map(|row| label(row).chars().count()).max();
    let width = widest.unwrap_or(0);
    for section in &sections {
        println!("\n{}", section.part);
        let heads: String = section.servers.iter().map(|server| format!(" {server:>16}")).collect();
        println!("  {:width$}{heads}   goal", "");
        for row in &section.rows {
            let cells: String = section
                .servers
                .iter()
                .map(|server| format!(" {:>16}", row.of(server).map_or_else(String::new, cell)))
                .collect();
            println!("  {:width$}{cells}   {}", label(row), row.judged().map_or_else(String::new, verdict));
        }
    }
    let goals = || files.iter().flat_map(|file| &file.figures).filter_map(|figure| figure.goal.as_ref());
    let count = |holds: Option<bool>| goals().filter(|goal| goal.holds == holds).count();
    let [held, missed, open] = [Some(true), Some(false), None].map(count);
    println!("\n{held} goals held, {missed} missed, {open} without the peer that they hang on");
}

fn cell(figure: &Figure) -> String {
    let value = number(figure.value);
    match &figure.ratio {
        Some(ratio) => format!("{value} ({:.2})", ratio.value),
        None => value,
    }
}

fn verdict(figure: &Figure) -> String {
    let Some(goal) = &figure.goal else { return String::new() };
    let holds = match goal.holds {
        Some(true) => "holds",
        Some(false) => "MISSED",
        None => "cannot be told",
    };
    format!("{}: {holds}", goal.text)
}
