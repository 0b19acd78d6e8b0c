<?php

declare(strict_types=1);

namespace Phase;

/** A node that ran a job which others ran too, proved by its receipt. */
final class Replica
{
    /** @internal only a Client makes them, of what it has checked */
    public function __construct(
        public readonly string $peerId,
        public readonly Receipt $receipt,
        /** Whether its result is that of most, which counts. One that does not agree lied, or is broken. */
        public readonly bool $agrees,
    ) {
    }
}
