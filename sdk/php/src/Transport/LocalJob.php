<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Chunk;
use Phase\Exception\InvalidJob;
use Phase\Exception\Rejected;
use Phase\Exception\TransportFailed;
use Phase\Limits;
use Phase\Text;

/**
 * plasmd execute-job: by the daemon of this machine if there is one. The answer
 * comes whole when the job has ended.
 */
final class LocalJob extends LocalPlasmd
{
    protected function mustTake(Limits $limits): void
    {
        if ($limits->outputBytes !== null) {
            throw new InvalidJob('output_bytes', 'plasmd execute-job cannot set it; ask a daemon or a node to');
        }
    }

    protected function command(Offer $offer, TempFolder $folder): array
    {
        return ['execute-job', "--cpu={$offer->job->file->limits->cpuCores}"];
    }

    protected function answer(Offer $offer, Process $process, TempFolder $folder): \Generator
    {
        [$status, $text, $log] = self::collect($process->output($offer->job->stdin), WholeAnswer::most($offer));
        if ($status !== 0) {
            throw $status <= 2 && trim($log) !== ''
                ? new Rejected('', Text::clean(trim($log)), 0)
                : Process::unanswered($this->plasmd, $status, $log);
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
