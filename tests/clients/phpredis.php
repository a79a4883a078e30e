<?php
// phpredis 5 (the client below Laravel, Symfony and WordPress' object caches) and its session handler against a server.
//
// Databases 9 and 10 are emptied and used. For its sessions this file also runs itself: `phpredis.php visit ID [PATIENCE]` is
// one request of somebody's that takes its time.

declare(strict_types=1);

[$host, $port] = explode(':', getenv('SERVER'));
$port = (int) $port;

/** PHP's settings for sessions in Redis, as a php.ini has them; other requests of a session wait. */
function session_settings(string $server, int $tries): array
{
    return [
        'session.save_handler' => 'redis', 'session.save_path' => "tcp://$server?database=10&prefix=SESSION:",
        'session.gc_maxlifetime' => '60', 'session.use_cookies' => '0', 'session.use_strict_mode' => '0', 'session.cache_limiter' => '',
        'redis.session.locking_enabled' => '1', 'redis.session.lock_expire' => '20', 'redis.session.lock_wait_time' => '10000',
        'redis.session.lock_retries' => (string) $tries,
    ];
}

if (($argv[1] ?? '') === 'visit') {
    array_map('ini_set', array_keys(session_settings(getenv('SERVER'), 0)), session_settings(getenv('SERVER'), (int) ($argv[3] ?? 800)));
    session_id($argv[2]);
    if (!@session_start()) {
        exit(3);
    }
    $visits = $_SESSION['visits'] ?? 0;
    usleep(20_000);
    $_SESSION['visits'] = $visits + 1;
    // Nothing is written by a request that did not get the lock.
    @session_write_close();
    exit(error_get_last() ? 3 : 0);
}

require __DIR__ . '/checks.php';

function client(string $host, int $port, int $database = 9): Redis
{
    $redis = new Redis();
    $redis->connect($host, $port, 5.0, null, 0, 5.0);
    $redis->select($database);
    return $redis;
}

$r = client($host, $port);
$r->flushDB();
$checks = new Checks('phpredis ' . phpversion('redis'));

$checks->check('values are bytes, and live as long as their TTL says', function () use ($r) {
    $binary = "\x00\r\n\xff\$1\r\n";
    same($r->set($binary, $binary), true);
    same($r->get($binary), $binary);
    same($r->get('nothing'), false);
    same($r->set('short', 'lived', ['px' => 60000]), true);
    holds('a TTL of a minute', $r->pttl('short') > 0 && $r->pttl('short') <= 60000);
    same($r->set('short', 'lived', ['px' => 100]), true);
    eventually('it to die', fn() => $r->get('short') === false);
    same([$r->setex('a', 100, 'v'), $r->expire('a', 50), $r->ttl('a') >= 49, $r->persist('a'), $r->ttl('a')], [true, true, true, true, -1]);
    same([$r->set('once', '1', ['nx', 'ex' => 9]), $r->set('once', '2', ['nx']), $r->set('none', '1', ['xx'])], [true, false, false]);
    same([$r->del('a', 'once', 'nothing'), $r->exists('a')], [2, 0]);
});

$checks->check('numbers come back as numbers, many as arrays', function () use ($r) {
    same([$r->incr('n'), $r->incrBy('n', 41), $r->decr('n'), $r->incrByFloat('n', 0.5)], [1, 42, 41, 41.5]);
    same($r->mSet(['x' => '1', 'y' => '2']), true);
    same($r->mGet(['x', 'nothing', 'y']), ['1', false, '2']);
});

$checks->check('values are serialised and compressed, and keys get a prefix', function () use ($host, $port) {
    $kept = client($host, $port);
    $kept->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_IGBINARY);
    $kept->setOption(Redis::OPT_PREFIX, 'shop:');
    $basket = ['items' => [1, 2, 3], 'total' => 9.5, 'gift' => null];
    same($kept->setex('basket', 60, $basket), true);
    same($kept->get('basket'), $basket);
    same(client($host, $port)->keys('shop:*'), ['shop:basket']);
    same($kept->hMSet('h', ['a' => [1], 'b' => true]), true);
    same($kept->hGetAll('h'), ['a' => [1], 'b' => true]);
});

$checks->check('a pipeline answers in order', function () use ($r) {
    $pipe = $r->multi(Redis::PIPELINE);
    for ($at = 0; $at < 500; $at++) {
        $pipe->setex("p:$at", 60, (string) $at);
    }
    $pipe->incr('hits');
    for ($at = 0; $at < 500; $at++) {
        $pipe->get("p:$at");
    }
    $replies = $pipe->exec();
    same(count($replies), 1001);
    same(array_slice($replies, 501), array_map('strval', range(0, 499)));
});

