<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Exception\WrongReceipt;
use Phase\Receipt;

/** What comes back when a job has ended. */
interface Answer
{
    /** The receipt as it came, not yet checked. */
    public function receipt(): string;

    /**
     * Compares a receipt whose signature holds, and which is of this offer,
     * with the rest of the answer.
     *
     * @throws WrongReceipt
     */
    public function compare(Receipt $receipt): void;
}
