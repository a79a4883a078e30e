//! Where settings come from, which source wins, and what a mistake is told.

use std::io::Write;

use super::*;
use crate::clock::Ttl;
use crate::config::{LogLevel, Namespace, PARAMS};

fn start(args: &[&str], env: &[(&str, &str)]) -> Result<Loaded, Stop> {
    start_with(args, env, "")
}

fn start_with(args: &[&str], env: &[(&str, &str)], input: &str) -> Result<Loaded, Stop> {
    let args = args.iter().map(OsString::from);
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    load_with(&[], args, env, &mut input.as_bytes())
}

fn config(args: &[&str]) -> Config {
    start(args, &[]).unwrap_or_else(|stop| panic!("{args:?}: {stop:?}")).config
}

fn problem(args: &[&str], env: &[(&str, &str)]) -> String {
    match start(args, env) {
        Err(Stop::Problem(text)) => text,
        other => panic!("{args:?} {env:?}: {other:?}"),
    }
}

fn answer(args: &[&str]) -> String {
    match start(args, &[]) {
        Err(Stop::Answer(text)) => text,
        other => panic!("{args:?}: {other:?}"),
    }
}

/// A file with this ending, and the path to it.
fn file(ending: &str, text: &str) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::Builder::new().suffix(ending).tempfile().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("written");
    let path = file.path().to_str().expect("a plain path").to_owned();
    (file, path)
}

#[test]
fn nothing_said_gives_the_defaults() {
    let loaded = start(&[], &[]).expect("fine");
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.warnings.is_empty());
}

#[test]
fn flags_outrank_the_environment_and_it_outranks_the_file() {
    let (_file, path) = file(".toml", "port = 1\nhttp-port = 1\nmaxclients = 1\n");
    let env = [("CLOAKROOM_PORT", "2"), ("CLOAKROOM_HTTP_PORT", "2"), ("PATH", "/bin")];
    let config = start(&[&path, "--port", "3"], &env).expect("fine").config;
    assert_eq!((config.port, config.http_port, config.maxclients), (3, 2, 1));
    assert_eq!(config.config_file.as_deref(), Some(std::path::Path::new(&path)));
}

#[test]
fn each_value_knows_where_it_was_written() {
    let (_file, path) = file(".toml", "port = 1\n\nhttp-port = 1\nmaxclients = 1\n");
    let loaded = start(&[&path, "--port", "3"], &[("CLOAKROOM_HTTP_PORT", "2")]).expect("fine");
    assert_eq!(loaded.origin("port"), Some(&Origin::Flag));
    assert_eq!(loaded.origin("http-port"), Some(&Origin::Env));
    assert_eq!(loaded.origin("maxclients"), Some(&Origin::Line(path, 4)));
    assert_eq!(loaded.origin("workers"), None);
}

#[test]
fn a_switch_is_told_from_a_value_that_looks_like_one() {
    let load =
        |args: &[&str]| load_with(&["json"], args.iter().map(OsString::from), [], &mut std::io::empty()).expect("fine");
    let loaded = load(&["--json", "--port", "7000"]);
    assert_eq!((loaded.switches, loaded.config.port), (vec!["json"], 7000));
    let loaded = load(&["--requirepass", "--json"]);
    assert_eq!((loaded.switches.len(), loaded.config.requirepass.as_str()), (0, "--json"));
    assert!(problem(&["--json"], &[]).contains("no such setting"));
}

#[test]
fn a_file_can_be_named_in_three_ways() {
    let (_file, path) = file(".conf", "port 7001\n");
    assert_eq!(config(&[&path]).port, 7001);
    assert_eq!(config(&["--config", &path]).port, 7001);
    assert_eq!(start(&[], &[("CLOAKROOM_CONFIG", &path)]).expect("fine").config.port, 7001);
    assert!(problem(&[&path, "--config", &path], &[]).contains("two files"));
    assert!(problem(&["/no/such/file"], &[]).starts_with("cannot read settings from /no/such/file: No such file"));
}

