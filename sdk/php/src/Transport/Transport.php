<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Chunk;
use Phase\Exception\NodeFailed;
use Phase\Exception\Rejected;
use Phase\Exception\TransportFailed;

/** A way to have a job run. It carries; Client checks what came. */
interface Transport
{
    /**
     * Sends the offer, yields the output as it comes and returns the answer.
     * Ending the generator early cancels the job.
     *
     * @return \Generator<int, Chunk, void, Answer>
     * @throws Rejected|NodeFailed|TransportFailed
     */
    public function run(Offer $offer): \Generator;
}
