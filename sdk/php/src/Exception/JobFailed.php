<?php

declare(strict_types=1);

namespace Phase\Exception;

use Phase\Result;

/** Thrown by Result::orFail() for a job that did not exit with 0. */
final class JobFailed extends PhaseException
{
    public function __construct(public readonly Result $result)
    {
        parent::__construct("the job ended as {$result->outcome->value} with exit code {$result->exitCode}");
    }
}
