//! The `usage` of a row, read: what COMMAND DOCS says of arguments, and (for a test of the rows) how many words there
//! may be.
//!
//! Usage is written as Redis' pages write it: words in lower case are values, in upper case they stand for themselves;
//! `[...]` may be left out, `<...>` groups, `|` separates choices, and `...` at the end of a group lets it repeat.

/// One argument, as COMMAND DOCS describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// What people call it.
    pub name: String,
    /// The word that announces it.
    pub token: Option<String>,
    /// What it consists of.
    pub kind: Kind,
    /// It may be left out.
    pub optional: bool,
    /// It may come several times.
    pub multiple: bool,
}

/// What an argument consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its token alone.
    Token,
    /// One word.
    Word,
    /// One of several.
    OneOf(Vec<Argument>),
    /// All of several, in this order.
    Block(Vec<Argument>),
}

/// The arguments that a usage describes.
pub fn arguments(usage: &str) -> Vec<Argument> {
    let tokens = split(usage);
    let mut rest = tokens.as_slice();
    let mut choices = choices(&mut rest);
    debug_assert!(rest.is_empty() && choices.len() == 1, "unbalanced: {usage}");
    choices.remove(0)
}

impl Argument {
    fn new(name: &str, kind: Kind) -> Argument {
        Argument { name: name.to_owned(), token: None, kind, optional: false, multiple: false }
    }

    /// The type in COMMAND DOCS.
    pub fn type_name(&self) -> &'static str {
        match &self.kind {
            Kind::Token => "pure-token",
            Kind::OneOf(_) => "oneof",
            Kind::Block(_) => "block",
            Kind::Word => match self.name.as_str() {
                "key" | "newkey" | "source" | "destination" => "key",
                "pattern" => "pattern",
                name if name.starts_with("unix-time") => "unix-time",
                "count" | "cursor" | "decrement" | "end" | "index" | "index1" | "index2" | "maxage"
                | "milliseconds" | "numreplicas" | "offset" | "port" | "seconds" | "start" | "timeout" => "integer",
                _ => "string",
            },
        }
    }

    /// The parts of a choice or a block.
    pub fn parts(&self) -> &[Argument] {
        match &self.kind {
            Kind::OneOf(parts) | Kind::Block(parts) => parts,
            Kind::Token | Kind::Word => &[],
        }
    }

    /// The fewest words it takes, and whether it can take more.
    #[cfg(test)]
    pub fn words(&self) -> (usize, bool) {
        let (few, more) = match &self.kind {
            Kind::Token => (0, false),
            Kind::Word => (1, false),
            Kind::Block(parts) => words(parts),
            Kind::OneOf(parts) => {
                let counts: Vec<(usize, bool)> = parts.iter().map(Argument::words).collect();
                let few = counts.iter().map(|(few, _)| *few).min().unwrap_or(0);
                (few, counts.iter().any(|(count, more)| *more || *count != few))
            }
        };
        let few = if self.optional { 0 } else { few + usize::from(self.token.is_some()) };
        (few, more || self.optional || self.multiple)
    }
}

/// The fewest words that arguments take, and whether they can take more.
#[cfg(test)]
pub fn words(arguments: &[Argument]) -> (usize, bool) {
    arguments.iter().map(Argument::words).fold((0, false), |(sum, any), (few, more)| (sum + few, any || more))
}

