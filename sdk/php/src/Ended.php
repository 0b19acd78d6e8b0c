<?php

declare(strict_types=1);

namespace Phase;

use Phase\Exception\JobFailed;

/** How a job ended, proved by its receipt. */
class Ended
{
    public readonly Outcome $outcome;

    /** The module's own where the outcome is Exited; else that of the outcome. */
    public readonly int $exitCode;

    /**
     * @internal only a Client makes them, of what it has checked
     * @param list<Replica> $replicas the nodes that ran the job, where several did
     */
    public function __construct(public readonly Receipt $receipt, public readonly array $replicas = [])
    {
        $this->outcome = $receipt->statement->outcome;
        $this->exitCode = $receipt->statement->exitCode;
    }

    /**
     * Returns this if the job exited with 0.
     *
     * @throws JobFailed
     */
    public function orFail(): static
    {
        if ($this->outcome !== Outcome::Exited || $this->exitCode !== 0) {
            throw new JobFailed($this);
        }
        return $this;
    }
}
