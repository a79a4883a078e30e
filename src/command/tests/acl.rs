//! Users: their rules, what they may do, and what is told of those who may not.

use super::*;

const ALICE: &str = "ACL SETUSER alice on >sesame ~app:* %R~read* %W~write* +@string -strlen +config|get +select|0";

/// A server and a client who is this user.
fn as_user(rules: &str) -> (Transcript, Client) {
    let mut t = Transcript::start();
    t.say(&format!("ACL SETUSER guest on nopass {rules}")).hears("+OK");
    let mut guest = t.enter();
    t.say_as(&mut guest, "AUTH guest x").hears("+OK");
    (t, guest)
}

pub(super) fn denied(command: &str) -> String {
    format!("-NOPERM this user has no permissions to run the '{command}' command")
}

const NO_KEY: &str = "-NOPERM this user has no permissions to access one of the keys used as arguments";

#[test]
fn everybody_is_the_default_user_at_first() {
    let mut t = Transcript::start();
    t.say("ACL WHOAMI").hears("$7 default");
    t.say("ACL USERS").hears("*1 $7 default");
    t.say("ACL LIST").hears("*1 $34 user default on nopass ~* &* +@all");
    t.say("ACL DELUSER default").hears("-ERR The 'default' user cannot be removed");
    t.say("ACL WHOAMI x").hears("-ERR wrong number of arguments for 'acl|whoami' command");
    t.say("ACL nosuch").hears("-ERR unknown subcommand 'nosuch'. Try ACL HELP.");
    t.say("ACL HELP").hears_start("*29 +ACL <subcommand> ");
}

#[test]
fn a_new_user_is_off_and_may_do_nothing() {
    let mut t = Transcript::start();
    t.say("ACL SETUSER bob").hears("+OK");
    t.say("ACL LIST").hears_start("*2 $32 user bob off resetchannels -@all $34 user default");
    t.say("ACL SETUSER bob >pw").hears("+OK");
    t.say("AUTH bob pw").hears("-WRONGPASS invalid username-password pair or user is disabled.");
    t.say("ACL SETUSER bob on").hears("+OK");
    t.say("AUTH bob pw").hears("+OK");
    t.say("ACL WHOAMI").hears(&denied("acl|whoami"));
    t.say("GET x").hears(&denied("get"));
    // Who one is can be changed by anybody.
    t.say("AUTH default x").hears("+OK");
    t.say("ACL WHOAMI").hears("$7 default");
}

#[test]
fn names_have_no_blanks() {
    let mut t = Transcript::start();
    let refusal = "-ERR Usernames can't contain spaces or null characters";
    t.say("ACL SETUSER 'a b'").hears(refusal);
    t.words(&[b"ACL", b"SETUSER", b"a\0b"]).hears(refusal);
}

#[test]
fn passwords_are_kept_as_digests() {
    let mut t = Transcript::start();
    t.say("ACL SETUSER bob on >one >two >one").hears("+OK");
    let text = t.say("ACL GETUSER bob").text();
    assert!(
        text.contains("$9 passwords *2 $64 7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed $64 3fc4")
    );
    t.say("AUTH bob one").hears("+OK");
    t.say("AUTH bob two").hears("+OK");
    t.say("AUTH bob three").hears_start("-WRONGPASS");
    t.say("AUTH default x").hears("+OK");
    t.say("ACL SETUSER bob <one").hears("+OK");
    t.say("AUTH bob one").hears_start("-WRONGPASS");
    t.say("ACL SETUSER bob #7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed").hears("+OK");
    t.say("AUTH bob one").hears("+OK");
    t.say("AUTH default x").hears("+OK");
    t.say("ACL SETUSER bob !7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed").hears("+OK");
    t.say("AUTH bob one").hears_start("-WRONGPASS");
    t.say("ACL SETUSER bob resetpass").hears("+OK");
    t.say("AUTH bob two").hears_start("-WRONGPASS");
    t.say("ACL SETUSER bob nopass").hears("+OK");
    t.say("AUTH bob anything").hears("+OK");
    t.words(&[b"AUTH", b"default", b"\0\xff"]).hears("+OK");
    t.words(&[b"ACL", b"SETUSER", b"bin", b"on", b">\0\xff"]).hears("+OK");
    t.words(&[b"AUTH", b"bin", b"\0"]).hears_start("-WRONGPASS");
    t.words(&[b"AUTH", b"bin", b"\0\xff"]).hears("+OK");
}

