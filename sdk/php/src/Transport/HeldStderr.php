<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Chunk;
use Phase\Stream;

/**
 * Passes chunks on, but keeps a standard error that begins as plasmd's own
 * errors do until it is known whose it is: the module may write the same.
 */
final class HeldStderr
{
    private string $held = '';
    private bool $through = false;

    public function __construct(private readonly string $prefix)
    {
    }

    /**
     * @param \Generator<int, Chunk, void, int> $chunks
     * @return \Generator<int, Chunk, void, int>
     */
    public function pass(\Generator $chunks): \Generator
    {
        foreach ($chunks as $chunk) {
            if ($chunk->stream === Stream::Stdout || $this->through) {
                yield $chunk;
                continue;
            }
            $this->held .= $chunk->bytes;
            $length = min(strlen($this->held), strlen($this->prefix));
            if (strncmp($this->held, $this->prefix, $length) !== 0) {
                $this->through = true;
                yield new Chunk(Stream::Stderr, $this->held);
                $this->held = '';
            }
        }
        return $chunks->getReturn();
    }

    /** What was kept. */
    public function text(): string
    {
        return $this->held;
    }
}
