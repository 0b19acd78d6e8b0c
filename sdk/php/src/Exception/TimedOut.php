<?php

declare(strict_types=1);

namespace Phase\Exception;

/** No answer in the time the job and its way may take. */
final class TimedOut extends TransportFailed
{
}
