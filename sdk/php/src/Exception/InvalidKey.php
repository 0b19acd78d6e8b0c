<?php

declare(strict_types=1);

namespace Phase\Exception;

/** Text that is no peer id, or a file that holds no Ed25519 key. */
final class InvalidKey extends PhaseException
{
}
