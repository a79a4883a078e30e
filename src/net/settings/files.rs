//! Settings from files: TOML, and redis.conf with its quotes and includes.
//!
//! In a redis.conf, names nobody here knows are gathered for a warning, since files of a real Redis are to work, but for
//! what is a slip of a name that is known. In a TOML file, which was written for this server, an unknown name is a mistake.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Origin, Reader, settable};
use crate::config::{Lines, Param, find, nearest_of, slip_of, words};
use crate::glob;

/// A larger file is something else: a full redis.conf with its comments has 100 KB.
const FILE_MAX: u64 = 4 << 20;
/// Files that include each other come to an end here: so deep ...
const DEPTH_MAX: usize = 16;
/// ... and so many in all.
const INCLUDES_MAX: usize = 256;

impl Reader {
    /// Reads a file by its kind.
    pub(super) fn file(&mut self, path: &Path) -> Result<(), String> {
        let name = path.display().to_string();
        let text = read_file(path, &name)?;
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
            self.toml(&name, &text)
        } else {
            self.redis_conf(&name, &text, 0)
        }
    }

    /// Reads a redis.conf from standard input.
    pub(super) fn stdin(&mut self, input: &mut dyn Read) -> Result<(), String> {
        let text = read_all(input, "standard input")?;
        self.redis_conf("-", &text, 0)
    }

    fn redis_conf(&mut self, file: &str, text: &str, depth: usize) -> Result<(), String> {
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = i + 1;
            let words = words::split(line).ok_or_else(|| format!("{file}:{place}: the quotes do not balance"))?;
            let Some((name, values)) = words.split_first() else { continue };
            match find(name) {
                Some(param) => {
                    let value = directive(param, values).map_err(|why| format!("{file}:{place}: {why}"))?;
                    self.apply(&Origin::Line(file.to_owned(), place), param, &value)?;
                }
                None if name.eq_ignore_ascii_case("include") => {
                    self.include(values, depth).map_err(|why| format!("{file}:{place}: {why}"))?;
                }
                None if name.eq_ignore_ascii_case("user") => {
                    self.config.add_user(values).map_err(|why| format!("{file}:{place}: {why}"))?;
                }
                None if name.eq_ignore_ascii_case("rename-command") => {
                    return Err(format!("{file}:{place}: {}", not_renamed(values)));
                }
                None if self.unknown.contains(name) => {}
                None => match slip_of(name) {
                    Some(near) => {
                        let name = super::shown(name);
                        return Err(format!("{file}:{place}: there is no setting {name}; did you mean {near}?"));
                    }
                    None => self.unknown.push(name.clone()),
                },
            }
        }
        Ok(())
    }

    /// As Redis has it, the path counts from the working directory, and a pattern that fits no file is no mistake.
    fn include(&mut self, values: &[String], depth: usize) -> Result<(), String> {
        let [path] = values else { return Err("include takes one file".to_owned()) };
        if depth == DEPTH_MAX {
            return Err(format!("files include each other more than {DEPTH_MAX} deep"));
        }
        for path in fitting(path)? {
            self.included += 1;
            if self.included > INCLUDES_MAX {
                return Err(format!("more than {INCLUDES_MAX} files are included"));
            }
            let name = path.display().to_string();
            self.redis_conf(&name, &read_file(&path, &name)?, depth + 1)?;
        }
        Ok(())
    }

    fn toml(&mut self, file: &str, text: &str) -> Result<(), String> {
        let line_of = |at: usize| 1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
        let table = DeTable::parse(text).map_err(|error| {
            let line = line_of(error.span().map_or(0, |span| span.start));
            format!("{file}:{line}: {}", error.message().replace('\n', "; "))
        })?;
        let mut keys: Vec<(&Spanned<_>, &Spanned<DeValue<'_>>)> = table.get_ref().iter().collect();
        keys.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in keys {
            let name: &str = key.get_ref();
            let line = line_of(key.span().start);
            let at = |why: &str| format!("{file}:{line}: {name}: {why}");
            let origin = Origin::Line(file.to_owned(), line);
            if name == "user" {
                self.toml_users(value.get_ref()).map_err(|why| at(&why))?;
                continue;
            }
            let Some(param) = find(name) else {
                let near = nearest_of(name, settable());
                let hint = match (near, value.get_ref()) {
                    (Some(near), _) => format!("; did you mean {near}?"),
                    (None, DeValue::Table(_)) => "; only namespaces are tables, all else stands above them".to_owned(),
                    (None, _) => String::new(),
                };
                return Err(at(&format!("there is no such setting{hint}")));
            };
            match value.get_ref() {
                DeValue::Table(spaces) if param.name == "namespace" => {
                    for (name, rules) in spaces.iter() {
                        let line = line_of(name.span().start);
                        let words = namespace(name.get_ref(), rules.get_ref())
                            .map_err(|why| format!("{file}:{line}: namespace {}: {why}", name.get_ref()))?;
                        self.apply(&Origin::Line(file.to_owned(), line), param, &words)?;
                    }
                }
                DeValue::Array(items) if param.lines != Lines::Single => {
                    let words: Option<Vec<String>> = items.iter().map(|item| scalar(item.get_ref())).collect();
                    let words = words.ok_or_else(|| at("a list of texts or numbers is wanted"))?;
                    self.apply(&origin, param, &words::join(&words))?;
                }
                value => {
                    let value = scalar(value).ok_or_else(|| at(&format!("{} is not taken here", value.type_str())))?;
                    self.apply(&origin, param, &value)?;
                }
            }
        }
        Ok(())
    }
}

