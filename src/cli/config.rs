//! `cloakroom config`: the settings that are in force and where each was written, or a file of all that there are.

use std::ffi::OsString;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::{Row, Unserved, Way, complain, say};
use crate::config::{self, PARAMS, Param, defaults_toml, in_force_toml};
use crate::net::settings::{self, Loaded, Origin};

const DEFAULTS: &str = "defaults";
const JSON: &str = "json";

pub(super) const ROW: Row = Row {
    name: "config",
    about: "Prints the settings in force, or a file of all (--defaults)",
    more: "The settings are those of cloakroom --help. Secrets are masked.",
    way: Way::Settings(
        &[
            (DEFAULTS, "Prints a TOML file of all settings with what they mean and their defaults."),
            (JSON, "Prints JSON, for machines."),
        ],
        print,
    ),
};

fn print(args: Vec<OsString>) -> Result<ExitCode, Unserved> {
    let loaded = settings::load_beside(&[DEFAULTS, JSON], args, std::env::vars_os())?;
    if loaded.switches.contains(&DEFAULTS) {
        say(&defaults_toml())?;
        return Ok(ExitCode::SUCCESS);
    }
    loaded.warnings.iter().for_each(|warning| complain(warning));
    if loaded.switches.contains(&JSON) {
        say(&format!("{:#}\n", as_json(&loaded)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let file = loaded.config.config_file.as_ref().map_or("none".to_owned(), |file| file.display().to_string());
    let users = match loaded.config.users.len() {
        0 => String::new(),
        count => format!("# users beside: {count}\n"),
    };
    say(&format!("# file: {file}\n{users}{}", in_force_toml(&loaded.config, |param| origin(&loaded, param))))?;
    Ok(ExitCode::SUCCESS)
}

/// Where a value comes from.
fn origin(loaded: &Loaded, param: &Param) -> String {
    match loaded.origin(param.name) {
        None => "default".to_owned(),
        Some(Origin::Flag) => format!("flag --{}", param.name),
        Some(Origin::Env) => format!("env {}", param.env()),
        Some(line) => line.to_string(),
    }
}

fn as_json(loaded: &Loaded) -> Value {
    let rows = PARAMS.iter().filter(|param| !param.is_hidden()).map(|param| {
        let value = config::masked(param, &loaded.config);
        (param.name.to_owned(), json!({ "value": value, "from": origin(loaded, param) }))
    });
    Value::Object(rows.collect::<Map<_, _>>())
}
