<?php

declare(strict_types=1);

namespace Phase\Transport;

/**
 * Jobs on another node, which a daemon reaches: POST /v1/jobs with the part "on".
 * The daemon passes offer, input and output on; the receipt is the other node's.
 */
final class RemoteTransport implements Transport
{
    /** In the place of a peer id: the daemon picks the node, and another when one fails. */
    public const AUTO = 'auto';

    /** The most nodes that run one job. */
    public const MAX_REPLICAS = 16;

    /**
     * @param Http $daemon by which the node is reached
     * @param string $peer the node's peer id, or AUTO
     * @param (\Closure(string $step, string $detail): void)|null $watch is told of each step as it
     *     is made: connect (to the daemon at this address), module (is sent, as the daemon does
     *     not hold it), accepted (as this run), attempt (on this node, which came to nothing),
     *     running, ended, done
     * @param int $replicas how many nodes run each job, with AUTO alone: the result is that of
     *     most of them
     */
    public function __construct(
        private readonly Http $daemon,
        public readonly string $peer,
        private readonly ?\Closure $watch = null,
        public readonly int $replicas = 1,
    ) {
        if ($replicas < 1 || $replicas > self::MAX_REPLICAS || ($replicas > 1 && $peer !== self::AUTO)) {
            throw new \ValueError(sprintf('1 to %d nodes run a job, and more than one only where the daemon picks them', self::MAX_REPLICAS));
        }
    }

    public function run(Offer $offer): \Generator
    {
        return yield from $this->daemon->on($this->peer, $this->watch, $this->replicas)->run($offer);
    }
}