#[test]
fn a_user_is_told_in_rules_that_make_the_same_user() {
    let mut t = Transcript::start();
    t.say(&format!("{ALICE} &ch:* (+set ~sel*) (+get &x)")).hears("+OK");
    let line = "user alice on #d0c04f4b1951e4aeaaec8223ed2039e542f3aae805a6fa7f6d794e5afff5d272 ~app:* %R~read* \
                %W~write* resetchannels &ch:* -@all +@string -strlen +config|get +select|0 \
                (~sel* resetchannels -@all +set) (resetchannels &x -@all +get)";
    t.say("ACL LIST").hears_start(&format!("*2 ${} {line} ", line.len()));
    t.say(&format!("ACL SETUSER twin {}", &line[11..])).hears("+OK");
    t.say("ACL LIST").hears(&format!(
        "*3 ${} {line} $34 user default on nopass ~* &* +@all ${} {}",
        line.len(),
        line.len() - 1,
        line.replace("alice", "twin")
    ));
    t.say("ACL GETUSER alice").hears(
        "*12 $5 flags *1 $2 on $9 passwords *1 $64 d0c04f4b1951e4aeaaec8223ed2039e542f3aae805a6fa7f6d794e5afff5d272 \
         $8 commands $44 -@all +@string -strlen +config|get +select|0 $4 keys $25 ~app:* %R~read* %W~write* \
         $8 channels $5 &ch:* $9 selectors *2 \
         *6 $8 commands $10 -@all +set $4 keys $5 ~sel* $8 channels $0  \
         *6 $8 commands $10 -@all +get $4 keys $0  $8 channels $2 &x",
    );
    t.say("HELLO 3");
    t.say("ACL GETUSER alice").hears_start("%6 $5 flags ~1 $2 on $9 passwords *1 $64 ");
    t.say("ACL GETUSER nosuch").hears("_");
    t.say("ACL SETUSER alice reset").hears("+OK");
    t.say("ACL GETUSER alice").hears(
        "%6 $5 flags ~2 $3 off $16 sanitize-payload $9 passwords *0 $8 commands $5 -@all $4 keys $0  $8 channels $0  \
         $9 selectors *0",
    );
    t.say("ACL SETUSER alice skip-sanitize-payload ON NoPass ALLKEYS AllChannels ALLCOMMANDS").hears("+OK");
    t.say("ACL LIST").hears_start("*3 $54 user alice on nopass skip-sanitize-payload ~* &* +@all ");
}

#[test]
fn a_later_rule_about_a_command_takes_the_place_of_earlier_ones() {
    let mut t = Transcript::start();
    for (rules, told) in [
        ("+memory|doctor", "-@all +memory|doctor"),
        ("+memory|doctor +memory", "-@all +memory"),
        ("+memory -memory|doctor", "-@all +memory -memory|doctor"),
        ("+@all +client|id", "+@all"),
        ("+@all -client -client +client|list", "+@all -client +client|list"),
        ("+@all -client +client|list -client", "+@all -client"),
        // What says nothing any more is not shown: reading it again would not show it either.
        ("+@all -config +config", "+@all"),
        ("+@all -@dangerous +config -@dangerous", "+@all -@dangerous"),
        ("+GET +Get -gEt", "-@all -get"),
        ("+get +getdel -get", "-@all +getdel -get"),
        ("+@READ +@read", "-@all +@read"),
        ("+@read +get", "-@all +@read"),
        ("+get nocommands", "-@all"),
        ("+select|0 +select|1", "-@all +select|0 +select|1"),
        ("+select|0 +select", "-@all +select"),
        ("+config|get +config|set -config|get", "-@all +config|set -config|get"),
    ] {
        t.say(&format!("ACL SETUSER x reset {rules}")).hears("+OK");
        let text = t.say("ACL GETUSER x").text();
        assert!(text.contains(&format!("$8 commands ${} {told} $4 keys", told.len())), "{rules}: {text}");
    }
}

