<?php

/**
 * Runs a module on this machine: hello.php [TEXT]. The module reverses its
 * input; the receipt proves that it did.
 */

declare(strict_types=1);

use Phase\Client;
use Phase\Exception\PhaseException;
use Phase\Job;
use Phase\Limits;

require __DIR__ . '/../autoload.php';

$build = __DIR__ . '/../../../build';
try {
    $job = Job::fromFile(
        "$build/examples/hello.wasm",
        stdin: ($argv[1] ?? 'Hello from PHP') . "\n",
        limits: new Limits(memoryMb: 64, timeoutSeconds: 10),
    );
    $result = Client::local("$build/bin/plasmd")->run($job)->orFail();
} catch (PhaseException $e) {
    fwrite(STDERR, "hello.php: {$e->getMessage()}; `make build examples` builds plasmd and the module\n");
    exit(1);
}

echo $result->stdout;
fprintf(STDERR, "%s says so, in %d ms\n", $result->receipt->statement->peerId, $result->receipt->statement->wallTimeMs);
