<?php

declare(strict_types=1);

namespace Phase\Exception;

/** The node is busy; try again after $retryAfter seconds. */
final class QueueFull extends Rejected
{
    public function __construct(string $detail, int $status, public readonly int $retryAfter)
    {
        parent::__construct('QueueFull', $detail, $status);
    }
}