impl Reader {
    /// A list of texts, each a user as a redis.conf has one behind `user`.
    fn toml_users(&mut self, value: &DeValue<'_>) -> Result<(), String> {
        let DeValue::Array(items) = value else { return Err("a list of texts is wanted".to_owned()) };
        for item in items.iter() {
            let text = scalar(item.get_ref()).ok_or("a list of texts is wanted")?;
            let words = words::split(&text).ok_or("the quotes do not balance")?;
            self.config.add_user(&words)?;
        }
        Ok(())
    }
}

/// Who renames a command means to keep clients from it, and must not believe that it is hidden.
fn not_renamed(values: &[String]) -> String {
    let command = values.first().map_or_else(|| "flushall".to_owned(), |name| super::shown(name).to_ascii_lowercase());
    let command = command.trim_matches('\'');
    format!(
        "rename-command: commands keep their names here; to keep clients from this one, write instead: \
         user default on nopass ~* &* +@all -{command} (with a password: >password in place of nopass)"
    )
}

/// The words behind a directive as one value.
fn directive(param: &Param, values: &[String]) -> Result<String, String> {
    match values {
        [value] => Ok(value.clone()),
        [] if param.lines != Lines::Single => Ok(String::new()),
        [_, _, ..] if param.lines != Lines::Single => Ok(words::join(values)),
        _ => Err(format!("{}: wrong number of arguments", param.name)),
    }
}

/// The files that an include means, by name. Only the last part of a path is a pattern.
fn fitting(path: &str) -> Result<Vec<PathBuf>, String> {
    if glob::is_literal(path.as_bytes()) {
        return Ok(vec![path.into()]);
    }
    let (folder, pattern) = path.rsplit_once('/').map_or((".", path), |(folder, pattern)| (folder, pattern));
    if !glob::is_literal(folder.as_bytes()) {
        return Err("only the last part of the path may be a pattern".to_owned());
    }
    let Ok(entries) = std::fs::read_dir(format!("{folder}/")) else { return Ok(Vec::new()) };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let fits = |name: &String| !name.starts_with('.') && glob::matches(pattern.as_bytes(), name.as_bytes(), false);
    let mut names: Vec<String> = names.filter(fits).collect();
    names.sort();
    Ok(names.iter().map(|name| Path::new(&format!("{folder}/")).join(name)).collect())
}

/// A TOML table as the words of the setting.
fn namespace(name: &str, rules: &DeValue<'_>) -> Result<String, String> {
    let DeValue::Table(rules) = rules else { return Err("a table is wanted".to_owned()) };
    let mut words = vec![name.to_owned()];
    for (key, value) in rules.iter() {
        let key: &str = key.get_ref();
        let value = scalar(value.get_ref()).ok_or_else(|| format!("{key} takes a text, a number or true or false"))?;
        words.push(format!("{key}={value}"));
    }
    Ok(words::join(&words))
}

/// A single TOML value as the text other sources would have.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Boolean(yes) => Some(if *yes { "yes" } else { "no" }.to_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

fn read_file(path: &Path, name: &str) -> Result<String, String> {
    let mut file = File::open(path).map_err(|error| unreadable(name, &error))?;
    read_all(&mut file, name)
}

fn read_all(input: &mut dyn Read, name: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    input.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(|error| unreadable(name, &error))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(format!("{name}: more than {FILE_MAX} bytes are no file of settings"));
    }
    String::from_utf8(bytes).map_err(|_| format!("{name}: the text is not UTF-8"))
}

/// Says what was tried: whoever writes `cloakroom start` does not know that it names a file.
fn unreadable(name: &str, error: &std::io::Error) -> String {
    format!("cannot read settings from {name}: {error}")
}
