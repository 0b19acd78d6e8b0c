<?php

declare(strict_types=1);

namespace Phase;

/** A piece of output as it came: any bytes, cut anywhere. */
final class Chunk
{
    public function __construct(public readonly Stream $stream, public readonly string $bytes)
    {
    }
}