#[test]
fn each_category_can_be_given_and_taken() {
    let mut t = Transcript::start();
    let categories = t.say("ACL CAT").text();
    assert!(categories.starts_with("*21 $8 keyspace $4 read "), "{categories}");
    for category in categories.split(' ').skip(2).step_by(2) {
        for sign in ["+@all -", "-@all +"] {
            let rules = format!("{sign}@{category}");
            t.say(&format!("ACL SETUSER x reset {rules}")).hears("+OK");
            assert!(t.say("ACL GETUSER x").text().contains(&format!("{rules} $4 keys")), "{rules}");
        }
    }
    assert!(t.say("ACL CAT dangerous").text().contains("config|set"));
    t.say("ACL CAT nosuch").hears("-ERR Unknown category 'nosuch'");
    t.say("ACL CAT a b").hears("-ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.");
}

#[test]
fn a_wrong_rule_changes_nothing() {
    let mut t = Transcript::start();
    for (rule, shown, why) in [
        ("nosuch", "nosuch", "Syntax error"),
        ("+nosuch", "+nosuch", "Unknown command or category name in ACL"),
        ("+@nosuch", "+@nosuch", "Unknown command or category name in ACL"),
        ("-nosuch", "-nosuch", "Unknown command or category name in ACL"),
        ("-select|0", "-select|0", "Unknown command or category name in ACL"),
        ("+config|nosuch", "+config|nosuch", "Unknown command or category name in ACL"),
        ("+get|a|b", "+get|a|b", "Unknown command or category name in ACL"),
        ("+config|get|x", "+config|get|x", "Allowing first-arg of a subcommand is not supported"),
        ("+select|", "+select|", "Syntax error"),
        ("%~x", "%~x", "Syntax error"),
        ("%RX~x", "%RX~x", "Syntax error"),
        ("%R", "%R", "Syntax error"),
        ("'~a b'", "~a b", "Syntax error"),
        ("'&a b'", "&a b", "Syntax error"),
        (")", ")", "Syntax error"),
        ("' () '", " () ", "Syntax error"),
        ("(on)", "(on)", "Syntax error"),
        ("( +get on )", "( +get on )", "Syntax error"),
        ("<nosuch", "<(redacted)", "The password you are trying to remove from the user does not exist"),
        (
            "#12g4",
            "#(redacted)",
            "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters",
        ),
        (
            "allkeys ~x",
            "~x",
            "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. \
             Try 'resetkeys' to start with an empty list of patterns",
        ),
        (
            "(allchannels &x)",
            "(allchannels &x)",
            "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
             effect. Try 'resetchannels' to start with an empty list of channels",
        ),
    ] {
        t.say(&format!("ACL SETUSER x on +get {rule}"))
            .hears(&format!("-ERR Error in ACL SETUSER modifier '{shown}': {why}"));
    }
    t.say("ACL SETUSER x (+get ~x").hears("-ERR Unmatched parenthesis in acl selector starting at '(+get'.");
    t.say("ACL USERS").hears("*1 $7 default");
    // An empty word is no rule, and so not a wrong one.
    t.say("ACL SETUSER x '' resetkeys ~x ~x %R~x").hears("+OK");
    assert!(t.say("ACL GETUSER x").text().contains("$4 keys $2 ~x"));
    t.say("ACL SETUSER x resetkeys %R~x %W~x %wr~y %r~z").hears("+OK");
    assert!(t.say("ACL GETUSER x").text().contains("$4 keys $10 ~x ~y %R~z "));
}

#[test]
fn commands_can_be_allowed_one_by_one() {
    let (mut t, mut guest) = as_user("~* +get +config|get +select|0 +@connection -ping");
    for (line, heard) in [
        ("GET x", "$-1".to_owned()),
        ("SET x y", denied("set")),
        ("CONFIG GET nosuch", "*0".to_owned()),
        ("CONFIG SET maxmemory 0", denied("config|set")),
        ("PING", denied("ping")),
        ("ECHO x", "$1 x".to_owned()),
        ("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: ".to_owned()),
        ("GET", "-ERR wrong number of arguments for 'get' command".to_owned()),
    ] {
        t.say_as(&mut guest, line).hears(&heard);
    }
    t.say("ACL SETUSER guest -select +select|0").hears("+OK");
    t.say_as(&mut guest, "SELECT 0").hears("+OK");
    t.say_as(&mut guest, "SELECT 1").hears(&denied("select"));
    let info = t.say("INFO everything").text();
    assert!(info.contains("acl_access_denied_cmd:4 acl_access_denied_key:0 acl_access_denied_channel:0"), "{info}");
}

