<?php

declare(strict_types=1);

namespace Phase\Exception;

/** The token is missing, or not that of the node. */
final class NotAuthorized extends Rejected
{
}
