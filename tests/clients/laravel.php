<?php
// Laravel's sessions, cache, locks and limiters by the settings of docs/quickstarts.md, with phpredis and with predis.
//
// Debian's packages have Laravel 8 in parts, so the parts are put together here as the framework does it. Databases 9 and 10
// are emptied and used.

declare(strict_types=1);

require __DIR__ . '/checks.php';
// Both libraries are older than the PHP that Debian has them with.
set_error_handler(set_error_handler(null), E_ALL & ~E_DEPRECATED);
error_reporting(E_ALL & ~E_DEPRECATED);
foreach (['Container', 'Config', 'Redis', 'Cache', 'Session'] as $part) {
    require_once "Illuminate/$part/autoload.php";
}
require_once 'Predis/autoload.php';

use Illuminate\Cache\CacheManager;
use Illuminate\Cache\RateLimiter;
use Illuminate\Config\Repository;
use Illuminate\Container\Container;
use Illuminate\Contracts\Redis\LimiterTimeoutException;
use Illuminate\Redis\RedisManager;
use Illuminate\Session\SessionManager;

$page = file_get_contents(__DIR__ . '/../../docs/quickstarts.md');
preg_match('/^## Laravel\n.*?^```ini\n(.*?)^```$/ms', $page, $found);
$env = parse_ini_string($found[1]);
$server = array_combine(['REDIS_HOST', 'REDIS_PORT'], explode(':', getenv('SERVER')));

/** The parts with these settings, as the files in config/ of a new application read them. */
function application(array $env): Container
{
    $at = ['host' => $env['REDIS_HOST'], 'port' => $env['REDIS_PORT'], 'password' => null];
    $app = new Container();
    $app->instance('config', new Repository([
        'database.redis' => [
            'options' => ['cluster' => 'redis', 'prefix' => 'shop_database_'],
            'default' => $at + ['database' => '9'], 'cache' => $at + ['database' => '10'],
        ],
        'cache' => [
            'default' => $env['CACHE_STORE'], 'prefix' => 'shop_cache_',
            'stores' => ['redis' => ['driver' => 'redis', 'connection' => 'cache', 'lock_connection' => 'default']],
        ],
        'session' => [
            'driver' => $env['SESSION_DRIVER'], 'lifetime' => 120, 'cookie' => 'shop_session', 'connection' => null, 'store' => null,
            'encrypt' => false,
        ],
    ]));
    $app->singleton('redis', fn($app) => new RedisManager($app, $env['REDIS_CLIENT'], $app['config']['database.redis']));
    $app->singleton('cache', fn($app) => new CacheManager($app));
    $app->singleton('session', fn($app) => new SessionManager($app));
    return $app;
}

