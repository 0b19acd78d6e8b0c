<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Chunk;
use Phase\Exception\InvalidJson;
use Phase\Exception\TransportFailed;
use Phase\Json\Base64;
use Phase\Json\Reader;
use Phase\Json\Value;
use Phase\Stream;

/** What plasmd execute-job prints, one JSON object: {job_id, …, stdout_base64, …, receipt}. */
final class WholeAnswer
{
    /** The most bytes an answer to this offer can have: base64, and text of which each byte is escaped. */
    public static function most(Offer $offer): int
    {
        return 8 * $offer->job->file->limits->output() + (4 << 20);
    }

    /**
     * Reads one, and yields the output in it.
     *
     * @return \Generator<int, Chunk, void, Answer>
     * @throws TransportFailed
     */
    public static function read(string $text): \Generator
    {
        try {
            $fields = Reader::read($text, PHP_INT_MAX)->known(
                ...['job_id', 'run_id', 'exit_code', 'outcome', 'receipt'],
                ...['stdout', 'stdout_base64', 'stderr', 'stderr_base64'],
            );
            $answer = JobAnswer::read($fields);
            $output = array_map(static fn (Stream $s): Chunk => self::output($s, $fields), Stream::cases());
        } catch (InvalidJson $e) {
            throw new TransportFailed('the answer is not as it should be: ' . $e->getMessage(), 0, $e);
        }
        foreach ($output as $chunk) {
            if ($chunk->bytes !== '') {
                yield $chunk;
            }
        }
        return $answer;
    }

    /** @param array<string, Value> $fields */
    private static function output(Stream $stream, array $fields): Chunk
    {
        $name = "{$stream->value}_base64";
        $bytes = $fields[$name] ?? throw new InvalidJson("the answer has no $name");
        return new Chunk($stream, Base64::decode($bytes->string()));
    }
}
