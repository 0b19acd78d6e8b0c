<?php

declare(strict_types=1);

namespace Phase;

/** How a job ended, with all it wrote, byte for byte. */
final class Result extends Ended
{
    /**
     * @internal
     * @param list<Replica> $replicas
     */
    public function __construct(
        Receipt $receipt,
        public readonly string $stdout,
        public readonly string $stderr,
        array $replicas = [],
    ) {
        parent::__construct($receipt, $replicas);
    }
}