#[test]
fn a_dash_reads_standard_input_above_the_file() {
    let (_file, path) = file(".conf", "port 7001\nhz 50\n");
    let config = start_with(&[&path, "--timeout", "5", "-"], &[], "port 7002\n").expect("fine").config;
    assert_eq!((config.port, config.timeout, config.get("hz").as_deref()), (7002, 5, Some("50")));
    let config = start_with(&["-", "--port", "7003"], &[], "port 7002\n").expect("fine").config;
    assert_eq!(config.port, 7003);
}

#[test]
fn every_setting_can_be_given_in_every_way() {
    for param in PARAMS {
        let (_conf, conf) = file(".conf", &format!("{} {}\n", param.name, crate::config::words::quote(param.default)));
        // JSON's quotes are TOML's.
        let quoted = serde_json::to_string(param.default).expect("a text");
        let (_toml, toml) = file(".toml", &format!("{} = {quoted}\n", param.name));
        let flag = format!("--{}={}", param.name, param.default);
        let words = format!("--{}", param.name);
        for mut config in [
            config(&[&flag]),
            config(&[&words, param.default]),
            start(&[], &[(&param.env(), param.default)]).expect(param.name).config,
            config(&[&conf]),
            config(&[&toml]),
        ] {
            config.config_file = None;
            assert_eq!(config, Config::default(), "{}", param.name);
        }
    }
}

#[test]
fn the_file_of_all_settings_reads_back_as_the_defaults_and_a_changed_line_counts() {
    use crate::config::defaults_toml;
    let text = defaults_toml();
    let (_file, path) = file(".toml", &text);
    let loaded = start(&[&path], &[]).expect("fine");
    let mut read = loaded.config.clone();
    read.config_file = None;
    assert_eq!(read, Config::default());
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    for param in PARAMS.iter().filter(|param| !param.is_hidden() && param.name != "namespace") {
        assert_eq!(text.matches(&format!("\n{} = ", param.name)).count(), 1, "{}", param.name);
        assert!(loaded.origin(param.name).is_some(), "{}", param.name);
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100 || !line.starts_with('#')));
    let changed = text.replace("session-ttl = \"5s\"", "session-ttl = \"7s\"").replace("port = 6379", "port = 7000");
    let (_file, path) = file(".toml", &changed.replace("jitter = 0\n", "jitter = 0.5\n"));
    let config = config(&[&path]);
    assert_eq!((config.session().ttl, config.session().jitter, config.port), (Ttl::seconds(7), 0.5, 7000));
}

#[test]
fn what_is_in_force_reads_back_but_for_secrets() {
    use crate::config::in_force_toml;
    let before = start(&["--port", "7000", "--maxmemory", "64mb", "--save", "900 1", "--session-prefix", "s:"], &[]);
    let before = before.expect("fine").config;
    let (_file, path) = file(".toml", &in_force_toml(&before, |param| param.name.to_owned()));
    let mut read = config(&[&path]);
    read.config_file = None;
    assert_eq!(read, before);
    let secret = start(&["--requirepass", "opensesame"], &[]).expect("fine").config;
    let shown = in_force_toml(&secret, |_| String::new());
    assert!(!shown.contains("opensesame") && shown.contains("requirepass = \"***\""));
}

#[test]
fn flags_take_words_as_redis_server_does() {
    let config = config(&[
        "--port",
        "7000",
        "--save",
        "",
        "--appendonly",
        "no",
        "--client-output-buffer-limit",
        "normal",
        "0",
        "0",
        "0",
        "--bind",
        "127.0.0.1",
        "-::1",
        "--maxmemory 700mb",
        "--maxmemory-policy 'volatile-lru'",
        "--shutdown-on-sigint",
        "nosave",
        "force",
        "now",
        "--proc-title-template",
        "--my--title",
        "--LogLevel=debug",
        "--hash-max-ziplist-entries",
        "20",
        "--hash-max-listpack-entries",
        "21",
        "--metrics",
    ]);
    assert_eq!((config.port, config.maxmemory, config.loglevel), (7000, 700 << 20, LogLevel::Debug));
    assert_eq!(config.client_output_buffer_limit.normal.hard, 0);
    assert_eq!(config.client_output_buffer_limit.pubsub.hard, 32 << 20);
    assert_eq!(config.bind.to_string(), "127.0.0.1 -::1");
    assert_eq!(config.get("shutdown-on-sigint").as_deref(), Some("nosave now force"));
    assert_eq!(config.get("hash-max-ziplist-entries").as_deref(), Some("21"));
    assert_eq!(config.get("proc-title-template").as_deref(), Some("--my--title"));
}

