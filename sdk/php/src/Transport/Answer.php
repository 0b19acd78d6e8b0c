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

    /** The peer id of the node that is said to have run the job; null where only one could. */
    public function worker(): ?string;

    /**
     * The nodes that ran the job, where several did, as they came and not yet checked.
     *
     * @return list<array{string, string, bool}> peer id, receipt, and whether it is said to agree with most
     */
    public function replicas(): array;

    /**
     * Compares a receipt whose signature holds, and which is of this offer,
     * with the rest of the answer.
     *
     * @throws WrongReceipt
     */
    public function compare(Receipt $receipt): void;
}
