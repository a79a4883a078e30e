//! Settings: the table walked row by row, and conversations in the words of CONFIG.

use super::*;
use crate::clock::Ttl;

/// Values that a row of this kind takes, other than its default.
fn samples(param: &Param) -> Vec<String> {
    let of = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    match (param.name, &param.kind) {
        ("save", _) => of(&["3600 1 300 100"]),
        ("replicaof", _) => of(&[""]),
        ("latency-tracking-info-percentiles", _) => of(&["", "0 50 99.99"]),
        ("client-output-buffer-limit", _) => of(&["normal 1 2 3 slave 4 5 6 pubsub 7 8 9"]),
        ("dbfilename", _) => of(&["plain"]),
        ("namespace", _) => of(&["SESSION prefix=s: ttl=500ms secret=no fence=no login=no jitter=0 \
             USER_PROFILE prefix=user: ttl=300s secret=no fence=no login=no jitter=0 \
             DASHBOARD prefix=dash: ttl=60s secret=no fence=no login=no jitter=0.5 \
             LOGIN prefix=sess: ttl=86400s secret=no fence=no login=yes jitter=0 \
             MINE prefix=m: ttl=1s secret=yes fence=yes login=no jitter=1"]),
        ("upstream" | "otlp-endpoint", _) => {
            of(&["http://localhost:3000", "http://[::1]:80/app", "https://web:443", ""])
        }
        ("otlp-headers", _) => of(&["api-key=s3cret,authorization=Basic%20dTpw", ""]),
        ("otlp-resource-attributes", _) => of(&["a.b=c%2Cd,service.name=shop", ""]),
        ("notify-keyspace-events", _) => of(&["AKE", "g$xK", "AnKEm", ""]),
        ("bind", _) => of(&["127.0.0.1 -::1", "0.0.0.0"]),
        ("http-bind", _) => of(&["::", ""]),
        ("session-prefix", _) => of(&["s:", "my app:"]),
        ("unixsocketperm" | "http-unixsocketperm", _) => of(&["700", "0"]),
        ("tls-port" | "http-tls-port", _) => of(&["0", "6380", "any"]),
        ("tls-protocols", _) => of(&["TLSv1.3", "TLSv1.2 TLSv1.3", ""]),
        (_, Kind::Int(min, max)) => vec![min.to_string(), max.to_string()],
        (_, Kind::Memory(min, max) | Kind::MemoryOrAuto(min, max)) => vec![min.to_string(), max.to_string()],
        (_, Kind::MemoryOrPercent) => of(&["0", "5%", "1048576"]),
        (_, Kind::Bool) => of(&["yes", "no"]),
        (_, Kind::Span(min, max)) => vec![format!("{}ms", min.0), format!("{}ms", max.0)],
        (_, Kind::Choice(names)) => of(names),
        (_, Kind::Flags(_)) => of(&["save now force", "default", "nosave"]),
        ("verify-headers", _) => of(&["user.id=X-User-Id,a|b.c=X-Role,remote", ""]),
        ("rest-path", _) => of(&["/redis", "/kv/v1"]),
        ("base-path", _) => of(&["/auth", "/docs/api/auth"]),
        ("session-path" | "session-signout-path", _) => of(&["/api/me", ""]),
        ("session-nobody", _) => of(&["401,404,{},null", ""]),
        ("verify-redirect", _) => of(&["https://shop.example/signin?from=shop", ""]),
        (_, Kind::Text | Kind::Secret | Kind::Form(..) | Kind::SecretForm(..)) => of(&["plain", ""]),
    }
}

fn reason(config: &mut Config, name: &str, value: &str) -> String {
    config.set_live(&[(name, value)], true).expect_err(name).to_string()
}

#[test]
fn every_name_is_lower_case_and_finds_its_own_row() {
    let mut seen = Vec::new();
    for param in PARAMS {
        for name in param.names() {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
            assert!(!seen.contains(&name), "{name} is named twice");
            assert_eq!(find(name).map(|found| found.name), Some(param.name));
            seen.push(name);
        }
    }
    assert_eq!(find("MaxMemory").map(|found| found.name), Some("maxmemory"));
    assert!(find("max-memory").is_none());
}

