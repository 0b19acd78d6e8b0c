<?php

declare(strict_types=1);

namespace Phase\Tests;

use Phase\Exception\PhaseException;
use Phase\Exception\TransportFailed;
use Phase\Exception\WrongReceipt;
use Phase\Exception\WrongSignature;
use Phase\Job;
use Phase\Receipt;
use Phase\Replica;
use Phase\Replicas;
use Phase\Transport\Offer;
use PHPUnit\Framework\TestCase;

/** What a daemon says of several nodes that ran a job is held to their receipts. */
final class ReplicasTest extends TestCase
{
    private Offer $offer;

    protected function setUp(): void
    {
        $this->offer = Offer::of(new Job("\0asm\1\0\0\0"));
    }

    /** @return array{string, string, bool} what is told of a node that wrote this */
    private function told(string $name, string $stdout, ?bool $agrees = null, ?Offer $offer = null, ?string $as = null): array
    {
        $node = new SigningNode($name);
        $receipt = $node->sign($node->statement($offer ?? $this->offer, $stdout, ''));
        return [(new SigningNode($as ?? $name))->pin()->peerId, $receipt, $agrees ?? $stdout === 'good'];
    }

    /**
     * @param list<array{string, string, bool}> $told the first is the one that counts
     * @return list<Replica>
     */
    private function check(array $told, int $wanted): array
    {
        $counts = Receipt::verify($told[0][1], (new SigningNode('a'))->pin());
        return Replicas::check($counts, $this->offer->job->file, $this->offer->nonce, $told, $wanted);
    }

    public function testMostAgree(): void
    {
        $replicas = $this->check([$this->told('a', 'good'), $this->told('b', 'a lie'), $this->told('c', 'good')], 3);
        self::assertSame([true, false, true], array_map(static fn (Replica $r): bool => $r->agrees, $replicas));
        self::assertSame((new SigningNode('b'))->pin()->peerId, $replicas[1]->peerId);
        self::assertSame([], Replicas::check($replicas[0]->receipt, $this->offer->job->file, $this->offer->nonce, [], 1));
    }

    /** @return array<string, array{class-string<PhaseException>, \Closure(self): list<array{string, string, bool}>, int}> */
    public static function lies(): array
    {
        $good = static fn (self $t): array => $t->told('a', 'good');
        return [
            'no majority' => [TransportFailed::class, static fn (self $t): array => [$good($t), $t->told('b', 'other')], 2],
            'some did not answer' => [TransportFailed::class, static fn (self $t): array => [$good($t), $t->told('b', 'good')], 4],
            'one node twice' => [TransportFailed::class, static fn (self $t): array => [$good($t), $good($t)], 2],
            'no node' => [TransportFailed::class, static fn (self $t): array => [$good($t), ['nobody', '{}', true]], 2],
            'signed by another' => [WrongSignature::class, static fn (self $t): array => [$good($t), $t->told('b', 'good', as: 'c')], 2],
            'of another offer' => [
                WrongReceipt::class,
                static fn (self $t): array => [$good($t), $t->told('b', 'good', offer: Offer::of(new Job("\0asm\1\0\0\0")))],
                2,
            ],
            'of another job' => [
                WrongReceipt::class,
                static fn (self $t): array => [$good($t), $t->told('b', 'good', offer: Offer::of(new Job("\0asm\1\0\0\0", ['x'])))],
                2,
            ],
            'said to agree' => [WrongReceipt::class, static fn (self $t): array => [$good($t), $t->told('b', 'a lie', true)], 2],
            'said not to agree' => [WrongReceipt::class, static fn (self $t): array => [$good($t), $t->told('b', 'good', false)], 2],
        ];
    }

    /**
     * @dataProvider lies
     * @param class-string<PhaseException> $refusal
     */
    public function testLies(string $refusal, \Closure $told, int $wanted): void
    {
        $this->expectException($refusal);
        $this->check($told($this), $wanted);
    }

    /** The receipt that counts must be that of one of them. */
    public function testTheOneThatCountsIsThere(): void
    {
        $counts = Receipt::verify($this->told('a', 'good')[1], (new SigningNode('a'))->pin());
        $this->expectException(TransportFailed::class);
        Replicas::check($counts, $this->offer->job->file, $this->offer->nonce, [$this->told('b', 'good'), $this->told('c', 'good')], 2);
    }
}
