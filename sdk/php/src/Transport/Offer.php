<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Job;

/** A job as it is sent once. */
final class Offer
{
    private function __construct(
        public readonly Job $job,
        /** Base64 of 16 random bytes that the receipt must repeat. */
        public readonly string $nonce,
    ) {
    }

    public static function of(Job $job): self
    {
        return new self($job, base64_encode(random_bytes(16)));
    }
}
