//! The figures that are shares of somebody else's, drawn: a bar for each server, a line where the base is, and a mark
//! for the goal. The picture is text, of this program's making, and has two sets of colours: one for light pages, one
//! for dark ones.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::{fs, io};

use crate::report::{Row, Section, origins, sections};
use crate::support::figures::{Figure, Figures, OURS, number};

/// Where it is drawn, below the crate's folder.
const FILE: &str = "docs/peers.svg";

/// Sizes in pixels. The page that shows it gives a picture about so much room.
const WIDTH: f64 = 840.0;
const MARGIN: f64 = 16.0;
/// Where bars begin and where they must end, and where the words behind them begin, below one another.
const BARS: f64 = 250.0;
const BARS_END: f64 = 516.0;
const WORDS: f64 = 526.0;
const TITLE: f64 = 30.0;
const LINE: f64 = 17.0;
const OUR_BAR: f64 = 16.0;
const PEER_BAR: f64 = 11.0;
const GAP: f64 = 8.0;

/// The share at the right end: what is longer is cut, and its number says how long it is.
const LONGEST: f64 = 2.5;

const STYLE: &str = "\
text { font: 12px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328; }
.head { font-weight: 600; font-size: 13px; }
.title { font-weight: 600; font-size: 16px; }
.small { font-size: 10.5px; fill: #59636e; }
.ours { fill: #1a7f64; }
.missed { fill: #bc4c00; }
.peer { fill: #c4cbd3; }
.base { stroke: #59636e; stroke-width: 1; }
.goal { stroke: #1f2328; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.small { fill: #9198a1; }
.ours { fill: #3fb68f; }
.missed { fill: #db6d28; }
.peer { fill: #4a525c; }
.base { stroke: #9198a1; }
.goal { stroke: #f0f6fc; }
}
";

/// Draws every figure of ours that has a ratio.
pub fn draw(files: &[Figures]) -> io::Result<()> {
    let Some(picture) = picture(files) else {
        println!("no figure of ours has a ratio: nothing is drawn");
        return Ok(());
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    fs::write(&path, picture)?;
    println!("drawn into {FILE}");
    Ok(())
}

/// The picture, unless there is nothing to draw.
fn picture(files: &[Figures]) -> Option<String> {
    let mut canvas = Canvas { shapes: String::new(), y: MARGIN + 14.0 };
    canvas.text(MARGIN, "title", "cloakroom beside its peers, on the same machine in the same run");
    let mut told = String::new();
    for section in &sections(files) {
        // A base's rows need one heading each: "redis-server = 1.00".
        for base in bases(section) {
            let rows: Vec<&Row<'_>> = section.rows.iter().filter(|row| base_of(row) == Some(base)).collect();
            canvas.section(section.part, base, &rows);
            for row in rows {
                tell(&mut told, section.part, row);
            }
        }
    }
    if told.is_empty() {
        return None;
    }
    canvas.y += TITLE;
    for line in origins(files).into_iter().chain(dates(files)) {
        canvas.text(MARGIN, "small", &line);
        canvas.y += 14.0;
    }
    let height = canvas.y + MARGIN - 14.0;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-labelledby=\"title desc\">\n\
         <title id=\"title\">cloakroom beside its peers</title>\n<desc id=\"desc\">{told}</desc>\n\
         <style>\n{STYLE}</style>\n{}</svg>\n",
        canvas.shapes
    ))
}

/// The day of the figures, or the first and the last.
fn dates(files: &[Figures]) -> Option<String> {
    let mut days: Vec<&str> = files.iter().map(|file| file.when.get(5..16).unwrap_or(&file.when)).collect();
    days.dedup();
    Some(format!("measured on {}; make peers repeats it", days.join(", ")))
}

/// Whose figure is 1 in this row.
fn base_of<'a>(row: &Row<'a>) -> Option<&'a str> {
    row.of(OURS)?.ratio.as_ref().map(|ratio| ratio.to.as_str())
}

fn bases<'a>(section: &Section<'a>) -> Vec<&'a str> {
    let mut bases: Vec<&str> = section.rows.iter().filter_map(base_of).collect();
    bases.sort_unstable();
    bases.dedup();
    bases
}

/// One sentence for those who do not see the picture.
fn tell(told: &mut String, part: &str, row: &Row<'_>) {
    let Some(ours) = row.of(OURS) else { return };
    let Some(ratio) = &ours.ratio else { return };
    let (part, what) = (Escaped(part), Escaped(row.what));
    let goal = goal(ours).map_or_else(String::new, |(words, _)| format!(" ({})", Escaped(&words)));
    let to = Escaped(&ratio.to);
    // Writing into a String cannot fail.
    let _ = writeln!(told, "{part}, {what}: {:.2} of {to}{goal}.", ratio.value);
}

/// What the goal says, and whether it is missed.
fn goal(figure: &Figure) -> Option<(String, bool)> {
    let goal = figure.goal.as_ref()?;
    let missed = goal.holds == Some(false);
    // The heading says whose ratio it is; what is to hold besides is said.
    let (first, others) = goal.text.split_at(goal.text.find(',').unwrap_or(goal.text.len()));
    let first = if goal.ratio.is_some() { first.split(" × ").next().unwrap_or(first) } else { first };
    let words = format!("goal {first}{others}");
    Some((if missed { format!("{words}, missed") } else { words }, missed))
}

struct Canvas {
    shapes: String,
    y: f64,
}

impl Canvas {
    fn section(&mut self, part: &str, base: &str, rows: &[&Row<'_>]) {
        self.y += TITLE;
        self.text(MARGIN, "head", part);
        self.y += LINE;
        let one = at(1.0);
        self.centred(one, &format!("{base} = 1"));
        self.y += 4.0;
        let (top, place) = (self.y, self.shapes.len());
        for row in rows {
            self.row(row, base);
        }
        // Below the bars, so that it lies between them and crosses none.
        let line = format!("<path class=\"base\" d=\"M{one:.1} {top:.1}V{:.1}\"/>\n", self.y - GAP + 4.0);
        self.shapes.insert_str(place, &line);
    }

    fn row(&mut self, row: &Row<'_>, base: &str) {
        let Some(ours) = row.of(OURS) else { return };
        let Some(ratio) = &ours.ratio else { return };
        let goal_words = goal(ours);
        let missed = goal_words.as_ref().is_some_and(|(_, missed)| *missed);
        self.y += OUR_BAR;
        self.text(MARGIN, "", row.what);
        let class = if missed { "missed" } else { "ours" };
        self.bar(class, OUR_BAR, ratio.value);
        if let Some(limit) = ours.goal.as_ref().and_then(|goal| goal.ratio) {
            let (x, top) = (at(limit), self.y - OUR_BAR + 1.0);
            self.shape(format_args!("<path class=\"goal\" d=\"M{x:.1} {top:.1}v{:.1}\"/>", OUR_BAR + 6.0));
        }
        let goal_words = goal_words.map_or_else(String::new, |(words, _)| format!(" · {words}"));
        let words = format!("{:.2} · {} {}{goal_words}", ratio.value, number(ours.value), row.unit);
        self.text(WORDS, "", &words);
        for peer in row.figures.iter().filter(|figure| figure.server != OURS && figure.server != base) {
            let Some(share) = peer.ratio.as_ref().filter(|share| share.to == base) else { continue };
            self.y += PEER_BAR + 1.0;
            self.bar("peer", PEER_BAR, share.value);
            let cut = if share.value > LONGEST { " (cut)" } else { "" };
            self.text(WORDS, "small", &format!("{} {:.2}{cut}", peer.server, share.value));
        }
        self.y += GAP;
    }

    fn bar(&mut self, class: &str, height: f64, share: f64) {
        let (top, length) = (self.y - height + 4.0, (at(share) - BARS).max(1.0));
        self.shape(format_args!(
            "<rect class=\"{class}\" x=\"{BARS}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{height}\" rx=\"2\"/>"
        ));
    }

    fn text(&mut self, x: f64, class: &str, words: &str) {
        let (y, words) = (self.y, Escaped(words));
        self.shape(format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>"));
    }

    fn centred(&mut self, x: f64, words: &str) {
        let (y, words) = (self.y, Escaped(words));
        self.shape(format_args!(
            "<text class=\"small\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>"
        ));
    }

    fn shape(&mut self, shape: fmt::Arguments<'_>) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.shapes, "{shape}");
    }
}

/// Where a share lies.
fn at(share: f64) -> f64 {
    BARS + share.clamp(0.0, LONGEST) / LONGEST * (BARS_END - BARS)
}

/// Words that cannot be taken for marks.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                _ => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}
