<?php

declare(strict_types=1);

namespace Phase\Exception;

/** Whatever the SDK throws. */
abstract class PhaseException extends \RuntimeException
{
}
