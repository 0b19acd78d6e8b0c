<?php

declare(strict_types=1);

namespace Phase\Exception;

/** The node that was asked did not sign this receipt, or it names another. */
final class WrongSignature extends ReceiptRefused
{
}
