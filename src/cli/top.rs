//! `cloakroom top`: the figures of a running server each second, until q is pressed or as often as was asked for.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches, value_parser};

use super::figures::{Figures, Source};
use super::paint::{Paint, bytes, count, share, within};
use super::stats::summary;
use super::{Done, Problem, Row, Way, say, target};
use crate::metrics::STEPS;

/// How often the figures are asked for.
const EACH: Duration = Duration::from_secs(1);

pub(super) const ROW: Row = Row {
    name: "top",
    about: "Shows a running server's figures each second",
    more: "On a terminal q ends it; elsewhere it prints a line each second.",
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

fn top(matches: &ArgMatches) -> Done {
    let source = Source::of(matches)?;
    let most = matches.get_one::<u64>("count").copied().unwrap_or(u64::MAX);
    // Whoever asks in vain is told so before the screen is taken.
    let mut last = (source.read()?, Instant::now());
    let is_screen = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    let keys = if is_screen { Some(terminal::Keys::take().map_err(Problem::failed)?) } else { None };
    let paint = Paint::stdout();
    if !is_screen {
        say(&format!("{HEADS}\n"));
    }
    for _ in 0..most {
        if !wait(keys.as_ref(), last.1 + EACH) {
            break;
        }
        let now = (source.read()?, Instant::now());
        let moved = Moved::between(&last, &now);
        match is_screen {
            false => say(&format!("{}\n", moved.line(&now.0))),
            true => {
                let page =
                    format!("{}\n{}\n\n  q ends this\n", summary(&now.0, &source.place(), paint), moved.page(paint));
                // From the top, each line to its end, and the rest cleared: nothing flickers.
                say(&format!("\x1b[H{}\x1b[J", page.replace('\n', "\x1b[K\n")));
            }
        }
        last = now;
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits, and tells whether to go on.
fn wait(keys: Option<&terminal::Keys>, until: Instant) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    match keys {
        Some(keys) => !keys.ended(left),
        None => {
            std::thread::sleep(left);
            true
        }
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
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

    use super::super::say;

    pub struct Keys {
        before: Termios,
        heard: Receiver<u8>,
    }

    impl Keys {
        /// Takes the terminal: another screen, no cursor, no echo.
        pub fn take() -> Result<Keys, String> {
            let failed = |error| format!("cannot take the terminal: {error}");
            let before = tcgetattr(std::io::stdin()).map_err(failed)?;
            let mut own = before.clone();
            // With Ctrl-C as a key, so that the terminal is given back whichever way this ends.
            own.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            tcsetattr(std::io::stdin(), OptionalActions::Now, &own).map_err(failed)?;
            say("\x1b[?1049h\x1b[?25l\x1b[H\x1b[J");
            let (tell, heard) = channel();
            std::thread::spawn(move || {
                for key in std::io::stdin().lock().bytes().map_while(Result::ok) {
                    if tell.send(key).is_err() {
                        return;
                    }
                }
            });
            Ok(Keys { before, heard })
        }

        /// Waits so long, or until somebody has pressed q, Escape or Ctrl-C, or has hung up.
        pub fn ended(&self, within: Duration) -> bool {
            let until = std::time::Instant::now() + within;
            loop {
                use std::sync::mpsc::RecvTimeoutError;
                match self.heard.recv_timeout(until.saturating_duration_since(std::time::Instant::now())) {
                    Ok(b'q' | b'Q' | 3 | 27) | Err(RecvTimeoutError::Disconnected) => return true,
                    Ok(_) => {}
                    Err(RecvTimeoutError::Timeout) => return false,
                }
            }
        }
    }

    impl Drop for Keys {
        fn drop(&mut self) {
            say("\x1b[?25h\x1b[?1049l");
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod terminal {
    pub struct Keys;

    impl Keys {
        pub fn take() -> Result<Keys, String> {
            Ok(Keys)
        }

        pub fn ended(&self, within: std::time::Duration) -> bool {
            std::thread::sleep(within);
            false
        }
    }
}
