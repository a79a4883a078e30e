#!/usr/bin/perl
# Perl's two clients, Redis (all Perl) and Redis::Fast (on hiredis), against a server.
#
# Database 9 is emptied and used.

use strict;
use warnings;
use Redis;
use Redis::Fast;
use Time::HiRes qw(sleep time);

# No honest check takes longer, even on a busy machine with two cores.
my $CHECK_SECONDS = 20;
my $failed = 0;
$| = 1;

sub same {
    my ($left, $right) = map { show($_) } @_;
    die "$left is not $right\n" if $left ne $right;
}

sub show {
    my ($value) = @_;
    return 'nothing' if !defined $value;
    return ref $value eq 'ARRAY' ? '[' . join(', ', map { show($_) } @$value) . ']' : ref $value eq 'HASH'
        ? '{' . join(', ', map { "$_: " . show($value->{$_}) } sort keys %$value) . '}' : "'$value'";
}

# The call must die with these words of the server in its message.
sub refused {
    my ($text, $call) = @_;
    my $answer = eval { $call->() };
    die 'answered ' . show($answer) . " instead of '$text'\n" if !$@;
    die "refused with $@" if index($@, $text) < 0;
}

sub eventually {
    my ($what, $probe) = @_;
    my $end = time + 12;
    while (time < $end) {
        return if $probe->();
        sleep 0.02;
    }
    die "$what: not within 12 s\n";
}

for my $class ('Redis', 'Redis::Fast') {
    my $name = "Perl's $class " . $class->VERSION;
    my $check = sub {
        my ($promise, $run) = @_;
        local $SIG{ALRM} = sub { die "no answer within $CHECK_SECONDS s\n" };
        alarm $CHECK_SECONDS;
        my $done = eval { $run->(); 1 };
        my $why = $@ =~ s/\s*\n\s*/ | /gr;
        alarm 0;
        $failed += !$done;
        print $done ? "ok   $name: $promise\n" : "FAIL $name: $promise: $why\n";
    };
    my $client = sub {
        my $redis = $class->new(server => $ENV{SERVER}, name => 'perl', cnx_timeout => 5, read_timeout => 5, @_);
        $redis->select(9);
        return $redis;
    };
    my $r = $client->();
    $r->flushdb;

    $check->('values are bytes, and live as long as their TTL says', sub {
        my $binary = "\x00\r\n\xff\$1\r\n";
        same($r->set($binary, $binary), 'OK');
        same($r->get($binary), $binary);
        same($r->get('nothing'), undef);
        same($r->set('short', 'lived', PX => 100), 'OK');
        eventually('it to die', sub { !defined $r->get('short') });
        same([$r->setex('a', 100, 'v'), $r->expire('a', 50), $r->persist('a'), $r->ttl('a')], ['OK', 1, 1, -1]);
        same([$r->set('once', 1, 'NX'), $r->set('once', 2, 'NX'), $r->del('once', 'a')], ['OK', undef, 2]);
        same([$r->client_getname], ['perl']);
    });

    $check->('callbacks get the replies of a pipeline in order, an error among them', sub {
        $r->set(text => 'abc');
        my @replies;
        for my $at (0 .. 499) {
            $r->setex("p:$at", 60, $at, sub { push @replies, $_[0] });
        }
        $r->incr('text', sub { push @replies, $_[1] });
        $r->get("p:$_", sub { push @replies, $_[0] }) for 0 .. 499;
        $r->wait_all_responses;
        same(scalar @replies, 1001);
        same($replies[500], 'ERR value is not an integer or out of range');
        same([@replies[501 .. 1000]], [0 .. 499]);
    });

    $check->('MULTI does all, or nothing where a watched key has changed', sub {
        $r->multi;
        same([$r->set(m => 1), $r->incr('m')], ['QUEUED', 'QUEUED']);
        same([$r->exec], ['OK', 2]);
        $r->watch('m');
        $client->()->set(m => 'changed');
        $r->multi;
        $r->set(m => 'mine');
        same([$r->exec], [undef]);
        same($r->get('m'), 'changed');
    });

    $check->('scripts run by text and by hash', sub {
        my $script = "redis.call('SET', KEYS[1], ARGV[1]) return {redis.call('GET', KEYS[1]), #ARGV, 3.9}";
        same([$r->eval($script, 1, 's', 'one', 'two')], ['one', 2, 3]);
        my ($hash) = $r->script_load($script);
        same([$r->evalsha($hash, 1, 's', 'three')], ['three', 1, 3]);
        refused('NOSCRIPT No matching script. Please use EVAL.', sub { $r->evalsha('0' x 40, 0) });
    });

    $check->('hashes, lists, sets and sorted sets work', sub {
        same([$r->hmset('h', name => 'Ada', visits => 1), $r->hincrby('h', visits => 4)], ['OK', 5]);
        same({$r->hgetall('h')}, {name => 'Ada', visits => 5});
        same([$r->rpush('l', qw(a b c)), $r->lpop('l'), $r->lrange('l', 0, -1)], [3, 'a', 'b', 'c']);
        same([$r->sadd('t', 1, 2, 3), $r->sismember('t', 2), sort $r->smembers('t')], [3, 1, 1, 2, 3]);
        same([$r->zadd('z', 1, 'one', 2.5, 'two'), $r->zrange('z', 0, -1, 'WITHSCORES')], [2, 'one', 1, 'two', 2.5]);
        same([$r->blpop('l', 1)], ['l', 'b']);
        my ($cursor, %found) = (0);
        do {
            ($cursor, my $keys) = $r->scan($cursor, MATCH => 'p:*', COUNT => 70);
            $found{$_} = 1 for @$keys;
        } while $cursor;
        same(scalar keys %found, 500);
    });

    $check->('a subscriber gets what is published', sub {
        my ($listener, @heard) = $client->();
        my $hear = sub { my ($message, $topic, $subscribed) = @_; push @heard, "$subscribed $topic $message" };
        $listener->subscribe('room', $hear);
        $listener->psubscribe('news.*', $hear);
        same([$r->publish('room', 'one'), $r->publish('news.today', 'two'), $r->publish('elsewhere', 'x')], [1, 1, 0]);
        my $end = time + 5;
        $listener->wait_for_messages(0.1) while @heard < 2 && time < $end;
        same(\@heard, ['room room one', 'news.* news.today two']);
        $listener->unsubscribe('room', $hear);
        $listener->punsubscribe('news.*', $hear);
        same($listener->get('text'), 'abc');
    });

    $check->('refusals are told, a password is asked for', sub {
        refused('WRONGTYPE Operation against a key holding the wrong kind of value', sub { $r->lpush('text', 1) });
        refused(", with args beginning with: 'a'", sub { $r->nosuch('a') });
        my $open = sub { $class->new(server => $ENV{AUTH_SERVER}, no_auto_connect_on_new => 0, @_) };
        refused('NOAUTH Authentication required.', sub { $open->()->get('x') });
        refused('WRONGPASS invalid username-password pair or user is disabled.', sub { $open->()->auth('wrong') });
        same($open->(password => $ENV{AUTH_PASSWORD})->ping, 'PONG');
    });

    $check->('a client that is killed comes back if told so', sub {
        my $victim = $client->(reconnect => 2, every => 10_000);
        same($r->client_kill('ID', $victim->client_id), 1);
        same($victim->ping, 'PONG');
    });
    $r->flushdb;
}

print "end\n";
exit($failed ? 1 : 0);