#[test]
fn every_row_says_what_it_does_in_whole_sentences() {
    for param in PARAMS {
        assert!(param.doc.ends_with('.') && !param.doc.contains("  "), "{}", param.name);
        assert!(param.summary().len() <= 90, "{}: {}", param.name, param.summary());
        let inert = param.group == Group::Compatibility;
        assert_eq!(param.has_no_effect(), inert, "{}", param.name);
        assert_eq!(param.doc.starts_with("No effect: "), inert, "{}", param.name);
    }
}

#[test]
fn every_default_is_what_a_fresh_config_has() {
    let fresh = Config::default();
    for param in PARAMS {
        let mut config = fresh.clone();
        param.set(&mut config, param.default).expect(param.name);
        assert_eq!(param.get(&config), param.get(&fresh), "{}", param.name);
    }
    assert_eq!(fresh.namespaces.0, Namespace::predefined());
    assert_eq!((fresh.port, fresh.http_port, fresh.maxclients), (6379, 8379, 10000));
    assert_eq!(fresh.client_output_buffer_limit.normal, BufferLimit { hard: 32 << 20, soft: 8 << 20, seconds: 60 });
    assert_eq!(fresh.session().ttl, Ttl::seconds(5));
    assert_eq!(fresh.check(), Ok(()));
}

#[test]
fn every_row_shows_what_it_was_set_to_and_reads_what_it_shows() {
    for param in PARAMS {
        for sample in samples(param) {
            let mut config = Config::default();
            config.set(param.name, &sample).unwrap_or_else(|refusal| panic!("{sample}: {refusal}"));
            let shown = param.get(&config);
            let mut again = Config::default();
            again.set(param.name, &shown).unwrap_or_else(|refusal| panic!("{shown}: {refusal}"));
            assert_eq!(again, config, "{} {sample}", param.name);
            if !matches!(param.kind, Kind::Span(..)) {
                assert_eq!(shown, sample, "{}", param.name);
            }
        }
    }
}

#[test]
fn a_row_changes_its_own_setting_and_no_other() {
    let usual = Config::default();
    for param in PARAMS {
        for sample in samples(param) {
            let mut config = Config::default();
            config.set(param.name, &sample).expect(param.name);
            for other in PARAMS.iter().filter(|other| other.name != param.name) {
                let parts = ["namespace", "session-prefix", "session-ttl"];
                if parts.contains(&param.name) && parts.contains(&other.name) {
                    continue;
                }
                assert_eq!(other.get(&config), other.get(&usual), "{} {}", param.name, other.name);
            }
        }
    }
}