$checks->check('MULTI does all, or nothing where a watched key has changed', function () use ($r, $host, $port) {
    same($r->multi()->set('m', '1')->incr('m')->get('m')->exec(), [true, 2, '2']);
    $r->watch('m');
    client($host, $port)->set('m', 'changed');
    same($r->multi()->set('m', 'mine')->exec(), false);
    same($r->get('m'), 'changed');
    $r->watch('m');
    $r->unwatch();
    same($r->multi()->set('m', 'mine')->exec(), [true]);
    // An error inside is a false among the others.
    same($r->multi()->lPush('m', 'x')->set('m2', '1')->exec(), [false, true]);
});

$checks->check('scripts run by text and by hash, and their errors are told', function () use ($r) {
    $script = "redis.call('SET', KEYS[1], ARGV[1]) return {redis.call('GET', KEYS[1]), #ARGV, false, 3.9}";
    same($r->eval($script, ['s', 'one', 'two'], 1), ['one', 2, false, 3]);
    $hash = $r->script('load', $script);
    same([$hash, $r->script('exists', $hash, str_repeat('0', 40))], [sha1($script), [1, 0]]);
    same($r->evalSha($hash, ['s', 'three'], 1), ['three', 1, false, 3]);
    $r->clearLastError();
    same([$r->evalSha(str_repeat('0', 40)), $r->getLastError()], [false, 'NOSCRIPT No matching script. Please use EVAL.']);
});

$checks->check('hashes, lists, sets and sorted sets are what PHP has for them', function () use ($r) {
    same([$r->hSet('h', 'name', 'Ada'), $r->hMSet('h', ['visits' => 1]), $r->hIncrBy('h', 'visits', 4)], [1, true, 5]);
    $all = $r->hGetAll('h');
    ksort($all);
    same([$all, $r->hMGet('h', ['name', 'no']), $r->hDel('h', 'name')], [['name' => 'Ada', 'visits' => '5'], ['name' => 'Ada', 'no' => false], 1]);
    same([$r->rPush('l', 'a', 'b', 'c'), $r->lPop('l'), $r->lRange('l', 0, -1), $r->lRem('l', 'b', 0)], [3, 'a', ['b', 'c'], 1]);
    same([$r->sAdd('t', '1', '2', '3'), $r->sIsMember('t', '2'), $r->sCard('t'), $r->sRem('t', '2')], [3, true, 3, 1]);
    $r->sAdd('u', '3', '4');
    same([$r->sInter('t', 'u'), $r->sDiff('t', 'u')], [['3'], ['1']]);
    same($r->zAdd('z', 1, 'one', 2.5, 'two', 3, 'three'), 3);
    same($r->zRange('z', 0, -1, true), ['one' => 1.0, 'two' => 2.5, 'three' => 3.0]);
    same($r->zRangeByScore('z', '(1', '+inf', ['withscores' => true, 'limit' => [0, 1]]), ['two' => 2.5]);
    same([$r->zScore('z', 'two'), $r->zRank('z', 'no'), $r->zIncrBy('z', 2, 'one'), $r->zPopMin('z')], [2.5, false, 3.0, ['two' => 2.5]]);
});

$checks->check('each scan finds all that stays', function () use ($r) {
    $r->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
    foreach (range(0, 699) as $at) {
        $all["scan:$at"] = (string) $at;
    }
    $r->mSet($all);
    $r->hMSet('scanned', $all);
    for ($found = [], $cursor = null; ($keys = $r->scan($cursor, 'scan:*', 70)) !== false;) {
        $found += array_flip($keys);
    }
    same(count($found), 700);
    for ($found = [], $cursor = null; ($fields = $r->hScan('scanned', $cursor, 'scan:1*')) !== false;) {
        $found += $fields;
    }
    same(count($found), 111);
    same($r->unlink(array_keys($all)), 700);
});

$checks->check('a blocking pop waits for its time, or takes what is there', function () use ($r) {
    same($r->rawCommand('BLPOP', 'jobs', '0.1'), []);
    $r->rPush('jobs', 'work');
    same($r->brPop(['none', 'jobs'], 1), ['jobs', 'work']);
    $r->zAdd('waits', 1.5, 'first');
    same($r->bzPopMin(['waits'], 1), ['waits', 'first', '1.5']);
});

$checks->check('a subscriber gets what is published', function () use ($host, $port) {
    // phpredis' client does nothing else while it is subscribed, so that the one who publishes is a process of its own.
    $code = '$r = new Redis(); $r->connect($argv[1], (int) $argv[2]); for ($at = 0; $at < 100 && !$r->publish("room", "early"); $at++) { usleep(20000); }'
        . 'foreach (range(1, 3) as $at) { $r->publish("room", "message $at"); }';
    $speaker = proc_open([PHP_BINARY, '-r', $code, '--', $host, (string) $port], [], $pipes);
    $heard = [];
    $listener = client($host, $port);
    try {
        $listener->subscribe(['room'], function (Redis $redis, string $channel, string $message) use (&$heard) {
            $heard[] = $message;
            // The one way out that this version has.
            $message !== 'message 3' || $redis->close();
        });
    } catch (RedisException) {
    }
    same($heard, ['early', 'message 1', 'message 2', 'message 3']);
    same(proc_close($speaker), 0);
});

