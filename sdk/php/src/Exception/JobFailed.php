<?php

declare(strict_types=1);

namespace Phase\Exception;

use Phase\Ended;

/** Thrown by Ended::orFail() for a job that did not exit with 0. */
final class JobFailed extends PhaseException
{
    public function __construct(public readonly Ended $ended)
    {
        parent::__construct("the job ended as {$ended->outcome->value} with exit code {$ended->exitCode}");
    }
}