#[test]
fn save_adds_up_and_nothing_clears_it() {
    // A bare name is as good as an empty value where several words are taken.
    let (_file, path) = file(".conf", "save 900 1\nsave\nlatency-tracking-info-percentiles\n");
    assert_eq!(config(&[&path]).get("save").as_deref(), Some(""));
    assert_eq!(config(&[&path]).get("latency-tracking-info-percentiles").as_deref(), Some(""));
    let (_file, path) = file(".conf", "save 900 1\n");
    for (args, value) in [
        (&["--save", "100", "100"][..], "900 1 100 100"),
        (&["--save", ""], ""),
        (&["--save", "--port", "7000"], ""),
        (&["--port", "7000", "--save"], ""),
        (&["--proc-title-template", "--save", "--save", "", "--loglevel", "verbose"], ""),
    ] {
        let args: Vec<&str> = std::iter::once(path.as_str()).chain(args.iter().copied()).collect();
        assert_eq!(config(&args).get("save").as_deref(), Some(value), "{args:?}");
    }
}

#[test]
fn namespaces_can_be_named_everywhere() {
    let (_toml, toml) = file(
        ".toml",
        "session-ttl = \"7s\"\n[namespace.CART]\nprefix = \"my cart:\"\nttl = \"90s\"\nsecret = true\njitter = 0.1\n\
         [namespace.SESSION]\nfence = false\n",
    );
    let (_conf, conf) = file(
        ".conf",
        "session-ttl 7s\nnamespace CART \"prefix=my cart:\" ttl=90s secret jitter=0.1\nnamespace SESSION fence=no\n",
    );
    let cart = r#"CART "prefix=my cart:" ttl=90s secret jitter=0.1"#;
    let rest = ["--namespace", "SESSION", "fence=no", "--session-ttl", "7s"];
    let flags: Vec<&str> = ["--namespace", cart].into_iter().chain(rest).collect();
    for config in [config(&[&toml]), config(&[&conf]), config(&flags)] {
        let cart = config.namespaces.named("CART").expect("there");
        let wanted = Namespace {
            name: "CART".to_owned(),
            prefix: b"my cart:".to_vec(),
            ttl: Ttl::seconds(90),
            secret: true,
            fence: false,
            login: false,
            jitter: 0.1,
        };
        assert_eq!(*cart, wanted);
        assert_eq!((config.session().ttl, config.session().fence), (Ttl::seconds(7), false));
        assert!(config.namespaces.named("DASHBOARD").is_some());
    }
}

#[test]
fn toml_takes_its_own_types() {
    let (_file, path) = file(
        ".toml",
        "port = 0x1b58 # 7000\nbind = [\"127.0.0.1\", \"-::1\"]\nmetrics = false\nmaxmemory = \"1gb\"\n\
         client-output-buffer-limit = [\"normal\", 1, 2, 3]\nlog_level = \"debug\"\n",
    );
    let text = problem(&[&path], &[]);
    assert_eq!(text, format!("{path}:6: log_level: there is no such setting; did you mean log-level?"));
    let (_file, path) = file(".toml", "port = 0x1b58\nbind = [\"127.0.0.1\", \"-::1\"]\nmetrics = false\n");
    let config = config(&[&path]);
    assert_eq!((config.port, config.metrics, config.bind.0.len()), (7000, false, 2));
}

