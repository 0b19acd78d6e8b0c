<?php

declare(strict_types=1);

namespace Phase\Tests;

use Phase\Client;
use Phase\Exception\JobFailed;
use Phase\Exception\ReceiptRefused;
use Phase\Exception\WrongReceipt;
use Phase\Exception\WrongSignature;
use Phase\Job;
use Phase\Stream;
use PHPUnit\Framework\TestCase;

/** What a client believes of what a node says. */
final class ClientTest extends TestCase
{
    private const ZEROS = '0000000000000000000000000000000000000000000000000000000000000000';

    private static function job(): Job
    {
        return new Job("\0asm\1\0\0\0", ['a'], ['K' => 'V'], 'in');
    }

    public function testHonestNodeIsBelieved(): void
    {
        $node = new SigningNode();
        $result = (new Client(new Liar($node), $node->pin()))->run(self::job());
        self::assertSame(['out', 'err', 0], [$result->stdout, $result->stderr, $result->exitCode]);
        self::assertSame($result, $result->orFail());
        self::assertSame($node->pin()->peerId, $result->receipt->statement->peerId);
    }

    /** @return array<string, array{string, mixed, string}> path in the predicate, what it says instead, field of the refusal */
    public function lies(): array
    {
        $digest = 'sha256:' . self::ZEROS;
        return [
            'another job' => ['job_id', $digest, 'job_id'],
            'another module' => ['module_hash', $digest, 'module_hash'],
            'other arguments' => ['args_sha256', self::ZEROS, 'args_sha256'],
            'another environment' => ['env_sha256', self::ZEROS, 'env_sha256'],
            'another input' => ['stdin_sha256', self::ZEROS, 'stdin_sha256'],
            'another offer' => ['offer_nonce', base64_encode(str_repeat("\0", 16)), 'offer_nonce'],
            'another run' => ['run_id', str_repeat('00', 16), 'run_id'],
            'another end' => ['exit_code', 1, 'exit_code'],
            'less memory' => ['limits.memory_mb', 511, 'limits.memory_mb'],
            'less time' => ['limits.timeout_seconds', 59, 'limits.timeout_seconds'],
            'less output' => ['limits.output_bytes', 1, 'limits.output_bytes'],
            'fewer cores' => ['limits.cpu_cores', 2, 'limits.cpu_cores'],
        ];
    }

    /** @dataProvider lies */
    public function testLieIsSeen(string $path, mixed $value, string $field): void
    {
        $node = new SigningNode();
        $lie = static function (array $statement) use ($path, $value): array {
            $at = &$statement['predicate'];
            foreach (explode('.', $path) as $name) {
                $at = &$at[$name];
            }
            $at = $value;
            return $statement;
        };
        try {
            (new Client(new Liar($node, $lie), $node->pin()))->run(self::job());
            self::fail('the lie is believed');
        } catch (WrongReceipt $e) {
            self::assertSame($field, $e->field);
        }
    }

    public function testAnswerMustAgreeWithItsReceipt(): void
    {
        $node = new SigningNode();
        foreach (['exit_code' => 1, 'outcome' => 'timeout', 'run_id' => 'x', 'job_id' => 'x'] as $field => $value) {
            $tell = static fn (array $answer): array => [$field => $value] + $answer;
            try {
                (new Client(new Liar($node, null, $tell), $node->pin()))->run(self::job());
                self::fail("another $field is believed");
            } catch (WrongReceipt $e) {
                self::assertSame($field, $e->field);
            }
        }
    }

    public function testAnotherJobIsSeenWhereAnswerAndReceiptAgree(): void
    {
        $node = new SigningNode();
        $digest = 'sha256:' . self::ZEROS;
        $lie = static function (array $statement) use ($digest): array {
            $statement['predicate']['job_id'] = $digest;
            return $statement;
        };
        $tell = static fn (array $answer): array => ['job_id' => $digest] + $answer;
        // Where plasmd wrote the job file itself, its name is not known beforehand; what it says is.
        self::assertSame(0, (new Client(new LyingPlasmd(new Liar($node, $lie, $tell)), $node->pin()))->run(self::job())->exitCode);
        try {
            (new Client(new Liar($node, $lie, $tell), $node->pin()))->run(self::job());
            self::fail('another job is believed');
        } catch (WrongReceipt $e) {
            self::assertSame('job_id', $e->field);
        }
        $lie = static function (array $statement): array {
            $statement['predicate']['module_hash'] = 'sha256:' . self::ZEROS;
            return $statement;
        };
        $this->expectException(WrongReceipt::class);
        (new Client(new LyingPlasmd(new Liar($node, $lie)), $node->pin()))->run(self::job());
    }