$checks->check('refusals are false with the error kept, or exceptions, as phpredis has it', function () use ($r, $host, $port) {
    $r->set('text', 'abc');
    $r->clearLastError();
    same([$r->incr('text'), rtrim($r->getLastError(), "\0")], [false, 'ERR value is not an integer or out of range']);
    $r->clearLastError();
    same([$r->lPush('text', 'x'), rtrim($r->getLastError(), "\0")], [false, 'WRONGTYPE Operation against a key holding the wrong kind of value']);
    $r->clearLastError();
    same([$r->rawCommand('NOSUCH', 'a'), rtrim($r->getLastError(), "\0")], [false, "ERR unknown command 'NOSUCH', with args beginning with: 'a' "]);
    [$locked, $door] = explode(':', getenv('AUTH_SERVER'));
    $stranger = new Redis();
    $stranger->connect($locked, (int) $door, 5.0);
    refused('NOAUTH Authentication required.', fn() => $stranger->get('x'));
    refused('WRONGPASS invalid username-password pair or user is disabled.', fn() => $stranger->auth('wrong'));
    same($stranger->auth(getenv('AUTH_PASSWORD')), true);
    same($stranger->auth(['default', getenv('AUTH_PASSWORD')]), true);
    refused('Connection refused', fn() => client('127.0.0.1', 1));
});

$checks->check('a client that is killed comes back', function () use ($r, $host, $port) {
    $victim = client($host, $port);
    $id = $victim->rawCommand('CLIENT', 'ID');
    same($r->rawCommand('CLIENT', 'KILL', 'ID', (string) $id), 1);
    // Another worker may have to close it; words that still go into a connection that ends make phpredis give it up for good.
    eventually('it to be gone', fn() => !str_contains($r->rawCommand('CLIENT', 'LIST'), "id=$id "));
    eventually('it to come back', function () use ($victim) {
        try {
            return $victim->get('text') === 'abc';
        } catch (RedisException) {
            return false;
        }
    });
    holds('another id', $victim->rawCommand('CLIENT', 'ID') !== $id);
});

// ---- sessions ----

$checks = new Checks('PHP ' . PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION . ' sessions in phpredis, locked');
$kept = client($host, $port, 10);
$kept->flushDB();
foreach (session_settings("$host:$port", 5) as $name => $value) {
    ini_set($name, $value);
}

/** Starts one request of a session in a process of its own. */
function visit(string $id, int $tries = 800)
{
    return proc_open([PHP_BINARY, __FILE__, 'visit', $id, (string) $tries], [], $pipes);
}

$checks->check('a session is kept between requests, for its time', function () use ($kept) {
    session_start();
    $id = session_id();
    $_SESSION = ['user' => 'ada', 'basket' => ['apple' => 2]];
    session_write_close();
    $_SESSION = [];
    holds('it lives for a minute', $kept->ttl("SESSION:$id") > 55 && $kept->ttl("SESSION:$id") <= 60);
    session_id($id);
    session_start();
    same($_SESSION, ['user' => 'ada', 'basket' => ['apple' => 2]]);
    session_write_close();
});

$checks->check('a session is locked while a request has it, for that long', function () use ($kept) {
    session_id('locked');
    session_start();
    holds('there is a lock, which ends by itself', $kept->ttl('SESSION:locked_LOCK') > 0);
    same(proc_close(visit('locked', 3)), 3);
    $_SESSION['visits'] = 10;
    session_write_close();
    same($kept->exists('SESSION:locked_LOCK'), 0);
    same(proc_close(visit('locked', 3)), 0);
    session_id('locked');
    session_start();
    same($_SESSION['visits'], 11);
    session_write_close();
});

$checks->check('twelve requests at once lose no visit', function () {
    $visits = array_map(fn() => visit('crowd'), range(1, 12));
    same(array_map('proc_close', $visits), array_fill(0, 12, 0));
    session_id('crowd');
    session_start();
    same($_SESSION['visits'], 12);
    session_write_close();
});

$checks->check('after a sign-in it has another id, and the old one is worth nothing', function () use ($kept) {
    session_id('before');
    session_start();
    $_SESSION['user'] = 'ada';
    same(session_regenerate_id(true), true);
    $id = session_id();
    session_write_close();
    same([$kept->exists('SESSION:before'), $kept->exists("SESSION:$id")], [0, 1]);
});

$checks->check('one that is ended or expired is gone', function () use ($kept) {
    session_id('ended');
    session_start();
    $_SESSION['user'] = 'ada';
    session_write_close();
    same($kept->exists('SESSION:ended'), 1);
    session_start();
    session_destroy();
    same($kept->exists('SESSION:ended'), 0);
    $kept->pExpire('SESSION:crowd', 50);
    eventually('it to be gone', fn() => $kept->exists('SESSION:crowd') === 0);
    session_id('crowd');
    session_start();
    same($_SESSION, []);
    session_write_close();
});

$r->flushDB();
$kept->flushDB();
Checks::finish();
