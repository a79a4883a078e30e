//! `cloakroom top`: the figures of a running server each second, until q is pressed or as often as was asked for.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use clap::{Arg, ArgMatches, value_parser};

use super::figures::{Figures, Source};
use super::paint::{Paint, bytes, count, share, span, within};
use super::stats::summary;
use super::{Done, Problem, Row, Way, complain, plain, say, target};
use crate::metrics::STEPS;

/// How often the figures are asked for.
const EACH: Duration = Duration::from_secs(1);

pub(super) const ROW: Row = Row {
    name: "top",
    about: "Shows a running server's figures each second",
    more: "On a terminal q ends it; elsewhere it prints a line each second. A server that goes away is asked again each \
           second until it is back.",
    way: Way::Own(
        |command| {
            target::arguments(command).arg(
                Arg::new("count")
                    .long("count")
                    .value_name("N")
                    .value_parser(value_parser!(u64).range(1..))
                    .help("Ends after so many seconds. [default: never]"),
            )
        },
        top,
    ),
};

/// What happens to it.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "no keys are heard there"))]
enum Event {
    /// The figures of a moment, or why there are none.
    Told(Box<Result<Figures, Problem>>, Instant),
    /// A key was pressed.
    Key(u8),
    /// Nobody is at the terminal any more.
    HungUp,
}

