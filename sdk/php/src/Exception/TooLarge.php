<?php

declare(strict_types=1);

namespace Phase\Exception;

/** A document that is longer than its cap; nothing of it was read. */
final class TooLarge extends InvalidJson
{
}
