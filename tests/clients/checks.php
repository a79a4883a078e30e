<?php
// One line per check, and an exit code that cannot say "fine" by accident.
//
// A program makes a `Checks` for each library, calls `check` for every promise it tests, and ends with `finish`, which prints
// the closing line that the runner insists on. A check that hangs fails after `SECONDS`.

declare(strict_types=1);

error_reporting(E_ALL);
set_error_handler(function (int $level, string $text, string $file, int $line): bool {
    throw new ErrorException($text, 0, $level, $file, $line);
});
pcntl_async_signals(true);
pcntl_signal(SIGALRM, fn() => throw new RuntimeException('no answer within ' . Checks::SECONDS . ' s'));

final class Checks
{
    /** No honest check takes longer, even on a busy machine with two cores. */
    public const SECONDS = 20;

    private static bool $failed = false;

    public function __construct(private string $name)
    {
    }

    /** Runs one check under the name of what it promises. */
    public function check(string $promise, callable $run): void
    {
        pcntl_alarm(self::SECONDS);
        try {
            $run();
            self::say("ok   {$this->name}: $promise");
        } catch (Throwable $error) {
            self::$failed = true;
            $lines = array_column(array_filter($error->getTrace(), fn($at) => ($at['file'] ?? '') === realpath($_SERVER['SCRIPT_FILENAME'])), 'line');
            $line = $error->getFile() === realpath($_SERVER['SCRIPT_FILENAME']) ? $error->getLine() : ($lines[0] ?? '?');
            $why = str_replace("\n", ' | ', $error->getMessage());
            self::say("FAIL {$this->name}: $promise: line $line: " . $error::class . ": $why");
        } finally {
            pcntl_alarm(0);
        }
    }

    /** Not by echo, as sessions insist on being set up before the first output. */
    private static function say(string $line): void
    {
        fwrite(STDOUT, "$line\n");
    }

    /** The closing line; the process ends here. */
    public static function finish(): never
    {
        self::say('end');
        exit(self::$failed ? 1 : 0);
    }
}

/** The two must be the same, types too; says what was found. */
function same(mixed $left, mixed $right): void
{
    if ($left !== $right) {
        throw new RuntimeException(var_export($left, true) . ' is not ' . var_export($right, true));
    }
}

/** It must be true; `what` says what is not. */
function holds(string $what, bool $is): void
{
    if (!$is) {
        throw new RuntimeException("not true: $what");
    }
}

/** The call must be refused with exactly this error text. */
function refused(string $text, callable $run): void
{
    try {
        $answer = $run();
    } catch (RedisException $refusal) {
        same($refusal->getMessage(), $text);
        return;
    }
    throw new RuntimeException('answered ' . var_export($answer, true) . " instead of '$text'");
}

/** Waits for something that happens by itself soon, and says what did not. */
function eventually(string $what, callable $probe, float $within = 12.0): void
{
    $end = microtime(true) + $within;
    while (microtime(true) < $end) {
        if ($probe()) {
            return;
        }
        usleep(20_000);
    }
    throw new RuntimeException("$what: not within $within s");
}
