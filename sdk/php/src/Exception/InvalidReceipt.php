<?php

declare(strict_types=1);

namespace Phase\Exception;

/** No receipt: a field is missing or does not have its form. */
final class InvalidReceipt extends ReceiptRefused
{
}