#[test]
fn keys_are_allowed_by_pattern_and_by_what_is_done_to_them() {
    let (mut t, mut guest) = as_user("+@all ~app:* %R~read* %W~write*");
    t.say("SET read1 x").hears("+OK");
    for (line, heard) in [
        ("SET app:1 x", "+OK"),
        ("GET app:1", "$1 x"),
        ("GET read1", "$1 x"),
        ("SET read1 y", NO_KEY),
        ("SET write1 y", "+OK"),
        ("SET write1 y GET", NO_KEY),
        ("GET write1", NO_KEY),
        ("MGET read1 app:1 other", NO_KEY),
        ("MGET read1 app:1", "*2 $1 x $1 x"),
        ("COPY read1 write2", ":1"),
        ("COPY write1 read2", NO_KEY),
        // What only tells whether a key is there needs some right, whichever.
        ("EXISTS read1 write1", ":2"),
        ("EXISTS other", NO_KEY),
        ("TYPE write1", "+string"),
        ("DEL read1", NO_KEY),
        ("DEL write2", ":1"),
        ("DBSIZE", ":3"),
    ] {
        let heard_now = t.say_as(&mut guest, line).text();
        assert_eq!(heard_now, heard, "{line}");
    }
    assert!(t.say("INFO everything").text().contains("acl_access_denied_cmd:0 acl_access_denied_key:7 "));
}

#[test]
fn selectors_do_not_add_up() {
    let (mut t, mut guest) = as_user("-@all (+@write ~w*) (+@read ~r*)");
    t.say_as(&mut guest, "SET w 1").hears("+OK");
    t.say_as(&mut guest, "GET r").hears("$-1");
    t.say_as(&mut guest, "GET w").hears(NO_KEY);
    t.say_as(&mut guest, "COPY r w").hears(NO_KEY);
    t.say_as(&mut guest, "PING").hears(&denied("ping"));
    t.say("ACL SETUSER guest clearselectors").hears("+OK");
    t.say_as(&mut guest, "SET w 1").hears(&denied("set"));
}

#[test]
fn channels_are_allowed_by_pattern_and_patterns_by_themselves() {
    let mut t = Transcript::start();
    t.say("ACL SETUSER x &news:* &bar*").hears("+OK");
    let rules = t.engine.acl.user(b"x").expect("a user").rules();
    assert!(rules.allows_channel(b"news:1", false) && !rules.allows_channel(b"olds:1", false));
    assert!(rules.allows_channel(b"bar*", true) && !rules.allows_channel(b"bar1*", true));
    t.say("CONFIG SET acl-pubsub-default allchannels").hears("+OK");
    t.say("ACL SETUSER y").hears("+OK");
    assert!(t.engine.acl.user(b"y").expect("a user").rules().allows_channel(b"anything", true));
    t.say("ACL SETUSER y &x").hears_start("-ERR Error in ACL SETUSER modifier '&x': Adding a pattern after");
    t.say("CONFIG SET acl-pubsub-default resetchannels").hears("+OK");
    t.say("ACL SETUSER y reset").hears("+OK");
    assert!(!t.engine.acl.user(b"y").expect("a user").rules().allows_channel(b"anything", true));
}

#[test]
fn rights_change_under_those_who_have_them() {
    let (mut t, mut guest) = as_user("+@all ~*");
    t.say_as(&mut guest, "SET x 1").hears("+OK");
    t.say("ACL SETUSER guest -set").hears("+OK");
    t.say_as(&mut guest, "SET x 1").hears(&denied("set"));
    // Off means that nobody can log in any more.
    t.say("ACL SETUSER guest off").hears("+OK");
    t.say_as(&mut guest, "GET x").hears("$1 1");
    t.say_as(&mut guest, "AUTH guest x").hears_start("-WRONGPASS");
    t.say_as(&mut guest, "RESET").hears("+RESET");
    t.say_as(&mut guest, "ACL WHOAMI").hears("$7 default");
}

