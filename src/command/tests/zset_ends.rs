//! Members taken from either end of a sorted set, at once or as soon as there are any.

use super::Transcript;
use super::zset::in_both;
use crate::clock::Ttl;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const SYNTAX: &str = "-ERR syntax error";

#[test]
fn members_are_taken_from_either_end() {
    in_both(|t| {
        t.say("ZADD z 1 a 2 b 3 c 4 d 5 e").hears(":5");
        t.say("ZPOPMIN z").hears("*2 $1 a $1 1");
        t.say("ZPOPMAX z 2").hears("*4 $1 e $1 5 $1 d $1 4");
        t.say("ZPOPMIN z 0").hears("*0");
        t.say("ZPOPMIN z -1").hears("-ERR value is out of range, must be positive");
        t.say("ZPOPMIN z x").hears("-ERR value is out of range, must be positive");
        t.say("ZPOPMIN z 1 2").hears(SYNTAX);
        t.say("ZPOPMAX z 9223372036854775807").hears("*4 $1 c $1 3 $1 b $1 2");
        t.say("EXISTS z").hears(":0");
        t.say("ZPOPMAX z").hears("*0");
        t.say("ZADD one 1 a 2 b 3 c").hears(":3");
        t.say("ZADD two 9 z").hears(":1");
        t.say("ZMPOP 3 none one two MAX COUNT 2").hears("*2 $3 one *2 *2 $1 c $1 3 *2 $1 b $1 2");
        t.say("ZMPOP 2 one two min").hears("*2 $3 one *1 *2 $1 a $1 1");
        t.say("ZMPOP 2 one two MIN COUNT 10").hears("*2 $3 two *1 *2 $1 z $1 9");
        t.say("ZMPOP 2 one two MIN").hears("*-1");
        t.say("ZMPOP 0 one MIN").hears("-ERR numkeys should be greater than 0");
        t.say("ZMPOP x one MIN").hears("-ERR numkeys should be greater than 0");
        t.say("ZMPOP 1 one MIN COUNT 0").hears("-ERR count should be greater than 0");
        for line in [
            "ZMPOP 2 one MIN",
            "ZMPOP 9223372036854775807 one MIN",
            "ZMPOP 1 one MID",
            "ZMPOP 1 one MIN COUNT",
            "ZMPOP 1 one MIN COUNT 1 COUNT 1",
        ] {
            t.say(line).hears(SYNTAX);
        }
    });
}

#[test]
fn what_is_there_is_taken_at_once() {
    let mut t = Transcript::start();
    t.say("ZADD b 1 x 2 y 3 z 4 q").hears(":4");
    t.say("BZPOPMIN a b 0").hears("*3 $1 b $1 x $1 1");
    t.say("BZPOPMAX b a 0").hears("*3 $1 b $1 q $1 4");
    t.say("BZMPOP 0 2 a b MAX COUNT 9").hears("*2 $1 b *2 *2 $1 z $1 3 *2 $1 y $1 2");
    t.say("BZPOPMIN b x").hears("-ERR timeout is not a float or out of range");
    t.say("BZPOPMAX b -1").hears("-ERR timeout is negative");
    t.say("BZMPOP 0 0 b MIN").hears("-ERR numkeys should be greater than 0");
    t.say("BZMPOP 0 1 b MIN COUNT 0").hears("-ERR count should be greater than 0");
    t.say("BZMPOP 0 1 b LEFT").hears(SYNTAX);
    t.say("BZMPOP x 1 b LEFT").hears(SYNTAX);
    t.say("RPUSH list 1").hears(":1");
    t.say("BZPOPMIN a list 0").hears(WRONG_TYPE);
    t.say("BZMPOP 0 1 list MIN").hears(WRONG_TYPE);
    t.client.never_waits = true;
    t.say("BZPOPMIN a 0").hears("*-1");
}

#[test]
fn who_waits_is_served_by_whatever_brings_members() {
    let mut t = Transcript::start();
    let lines = ["BZPOPMIN a 0", "BZPOPMAX a b 0", "BZMPOP 0 2 b a MIN COUNT 2"];
    let mut waiters = lines.map(|line| {
        let mut client = t.enter();
        t.say_as(&mut client, "HELLO 3");
        t.say_as(&mut client, line).hears("");
        client
    });
    t.say("SADD a x").hears(":1");
    t.say("DEL a").hears(":1");
    t.say("ZADD a 1 x 2 y").hears(":2");
    t.say("EXISTS a").hears(":0");
    t.say_as(&mut waiters[0], lines[0]).hears("*3 $1 a $1 x ,1");
    t.say_as(&mut waiters[1], lines[1]).hears("*3 $1 a $1 y ,2");
    t.say_as(&mut waiters[2], lines[2]).hears("");
    t.say("ZADD c 1 p 2 q 3 r").hears(":3");
    t.say("ZUNIONSTORE b 1 c").hears(":3");
    t.say_as(&mut waiters[2], lines[2]).hears("*2 $1 b *2 *2 $1 p ,1 *2 $1 q ,2");
    t.say("ZCARD b").hears(":1");
    let mut late = t.enter();
    t.say_as(&mut late, "BZPOPMIN d 0.5").hears("");
    t.wait(Ttl(500));
    t.say_as(&mut late, "BZPOPMIN d 0.5").hears("*-1");
}
