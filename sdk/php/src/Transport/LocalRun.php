<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Chunk;
use Phase\Exception\InvalidJob;
use Phase\Exception\Rejected;
use Phase\Stream;
use Phase\Text;

/**
 * plasmd run, on this machine and without a daemon: the module's streams are
 * passed on as they come. It limits time and memory; a job that sets other
 * limits is refused here rather than run without them.
 */
final class LocalRun implements ByPlasmd
{
    /** Seconds that plasmd may take beyond the job's own limit. */
    private const WAIT_SECONDS = 120.0;

    private const MAX_RECEIPT = 1 << 20;

    /** How plasmd's own errors begin. */
    private const PREFIX = 'plasmd: ';

    /** @param string $plasmd its path, or its name in PATH */
    public function __construct(private readonly string $plasmd = 'plasmd')
    {
    }

    public function run(Offer $offer): \Generator
    {
        $job = $offer->job;
        $limits = $job->file->limits;
        if ($limits->cpuCores !== 1) {
            throw new InvalidJob('cpu_cores', 'plasmd run has one; ask a daemon or a node for more');
        }
        if ($limits->outputBytes !== null) {
            throw new InvalidJob('output_bytes', 'plasmd run does not limit output; ask a daemon or a node to');
        }
        $environment = [];
        foreach ($job->file->env as $name => $value) {
            $environment[] = "--env=$name=$value";
        }
        Process::mustTake('args', $job->file->args);
        Process::mustTake('env', $environment);
        $folder = new TempFolder();
        $process = null;
        try {
            $receipt = "$folder->path/receipt.json";
            $module = $folder->write('module.wasm', $job->module);
            $command = [
                $this->plasmd, 'run',
                "--memory=$limits->memoryMb", "--timeout={$limits->timeoutSeconds}s", "--receipt=$receipt",
            ];
            array_push($command, ...$environment);
            $deadline = new Deadline($limits->timeoutSeconds + self::WAIT_SECONDS);
            $process = new Process([...$command, $module, ...$job->file->args], $deadline);
            $held = new HeldStderr(self::PREFIX);
            $status = yield from $held->pass($process->output($job->stdin));
            $text = @file_get_contents($receipt, false, null, 0, self::MAX_RECEIPT + 1);
            if ($text === false) {
                throw $held->text() === ''
                    ? Process::unanswered($this->plasmd, $status, '')
                    : new Rejected('', Text::clean(trim($held->text())), 0);
            }
            if ($held->text() !== '') {
                yield new Chunk(Stream::Stderr, $held->text());
            }
            return new RunAnswer($text, $status);
        } finally {
            $process?->close();
            $folder->remove();
        }
    }
}
