<?php

declare(strict_types=1);

namespace Phase\Exception;

/** A receipt that proves nothing of what was asked. See the kinds below it. */
abstract class ReceiptRefused extends PhaseException
{
}