fn top(matches: &ArgMatches) -> Done {
    let source = Source::of(matches)?;
    let most = matches.get_one::<u64>("count").copied().unwrap_or(u64::MAX);
    // Whoever asks in vain is told so before the screen is taken.
    let first = (source.read()?, Instant::now());
    let mut view = View { place: source.place(), paint: Paint::stdout(), last: first, page: String::new(), lost: None };
    let (tell, events) = channel();
    let is_screen = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    let _keys = if is_screen { Some(terminal::Keys::take(tell.clone())?) } else { None };
    if !is_screen {
        say(&format!("{HEADS}\n"))?;
    }
    std::thread::spawn(move || ask_again_and_again(&source, &tell));
    let mut told = 0;
    while told < most {
        match events.recv_timeout(2 * EACH) {
            Ok(Event::Key(b'q' | b'Q' | 3 | 27) | Event::HungUp) | Err(RecvTimeoutError::Disconnected) => {
                return Ok(ExitCode::SUCCESS);
            }
            Ok(Event::Key(_)) => continue,
            Ok(Event::Told(figures, at)) => {
                told += 1;
                match *figures {
                    Ok(figures) => view.hears((figures, at), is_screen)?,
                    Err(problem) => view.loses(problem.line, is_screen),
                }
            }
            // It takes long to answer; perhaps it will.
            Err(RecvTimeoutError::Timeout) => view.loses("no answer yet".to_owned(), is_screen),
        }
        if is_screen {
            view.draw(terminal::rows())?;
        }
    }
    match view.lost {
        Some(lost) => Err(Problem::failed(lost.why)),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Tells the figures each second for as long as somebody listens. A server that is gone may come back.
fn ask_again_and_again(source: &Source, tell: &Sender<Event>) {
    let mut due = Instant::now() + EACH;
    loop {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let figures = source.read();
        let at = Instant::now();
        due = (due + EACH).max(at);
        if tell.send(Event::Told(Box::new(figures), at)).is_err() {
            return;
        }
    }
}

/// What is shown.
struct View {
    place: String,
    paint: Paint,
    last: (Figures, Instant),
    /// What was drawn of the last figures.
    page: String,
    lost: Option<Lost>,
}

/// A server that has no answer.
struct Lost {
    since: SystemTime,
    why: String,
}

impl Lost {
    /// Since when, on the clock and in seconds.
    fn says(&self) -> String {
        let date = httpdate::fmt_http_date(self.since);
        let clock = date.split(' ').find(|word| word.contains(':')).unwrap_or_default();
        format!("gone since {clock} UTC, for {}", span(self.since.elapsed().unwrap_or_default().as_secs()))
    }
}

impl View {
    fn hears(&mut self, now: (Figures, Instant), is_screen: bool) -> Result<(), Problem> {
        let moved = Moved::between(&self.last, &now);
        if let Some(lost) = self.lost.take()
            && !is_screen
        {
            complain(&format!("{} is back: it was {}", self.place, lost.says()));
        }
        match is_screen {
            false => say(&format!("{}\n", moved.line(&now.0)))?,
            true => {
                self.page = format!("{}\n{}\n", summary(&now.0, &self.place, self.paint), moved.page(self.paint));
            }
        }
        self.last = now;
        Ok(())
    }

    fn loses(&mut self, why: String, is_screen: bool) {
        match &mut self.lost {
            Some(lost) => lost.why = why,
            None => {
                if !is_screen {
                    complain(&format!("{why}; it is asked again each second"));
                }
                self.lost = Some(Lost { since: SystemTime::now(), why });
            }
        }
    }

    fn draw(&self, rows: usize) -> Result<(), Problem> {
        let lost = self.lost.as_ref().map_or_else(String::new, |lost| {
            format!("{}: {}\nlast heard:\n", self.paint.red(&lost.says()), plain(&lost.why))
        });
        let page = format!("{lost}{}\n  q ends this", self.page);
        // From the top, each line to its end, and the rest cleared: nothing flickers. What the screen has no rows for would
        // push the first lines out, and no line is broken (see `Keys::take`).
        let lines: Vec<&str> = page.lines().take(rows).collect();
        say(&format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\n")))
    }
}

/// What has happened between two moments, by the second.
struct Moved {
    checks: u64,
    hits: (u64, u64),
    saved: u64,
    commands: u64,
    took: [u64; STEPS],
    late: [u64; STEPS],
}

const HEADS: &str = " checks/s     hits  saved/s   cmds/s  check p99    memory      keys  clients   lag p99";

impl Moved {
    fn between(before: &(Figures, Instant), now: &(Figures, Instant)) -> Moved {
        let seconds = now.1.saturating_duration_since(before.1).as_secs_f64().max(0.001);
        let (old, new) = (&before.0, &now.0);
        // A server that was started anew counts from zero.
        let rate = |of: &dyn Fn(&Figures) -> u64| (of(new).saturating_sub(of(old)) as f64 / seconds).round() as u64;
        let steps = |name: &str| {
            let (mut steps, before) = (new.steps(name), old.steps(name));
            steps.iter_mut().zip(before).for_each(|(step, before)| *step = step.saturating_sub(before));
            steps
        };
        let ((hits, asked), (old_hits, old_asked)) = (new.hit_ratio(), old.hit_ratio());
        Moved {
            checks: rate(&Figures::checks),
            hits: (hits.saturating_sub(old_hits), asked.saturating_sub(old_asked)),
            saved: rate(&Figures::saved),
            commands: rate(&|figures| figures.number("commands")),
            took: steps("check_micros"),
            late: steps("lag_micros"),
        }
    }

    fn line(&self, now: &Figures) -> String {
        format!(
            "{:>9} {:>8} {:>8} {:>8} {:>10} {:>9} {:>9} {:>8} {:>9}",
            self.checks,
            share(self.hits.0, self.hits.1),
            self.saved,
            self.commands,
            within(&self.took, 0.99),
            bytes(now.number("used_memory")),
            now.number("keys"),
            now.number("clients"),
            within(&self.late, 0.99),
        )
    }

    fn page(&self, paint: Paint) -> String {
        let mut out = format!("{}\n", paint.bold("this second"));
        for (title, says) in [
            ("sessions", format!("{} checked, hit ratio {}", count(self.checks), share(self.hits.0, self.hits.1))),
            ("calls", format!("{} saved", count(self.saved))),
            ("a check", format!("p50 {}, p99 {}", within(&self.took, 0.5), within(&self.took, 0.99))),
            ("commands", count(self.commands)),
            ("expiry lag", format!("p99 {}", within(&self.late, 0.99))),
        ] {
            out.push_str(&format!("  {title:<11} {says}\n"));
        }
        out.trim_end().to_owned()
    }
}

/// A terminal whose keys are heard one by one, and that is as it was afterwards.
#[cfg(target_os = "linux")]
mod terminal {
    use std::io::Read as _;
    use std::sync::mpsc::Sender;

    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

    use super::super::{Problem, say};
    use super::Event;

    pub struct Keys {
        before: Termios,
    }

    /// Rows of the screen, however many where it does not tell.
    pub fn rows() -> usize {
        match tcgetwinsize(std::io::stdout()) {
            Ok(size) if size.ws_row > 0 => size.ws_row.into(),
            _ => usize::MAX,
        }
    }

    impl Keys {
        /// Takes the terminal: another screen, no cursor, no echo, and what is wider is cut. Its keys are events from now on.
        pub fn take(tell: Sender<Event>) -> Result<Keys, Problem> {
            let failed = |error| Problem::failed(format!("cannot take the terminal: {error}"));
            let before = tcgetattr(std::io::stdin()).map_err(failed)?;
            let mut own = before.clone();
            // With Ctrl-C as a key, so that the terminal is given back whichever way this ends.
            own.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            tcsetattr(std::io::stdin(), OptionalActions::Now, &own).map_err(failed)?;
            let keys = Keys { before };
            say("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H\x1b[J")?;
            std::thread::spawn(move || {
                for key in std::io::stdin().lock().bytes().map_while(Result::ok) {
                    if tell.send(Event::Key(key)).is_err() {
                        return;
                    }
                }
                let _ = tell.send(Event::HungUp);
            });
            Ok(keys)
        }
    }

    impl Drop for Keys {
        fn drop(&mut self) {
            let _ = say("\x1b[?7h\x1b[?25h\x1b[?1049l");
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod terminal {
    pub struct Keys;

    pub fn rows() -> usize {
        usize::MAX
    }

    impl Keys {
        pub fn take(_: std::sync::mpsc::Sender<super::Event>) -> Result<Keys, super::Problem> {
            Ok(Keys)
        }
    }
}