    public function testOtherOutputIsSeen(): void
    {
        $node = new SigningNode();
        foreach (["out\n", 'ou', 'Out', ''] as $stdout) {
            try {
                (new Client(new Liar($node, null, null, $stdout), $node->pin()))->run(self::job());
                self::fail("the output $stdout is believed");
            } catch (WrongReceipt $e) {
                self::assertSame('stdout', $e->field);
            }
        }
    }

    public function testOnlyThePinnedNodeCounts(): void
    {
        [$node, $stranger] = [new SigningNode(), new SigningNode('stranger')];
        $named = static function (array $statement) use ($stranger): array {
            $statement['predicate']['node'] = ['peer_id' => $stranger->pin()->peerId, 'public_key' => base64_encode($stranger->pin()->key)];
            return $statement;
        };
        foreach ([[$node, null, $stranger], [$node, $named, $stranger], [$node, $named, $node]] as [$signer, $lie, $pinned]) {
            try {
                (new Client(new Liar($signer, $lie), $pinned->pin()))->run(self::job());
                self::fail('a receipt of another node is believed');
            } catch (WrongSignature) {
                $this->addToAssertionCount(1);
            }
        }
    }

    public function testStreamProvesAtItsEnd(): void
    {
        $node = new SigningNode();
        $got = [];
        $ended = (new Client(new Liar($node), $node->pin()))->each(self::job(), static function (Stream $s, string $b) use (&$got): void {
            $got[] = [$s->value, $b];
        });
        self::assertSame([['stdout', 'o'], ['stderr', 'err'], ['stdout', 'ut']], $got);
        self::assertSame(0, $ended->exitCode);
        $this->expectException(ReceiptRefused::class);
        foreach ((new Client(new Liar($node, null, null, 'oops'), $node->pin()))->stream(self::job()) as $chunk) {
            self::assertContains($chunk->bytes, ['o', 'err', 'ops']);
        }
    }

    public function testLeavingAStreamClosesIt(): void
    {
        $node = new SigningNode();
        $liar = new Liar($node);
        foreach ((new Client($liar, $node->pin()))->stream(self::job()) as $chunk) {
            break;
        }
        unset($chunk);
        self::assertTrue($liar->closed);
    }

    /** Whoever brings a transport of their own cannot leave out what binds a receipt to the offer. */
    public function testTransportOfOthersIsHeldToTheOffer(): void
    {
        $node = new SigningNode();
        foreach (['job_id' => 'sha256:' . self::ZEROS, 'offer_nonce' => base64_encode(str_repeat("\0", 16))] as $field => $value) {
            $lie = static function (array $statement) use ($field, $value): array {
                $statement['predicate'][$field] = $value;
                return $statement;
            };
            $client = new Client(new LazyTransport(new Liar($node, $lie)), $node->pin());
            try {
                $client->run(self::job());
                self::fail("another $field is believed");
            } catch (WrongReceipt $e) {
                self::assertSame($field, $e->field);
            }
        }
    }

    public function testReceiptIsMadeByVerifyingAlone(): void
    {
        $node = new SigningNode();
        $receipt = (new Client(new Liar($node), $node->pin()))->run(self::job())->receipt;
        foreach ([fn () => serialize($receipt), fn () => unserialize('O:13:"Phase\Receipt":0:{}')] as $way) {
            try {
                $way();
                self::fail('there is another way');
            } catch (\LogicException $e) {
                self::assertStringContainsString('Receipt::verify', $e->getMessage());
            }
        }
    }

    public function testFailureIsThrownWhenAsked(): void
    {
        $node = new SigningNode();
        $fail = static function (array $statement): array {
            $statement['predicate']['exit_code'] = 3;
            return $statement;
        };
        $tell = static fn (array $answer): array => ['exit_code' => 3] + $answer;
        $result = (new Client(new Liar($node, $fail, $tell), $node->pin()))->run(self::job());
        self::assertSame(3, $result->exitCode);
        try {
            $result->orFail();
            self::fail('3 is no success');
        } catch (JobFailed $e) {
            self::assertSame($result, $e->ended);
        }
    }
}
