<?php

declare(strict_types=1);

namespace Phase\Tests;

use Phase\Transport\ByPlasmd;
use Phase\Transport\Offer;

/** A plasmd on this machine that says what a liar says. */
final class LyingPlasmd implements ByPlasmd
{
    public function __construct(private readonly Liar $liar)
    {
    }

    public function run(Offer $offer): \Generator
    {
        return yield from $this->liar->run($offer);
    }
}