fn split(usage: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for word in usage.split_whitespace() {
        let mut from = 0;
        for (at, mark) in word.match_indices(['[', ']', '<', '>', '|']) {
            tokens.extend([&word[from..at], mark]);
            from = at + 1;
        }
        tokens.push(&word[from..]);
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}

/// What lies between two brackets: sequences with `|` between them.
fn choices(rest: &mut &[&str]) -> Vec<Vec<Argument>> {
    let mut choices: Vec<Vec<Argument>> = vec![Vec::new()];
    while let Some((&token, after)) = rest.split_first() {
        if token == "]" || token == ">" {
            break;
        }
        *rest = after;
        if token == "|" {
            choices.push(Vec::new());
            continue;
        }
        let sequence = choices.last_mut().expect("there is always one");
        match token {
            "[" | "<" => {
                let group = group(rest, token == "[");
                // A token alone announces the group behind it.
                match sequence.last_mut().filter(|last| last.kind == Kind::Token && !last.optional && !group.optional) {
                    Some(last) => {
                        let token = last.token.take();
                        *last = Argument { token, ..group };
                    }
                    None => repeat_or_push(sequence, group),
                }
            }
            "..." => {
                let all = std::mem::take(sequence);
                sequence.push(Argument { multiple: true, ..block(all) });
            }
            word if is_token(word) => {
                let token = Some(word.to_owned());
                sequence.push(Argument { token, ..Argument::new(&word.to_lowercase(), Kind::Token) });
            }
            word => {
                let value = Argument::new(word, Kind::Word);
                match sequence.last_mut().filter(|last| last.token.is_some() && !last.optional) {
                    // A token takes all words that follow it.
                    Some(last) => {
                        last.kind = match std::mem::replace(&mut last.kind, Kind::Token) {
                            Kind::Block(mut parts) => {
                                parts.push(value);
                                Kind::Block(parts)
                            }
                            Kind::Word => Kind::Block(vec![Argument::new(&last.name, Kind::Word), value]),
                            Kind::Token | Kind::OneOf(_) => {
                                last.name = value.name;
                                Kind::Word
                            }
                        };
                    }
                    None => sequence.push(value),
                }
            }
        }
    }
    choices
}

/// A group whose opening bracket has been read.
fn group(rest: &mut &[&str], optional: bool) -> Argument {
    let mut blocks: Vec<Argument> = choices(rest).into_iter().map(block).collect();
    *rest = rest.get(1..).unwrap_or_default();
    let group = match blocks.len() {
        1 => blocks.remove(0),
        _ => {
            let names: Vec<&str> = blocks.iter().map(|part| part.name.as_str()).collect();
            Argument::new(&names.join("-"), Kind::OneOf(blocks.clone()))
        }
    };
    Argument { optional, ..group }
}

/// Several arguments as one.
fn block(mut parts: Vec<Argument>) -> Argument {
    match parts.len() {
        1 => parts.remove(0),
        _ => {
            let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
            Argument::new(&names.join("-"), Kind::Block(parts.clone()))
        }
    }
}

/// `key [key ...]` is one argument that repeats, and so is `key value [key value ...]`.
fn repeat_or_push(sequence: &mut Vec<Argument>, group: Argument) {
    let parts = match &group.kind {
        Kind::Block(parts) => parts.clone(),
        _ => vec![Argument { optional: false, multiple: false, ..group.clone() }],
    };
    let repeats = group.optional && group.multiple;
    if repeats
        && let [part] = parts.as_slice()
        && let Some(last) = sequence.last_mut()
        && last.name == part.name
    {
        last.multiple = true;
    } else if repeats && sequence.ends_with(&parts) {
        let first = sequence.split_off(sequence.len() - parts.len());
        sequence.push(Argument { multiple: true, ..block(first) });
    } else {
        sequence.push(group);
    }
}

fn is_token(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase()) && !word.contains(|c: char| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A usage as its structure is understood.
    fn read(usage: &str) -> String {
        let shown: Vec<String> = arguments(usage).iter().map(show).collect();
        shown.join(" ")
    }

    fn show(argument: &Argument) -> String {
        let parts: Vec<String> = argument.parts().iter().map(show).collect();
        let body = match &argument.kind {
            Kind::Token => String::new(),
            Kind::Word => argument.name.clone(),
            Kind::OneOf(_) => format!("one({})", parts.join(",")),
            Kind::Block(_) => format!("all({})", parts.join(",")),
        };
        let token = argument.token.clone().unwrap_or_default();
        let colon = if token.is_empty() || body.is_empty() { "" } else { ":" };
        let marks = [(argument.optional, "?"), (argument.multiple, "+")];
        let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
        format!("{token}{colon}{body}{marks}")
    }

    #[test]
    fn usage_is_read_as_people_read_it() {
        assert_eq!(read(""), "");
        assert_eq!(read("key [key ...]"), "key+");
        assert_eq!(read("key value [key value ...]"), "all(key,value)+");
        assert_eq!(read("cursor [MATCH pattern] [COUNT count]"), "cursor MATCH:pattern? COUNT:count?");
        assert_eq!(read("[username] password"), "username? password");
        assert_eq!(
            read("[protover [AUTH username password] [SETNAME clientname]]"),
            "all(protover,AUTH:all(username,password)?,SETNAME:clientname?)?"
        );
        assert_eq!(
            read("key value [NX | XX] [GET] [EX seconds | PX milliseconds | KEEPTTL]"),
            "key value one(NX,XX)? GET? one(EX:seconds,PX:milliseconds,KEEPTTL)?"
        );
        assert_eq!(read("<host port | NO ONE>"), "one(all(host,port),all(NO,ONE))");
        assert_eq!(read("[FILTERBY <MODULE name | PATTERN pattern>]"), "FILTERBY:one(MODULE:name,PATTERN:pattern)?");
        assert_eq!(read("[ID client-id [client-id ...]]"), "ID:client-id?+");
    }

    #[test]
    fn words_are_counted_from_the_fewest() {
        let count = |usage| words(&arguments(usage));
        assert_eq!(count(""), (0, false));
        assert_eq!(count("key [key ...]"), (1, true));
        assert_eq!(count("key value"), (2, false));
        assert_eq!(count("key value [NX | XX]"), (2, true));
        assert_eq!(count("<ON | OFF>"), (1, false));
        assert_eq!(count("<host port | NO ONE>"), (2, false));
        assert_eq!(count("<ip:port | ID id>"), (1, true));
        assert_eq!(count("[FILTERBY <MODULE name | PATTERN pattern>]"), (0, true));
    }
}