#[test]
fn who_is_deleted_is_closed() {
    let (mut t, mut guest) = as_user("+@all ~* &*");
    let mut other = t.enter();
    t.say_as(&mut other, "ACL DELUSER nosuch guest").hears(":1");
    assert!(guest.peer.is_killed() && !other.peer.is_killed());
    // Not even while another worker has yet to close it.
    let listed = t.say_as(&mut other, "CLIENT LIST").text();
    assert!(listed.contains(&format!("id={} ", other.peer.id)) && !listed.contains(&format!("id={} ", guest.peer.id)));
    // What was already on its way is not run.
    t.say_as(&mut guest, "GET x").hears("-NOAUTH Authentication required.");
    t.say_as(&mut guest, "AUTH guest x").hears_start("-WRONGPASS");
    t.say("ACL SETUSER guest on nopass +acl").hears("+OK");
    t.say_as(&mut other, "AUTH guest x").hears("+OK");
    t.say_as(&mut other, "ACL DELUSER guest").hears(":1");
    assert_eq!(other.flow, Flow::Close);
}

#[test]
fn requirepass_is_the_password_of_the_default_user() {
    let mut t = Transcript::with(&[("requirepass", "sesame")]);
    t.say("ACL WHOAMI").hears("-NOAUTH Authentication required.");
    t.say("AUTH sesame").hears("+OK");
    let text = t.say("ACL LIST").text();
    assert!(text.contains("user default on #d0c04f4b1951e4aeaaec8223ed2039e542f3aae805a6fa7f6d794e5afff5d272 ~*"));
    t.say("CONFIG SET requirepass other").hears("+OK");
    t.say("AUTH sesame").hears_start("-WRONGPASS");
    t.say("AUTH other").hears("+OK");
    t.say("CONFIG SET requirepass ''").hears("+OK");
    t.say("ACL LIST").hears("*1 $34 user default on nopass ~* &* +@all");
    t.say("AUTH x").hears_start("-ERR AUTH <password> called without any password configured for the default user.");
    t.say("AUTH a b c").hears("-ERR syntax error");
}

#[test]
fn when_the_default_user_is_off_everybody_must_say_who_they_are() {
    let mut t = Transcript::start();
    t.say("ACL SETUSER bob on >pw +@all ~*").hears("+OK");
    t.say("ACL SETUSER default off").hears("+OK");
    t.say("PING").hears("+PONG");
    let mut other = t.enter();
    t.say_as(&mut other, "PING").hears("-NOAUTH Authentication required.");
    t.say_as(&mut other, "HELLO 3").hears_start("-NOAUTH HELLO must be called");
    t.say_as(&mut other, "HELLO 3 AUTH bob wrong").hears_start("-WRONGPASS");
    t.say_as(&mut other, "HELLO 3 AUTH bob pw").hears_start("%7 ");
    t.say_as(&mut other, "SET x 1").hears("+OK");
    t.say("ACL SETUSER default on -@all").hears("+OK");
    t.say("PING").hears(&denied("ping"));
    t.say("HELLO 2 AUTH bob pw").hears_start("*14 ");
}

#[test]
fn clients_are_listed_and_closed_by_user() {
    let (mut t, guest) = as_user("+@all");
    assert!(t.say("CLIENT LIST").text().contains(" user=guest "));
    t.say("CLIENT KILL USER guest").hears(":1");
    assert!(guest.peer.is_killed() && !t.client.peer.is_killed());
    t.say("CLIENT KILL USER default SKIPME yes").hears(":0");
}