#[test]
fn a_variable_that_is_no_setting_is_said_and_does_no_harm() {
    let env = [("CLOAKROOM_UPSTREEM", "http://web"), ("CLOAKROOM_URL", "http://x")];
    let env = env.map(|(name, value)| (name.into(), value.into()));
    let Ok(loaded) = load_with(&[], [], env, &mut std::io::empty()) else { panic!("it stayed down") };
    assert_eq!(
        loaded.warnings,
        [
            "CLOAKROOM_UPSTREEM: there is no such setting; did you mean CLOAKROOM_UPSTREAM?",
            "CLOAKROOM_URL: there is no such setting",
        ]
    );
}

#[test]
fn a_mistake_is_one_line_with_its_place_its_value_and_the_cure() {
    for (args, env, text) in [
        (
            &["--port", "abc"][..],
            &[][..],
            "--port 'abc': argument couldn't be parsed into an integer (a whole number from 0 to 65535)",
        ),
        (&["--port"], &[], "--port: a value is missing"),
        (&["--prot", "1"], &[], "--prot: there is no such setting; did you mean --port?"),
        (&["--xyzzy"], &[], "--xyzzy: there is no such setting"),
        (&["--metrics", "maybe"], &[], "--metrics 'maybe': argument must be 'yes' or 'no'"),
        (
            &["--loglevel", "info"],
            &[],
            "--loglevel 'info': argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
        ),
        (&["--config", ""], &[], "--config: a value is missing"),
        (&["--config="], &[], "--config: a value is missing"),
        (&["--port", "1", "2"], &[], "a word too many behind --port: '2'; cloakroom --help shows what is taken"),
        (&["a", "b"], &[], "a word too many: 'b'; cloakroom --help shows what is taken"),
        (&["-p", "1"], &[], "'-p': there is no such flag; cloakroom --help shows what is taken"),
        (&["--help=me"], &[], "--help takes no value"),
        (&["--port", "70000"], &[], "--port '70000': argument must be between 0 and 65535 inclusive"),
        (&["--port 1 2"], &[], "--port takes one value; put quotes around one that has spaces"),
        (&["--port '1"], &[], "--port: the quotes do not balance"),
        (
            &["--upstream", "ftp://web"],
            &[],
            "--upstream 'ftp://web': argument must be a URL such as http://127.0.0.1:3000",
        ),
        (
            &["--bind", "0.0.0.0"],
            &[],
            "bind 0.0.0.0 would let anybody in: set requirepass, or protected-mode no if that is meant",
        ),
        (
            &[],
            &[("CLOAKROOM_MAXMEMORY", "lots")],
            "CLOAKROOM_MAXMEMORY 'lots': argument must be a memory value (bytes such as 1048576, 64mb or 1gb, or auto)",
        ),
    ] {
        assert_eq!(problem(args, env), text);
    }
    for (ending, body, text) in [
        (".conf", "# fine\nport 1 2\n", ":2: port: wrong number of arguments"),
        (".conf", "port\n", ":1: port: wrong number of arguments"),
        (".conf", "port \"1\n", ":1: the quotes do not balance"),
        (".conf", "\n\nmetrics maybe\n", ":3: metrics 'maybe': argument must be 'yes' or 'no'"),
        (".conf", "include a b\n", ":1: include takes one file"),
        (".toml", "prot = 1\n", ":1: prot: there is no such setting; did you mean port?"),
        (
            ".toml",
            "[session]\nttl = \"5s\"\n",
            ":1: session: there is no such setting; only namespaces are tables, all else stands above them",
        ),
        (".toml", "[port]\nx = 1\n", ":1: port: table is not taken here"),
        (".toml", "port = [1, 2]\n", ":1: port: array is not taken here"),
        (".toml", "bind = [[\"::1\"]]\n", ":1: bind: a list of texts or numbers is wanted"),
        (".toml", "[namespace]\nA = 1\n", ":2: namespace A: a table is wanted"),
        (".toml", "[namespace.A]\nprefix = []\n", ":1: namespace A: prefix takes a text, a number or true or false"),
    ] {
        let (_file, path) = file(ending, body);
        assert_eq!(problem(&[&path], &[]), format!("{path}{text}"));
    }
    let (_file, path) = file(".toml", "port = 1\nhz = = 2\n");
    let text = problem(&[&path], &[]);
    assert!(text.starts_with(&format!("{path}:2: ")) && !text.contains('\n'), "{text}");
}

