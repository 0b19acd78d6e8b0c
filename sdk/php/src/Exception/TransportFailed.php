<?php

declare(strict_types=1);

namespace Phase\Exception;

/** The node could not be reached, went away, or does not speak as it should. */
class TransportFailed extends PhaseException
{
}
