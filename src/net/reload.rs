//! SIGHUP: settings, users and certificates are read again; all of them, or what is there stays.
//!
//! Of the settings those are taken that differ from what was read before: what somebody changed with CONFIG SET
//! meanwhile stays, unless its line has changed too. Clients stay, but those of users who are gone or changed.

use std::sync::Arc;

use super::tls::Papers;
use super::worker::Shared;
use crate::command;
use crate::config::{Change, Config, PARAMS};

/// Reads the settings again, or says in one line why they are not taken.
pub type Settings = Box<dyn Fn() -> Result<Config, String> + Send>;

pub(super) struct Reloader {
    shared: Arc<Shared>,
    settings: Option<Settings>,
    /// As they were last read.
    last: Config,
}

impl Reloader {
    /// Without `settings` only users and certificates are read again.
    pub fn new(shared: Arc<Shared>, settings: Option<Settings>) -> Reloader {
        let last = shared.engine.config();
        Reloader { shared, settings, last }
    }

    /// Reads everything again and logs what came of it.
    pub fn run(&mut self) {
        match self.reload() {
            Ok(said) => tracing::info!("SIGHUP: read again: {said}"),
            Err(why) => tracing::error!("SIGHUP: all stays as it was: {why}"),
        }
    }

    fn reload(&mut self) -> Result<String, String> {
        let engine = &self.shared.engine;
        let mut fresh = match &self.settings {
            Some(read) => read()?,
            None => self.last.clone(),
        };
        fresh.found_memory(self.last.maxmemory_found);
        let differs = PARAMS.iter().filter(|param| param.get(&fresh) != param.get(&self.last));
        let (waiting, taken): (Vec<_>, Vec<_>) = differs.partition(|param| param.change == Change::AtStart);
        // The doors are those that were opened, and so is what is asked.
        let mut doors = fresh.clone();
        (doors.tls_port, doors.http_tls_port) = (self.last.tls_port, self.last.http_tls_port);
        (doors.source, doors.upstream) = (self.last.session_source(), self.last.upstream.clone());
        doors.secret_file.clone_from(&self.last.secret_file);
        doors.check()?;
        // At start fewer clients may have been let in than were asked for, which is no mistake now.
        if taken.iter().any(|param: &&crate::config::Param| param.name.ends_with("maxclients")) {
            engine.consider(&doors).map_err(|refusal| refusal.to_string())?;
        }
        // What CONFIG SET has changed meanwhile stays, the names of files too.
        let mut stands = engine.config();
        for param in &taken {
            // What one configuration shows another reads.
            let _ = stands.set(param.name, &param.get(&fresh));
        }
        let papers = self.shared.tls.as_ref().map(|_| Papers::read(&stands)).transpose()?;
        let secrets = super::secrets::read(&doors)?;
        // Nothing above has changed anything, and nothing below the users can fail.
        let users = command::reload_users(engine)?;
        engine.adopt(&taken, &fresh);
        if let (Some(tls), Some(papers)) = (&self.shared.tls, papers) {
            tls.replace(papers);
        }
        let has_secrets = secrets.is_some();
        if let Some(secrets) = secrets {
            self.shared.hall.take_secrets(secrets);
        }
        if let Err(why) = self.shared.hall.reread_signing() {
            tracing::error!("SIGHUP: sessions are signed as before: {why}");
        }
        let names =
            |params: &[&crate::config::Param]| params.iter().map(|param| param.name).collect::<Vec<_>>().join(", ");
        let mut said = match taken.is_empty() {
            true => "no setting has changed".to_owned(),
            false => names(&taken),
        };
        if users {
            said += "; users";
        }
        if self.shared.tls.is_some() {
            said += "; certificates";
        }
        if has_secrets {
            said += "; secrets";
        }
        if !waiting.is_empty() {
            said += &format!("; changed only with a restart: {}", names(&waiting));
        }
        if fresh.users != self.last.users {
            said += "; users in the settings change only with a restart";
        }
        self.last = fresh;
        Ok(said)
    }
}
