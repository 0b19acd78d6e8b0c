<?php

declare(strict_types=1);

namespace Phase\Exception;

/**
 * The node did not run the job, and says why. $reason is its word for it
 * (InvalidRequest, InsufficientResources, RuntimeNotSupported, QueueFull,
 * NotAuthorized, ArchMismatch, ModuleNeeded), empty where it has none.
 */
class Rejected extends PhaseException
{
    /** @param int $status of HTTP; 0 where there was none */
    public function __construct(
        public readonly string $reason,
        public readonly string $detail,
        public readonly int $status = 0,
    ) {
        parent::__construct($reason === '' ? $detail : "$reason: $detail");
    }
}
