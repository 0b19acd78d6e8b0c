<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Exception\WrongReceipt;
use Phase\Receipt;

/** The answer of plasmd run: the receipt it wrote, and its exit code. */
final class RunAnswer implements Answer
{
    public function __construct(private readonly string $receipt, private readonly int $status)
    {
    }

    public function receipt(): string
    {
        return $this->receipt;
    }

    public function worker(): ?string
    {
        return null;
    }

    public function replicas(): array
    {
        return [];
    }

    public function compare(Receipt $receipt): void
    {
        $code = $receipt->statement->exitCode;
        if (($code & 0xff) !== $this->status) { // as the kernel cuts it
            throw new WrongReceipt('exit_code', (string) $code, (string) $this->status);
        }
    }
}
