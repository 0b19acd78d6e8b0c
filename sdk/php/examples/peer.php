<?php

/**
 * Has a node that this machine's daemon can reach run a module, and reports each
 * step, from the connection to the verified receipt:
 *
 *   peer.php PEER MODULE.wasm [ARGS…] < INPUT
 *
 * `plasmd start` runs the daemon, `plasmd peers` lists whom it is connected to.
 * PHASE_SOCKET names its socket where that is not in the usual place.
 */

declare(strict_types=1);

use Phase\Client;
use Phase\Exception\PhaseException;
use Phase\Exception\ReceiptRefused;
use Phase\Job;
use Phase\Limits;
use Phase\Pin;
use Phase\Text;

require __DIR__ . '/../autoload.php';

/** The steps of a job, each with the time since the first. */
final class Report
{
    private readonly float $began;

    public function __construct()
    {
        $this->began = hrtime(true) / 1e6;
    }

    public function step(string $name, string $detail): void
    {
        printf("%9.1f ms  %-9s %s\n", hrtime(true) / 1e6 - $this->began, $name, $detail);
    }
}

if ($argc < 3) {
    fwrite(STDERR, "usage: php peer.php PEER MODULE.wasm [ARGS…] < INPUT\n");
    exit(2);
}
[, $peer, $module] = $argv;
$input = stream_isatty(STDIN) ? '' : stream_get_contents(STDIN);
$report = new Report();
$watch = static function (string $step, string $detail) use ($report, $peer): void {
    match ($step) {
        'connect' => $report->step('connect', "the daemon at $detail"),
        'module' => $report->step('offer', "sent with the module, $detail"),
        'accepted' => $report->step('offer', "accepted by $peer as run $detail"),
        'running' => $report->step('run', 'the module has begun'),
        'ended' => $report->step('run', 'the module has ended'),
        'done' => $report->step('receipt', 'has come'),
        default => null,
    };
};
try {
    $job = Job::fromFile($module, array_slice($argv, 3), stdin: $input, limits: new Limits(memoryMb: 128, timeoutSeconds: 30));
    $result = Client::peer(Pin::peer($peer), getenv('PHASE_SOCKET') ?: null, watch: $watch)->run($job);
} catch (ReceiptRefused $e) {
    $report->step('REFUSED', "do not believe this node: {$e->getMessage()}");
    exit(1);
} catch (PhaseException $e) {
    $report->step('FAILED', $e->getMessage());
    exit(1);
}
$s = $result->receipt->statement;
$report->step('verified', "signed by $s->peerId, for this job, this offer, this input and these outputs");
$shown = static fn (string $output): string => preg_match('//u', $output) === 1
    ? rtrim(Text::clean($output))
    : sprintf('%d bytes, SHA-256 %s', strlen($output), hash('sha256', $output));
foreach (
    [
        'outcome' => "{$result->outcome->value}, exit code $result->exitCode",
        'stdout' => $result->stdout === '' ? '(nothing)' : $shown($result->stdout),
        'stderr' => $result->stderr === '' ? '(nothing)' : $shown($result->stderr),
        'took' => "$s->wallTimeMs ms there",
        'module' => $s->moduleHash,
        'job' => $s->jobId,
        'run' => $s->runId,
    ] as $name => $value
) {
    printf("%12s  %-9s %s\n", '', $name, $value);
}
