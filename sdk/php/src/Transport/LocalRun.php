<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Chunk;
use Phase\Exception\InvalidJob;
use Phase\Exception\Rejected;
use Phase\Limits;
use Phase\Stream;
use Phase\Text;

/**
 * plasmd run, without a daemon: the module's output is passed on as it comes.
 * It limits time and memory; a job that sets other limits is refused here
 * rather than run without them.
 */
final class LocalRun extends LocalPlasmd
{
    private const MAX_RECEIPT = 1 << 20;

    /** How plasmd's own errors begin. */
    private const PREFIX = 'plasmd: ';

    protected function mustTake(Limits $limits): void
    {
        if ($limits->cpuCores !== 1) {
            throw new InvalidJob('cpu_cores', 'plasmd run has one; ask a daemon or a node for more');
        }
        if ($limits->outputBytes !== null) {
            throw new InvalidJob('output_bytes', 'plasmd run does not limit output; ask a daemon or a node to');
        }
    }

    protected function command(Offer $offer, TempFolder $folder): array
    {
        return ['run', '--receipt=' . self::receipt($folder)];
    }

    protected function answer(Offer $offer, Process $process, TempFolder $folder): \Generator
    {
        $held = new HeldStderr(self::PREFIX);
        $status = yield from $held->pass($process->output($offer->job->stdin));
        $text = @file_get_contents(self::receipt($folder), false, null, 0, self::MAX_RECEIPT + 1);
        if ($text === false) {
            throw $held->text() === ''
                ? Process::unanswered($this->plasmd, $status, '')
                : new Rejected('', Text::clean(trim($held->text())), 0);
        }
        if ($held->text() !== '') {
            yield new Chunk(Stream::Stderr, $held->text());
        }
        return new RunAnswer($text, $status);
    }

    private static function receipt(TempFolder $folder): string
    {
        return "$folder->path/receipt.json";
    }
}
