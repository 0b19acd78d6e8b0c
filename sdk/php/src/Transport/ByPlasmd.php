<?php

declare(strict_types=1);

namespace Phase\Transport;

/**
 * A transport that starts plasmd on this machine, which writes the job file
 * and chooses the nonce itself: for these alone, neither is compared. Nothing
 * that crosses a network may be one.
 */
interface ByPlasmd extends Transport
{
}
