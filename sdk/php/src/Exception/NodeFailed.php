<?php

declare(strict_types=1);

namespace Phase\Exception;

/** The node itself failed; whether the job ran is not known. */
final class NodeFailed extends PhaseException
{
}