#[test]
fn a_dry_run_tells_what_would_be_denied() {
    let mut t = Transcript::start();
    t.say(ALICE).hears("+OK");
    for (line, heard) in [
        ("get app:1", "+OK"),
        ("get nosuch", "$59 This user has no permissions to access the 'nosuch' key"),
        ("set read1 x", "$58 This user has no permissions to access the 'read1' key"),
        ("dbsize", "$55 This user has no permissions to run the 'dbsize' command"),
        ("config set a b", "$59 This user has no permissions to run the 'config|set' command"),
        ("config get a", "+OK"),
        ("select 0", "+OK"),
        ("auth a b", "+OK"),
        ("set a", "-ERR wrong number of arguments for 'set' command"),
        ("nosuch x", "-ERR Command 'nosuch' not found"),
        ("config nosuch", "-ERR Command 'config' not found"),
    ] {
        let text = t.say(&format!("ACL DRYRUN alice {line}")).text();
        // How long the sentence is has been counted by somebody else.
        let told = |text: &str| text.split_once(' ').filter(|_| text.starts_with('$')).map(|(_, rest)| rest.to_owned());
        assert_eq!(told(&text).unwrap_or(text.clone()), told(heard).unwrap_or(heard.to_owned()), "{line}");
    }
    t.say("ACL DRYRUN nosuch get x").hears("-ERR User 'nosuch' not found");
    // What is refused for its number of keys has none, as in Redis.
    t.say("ACL SETUSER keyless +@all").hears("+OK");
    t.say("ACL DRYRUN keyless zunionstore to -1 from").hears("+OK");
    assert!(t.say("ACL DRYRUN keyless zunionstore to 1 from").text().contains("access the 'to' key"));
    t.say("ACL LOG").hears("*0");
}

#[test]
fn what_is_denied_is_logged_once_and_counted() {
    let (mut t, mut guest) = as_user("+get ~mine");
    t.say("ACL LOG").hears("*0");
    t.say_as(&mut guest, "GET auth:session:c4n4ry");
    t.wait(Ttl(1500));
    for _ in 0..3 {
        t.say_as(&mut guest, "SET mine x").hears(&denied("set"));
    }
    t.wait(Ttl(2500));
    t.say("HELLO 3");
    t.say("ACL LOG 1").hears_start(
        "*1 %10 $5 count :3 $6 reason $7 command $7 context $8 toplevel $6 object $3 set $8 username $5 guest \
         $11 age-seconds ,2.5 $11 client-info $",
    );
    let text = t.say("ACL LOG").text();
    assert!(text.contains("cmd=set user=guest "), "{text}");
    assert!(
        text.contains("$8 entry-id :1 $17 timestamp-created :1700000001500 $22 timestamp-last-updated :1700000001500")
    );
    assert!(
        text.contains("$6 reason $3 key ") && text.contains("auth:session:~") && !text.contains("c4n4ry"),
        "{text}"
    );
    t.say("AUTH guest2 pa55word").hears_start("-WRONGPASS");
    let text = t.say("ACL LOG 1").text();
    assert!(
        text.contains("$6 reason $4 auth $7 context $8 toplevel $6 object $4 AUTH $8 username $6 guest2"),
        "{text}"
    );
    assert!(!text.contains("pa55word"));
    // An old one is not counted on.
    t.wait(Ttl::seconds(61));
    t.say_as(&mut guest, "SET mine x").hears(&denied("set"));
    t.say("ACL LOG 1").hears_start("*1 %10 $5 count :1 ");
    t.say("ACL LOG -1").hears("*0");
    t.say("ACL LOG x").hears("-ERR value is not an integer or out of range");
    t.say("ACL LOG 1 2").hears("-ERR unknown subcommand or wrong number of arguments for 'LOG'. Try ACL HELP.");
    t.say("CONFIG SET acllog-max-len 1").hears("+OK");
    t.say_as(&mut guest, "DEL mine").hears(&denied("del"));
    t.say("ACL LOG 100").hears_start("*1 ");
    t.say("ACL LOG RESET").hears("+OK");
    t.say("ACL LOG").hears("*0");
}

#[test]
fn a_generated_password_has_as_many_bits_as_asked_for() {
    let mut t = Transcript::start();
    let first = t.say("ACL GENPASS").text();
    assert!(first.starts_with("$64 ") && first != t.say("ACL GENPASS").text());
    t.say("ACL GENPASS 5").hears_start("$2 ");
    t.say("ACL GENPASS 4096").hears_start("$1024 ");
    let refusal = "-ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up \
                   to 4096";
    for bits in ["0", "-236", "4097", "9223372036854775807"] {
        t.say(&format!("ACL GENPASS {bits}")).hears(refusal);
    }
    t.say("ACL GENPASS x").hears("-ERR value is not an integer or out of range");
}

