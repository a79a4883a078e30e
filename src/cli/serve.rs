//! `cloakroom`, or `cloakroom serve`: arguments, environment and files become a `Config`, the `Config` a server, its end
//! an exit code.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use super::{BAD_SETTINGS, FAILED, Problem, Row, Unserved, Way, complain};
use crate::config::{Config, LogFormat, LogLevel, SessionSource};
use crate::net::http::service;
use crate::net::server::Server;
use crate::net::settings::{self, Loaded};

pub(super) const ROW: Row = Row {
    name: "serve",
    about: "Serves Redis clients and session checks; the default",
    more: "",
    way: Way::Settings(&[], serve),
};

fn serve(args: Vec<OsString>) -> Result<ExitCode, Unserved> {
    let loaded = settings::load(args.iter().cloned(), std::env::vars_os())?;
    if let Err(error) = start_log(&loaded.config) {
        let line = format!("cannot write logfile {}: {error}", loaded.config.logfile);
        return Err(Problem { line, code: BAD_SETTINGS }.into());
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(match run(loaded, args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(FAILED)
        }
    })
}

fn run(loaded: Loaded, args: Vec<OsString>) -> Result<(), Box<dyn std::error::Error>> {
    let can_reload = loaded.again;
    let (source, format) = (source(&loaded.config), loaded.config.log_format);
    let mut server = Server::bind(loaded.into_config())?;
    tracing::info!("cloakroom {}, process {}: {source}", env!("CARGO_PKG_VERSION"), std::process::id());
    if can_reload {
        let again = move || settings::load(args.iter().cloned(), std::env::vars_os());
        server = server.with_settings(Box::new(move || again().map(Loaded::into_config).map_err(|stop| stop.line())));
    }
    for (place, way) in server.doors() {
        match format {
            // Nobody has to read it.
            LogFormat::Text => drop(writeln!(std::io::stdout(), "listening on {place} ({})", way.name())),
            // Where the two streams are one, whoever reads objects reads nothing else.
            LogFormat::Json => tracing::info!("listening on {place} ({})", way.name()),
        }
    }
    Ok(server.with_supervisor(std::env::var_os("NOTIFY_SOCKET")).run()?)
}

/// Where session checks are answered from.
fn source(config: &Config) -> String {
    match (config.session_source(), &config.upstream) {
        (SessionSource::NextAuth, _) => "session tokens are decoded here".to_owned(),
        (SessionSource::Upstream, Some(upstream)) => {
            format!("sessions are asked for at {upstream}{}", service(config).path())
        }
        _ => "sessions are what is stored here (no upstream is set)".to_owned(),
    }
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
