<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Chunk;
use Phase\Exception\InvalidJob;
use Phase\Exception\Rejected;
use Phase\Exception\TransportFailed;
use Phase\Text;

/**
 * plasmd execute-job, on this machine, by the daemon if there is one: answered
 * whole when the job has ended.
 */
final class LocalJob implements ByPlasmd
{
    /** Seconds that plasmd may take beyond the job's own limit. */
    private const WAIT_SECONDS = 120.0;

    /** @param string $plasmd its path, or its name in PATH */
    public function __construct(private readonly string $plasmd = 'plasmd')
    {
    }

    public function run(Offer $offer): \Generator
    {
        $job = $offer->job;
        $limits = $job->file->limits;
        if ($limits->outputBytes !== null) {
            throw new InvalidJob('output_bytes', 'plasmd execute-job cannot set it; ask a daemon or a node to');
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
            $module = $folder->write('module.wasm', $job->module);
            $command = [
                $this->plasmd, 'execute-job',
                "--cpu=$limits->cpuCores", "--memory=$limits->memoryMb", "--timeout={$limits->timeoutSeconds}s",
            ];
            array_push($command, ...$environment);
            $deadline = new Deadline($limits->timeoutSeconds + self::WAIT_SECONDS);
            $process = new Process([...$command, $module, ...$job->file->args], $deadline);
            [$status, $text, $log] = self::collect($process->output($job->stdin), WholeAnswer::most($offer));
            if ($status !== 0) {
                throw $status <= 2 && trim($log) !== ''
                    ? new Rejected('', Text::clean(trim($log)), 0)
                    : Process::unanswered($this->plasmd, $status, $log);
            }
        } finally {
            $process?->close();
            $folder->remove();
        }
        return yield from WholeAnswer::read($text);
    }

    /**
     * @param \Generator<int, Chunk, void, int> $output
     * @return array{int, string, string} exit code, stdout, stderr
     */
    private static function collect(\Generator $output, int $most): array
    {
        $text = ['stdout' => '', 'stderr' => ''];
        foreach ($output as $chunk) {
            $name = $chunk->stream->value;
            if (strlen($text[$name]) + strlen($chunk->bytes) > $most) {
                throw new TransportFailed('plasmd says more than an answer has');
            }
            $text[$name] .= $chunk->bytes;
        }
        return [$output->getReturn(), $text['stdout'], $text['stderr']];
    }
}