#[test]
fn refusals_have_redis_own_words() {
    let mut config = Config::default();
    let before = config.clone();
    for (name, value, text) in [
        ("timeout", "x", "argument couldn't be parsed into an integer"),
        ("timeout", "+1", "argument couldn't be parsed into an integer"),
        ("timeout", "01", "argument couldn't be parsed into an integer"),
        ("timeout", "-1", "argument must be between 0 and 2147483647 inclusive"),
        ("maxclients", "0", "argument must be between 1 and 4294967295 inclusive"),
        ("slowlog-log-slower-than", "-2", "argument must be between -1 and 9223372036854775807 inclusive"),
        ("maxmemory", "10x", "argument must be a memory value"),
        ("maxmemory", "-1", "argument must be a memory value"),
        ("proto-max-bulk-len", "1kb", "argument must be between 1048576 and 9223372036854775807 inclusive"),
        ("maxmemory-clients", "200%", "percentage argument must be less or equal to 100"),
        ("maxmemory-clients", "-1", "argument must be a memory or percent value"),
        ("appendonly", "maybe", "argument must be 'yes' or 'no'"),
        (
            "maxmemory-policy",
            "random",
            "argument(s) must be one of the following: logins-last, volatile-lru, volatile-lfu, volatile-random, \
             volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction",
        ),
        ("shutdown-on-sigint", "save nosave", "shutdown options SAVE and NOSAVE can't be used simultaneously"),
        ("port", "7000", "can't set immutable config"),
        ("daemonize", "yes", "can't set immutable config"),
        ("dir", "/", "can't set protected config"),
        ("save", "60", "Invalid save parameters"),
        ("notify-keyspace-events", "KEAY", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
        ("client-output-buffer-limit", "normal 1 2", "Wrong number of arguments in buffer limit configuration."),
        ("client-output-buffer-limit", "wrong 1 2 3", "Invalid client class specified in buffer limit configuration."),
        (
            "client-output-buffer-limit",
            "normal 1 2 x",
            "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
        ),
        (
            "latency-tracking-info-percentiles",
            "101",
            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
        ),
    ] {
        let whole = format!("CONFIG SET failed (possibly related to argument '{name}') - {text}");
        assert_eq!(reason(&mut config, name, value), whole, "{name} {value}");
    }
    assert_eq!(reason(&mut config, "no-such", "1"), "Unknown option or number of arguments for CONFIG SET - 'no-such'");
    assert_eq!(config, before);
}

#[test]
fn config_set_applies_all_or_nothing() {
    let mut config = Config::default();
    let before = config.clone();
    for pairs in [
        &[("maxmemory", "1mb"), ("maxmemory-clients", "200%")][..],
        &[("maxmemory", "1mb"), ("maxmemory", "2mb")],
        &[("maxmemory", "1mb"), ("port", "7000")],
        &[("maxmemory", "1mb"), ("nonsense", "1")],
    ] {
        config.set_live(pairs, true).expect_err("one of them is wrong");
        assert_eq!(config, before);
    }
    let changed = config.set_live(&[("maxmemory", "1mb"), ("timeout", "3600"), ("HZ", "50")], true).expect("all good");
    assert_eq!(changed.iter().map(|param| param.name).collect::<Vec<_>>(), ["maxmemory", "hz"]);
    assert_eq!(config.maxmemory, 1 << 20);
}

#[test]
fn the_first_thing_wrong_is_the_one_that_is_told() {
    let mut config = Config::default();
    let refusal = config.set_live(&[("daemonize", "yes"), ("nonsense", "1")], true).expect_err("both wrong");
    assert!(refusal.to_string().ends_with("can't set immutable config"), "{refusal}");
    let refusal = config.set_live(&[("maxmemory", "x"), ("nonsense", "1")], true).expect_err("both wrong");
    assert_eq!(refusal, Refusal::Unknown("nonsense".to_owned()));
    let refusal = config.set_live(&[("hz", "1"), ("Hz", "2")], true).expect_err("twice");
    assert_eq!(refusal.to_string(), "CONFIG SET failed (possibly related to argument 'Hz') - duplicate parameter");
}

#[test]
fn what_config_get_shows_config_set_takes_back() {
    let mut config = Config::default();
    config.set("enable-protected-configs", "yes").expect("known");
    for (name, value) in config.matching(|_| true) {
        let changed = config.set_live(&[(name, &value)], true).unwrap_or_else(|refusal| panic!("{refusal}"));
        assert!(changed.is_empty(), "{name}");
    }
}

#[test]
fn other_names_are_listed_and_hidden_ones_are_not() {
    let mut config = Config::default();
    config.set("hash-max-ziplist-entries", "20").expect("known");
    assert_eq!(
        config.matching(|name| name.starts_with("hash-max") && name.ends_with("entries")),
        [("hash-max-listpack-entries", "20".to_owned()), ("hash-max-ziplist-entries", "20".to_owned())]
    );
    assert!(config.matching(|name| name == "key-load-delay").is_empty());
    assert_eq!(config.get("key-load-delay").as_deref(), Some("0"));
}

#[test]
fn protected_settings_follow_their_permission() {
    let mut config = Config::default();
    config.set("enable-protected-configs", "local").expect("known");
    assert!(config.set_live(&[("dbfilename", "x.rdb")], true).is_ok());
    let refusal = config.set_live(&[("dbfilename", "y.rdb")], false).expect_err("from afar");
    assert!(refusal.to_string().ends_with("can't set protected config"));
}

#[test]
fn memory_has_redis_units() {
    let mut config = Config::default();
    for (text, bytes) in [
        ("1k", 1000),
        ("1kb", 1024),
        ("2M", 2_000_000),
        ("2mB", 2 << 20),
        ("1g", 1_000_000_000),
        ("1gb", 1 << 30),
        ("7b", 7),
    ] {
        config.set("maxmemory", text).expect(text);
        assert_eq!(config.maxmemory, bytes, "{text}");
    }
    for text in ["", "mb", "1 mb", "99999999999999999999", "18446744073709551615gb"] {
        config.set("maxmemory", text).expect_err(text);
    }
}

#[test]
fn a_length_of_time_needs_its_unit() {
    let mut config = Config::default();
    for (text, ttl) in [("5s", 5000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000), ("1d", 86_400_000)] {
        config.set("session-ttl", text).expect(text);
        assert_eq!(config.session().ttl, Ttl(ttl), "{text}");
    }
    for text in ["5", "0", "s", "5 s", "-5s", "5.5s", "99999999999999999999s", "9999999d"] {
        config.set("session-ttl", text).expect_err(text);
    }
    config.set("session-stale", "0").expect("nothing needs no unit");
}

#[test]
fn session_settings_are_those_of_the_namespace() {
    let mut config = Config::default();
    config.set("session-prefix", "s:").expect("known");
    config.set("namespace", "SESSION ttl=9s").expect("known");
    assert_eq!(config.get("session-ttl").as_deref(), Some("9s"));
    assert_eq!(config.session().prefix, b"s:");
    config.set("session-prefix", "user:").expect_err("the prefix of another");
    config.set("session-prefix", "").expect_err("no prefix at all");
}

#[test]
fn an_upstream_is_the_address_of_an_application() {
    let mut config = Config::default();
    config.set("upstream", "http://Web.local/base/").expect("good");
    let upstream = config.upstream.clone().expect("set");
    assert_eq!((upstream.authority().as_str(), upstream.base.as_str()), ("Web.local:80", "/base"));
    let hosts = [
        ("https://web", "web"),
        ("https://web:80", "web:80"),
        ("http://web:80/a", "web"),
        ("http://[::1]:3000", "[::1]:3000"),
        ("https://[::1]", "[::1]"),
    ];
    for (text, host) in hosts {
        config.set("upstream", text).expect("good");
        assert_eq!(config.upstream.as_ref().expect("set").host_header(), host);
    }
    for (text, shown) in [("https://Web", "https://Web:443"), ("HTTPS://web:3000/a/", "https://web:3000/a")] {
        config.set("upstream", text).expect("good");
        assert_eq!(config.get("upstream").as_deref(), Some(shown));
    }
    for (text, why) in [
        ("ftp://web", "such as"),
        ("https:/", "such as"),
        ("web:3000", "such as http://127.0.0.1:3000"),
        ("http://", "such as"),
        ("http://web:0", "such as"),
        ("http://web:99999", "such as"),
        ("http://[::1", "such as"),
        ("http://[::1]x", "such as"),
        ("http://a b", "such as"),
        ("http://ada:lovelace@web", "user name or password"),
        ("http://web/x?y", "without query"),
        ("http://wéb", "such as"),
        ("http:/ßß", "such as"),
    ] {
        let refusal = config.set("upstream", text).expect_err(text);
        assert!(refusal.reason().contains(why), "{text}: {refusal}");
        assert!(!refusal.to_string().contains("lovelace"));
    }
}

#[test]
fn a_door_open_to_the_network_needs_a_password() {
    let mut config = Config::default();
    config.set("bind", "127.0.0.1 *").expect("addresses");
    let why = config.check().expect_err("open");
    assert!(why.contains("0.0.0.0") && why.contains("requirepass"), "{why}");
    config.set("requirepass", "opensesame").expect("text");
    assert_eq!(config.check(), Ok(()));
    config.set("requirepass", "").expect("text");
    config.set("protected-mode", "no").expect("yes or no");
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn one_port_cannot_be_both_doors() {
    let mut config = Config::default();
    config.set("http-port", "6379").expect("a port");
    assert!(config.check().expect_err("twice").contains("6379"));
    config.set("http-bind", "127.0.0.2").expect("an address");
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn debug_output_shows_no_secret() {
    let mut config = Config::default();
    config.set("requirepass", "opensesame").expect("text");
    config.set("masterauth", "opensesame").expect("text");
    config.set("port", "7000").expect("a port");
    let shown = format!("{config:?}");
    assert!(shown.contains("7000") && shown.contains("requirepass") && !shown.contains("opensesame"), "{shown}");
}

#[test]
fn a_rewritten_file_keeps_comments_and_gives_the_same_settings() {
    let old = "# mine\nport 7000\n\nmaxmemory 10mb\nsave 60 1\nsave 90 2\nunheard-of 5\n  # indented\n";
    let mut config = Config::default();
    for (name, value) in [
        ("port", "7001"),
        ("maxmemory", "1gb"),
        ("save", "60 1"),
        ("requirepass", "two words"),
        ("session-ttl", "7s"),
        ("hash-max-ziplist-entries", "20"),
    ] {
        config.set(name, value).expect(name);
    }
    let new = render_redis_conf(old, &config);
    assert_eq!(
        new,
        "# mine\nport 7001\n\nmaxmemory 1gb\nsave 60 1\nunheard-of 5\n  # indented\n# Generated by CONFIG REWRITE\n\
         requirepass \"two words\"\nhash-max-listpack-entries 20\nsession-ttl 7s\n"
    );
    assert_eq!(render_redis_conf(&new, &config), new, "a second time changes nothing");
}

#[test]
fn a_rewritten_file_of_defaults_is_the_old_one() {
    let old = "# nothing set\n\nport 6379\nbind 127.0.0.1\nsave \"\"\n";
    assert_eq!(render_redis_conf(old, &Config::default()), old);
    assert_eq!(render_redis_conf("", &Config::default()), "");
}

#[test]
fn any_settings_survive_a_rewrite() {
    for param in PARAMS {
        for sample in samples(param) {
            let mut config = Config::default();
            config.set(param.name, &sample).expect(param.name);
            let mut read = Config::default();
            for line in render_redis_conf("", &config).lines().filter(|line| !line.starts_with('#')) {
                let words = words::split(line).expect(line);
                let value = if words.len() == 2 { words[1].clone() } else { words::join(&words[1..]) };
                read.set(&words[0], &value).expect(line);
            }
            assert_eq!(read, config, "{} {sample}", param.name);
        }
    }
}

#[test]
fn the_reference_names_every_setting() {
    let page = reference();
    for param in PARAMS.iter().filter(|param| !param.is_hidden()) {
        assert!(page.contains(&format!("| `{}`", param.name)), "{}", param.name);
    }
    let document = format!("# Cloakroom\n{REFERENCE_BEGIN}\n{page}{REFERENCE_END}\nmore");
    assert_eq!(reference_in(&document), Some(page.as_str()));
    assert_eq!(reference_in("nothing"), None);
}

#[test]
fn auto_is_what_was_found_and_stays_auto_in_a_file() {
    let mut config = Config::default();
    config.found_memory(96 << 20);
    assert_eq!((config.maxmemory, config.get("maxmemory").as_deref()), (96 << 20, Some("100663296")));
    assert_eq!(render_redis_conf("", &config), "");
    assert_eq!(render_redis_conf("maxmemory 1gb\n", &config), "maxmemory auto\n");
    config.set("maxmemory", "0").expect("no limit");
    assert_eq!((config.maxmemory, render_redis_conf("", &config).contains("maxmemory 0")), (0, true));
    config.set("maxmemory", "AUTO").expect("what was found");
    assert_eq!(config.maxmemory, 96 << 20);
    // Told before it is known, by a file, and after.
    config.found_memory(10 << 20);
    assert_eq!(config.maxmemory, 10 << 20);
    config.set("maxmemory", "1gb").expect("bytes");
    config.found_memory(20 << 20);
    assert_eq!((config.maxmemory, config.maxmemory_clients.of(config.maxmemory)), (1 << 30, (1 << 30) / 100 * 25));
    assert_eq!(
        reason(&mut config, "maxmemory", "automatic"),
        "CONFIG SET failed (possibly related to argument \
                'maxmemory') - argument must be a memory value"
    );
}