#[test]
fn no_mistake_shows_a_secret() {
    const CANARY: &str = "opensesame";
    let (_file, path) = file(".conf", &format!("requirepass {CANARY} {CANARY}\n"));
    let (_quotes, quotes) = file(".conf", &format!("requirepass \"{CANARY}\n"));
    let (_toml, toml) = file(".toml", &format!("requirepass = [\"{CANARY}\"]\n"));
    let (_odd, odd) = file(".toml", &format!("requirepass = \"{CANARY}\nport = 1\n"));
    for args in [
        &["--requirepass", CANARY, CANARY][..],
        &["--masterauth", CANARY, "--requirepass", CANARY, "--port", "x"],
        &["--upstream", "http://ada:opensesame@"],
        &["--requirepas", CANARY],
        &["--requirepas=opensesame"],
        &["--requirepass opensesame opensesame"],
        &["--requirepass 'opensesame"],
        &[&path],
        &[&quotes],
        &[&toml],
        &[&odd],
    ] {
        let text = problem(args, &[]);
        assert!(!text.contains(CANARY), "{text}");
    }
    let env = [("CLOAKROOM_REQUIREPAS".into(), CANARY.into())];
    let Ok(loaded) = load_with(&[], [], env, &mut std::io::empty()) else { panic!("it stayed down") };
    assert!(loaded.warnings.len() == 1 && !loaded.warnings[0].contains(CANARY), "{:?}", loaded.warnings);
    let loaded = start(&["--requirepass", CANARY], &[]).expect("fine");
    assert!(!format!("{loaded:?}").contains(CANARY));
}

#[test]
fn a_long_or_odd_value_is_shown_in_one_short_line() {
    let text = problem(&["--port", &format!("1\n\u{1b}[2J{}", "9".repeat(100_000))], &[]);
    assert!(text.len() < 250 && !text.contains(['\n', '\u{1b}']), "{text}");
}

#[test]
fn variables_that_kubernetes_makes_for_a_service_are_no_settings() {
    let env = [
        ("CLOAKROOM_PORT", "tcp://10.0.0.7:6379"),
        ("CLOAKROOM_PORT_6379_TCP_ADDR", "10.0.0.7"),
        ("CLOAKROOM_SERVICE_HOST", "10.0.0.7"),
        ("CLOAKROOM_SERVICE_PORT_HTTP", "8379"),
    ];
    assert_eq!(start(&[], &env).expect("fine").config, Config::default());
}

#[test]
fn a_redis_conf_loads_with_one_warning_that_names_what_is_unknown() {
    // The directives of Debian's /etc/redis/redis.conf for Redis 7.0.
    let text = include_str!("debian-redis.conf");
    let (_file, path) = file(".conf", text);
    let loaded = start(&[&path], &[]).expect("fine");
    assert_eq!(loaded.config.bind.to_string(), "127.0.0.1 -::1");
    assert_eq!(loaded.config.logfile, "/var/log/redis/redis-server.log");
    assert_eq!(loaded.config.client_output_buffer_limit.normal.hard, 0);
    let [warning] = &loaded.warnings[..] else { panic!("{:?}", loaded.warnings) };
    for name in ["oom-score-adj", "disable-thp", "appenddirname", "without effect here: ", "daemonize"] {
        assert!(warning.contains(name), "{name}: {warning}");
    }
    assert!(!warning.contains("maxclients") && !warning.contains('\n'), "{warning}");
}

