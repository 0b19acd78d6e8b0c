<?php

declare(strict_types=1);

namespace Phase\Transport;

/**
 * Jobs on another node, which a daemon reaches: POST /v1/jobs with the part "on".
 * The daemon passes offer, input and output on; the receipt is the other node's.
 */
final class RemoteTransport implements Transport
{
    /**
     * @param Http $daemon by which the node is reached
     * @param string $peer the node's peer id
     * @param (\Closure(string $step, string $detail): void)|null $watch is told of each step as it
     *     is made: connect (to the daemon at this address), module (is sent, as the daemon does
     *     not hold it), accepted (as this run), running, ended, done
     */
    public function __construct(
        private readonly Http $daemon,
        public readonly string $peer,
        private readonly ?\Closure $watch = null,
    ) {
    }

    public function run(Offer $offer): \Generator
    {
        return yield from $this->daemon->on($this->peer, $this->watch)->run($offer);
    }
}
