//! The binary: arguments, environment and files become a `Config`, the `Config` a server, its end an exit code.

use std::io::Write as _;
use std::process::ExitCode;

use cloakroom::config::{Config, LogFormat, LogLevel};
use cloakroom::net::copy::Order;
use cloakroom::net::server::Server;
use cloakroom::net::settings::{self, Loaded, Stop};

/// Built to take no huge pages: of a segment that is half full they would hold the other half too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit codes, as in sysexits and Redis: settings that are wrong, and a server that could not start or go on.
const BAD_SETTINGS: u8 = 2;
const FAILED: u8 = 1;
/// Not all that was to be copied could be.
const LEFT_BEHIND: u8 = 3;

fn main() -> ExitCode {
    leave_no_core();
    std::panic::set_hook(Box::new(tell_of_panic));
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some(order) = Order::read(&args, |name| std::env::var(name).ok()) {
        return copy(order);
    }
    let loaded = match settings::load(args, std::env::vars_os()) {
        Ok(loaded) => loaded,
        Err(stop) => return tell(stop),
    };
    if let Err(error) = start_log(&loaded.config) {
        eprintln!("cloakroom: cannot write logfile {}: {error}", loaded.config.logfile);
        return ExitCode::from(BAD_SETTINGS);
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    match serve(loaded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cloakroom: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// What is to be said instead of doing anything.
fn tell(stop: Stop) -> ExitCode {
    match stop {
        Stop::Answer(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Stop::Problem(line) => {
            eprintln!("cloakroom: {line}");
            ExitCode::from(BAD_SETTINGS)
        }
    }
}

/// Copies from server to server.
fn copy(order: Result<Order, Stop>) -> ExitCode {
    let done = match order {
        Ok(order) => order.carry_out(std::env::vars_os()),
        Err(stop) => return tell(stop),
    };
    match done {
        Ok(report) if report.is_whole() => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Ok(report) => {
            eprintln!("cloakroom: {report}");
            ExitCode::from(LEFT_BEHIND)
        }
        Err(line) => {
            eprintln!("cloakroom: {line}");
            ExitCode::from(FAILED)
        }
    }
}

fn serve(loaded: Loaded) -> Result<(), Box<dyn std::error::Error>> {
    let mut server = Server::bind(loaded.config)?;
    if loaded.again {
        server =
            server.with_settings(Box::new(|| match settings::load(std::env::args_os().skip(1), std::env::vars_os()) {
                Ok(loaded) => Ok(loaded.config),
                Err(Stop::Answer(text) | Stop::Problem(text)) => Err(text),
            }));
    }
    for (place, way) in server.doors() {
        println!("listening on {place} ({})", way.name());
    }
    Ok(server.run()?)
}

/// Sends log lines where the settings say.
fn start_log(config: &Config) -> std::io::Result<()> {
    use tracing_subscriber::filter::LevelFilter;
    let level = match config.loglevel {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Verbose | LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    if config.logfile.is_empty() {
        let log = log.with_writer(std::io::stderr).with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
        match config.log_format {
            LogFormat::Text => log.init(),
            LogFormat::Json => log.json().init(),
        }
    } else {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&config.logfile)?;
        let log = log.with_writer(std::sync::Mutex::new(file)).with_ansi(false);
        match config.log_format {
            LogFormat::Text => log.init(),
            LogFormat::Json => log.json().init(),
        }
    }
    Ok(())
}

/// Says where a panic was. Of what it says only what stands in the code: the rest was made of what was at hand, a token
/// perhaps. The log may be what has panicked, so this goes past it.
fn tell_of_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let at = panic.location().map_or_else(|| "a place unknown".to_owned(), ToString::to_string);
    let said = panic.payload().downcast_ref::<&'static str>().unwrap_or(&"(the text may hold what was sent)");
    let thread = std::thread::current();
    let trace = std::backtrace::Backtrace::capture();
    let _ = writeln!(std::io::stderr(), "thread {} panicked at {at}: {said}", thread.name().unwrap_or("?"));
    if trace.status() == std::backtrace::BacktraceStatus::Captured {
        let _ = writeln!(std::io::stderr(), "{trace}");
    }
}

/// A core dump would hold sessions and passwords, so none is written unless somebody raises the limit (`prlimit --core`).
#[cfg(target_os = "linux")]
fn leave_no_core() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Core).maximum;
    // Where that is not allowed, the machine's own limit stands.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}

#[cfg(not(target_os = "linux"))]
fn leave_no_core() {}