foreach (['phpredis', 'predis'] as $client) {
    $checks = new Checks("laravel by $client");
    // Every request has an application of its own.
    $boot = fn() => application(['REDIS_CLIENT' => $client] + $server + $env);
    $plain = new Redis();
    $plain->connect($server['REDIS_HOST'], (int) $server['REDIS_PORT']);
    foreach ([9, 10] as $database) {
        $plain->select($database);
        $plain->flushDB();
    }
    $plain->select(9);

    $checks->check('the settings are those of the page', function () use ($env) {
        same($env, ['SESSION_DRIVER' => 'redis', 'CACHE_STORE' => 'redis', 'REDIS_CLIENT' => 'phpredis', 'REDIS_HOST' => '127.0.0.1', 'REDIS_PORT' => '6379']);
    });

    $checks->check('a session goes from request to request, and ends', function () use ($boot, $plain) {
        $visit = function (?string $id, callable $do) use ($boot) {
            $session = $boot()['session']->driver();
            $session->setId($id);
            $session->start();
            $answer = $do($session);
            $session->save();
            return [$session->getId(), $answer];
        };
        $count = function ($session) {
            $session->put('visits', $session->get('visits', 0) + 1);
            return $session->get('visits');
        };
        [$id, $first] = $visit(null, $count);
        same([$first, $visit($id, $count)[1], $visit($id, $count)[1], $visit(null, $count)[1]], [1, 2, 3, 1]);
        $key = "shop_database_shop_cache_:$id";
        holds('two hours to live', $plain->ttl($key) > 7100 && $plain->ttl($key) <= 7200);
        $visit($id, fn($session) => $session->flash('note', 'saved'));
        same($visit($id, fn($session) => $session->get('note'))[1], 'saved');
        same($visit($id, fn($session) => $session->get('note'))[1], null);
        // A sign-in: another id, and the old one is worth nothing.
        [$next] = $visit($id, fn($session) => $session->migrate(true));
        holds('another id', $next !== $id);
        same([$plain->exists($key), $visit($next, fn($session) => $session->get('visits'))[1]], [0, 3]);
        $visit($next, fn($session) => $session->invalidate());
        same($visit($next, fn($session) => $session->get('visits'))[1], null);
    });

    $checks->check('values of every kind come back from the cache, and die', function () use ($boot) {
        $cache = $boot()['cache']->store();
        $value = ['a' => 1, 'b' => [null, true, 1.5, "é\0"]];
        same([$cache->put('v', $value, 60), $boot()['cache']->store()->get('v')], [true, $value]);
        same([$cache->get('none', 'default'), $cache->has('v'), $cache->add('v', 2, 60), $cache->add('w', 2, 60)], ['default', true, false, true]);
        same([$cache->remember('r', 60, fn() => 'made'), $cache->remember('r', 60, fn() => 'again'), $cache->pull('r'), $cache->get('r')], ['made', 'made', 'made', null]);
        same([$cache->put('n', 5, 60), $cache->increment('n', 2), $cache->decrement('n'), (int) $cache->get('n')], [true, 7, 6, 6]);
        same([$cache->putMany(['x' => 1, 'y' => 2], 60), array_map('intval', $cache->many(['x', 'y']))], [true, ['x' => 1, 'y' => 2]]);
        same([$cache->forever('f', 'x'), $cache->forget('f'), $cache->get('f')], [true, true, null]);
        same($cache->put('short', 'lived', 1), true);
        eventually('it to die', fn() => $cache->get('short') === null);
        same([$cache->flush(), $cache->get('v')], [true, null]);
    });

    $checks->check('tags are flushed with what they name', function () use ($boot) {
        $cache = $boot()['cache']->store();
        $cache->tags(['people', 'artists'])->put('john', 'x', 60);
        $cache->tags(['people'])->put('anne', 'y', 60);
        same([$cache->tags(['people', 'artists'])->get('john'), $cache->tags(['people'])->get('anne')], ['x', 'y']);
        $cache->tags('artists')->flush();
        same([$cache->tags(['people', 'artists'])->get('john'), $cache->tags(['people'])->get('anne')], [null, 'y']);
    });

    $checks->check('a lock has one owner', function () use ($boot) {
        [$one, $two] = [$boot()['cache']->lock('job', 10), $boot()['cache']->lock('job', 10)];
        same([$one->get(), $two->get(), $two->release(), $one->release(), $two->get()], [true, false, false, true, true]);
        $two->forceRelease();
        same([$boot()['cache']->lock('brief', 1)->get(), $boot()['cache']->lock('brief', 5)->block(4)], [true, true]);
    });

    $checks->check('limiters let through what they say', function () use ($boot) {
        $limiter = new RateLimiter($boot()['cache']->store());
        $tries = array_map(fn() => $limiter->attempt('login', 3, fn() => true, 60), range(1, 5));
        same([$tries, $limiter->remaining('login', 3)], [[true, true, true, false, false], 0]);
        $redis = $boot()['redis']->connection();
        $passed = 0;
        foreach (range(1, 5) as $_) {
            $redis->throttle('mails')->block(0)->allow(2)->every(60)->then(function () use (&$passed) { $passed++; }, fn() => null);
        }
        same($passed, 2);
        $within = function () use ($boot) {
            $boot()['redis']->connection()->funnel('one')->limit(1)->block(0)->then(fn() => 'second');
        };
        $refusal = $redis->funnel('one')->limit(1)->releaseAfter(10)->block(1)->then(function () use ($within) {
            try {
                $within();
            } catch (LimiterTimeoutException) {
                return 'refused';
            }
        });
        same([$refusal, $redis->funnel('one')->limit(1)->block(1)->then(fn() => 'free')], ['refused', 'free']);
    });

    $checks->check('commands, pipelines, transactions and scripts', function () use ($boot) {
        $redis = $boot()['redis']->connection();
        $redis->set('a', 'b', 'EX', 60, 'NX');
        same([$redis->get('a'), $redis->get('none'), (int) $redis->hset('h', 'f', 'v'), $redis->hgetall('h')], ['b', null, 1, ['f' => 'v']]);
        $answers = $redis->pipeline(fn($pipe) => array_map(fn($at) => $pipe->rpush('l', (string) $at), range(1, 5)));
        same([$answers, $redis->lrange('l', 0, -1)], [[1, 2, 3, 4, 5], ['1', '2', '3', '4', '5']]);
        $answers = $redis->transaction(function ($tx) {
            $tx->incr('n');
            $tx->incrby('n', 4);
        });
        same([$answers, $redis->eval("return redis.call('incrby', KEYS[1], ARGV[1])", 1, 'n', 2)], [[1, 5], 7]);
    });

    foreach ([9, 10] as $database) {
        $plain->select($database);
        $plain->flushDB();
    }
}
Checks::finish();
