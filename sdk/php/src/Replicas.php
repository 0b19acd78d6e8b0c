<?php

declare(strict_types=1);

namespace Phase;

use Phase\Exception\InvalidKey;
use Phase\Exception\ReceiptRefused;
use Phase\Exception\TransportFailed;
use Phase\Exception\WrongReceipt;

/**
 * The nodes that ran one job, as a daemon tells of them.
 *
 * @internal
 */
final class Replicas
{
    /**
     * Checks the receipt of each: signed by that node, of this job and this offer, and
     * in agreement with the receipt that counts or not, as is said. Of the nodes that
     * were wanted, more than half must agree.
     *
     * @param list<array{string, string, bool}> $told peer id, receipt, whether it agrees
     * @return list<Replica>
     * @throws ReceiptRefused|TransportFailed
     */
    public static function check(Receipt $counts, JobFile $file, string $nonce, array $told, int $wanted): array
    {
        $replicas = [];
        foreach ($told as [$peer, $receipt, $agrees]) {
            if (isset($replicas[$peer])) {
                throw new TransportFailed("one node is there twice among the replicas: $peer");
            }
            $replicas[$peer] = self::replica($counts, $file, $nonce, self::node($peer), $receipt, $agrees);
        }
        if ($wanted > 1) {
            $agree = count(array_filter($replicas, static fn (Replica $r): bool => $r->agrees));
            if (!isset($replicas[$counts->statement->peerId]) || 2 * $agree <= $wanted) {
                throw new TransportFailed("$agree of $wanted replicas agree, which is no majority");
            }
        }
        return array_values($replicas);
    }

    /**
     * The node that a daemon names.
     *
     * @throws TransportFailed
     */
    public static function node(?string $peer): Pin
    {
        try {
            return Pin::peer($peer ?? '');
        } catch (InvalidKey $e) {
            throw new TransportFailed('the daemon does not say which node ran the job', 0, $e);
        }
    }

    private static function replica(Receipt $counts, JobFile $file, string $nonce, Pin $node, string $bytes, bool $agrees): Replica
    {
        $receipt = Receipt::verify($bytes, $node);
        $receipt->mustBeOf($file);
        $receipt->mustAnswer($nonce);
        if ((self::result($counts) === self::result($receipt)) !== $agrees) {
            throw new WrongReceipt('agrees', $agrees ? 'false' : 'true', $agrees ? 'true' : 'false');
        }
        return new Replica($node->peerId, $receipt, $agrees);
    }

    /** @return list<mixed> what replicas are compared by */
    private static function result(Receipt $receipt): array
    {
        $s = $receipt->statement;
        return [$s->stdoutSha256, $s->stderrSha256, $s->outcome, $s->exitCode];
    }
}
