<?php

declare(strict_types=1);

namespace Phase\Exception;

/** Text that is no JSON, or JSON that two readers could read differently. */
class InvalidJson extends PhaseException
{
}
