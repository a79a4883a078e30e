//! Pub/Sub between clients in memory: what each hears, in which words and in which order.

use super::Transcript;

#[test]
fn subscriptions_are_confirmed_one_by_one_with_their_number() {
    let mut t = Transcript::start();
    t.say("SUBSCRIBE a b a").hears("*3 $9 subscribe $1 a :1 *3 $9 subscribe $1 b :2 *3 $9 subscribe $1 a :2");
    t.say("PSUBSCRIBE x*").hears("*3 $10 psubscribe $2 x* :3");
    t.say("SSUBSCRIBE a").hears("*3 $10 ssubscribe $1 a :1");
    t.say("UNSUBSCRIBE a never").hears("*3 $11 unsubscribe $1 a :2 *3 $11 unsubscribe $5 never :2");
    t.say("UNSUBSCRIBE").hears("*3 $11 unsubscribe $1 b :1");
    t.say("UNSUBSCRIBE").hears("*3 $11 unsubscribe $-1 :1");
    t.say("PUNSUBSCRIBE").hears("*3 $12 punsubscribe $2 x* :0");
    t.say("PUNSUBSCRIBE").hears("*3 $12 punsubscribe $-1 :0");
    t.say("SUNSUBSCRIBE a").hears("*3 $12 sunsubscribe $1 a :0");
    t.say("SUNSUBSCRIBE").hears("*3 $12 sunsubscribe $-1 :0");
    t.say("PING").hears("+PONG");
    t.say("SUBSCRIBE").hears("-ERR wrong number of arguments for 'subscribe' command");
    t.say("HELLO 3");
    t.say("SUBSCRIBE a").hears(">3 $9 subscribe $1 a :1");
    t.say("PUNSUBSCRIBE").hears(">3 $12 punsubscribe _ :1");
    assert_eq!(t.engine.used_memory() as usize, t.engine.pubsub.bytes());
    t.say("UNSUBSCRIBE").hears(">3 $11 unsubscribe $1 a :0");
    assert_eq!(t.engine.used_memory(), 0);
}

#[test]
fn a_transaction_may_subscribe_but_not_to_shard_channels() {
    let mut t = Transcript::start();
    t.say("MULTI");
    t.say("SSUBSCRIBE a");
    t.say("SUBSCRIBE b");
    t.say("EXEC").hears("*2 -ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client *3 $9 subscribe $1 b :1");
}

#[test]
fn messages_reach_channels_patterns_and_shard_channels_in_each_protocol() {
    let mut t = Transcript::start();
    let (mut old, mut new) = (t.enter(), t.enter());
    t.say_as(&mut new, "HELLO 3");
    for client in [&mut old, &mut new] {
        t.say_as(client, "SUBSCRIBE news.uk");
        t.say_as(client, "PSUBSCRIBE news.*");
        t.say_as(client, "SSUBSCRIBE news.uk");
    }
    t.say("PUBLISH news.uk rain").hears(":4");
    t.say("PUBLISH news.fr sun").hears(":2");
    t.say("PUBLISH nothing x").hears(":0");
    t.say("SPUBLISH news.uk fog").hears(":2");
    t.say("SPUBLISH news.fr fog").hears(":0");
    t.words(&[b"PUBLISH", b"news.uk", b"a\r\nb"]).hears(":4");
    let expected = "*3 $7 message $7 news.uk $4 rain *4 $8 pmessage $6 news.* $7 news.uk $4 rain \
                    *4 $8 pmessage $6 news.* $7 news.fr $3 sun *3 $8 smessage $7 news.uk $3 fog \
                    *3 $7 message $7 news.uk $4 a b *4 $8 pmessage $6 news.* $7 news.uk $4 a b";
    assert_eq!(t.mail(&old), expected);
    assert_eq!(t.mail(&new), expected.replace('*', ">").replace("news.>", "news.*"));
}

#[test]
fn who_listens_in_resp2_may_only_listen() {
    let mut t = Transcript::start();
    t.say("SUBSCRIBE a");
    t.say("GET a").hears(
        "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
         context",
    );
    t.say("CONFIG GET port").hears_start("-ERR Can't execute 'config|get': only");
    t.say("PUBLISH a b").hears_start("-ERR Can't execute 'publish': only");
    t.say("PUBSUB NUMPAT").hears_start("-ERR Can't execute 'pubsub|numpat': only");
    t.say("HELLO 3").hears_start("-ERR Can't execute 'hello': only");
    t.say("NOSUCH").hears_start("-ERR unknown command");
    t.say("PING").hears("*2 $4 pong $0 ");
    t.say("PING x").hears("*2 $4 pong $1 x");
    t.say("PING x y").hears("-ERR wrong number of arguments for 'ping' command");
    t.say("QUIT").hears("+OK");
    t.say("RESET").hears("+RESET");
    t.say("PING").hears("+PONG");
    assert!(t.engine.pubsub.is_empty());
    t.say("SSUBSCRIBE a");
    t.say("GET a").hears_start("-ERR Can't execute");
    t.say("SUNSUBSCRIBE");
    t.say("GET a").hears("$-1");
}

#[test]
fn who_listens_in_resp3_may_do_anything_and_hears_itself_behind_the_reply() {
    let mut t = Transcript::start();
    t.say("HELLO 3");
    t.say("SUBSCRIBE a");
    t.say("PING").hears("+PONG");
    t.say("PUBLISH a b").hears(":1 >3 $7 message $1 a $1 b");
    t.say("CONFIG SET notify-keyspace-events KA").hears("+OK");
    t.say("PSUBSCRIBE __key*");
    t.say("SET k v").hears("+OK >4 $8 pmessage $6 __key* $16 __keyspace@0__:k $3 set");
}

