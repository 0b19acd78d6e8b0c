<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Exception\TimedOut;

/** The moment by which all must be over. */
final class Deadline
{
    private readonly float $at;

    /** @param float $seconds from now */
    public function __construct(private readonly float $seconds)
    {
        $this->at = hrtime(true) / 1e9 + $seconds;
    }

    /**
     * The seconds left.
     *
     * @throws TimedOut there are none
     */
    public function left(): float
    {
        $left = $this->at - hrtime(true) / 1e9;
        if ($left <= 0) {
            throw new TimedOut(sprintf('no answer within %g s', $this->seconds));
        }
        return $left;
    }
}
