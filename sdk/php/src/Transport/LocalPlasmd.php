<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Chunk;
use Phase\Exception\InvalidJob;
use Phase\Exception\PhaseException;
use Phase\Limits;

/** One plasmd process on this machine for each job. */
abstract class LocalPlasmd implements ByPlasmd
{
    /** Seconds that plasmd may take beyond the job's own limit. */
    private const WAIT_SECONDS = 120.0;

    /** @param string $plasmd its path, or its name in PATH */
    final public function __construct(protected readonly string $plasmd = 'plasmd')
    {
    }

    public function run(Offer $offer): \Generator
    {
        $file = $offer->job->file;
        $this->mustTake($file->limits);
        $environment = [];
        foreach ($file->env as $name => $value) {
            $environment[] = "--env=$name=$value";
        }
        Process::mustTake('args', $file->args);
        Process::mustTake('env', $environment);
        $folder = new TempFolder();
        $process = null;
        try {
            $module = $folder->write('module.wasm', $offer->job->module);
            $command = [
                $this->plasmd, ...$this->command($offer, $folder),
                "--memory={$file->limits->memoryMb}", "--timeout={$file->limits->timeoutSeconds}s",
                ...$environment, $module, ...$file->args,
            ];
            $process = new Process($command, new Deadline($file->limits->timeoutSeconds + self::WAIT_SECONDS));
            return yield from $this->answer($offer, $process, $folder);
        } finally {
            $process?->close();
            $folder->remove();
        }
    }

    /**
     * Refuses limits that this command of plasmd cannot set.
     *
     * @throws InvalidJob
     */
    abstract protected function mustTake(Limits $limits): void;

    /** @return list<string> the command of plasmd, and its own flags */
    abstract protected function command(Offer $offer, TempFolder $folder): array;

    /**
     * Passes the output on and returns the answer.
     *
     * @return \Generator<int, Chunk, void, Answer>
     * @throws PhaseException
     */
    abstract protected function answer(Offer $offer, Process $process, TempFolder $folder): \Generator;
}
