<?php

declare(strict_types=1);

namespace Phase\Exception;

/** The node is busy, or stopping; try again after $retryAfter seconds, 1 to 3600. */
final class QueueFull extends Rejected
{
    public function __construct(string $reason, string $detail, int $status, public readonly int $retryAfter)
    {
        parent::__construct($reason, $detail, $status);
    }
}
