<?php

declare(strict_types=1);

namespace Phase\Tests;

use Phase\Chunk;
use Phase\Json\Reader;
use Phase\Stream;
use Phase\Transport\JobAnswer;
use Phase\Transport\Offer;
use Phase\Transport\Transport;

/** A node that ran the job and wrote "out" and "err", and may lie about it. */
final class Liar implements Transport
{
    /** Whether what run() opened was closed again. */
    public bool $closed = false;

    /**
     * @param (\Closure(array<string, mixed> $statement): array<string, mixed>)|null $lie in what is signed
     * @param (\Closure(array<string, mixed> $answer): array<string, mixed>)|null $tell in the answer beside it
     */
    public function __construct(
        private readonly SigningNode $node,
        private readonly ?\Closure $lie = null,
        private readonly ?\Closure $tell = null,
        private readonly string $stdout = 'out',
    ) {
    }

    public function run(Offer $offer): \Generator
    {
        try {
            yield new Chunk(Stream::Stdout, substr($this->stdout, 0, 1));
            yield new Chunk(Stream::Stderr, 'err');
            yield new Chunk(Stream::Stdout, substr($this->stdout, 1));
            $statement = $this->node->statement($offer, 'out', 'err');
            $signed = $this->node->sign($this->lie === null ? $statement : ($this->lie)($statement));
            $answer = ['receipt' => json_decode($signed)] + $statement['predicate'];
            $answer = $this->tell === null ? $answer : ($this->tell)($answer);
            return JobAnswer::read(Reader::read(json_encode($answer))->members());
        } finally {
            $this->closed = true;
        }
    }
}
