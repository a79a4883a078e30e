//! Users that come from files and settings, and go there.

use super::acl::denied;
use super::*;

const FILE: &str = "/srv/users.acl";

/// A server with an ACL file of this text.
fn with_file(text: &str) -> Transcript {
    let t = Transcript::with(&[("dir", "/srv"), ("aclfile", "users.acl")]);
    t.shelf.put(FILE, text);
    t
}

#[test]
fn users_come_from_a_file_and_go_there() {
    let mut t = with_file("user alice on >pw ~* +@all\n\n  user default on nopass ~* &* +@all -flushall\r\n");
    load_users(&t.engine).expect("a sound file");
    t.say("ACL USERS").hears("*2 $5 alice $7 default");
    t.say("FLUSHALL").hears(&denied("flushall"));
    t.say("ACL SETUSER eve on ( +get ~x )").hears("+OK");
    t.say("ACL SAVE").hears("+OK");
    let text = t.shelf.text(FILE);
    assert_eq!(text.lines().count(), 3);
    assert!(text.ends_with("user eve on resetchannels -@all (~x resetchannels -@all +get)\n"), "{text}");
    assert!(!text.contains(">pw"));

    // Who is gone is closed; all others stay.
    let (mut alice, mut mallory) = (t.enter(), t.enter());
    t.say_as(&mut alice, "AUTH alice pw").hears("+OK");
    t.say("ACL SETUSER mallory on nopass").hears("+OK");
    t.say_as(&mut mallory, "AUTH mallory x").hears("+OK");
    t.say("ACL LOAD").hears("+OK");
    assert!(mallory.peer.is_killed() && !alice.peer.is_killed() && t.client.flow == Flow::Go);
    t.say_as(&mut alice, "GET a").hears("$-1");
    t.say("ACL USERS").hears("*3 $5 alice $7 default $3 eve");
    // Who has changed is closed too; who asked, behind the answer.
    t.say("AUTH alice pw").hears("+OK");
    t.shelf.put(FILE, &text.replace("~* ", "~app:* "));
    t.say("ACL LOAD").hears("+OK");
    assert!(alice.peer.is_killed() && t.client.flow == Flow::Close);

    t.shelf.lock(true);
    let mut other = t.enter();
    t.say_as(&mut other, "ACL LOAD").hears("-ERR Error loading ACLs, opening file 'users.acl': permission denied");
    t.say_as(&mut other, "ACL SAVE").hears_start("-ERR There was an error trying to save the ACLs.");
}

#[test]
fn a_wrong_file_changes_nothing_and_says_where_it_is_wrong() {
    let mut t = with_file("user alice on nopass +@all ~* &*\n");
    load_users(&t.engine).expect("a sound file");
    for (text, why) in [
        ("user alice on\nuser bob\nuser alice off\n", "WARNING: Duplicate user 'alice' found on line 3. "),
        ("hello\n", "users.acl:1 should start with user keyword followed by the username. "),
        ("user\n", "users.acl:1 should start with user keyword followed by the username. "),
        ("# a comment\n", "users.acl:1 should start with user keyword followed by the username. "),
        (
            "user a +nosuch ~*\n",
            "users.acl:1: Error in applying operation '+nosuch': Unknown command or category name in ACL. ",
        ),
        ("\nuser a nosuch >pa55word >\n", "users.acl:2: Syntax error. "),
        ("user a (+get\n", "users.acl:1: Unmatched parenthesis in selector definition. "),
        ("user a\tb on\n", "'users.acl:1: username 'a\tb' contains invalid characters. "),
    ] {
        t.shelf.put(FILE, text);
        t.say("ACL LOAD").hears(&format!(
            "-ERR {why}WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
        ));
        t.say("ACL USERS").hears("*2 $5 alice $7 default");
    }
    let refusal = load_users(&t.engine).expect_err("a wrong file");
    assert!(refusal.starts_with("'users.acl:1: username"), "{refusal}");
    let mut t = Transcript::start();
    for line in ["ACL LOAD", "ACL SAVE"] {
        t.say(line).hears_start("-ERR This Redis instance is not configured to use an ACL file. You may want");
    }
}

#[test]
fn a_default_user_whom_the_file_does_not_name_keeps_its_password() {
    let t = with_file("user alice on nopass +@all ~* &*\n");
    t.engine.configure(&[("requirepass", "sesame")], true).expect("a setting");
    load_users(&t.engine).expect("a sound file");
    assert!(t.engine.acl.needs_auth());
}

/// Settings with these users.
fn with_users(users: &[&str]) -> Config {
    let mut config = Config::default();
    for user in users {
        let words: Vec<String> = user.split(' ').map(str::to_owned).collect();
        config.add_user(&words).expect("a user");
    }
    config
}

#[test]
fn users_come_from_settings_and_are_rewritten_there() {
    let mut config = with_users(&["bob on >pw", "default on nopass ~* +@all -flushdb"]);
    config.config_file = Some("cloakroom.conf".into());
    let mut t = Transcript::of(config);
    t.shelf.put("cloakroom.conf", "# mine\nuser bob on >pw\nport 6379\n");
    load_users(&t.engine).expect("sound users");
    t.say("FLUSHDB").hears(&denied("flushdb"));
    t.say("ACL DELUSER bob").hears(":1");
    t.say("ACL SETUSER carol (+get ~x)").hears("+OK");
    t.say("CONFIG REWRITE").hears("+OK");
    assert_eq!(
        t.shelf.text("cloakroom.conf"),
        "# mine\nuser carol off resetchannels -@all (~x resetchannels -@all +get)\n\
         user default on nopass sanitize-payload ~* resetchannels +@all -flushdb\nport 6379\n"
    );
}

#[test]
fn wrong_users_keep_the_server_from_starting() {
    for (users, why) in [
        (&["bob +nosuch"][..], "user bob: Error in ACL SETUSER modifier '+nosuch': Unknown command"),
        (&["bob on (+get"], "user bob: Unmatched parenthesis"),
        (&["bob on #pa55word"], "user bob: Error in ACL SETUSER modifier '#(redacted)': The password hash"),
    ] {
        let t = Transcript::of(with_users(users));
        let refusal = load_users(&t.engine).expect_err("a wrong user");
        assert!(refusal.starts_with(why), "{refusal}");
    }
    assert!(with_users(&["bob"]).add_user(&["bob".to_owned()]).expect_err("twice").contains("Duplicate user bob"));
    let mut config = with_users(&["bob"]);
    config.set("aclfile", "users.acl").expect("a setting");
    assert!(load_users(&Transcript::of(config).engine).expect_err("both").contains("in one place only"));
    // An open door needs a user who must log in.
    let mut config = with_users(&["bob on nopass"]);
    config.set("bind", "0.0.0.0").expect("a setting");
    config.check().expect("it cannot be told yet");
    assert!(load_users(&Transcript::of(config).engine).expect_err("open").contains("would let anybody in"));
    let mut config = with_users(&["bob on nopass", "default off"]);
    config.set("bind", "0.0.0.0").expect("a setting");
    load_users(&Transcript::of(config).engine).expect("nobody comes in without a name");
}
