<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Chunk;
use Phase\Exception\InvalidJson;
use Phase\Exception\PhaseException;
use Phase\Exception\TransportFailed;
use Phase\Http\Response;
use Phase\Json\Base64;
use Phase\Json\Reader;
use Phase\Json\Value;
use Phase\Stream;
use Phase\Text;

/**
 * A streamed answer: one JSON object a line, accepted first, then stdout and
 * stderr as they come, and done or error last.
 */
final class Events
{
    /** Bytes of one line: more than any piece of output or receipt takes. */
    private const MAX_LINE = 2 << 20;

    private int $written = 0;

    /** @param \Closure(string $step, string $detail): void $tell */
    private function __construct(private readonly Offer $offer, private readonly \Closure $tell)
    {
    }

    /**
     * @param \Closure(string $step, string $detail): void $tell is told of accepted, running, ended and done
     * @return \Generator<int, Chunk, void, Answer>
     * @throws PhaseException
     */
    public static function read(Response $response, Offer $offer, \Closure $tell): \Generator
    {
        $events = new self($offer, $tell);
        $answer = null;
        foreach (self::lines($response) as $line) {
            if ($answer !== null) {
                throw new TransportFailed('the node goes on after the end of the job');
            }
            try {
                $event = $events->event($line);
            } catch (InvalidJson $e) {
                throw new TransportFailed('an event is not as it should be: ' . $e->getMessage(), 0, $e);
            }
            if ($event instanceof Chunk) {
                yield $event;
            } else {
                $answer = $event;
            }
        }
        return $answer ?? throw new TransportFailed('the answer ended before the job was done');
    }

    /** @throws InvalidJson|PhaseException */
    private function event(string $line): Chunk|Answer|null
    {
        $value = Reader::read($line, self::MAX_LINE);
        $fields = $value->known('event', 'data', 'problem', 'job_id', 'run_id', 'exit_code', 'outcome', 'receipt', 'worker', 'attempt', 'replicas');
        $name = self::need($fields, 'event')->string();
        if (in_array($name, ['accepted', 'running', 'ended', 'done'], true)) {
            ($this->tell)($name, isset($fields['run_id']) ? Text::clean($fields['run_id']->string()) : '');
        }
        return match ($name) {
            'stdout', 'stderr' => $this->output(Stream::from($name), self::need($fields, 'data')),
            'done' => JobAnswer::read($fields),
            'error' => throw $this->problem(self::need($fields, 'problem')),
            'attempt' => $this->attempt(self::need($fields, 'attempt')),
            default => null, // accepted, running, ended: nothing to do
        };
    }

    private function output(Stream $stream, Value $data): Chunk
    {
        $chunk = new Chunk($stream, Base64::decode($data->string()));
        $this->written += strlen($chunk->bytes);
        if ($this->written > $this->offer->job->file->limits->output()) {
            throw new TransportFailed('the node sends more output than the job may write');
        }
        return $chunk;
    }

    /** A node that came to nothing: the job goes on with another one. */
    private function attempt(Value $attempt): null
    {
        if ($this->written > 0) {
            // What it wrote has been handed on, and cannot be taken back.
            throw new TransportFailed('the job began anew on another node when it had written on one');
        }
        $fields = $attempt->known('peer', 'reason');
        ($this->tell)('attempt', Text::clean(self::need($fields, 'peer')->string() . ': ' . self::need($fields, 'reason')->string()));
        return null;
    }

    private function problem(Value $problem): PhaseException
    {
        $status = self::need($problem->known('status'), 'status')->integer();
        return Problem::exception($problem, $status, 1);
    }

    /** @param array<string, Value> $fields */
    private static function need(array $fields, string $name): Value
    {
        return $fields[$name] ?? throw new InvalidJson("$name is missing");
    }

    /** @return \Generator<int, string> */
    private static function lines(Response $response): \Generator
    {
        $line = '';
        foreach ($response->body() as $piece) {
            $line .= $piece;
            if (strpos($piece, "\n") !== false) {
                $whole = explode("\n", $line);
                $line = array_pop($whole);
                yield from $whole;
            }
            if (strlen($line) > self::MAX_LINE) {
                throw new TransportFailed('an event is longer than ' . self::MAX_LINE . ' bytes');
            }
        }
        if ($line !== '') {
            throw new TransportFailed('the answer ended within an event');
        }
    }
}
