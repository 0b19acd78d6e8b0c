<?php

declare(strict_types=1);

namespace Phase\Exception;

/**
 * A valid receipt of something else: another job, offer or output than the
 * one in hand. $field is the field of the receipt that differs.
 */
final class WrongReceipt extends ReceiptRefused
{
    public function __construct(public readonly string $field, string $receipt, string $wanted)
    {
        parent::__construct("the receipt speaks of something else: $field is $receipt, wanted is $wanted");
    }
}