#[test]
fn no_password_is_shown() {
    let mut t = Transcript::with(&[("slowlog-log-slower-than", "0"), ("slowlog-max-len", "100")]);
    let mut watcher = t.enter();
    t.say_as(&mut watcher, "MONITOR").hears("+OK");
    for line in [
        "ACL SETUSER bob on >pa55word",
        "ACL SETUSER bob <pa55word",
        "ACL SETUSER bob <pa55word",
        "ACL SETUSER bob #pa55word",
        "ACL DRYRUN bob AUTH bob pa55word",
        "AUTH bob pa55word",
    ] {
        assert!(!t.say(line).text().contains("pa55word"), "{line}");
    }
    let mut seen = Vec::new();
    watcher.peer.collect(&mut seen);
    let mut shown = vec![String::from_utf8_lossy(&seen).into_owned()];
    shown.extend(["SLOWLOG GET -1", "ACL LOG", "ACL LIST", "CLIENT LIST"].map(|line| t.say(line).text()));
    for text in shown {
        assert!(!text.contains("pa55word"), "{text}");
    }
}

#[test]
fn a_command_that_reads_unnamed_keys_can_ask_whether_all_may_be_read() {
    for (rules, answer) in [
        ("+@all allkeys &*", true),
        ("+get allkeys", true),
        ("+get %R~*", true),
        ("(+get ~k %R~*)", true),
        ("+get ~k", false),
        ("allkeys", false),
        ("+get %W~*", false),
        ("+get ~k (%R~*)", false),
    ] {
        let (t, mut guest) = as_user(rules);
        let words: crate::resp::Words = [&b"GET"[..], b"k"].into_iter().collect();
        let mut out = Vec::new();
        let ctx = Ctx {
            engine: &t.engine,
            client: &mut guest,
            now: t.clock.now(),
            reply: Reply::new(&mut out, Version::Resp2),
            spec: find(b"get").expect("a row").spec,
            ahead: None,
            is_scripted: false,
        };
        assert_eq!(may_read_all(&ctx, words.args()), answer, "{rules}");
    }
}

#[test]
fn what_a_transaction_runs_is_looked_at_twice() {
    let (mut t, mut guest) = as_user("+multi +exec +incr ~mine");
    t.say_as(&mut guest, "MULTI").hears("+OK");
    t.say_as(&mut guest, "GET mine").hears(&denied("get"));
    t.say_as(&mut guest, "EXEC").hears_start("-EXECABORT ");
    assert!(t.say("ACL LOG 1").text().contains("$7 context $5 multi $6 object $3 get "));
    for line in ["MULTI", "INCR mine", "INCR mine"] {
        t.say_as(&mut guest, line);
    }
    t.say("ACL SETUSER guest -incr").hears("+OK");
    let refusal = "-NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. \
                   This command is no longer allowed for the following reason: no permission to execute the command \
                   or subcommand";
    t.say_as(&mut guest, "EXEC").hears(&format!("*2 {refusal} {refusal}"));
    t.say("EXISTS mine").hears(":0");
}

#[cfg(feature = "server")]
#[test]
fn a_script_may_do_what_its_user_may() {
    let (mut t, mut guest) = as_user("+eval +incr ~mine");
    t.say_as(&mut guest, "EVAL \"return redis.call('incr', 'mine')\" 0").hears(":1");
    let text = t.say_as(&mut guest, "EVAL \"return redis.call('get', 'mine')\" 0").text();
    assert!(text.contains("ERR The user executing the script can't run this command or subcommand"), "{text}");
    assert!(t.say("ACL LOG 1").text().contains("$7 context $3 lua $6 object $3 get "));
    let text = t.say_as(&mut guest, "EVAL \"return redis.call('incr', 'other')\" 0").text();
    assert!(text.contains("can't access at least one of the keys mentioned in the command arguments"), "{text}");
    t.say_as(&mut guest, "EVAL \"return redis.acl_check_cmd('incr', 'mine')\" 0").hears(":1");
    t.say_as(&mut guest, "EVAL \"return redis.acl_check_cmd('incr', 'other')\" 0").hears("$-1");
}

