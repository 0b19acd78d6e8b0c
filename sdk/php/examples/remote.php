<?php

/**
 * Runs a module on a node and shows what came of it, line by line:
 *
 *   PHASE_TOKEN=TOKEN remote.php URL PEER MODULE.wasm [ARGS…] < INPUT
 *
 * The node shows its peer id and its token on its console when it starts. The
 * token goes by the environment, as everybody may read a command line.
 */

declare(strict_types=1);

use Phase\Client;
use Phase\Exception\PhaseException;
use Phase\Exception\ReceiptRefused;
use Phase\Job;
use Phase\Limits;
use Phase\Pin;
use Phase\Result;
use Phase\Text;

require __DIR__ . '/../autoload.php';

/** One output, fit for a terminal. */
function shown(string $output): string
{
    if ($output === '') {
        return '(nothing)';
    }
    if (preg_match('//u', $output) !== 1) {
        return sprintf('%d bytes, SHA-256 %s', strlen($output), hash('sha256', $output));
    }
    $lines = array_map(Text::clean(...), explode("\n", rtrim($output, "\n")));
    return implode("\n" . str_repeat(' ', 12), $lines);
}

function show(Result $result): void
{
    $s = $result->receipt->statement;
    $rows = [
        'outcome' => "{$result->outcome->value}, exit code $result->exitCode",
        'stdout' => shown($result->stdout),
        'stderr' => shown($result->stderr),
        'took' => "$s->wallTimeMs ms, from {$s->started->text}",
        'limits' => "$s->cpuCores cores, $s->memoryMb MiB, $s->timeoutSeconds s, $s->outputBytes bytes",
        'runtime' => "$s->runtimeName $s->runtimeVersion, $s->runtimeProfile",
        'module' => $s->moduleHash,
        'job' => $s->jobId,
        'run' => $s->runId,
        'signed by' => "$s->peerId (verified)",
    ];
    foreach ($rows as $name => $value) {
        printf("%-11s %s\n", $name, $value);
    }
}

if ($argc < 4) {
    fwrite(STDERR, "usage: PHASE_TOKEN=TOKEN php remote.php URL PEER MODULE.wasm [ARGS…] < INPUT\n");
    exit(2);
}
[, $url, $peer, $module] = $argv;
$input = stream_isatty(STDIN) ? '' : stream_get_contents(STDIN);
try {
    $job = Job::fromFile($module, array_slice($argv, 4), stdin: $input, limits: new Limits(memoryMb: 128, timeoutSeconds: 30));
    show(Client::http($url, (string) getenv('PHASE_TOKEN'), Pin::peer($peer))->run($job));
} catch (ReceiptRefused $e) {
    fwrite(STDERR, "do not believe this node: {$e->getMessage()}\n");
    exit(1);
} catch (PhaseException $e) {
    fwrite(STDERR, "remote.php: {$e->getMessage()}\n");
    exit(1);
}
