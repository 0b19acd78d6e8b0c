<?php

declare(strict_types=1);

namespace Phase\Exception;

/** A job that no node would run. Names the field and what it may be. */
final class InvalidJob extends PhaseException
{
    public function __construct(public readonly string $field, string $problem)
    {
        parent::__construct("$field: $problem");
    }
}