#[test]
fn sort_follows_patterns_only_for_those_who_may_read_all() {
    let (mut t, mut guest) = as_user("+sort ~mine");
    t.say("SADD mine 1 2").hears(":2");
    t.say_as(&mut guest, "SORT mine").hears("*2 $1 1 $1 2");
    t.say_as(&mut guest, "SORT mine BY nosort").hears_start("*2 ");
    t.say_as(&mut guest, "SORT mine BY v*").hears("-ERR BY option of SORT denied due to insufficient ACL permissions.");
    t.say_as(&mut guest, "SORT mine GET v*")
        .hears("-ERR GET option of SORT denied due to insufficient ACL permissions.");
    t.say("ACL SETUSER guest %R~*").hears("+OK");
    t.say_as(&mut guest, "SORT mine BY v* GET v*").hears("*2 $-1 $-1");
}

#[test]
fn who_hears_what_the_user_may_hear_no_longer_is_closed() {
    let (mut t, mut guest) = as_user("+@all &foo:1 &bar:* &orders");
    t.say_as(&mut guest, "SUBSCRIBE zap")
        .hears("-NOPERM this user has no permissions to access one of the channels used as arguments");
    t.say_as(&mut guest, "SUBSCRIBE foo:1").hears_start("*3 ");
    t.say_as(&mut guest, "PSUBSCRIBE bar:*").hears_start("*3 ");
    t.say_as(&mut guest, "PSUBSCRIBE bar:1").hears_start("-NOPERM ");
    t.say("ACL SETUSER guest resetchannels &foo:* &bar:* &new").hears("+OK");
    assert!(!guest.peer.is_killed());
    t.say("ACL SETUSER guest allchannels").hears("+OK");
    assert!(!guest.peer.is_killed());
    t.say("ACL SETUSER guest resetchannels &foo:1").hears("+OK");
    assert!(guest.peer.is_killed());
}

#[test]
fn an_address_that_guesses_is_refused_for_growing_spans() {
    let mut t = Transcript::with(&[("requirepass", "sesame")]);
    let from = |t: &Transcript, addr: &str| {
        let addr: std::net::SocketAddr = addr.parse().expect("an address");
        let peer = t.engine.clients.enter(addr, addr, 9, t.clock.now());
        Client::new(&t.engine, peer, 0, false)
    };
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    let refused =
        |seconds: u32| format!("-ERR too many failed logins from this address, try again in {seconds} seconds");
    for _ in 0..5 {
        let mut guesser = from(&t, "10.0.0.9:1000");
        t.say_as(&mut guesser, "AUTH guess").hears(wrong);
    }
    // Not even the right one is looked at, from whichever port, by whichever command.
    let mut guesser = from(&t, "10.0.0.9:2000");
    t.say_as(&mut guesser, "AUTH sesame").hears(&refused(1));
    t.say_as(&mut guesser, "HELLO 3 AUTH default sesame").hears(&refused(1));
    let (mut other, mut here) = (from(&t, "10.0.0.10:1000"), from(&t, "127.0.0.1:1000"));
    t.say_as(&mut other, "AUTH sesame").hears("+OK");
    t.say_as(&mut here, "AUTH sesame").hears("+OK");
    t.wait(Ttl(1000));
    t.say_as(&mut guesser, "AUTH default guess").hears(wrong);
    t.say_as(&mut guesser, "AUTH sesame").hears(&refused(2));
    t.wait(Ttl(1999));
    t.say_as(&mut guesser, "AUTH sesame").hears(&refused(1));
    t.wait(Ttl(1));
    t.say_as(&mut guesser, "AUTH sesame").hears("+OK");
    // The one that was right does not wipe the others out.
    t.say_as(&mut guesser, "AUTH guess").hears(wrong);
    t.say_as(&mut guesser, "AUTH sesame").hears(&refused(4));
    t.wait(Ttl::seconds(600));
    t.say_as(&mut guesser, "AUTH guess").hears(wrong);
    t.say_as(&mut guesser, "AUTH sesame").hears("+OK");
    // Clients on this machine are not kept waiting: behind a proxy everybody is one.
    for _ in 0..10 {
        t.say_as(&mut here, "AUTH guess").hears(wrong);
    }
    t.say_as(&mut here, "AUTH sesame").hears("+OK");
    let info = t.say_as(&mut here, "INFO stats").text();
    assert!(info.contains("acl_access_denied_auth:18 acl_access_delayed_auth:5 "), "{info}");
}