#[test]
fn a_slip_in_a_redis_conf_is_no_setting_that_is_ignored() {
    let (_file, path) = file(".conf", "oom-score-adj no\nRequirepas opensesame\n");
    assert_eq!(
        problem(&[&path], &[]),
        format!("{path}:2: there is no setting 'Requirepas'; did you mean requirepass?")
    );
}

#[test]
fn who_renames_a_command_is_told_how_to_keep_clients_from_it() {
    for (line, name) in [("rename-command FLUSHALL \"\"", "flushall"), ("Rename-Command config x1y2", "config")] {
        let (_file, path) = file(".conf", &format!("maxmemory 8mb\n{line}\n"));
        let text = problem(&[&path], &[]);
        assert!(text.starts_with(&format!("{path}:2: rename-command: ")) && !text.contains('\n'), "{text}");
        // The cure is one that is taken.
        let cure = text.split_once("instead: ").expect("a cure").1.split_once(" (").expect("an end").0;
        assert_eq!(cure, format!("user default on nopass ~* &* +@all -{name}"));
        let (_file, path) = file(".conf", cure);
        assert_eq!(config(&[&path]).users[0][0], "default");
    }
}

#[test]
fn a_file_may_include_others_to_a_depth() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let write = |name: &str, text: String| std::fs::write(path(name), text).expect("written");
    write("a.conf", format!("port 1\ninclude {}\nhz 7\n", path("b.conf")));
    write("b.conf", "port 2\nhz 8\n".to_owned());
    let config = config(&[&path("a.conf")]);
    assert_eq!((config.port, config.get("hz").as_deref()), (2, Some("7")));

    write("all.conf", format!("include {}\n", path("[bc].con?")));
    write("c.conf", "port 3\n".to_owned());
    write(".b.conf", "port 4\n".to_owned());
    assert_eq!(self::config(&[&path("all.conf")]).port, 3);
    write("none.conf", format!("include {}\n", path("nothing-*")));
    assert_eq!(self::config(&[&path("none.conf")]).port, 6379);

    write("loop.conf", format!("include {}\n", path("loop.conf")));
    let text = problem(&[&path("loop.conf")], &[]);
    assert!(text.ends_with("files include each other more than 16 deep"), "{text}");
    write("many.conf", format!("include {0}\ninclude {0}\n", path("many.conf")));
    problem(&[&path("many.conf")], &[]);
    write("bad.conf", "include /no/such/file\n".to_owned());
    assert!(
        problem(&[&path("bad.conf")], &[])
            .contains("bad.conf:1: cannot read settings from /no/such/file: No such file")
    );
}

#[test]
fn what_is_no_text_is_no_file_of_settings() {
    let text = problem(&["/dev/zero"], &[]);
    assert!(text.contains("are no file of settings"), "{text}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("latin.conf");
    std::fs::write(&path, b"# Z\xfcrich\n").expect("written");
    assert!(problem(&[path.to_str().expect("a plain path")], &[]).ends_with("the text is not UTF-8"));
}

#[test]
fn help_fits_a_terminal_and_names_every_setting() {
    assert_eq!(start(&["-h"], &[]).map(drop), Err(Stop::Help { is_long: false }));
    assert_eq!(start(&["--port", "1", "--help"], &[]).map(drop), Err(Stop::Help { is_long: true }));
    let short = command().render_help().to_string();
    let long = command().render_long_help().to_string();
    for text in [&short, &long] {
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{wide:#?}");
    }
    for param in PARAMS.iter().filter(|param| !param.is_hidden()) {
        assert!(long.contains(&format!("--{} <", param.name)), "{}", param.name);
        assert_eq!(short.contains(&format!("--{} <", param.name)), !param.has_no_effect(), "{}", param.name);
        if let Kind::Choice(names) | Kind::Flags(names) = param.kind {
            assert!(names.iter().all(|name| long.contains(name)), "{}", param.name);
        }
    }
    assert!(answer(&["--version"]).starts_with("cloakroom "));
    assert_eq!(answer(&["-v"]), answer(&["-V"]));
}