#[test]
fn what_was_said_before_an_end_is_heard_before_it() {
    let mut t = Transcript::start();
    let mut listener = t.enter();
    t.say_as(&mut listener, "SUBSCRIBE a b");
    t.say("PUBLISH a 1").hears(":1");
    t.say_as(&mut listener, "UNSUBSCRIBE a").hears("*3 $7 message $1 a $1 1 *3 $11 unsubscribe $1 a :1");
    t.say("PUBLISH a 2").hears(":0");
    t.say("PUBLISH b 3").hears(":1");
    t.say_as(&mut listener, "RESET").hears("*3 $7 message $1 b $1 3 +RESET");

    // A change of protocol does not overtake either.
    t.say_as(&mut listener, "HELLO 3");
    t.say_as(&mut listener, "SUBSCRIBE a");
    t.say("PUBLISH a 4").hears(":1");
    t.say_as(&mut listener, "HELLO 2").hears_start(">3 $7 message $1 a $1 4 *14 $6 server");
    t.say("PUBLISH a 5").hears(":1");
    assert_eq!(t.mail(&listener), "*3 $7 message $1 a $1 5");
}

#[test]
fn who_wants_no_replies_still_hears() {
    let mut t = Transcript::start();
    t.say("HELLO 3");
    t.say("CLIENT REPLY OFF").hears("");
    t.say("SUBSCRIBE a").hears(">3 $9 subscribe $1 a :1");
    t.say("PUBLISH a b").hears(">3 $7 message $1 a $1 b");
    t.say("UNSUBSCRIBE").hears(">3 $11 unsubscribe $1 a :0");
    t.say("PING").hears("");
    t.say("CLIENT REPLY ON").hears("+OK");
    t.say("CLIENT REPLY SKIP").hears("");
    t.say("SUBSCRIBE a").hears(">3 $9 subscribe $1 a :1");
    t.say("PING").hears("+PONG");
}

#[test]
fn pubsub_tells_what_is_listened_to() {
    let mut t = Transcript::start();
    let (mut one, mut other) = (t.enter(), t.enter());
    t.say_as(&mut one, "SUBSCRIBE a b");
    t.say_as(&mut other, "SUBSCRIBE b");
    t.say_as(&mut one, "PSUBSCRIBE p* q*");
    t.say_as(&mut other, "PSUBSCRIBE p*");
    t.say_as(&mut other, "SSUBSCRIBE s");
    t.say("PUBSUB CHANNELS a*").hears("*1 $1 a");
    t.say("PUBSUB CHANNELS").hears_start("*2 $1 ");
    t.say("PUBSUB CHANNELS a b")
        .hears("-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.");
    t.say("PUBSUB NUMSUB").hears("*0");
    t.say("PUBSUB NUMSUB b c").hears("*4 $1 b :2 $1 c :0");
    t.say("PUBSUB NUMPAT").hears(":2");
    t.say("PUBSUB SHARDCHANNELS").hears("*1 $1 s");
    t.say("PUBSUB SHARDCHANNELS x").hears("*0");
    t.say("PUBSUB SHARDNUMSUB s t").hears("*4 $1 s :1 $1 t :0");
    t.say("PUBSUB").hears("-ERR wrong number of arguments for 'pubsub' command");
    t.say("PUBSUB NOSUCH").hears("-ERR unknown subcommand 'NOSUCH'. Try PUBSUB HELP.");
    t.say("PUBSUB HELP").hears_start("*13 +PUBSUB <subcommand>");
    let info = t.say("INFO stats").text();
    for line in ["pubsub_channels:2 ", "pubsub_patterns:2 ", "pubsubshard_channels:1 "] {
        assert!(info.contains(line), "{line}");
    }
    t.say("HELLO 3");
    t.say("PUBSUB NUMSUB b").hears("*2 $1 b :2");
    // Who leaves listens to nothing.
    t.engine.leave(&one.peer);
    t.say("PUBSUB NUMSUB a b").hears("*4 $1 a :0 $1 b :1");
    t.say("PUBSUB NUMPAT").hears(":1");
}

#[test]
fn the_list_of_clients_shows_who_listens() {
    let mut t = Transcript::start();
    let mut listener = t.enter();
    t.say_as(&mut listener, "SUBSCRIBE a b");
    t.say_as(&mut listener, "PSUBSCRIBE p*");
    t.say_as(&mut listener, "SSUBSCRIBE s");
    let list = t.say("CLIENT LIST TYPE pubsub").text();
    assert!(list.contains("id=2 ") && list.contains("flags=P db=0 sub=2 psub=1 ssub=1") && !list.contains("id=1 "));
    let list = t.say("CLIENT LIST TYPE normal").text();
    assert!(list.contains("id=1 ") && !list.contains("id=2 "));
    t.say("CLIENT KILL TYPE pubsub").hears(":1");
    assert!(listener.peer.is_killed() && !listener.peer.is_cut());
}

#[test]
fn nobody_subscribes_without_bounds() {
    let mut t = Transcript::with(&[("client-output-buffer-limit", "pubsub 10000 0 0")]);
    let mut greedy = t.enter();
    t.say_as(&mut greedy, "HELLO 3");
    for number in 0..1000 {
        t.say_as(&mut greedy, &format!("SUBSCRIBE channel:{number}"));
        if greedy.peer.is_cut() {
            assert!((50..100).contains(&number), "{number}");
            return;
        }
    }
    panic!("a thousand names in 10 000 bytes");
}
