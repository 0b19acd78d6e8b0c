<?php

declare(strict_types=1);

namespace Phase\Tests;

use Phase\Client;
use Phase\Exception\NodeFailed;
use Phase\Exception\Rejected;
use Phase\Exception\WrongSignature;
use Phase\Job;
use Phase\Limits;
use Phase\Outcome;
use Phase\Pin;
use Phase\Stream;
use Phase\Transport\Http;
use Phase\Transport\RemoteTransport;
use PHPUnit\Framework\TestCase;

/**
 * Jobs that one daemon has another run, over a real connection between two
 * processes; the second refuses all, the third runs the jobs of all.
 */
final class RemoteTest extends TestCase
{
    private static ?Plasmd $worker = null;
    private static ?Plasmd $miser = null;
    private static ?Plasmd $asked = null;

    public static function setUpBeforeClass(): void
    {
        self::$worker = Plasmd::onNetwork('--accept=all');
        self::$miser = Plasmd::onNetwork();
        self::$asked = Plasmd::onNetwork('--peer=' . self::$worker->address(), '--peer=' . self::$miser->address());
    }

    public static function tearDownAfterClass(): void
    {
        foreach ([self::$asked, self::$worker, self::$miser] as $daemon) {
            $daemon?->stop();
        }
        self::$asked = self::$worker = self::$miser = null;
    }

    private static function peer(?string $peer = null): Client
    {
        return Client::peer(Pin::peer($peer ?? self::$worker->peerId), self::$asked->socket);
    }

    public function testEveryByteComesBack(): void
    {
        $input = random_bytes(3 << 20);
        $result = self::peer()->run(Job::fromFile(Plasmd::example('hello'), ['a'], ['K' => 'V'], "\xff$input"));
        self::assertSame(strlen($input) + 1, strlen($result->stdout));
        self::assertSame("\xff", $result->stdout[-1]);
        self::assertSame(hash('sha256', "\xff$input"), $result->receipt->statement->stdinSha256);
        self::assertSame(self::$worker->peerId, $result->receipt->statement->peerId);
        $result = self::peer()->run(new Job(Module::writes([[1, "\0"], [2, 'err'], [1, "\xff"]], 7)));
        self::assertSame(["\0\xff", 'err', 7], [$result->stdout, $result->stderr, $result->exitCode]);
        $result = self::peer()->run(new Job(Module::loops(), limits: new Limits(timeoutSeconds: 1)));
        self::assertSame(Outcome::Timeout, $result->outcome);
    }

    public function testOutputComesBeforeTheEndAndLeavingEndsTheJob(): void
    {
        $job = new Job(Module::writesAndLoops('early'), limits: new Limits(timeoutSeconds: 600));
        foreach (self::peer()->stream($job) as $chunk) {
            self::assertSame([Stream::Stdout, 'early'], [$chunk->stream, $chunk->bytes]);
            break;
        }
        unset($chunk);
        $command = escapeshellarg(Plasmd::program()) . ' jobs --limit 1 --json --socket ' . escapeshellarg(self::$worker->socket);
        for ($until = hrtime(true) / 1e9 + 30; hrtime(true) / 1e9 < $until; usleep(20_000)) {
            $outcome = json_decode((string) shell_exec($command))->jobs[0]->outcome;
            if ($outcome !== null) {
                break;
            }
        }
        self::assertSame('cancelled', $outcome);
    }

    public function testWhoRunsNoJobsOfOthersSaysSo(): void
    {
        try {
            self::peer(self::$miser->peerId)->run(new Job(Module::writes([])));
            self::fail('it ran');
        } catch (Rejected $e) {
            self::assertSame('NotAuthorized', $e->reason);
            self::assertStringContainsString(self::$miser->peerId, $e->detail);
        }
    }

    public function testNobodyIsThere(): void
    {
        $stranger = (new SigningNode())->pin();
        $this->expectException(NodeFailed::class);
        $this->expectExceptionMessage($stranger->peerId);
        self::peer($stranger->peerId)->run(new Job(Module::writes([])));
    }

    /** The daemon in between cannot pass off another's receipt. */
    public function testAnotherNodeIsNotBelieved(): void
    {
        $client = new Client(new RemoteTransport(Http::unix(self::$asked->socket), self::$worker->peerId), Pin::peer(self::$asked->peerId));
        $this->expectException(WrongSignature::class);
        $client->run(new Job(Module::writes([])));
    }

    /** The daemon picks the node: the one that takes jobs, whatever the other says. */
    public function testTheDaemonPicks(): void
    {
        $result = Client::auto(path: self::$asked->socket)->run(Job::fromFile(Plasmd::example('hello'), stdin: 'hello'));
        self::assertSame(self::$worker->peerId, $result->receipt->statement->peerId);
        self::assertSame(["olleh", []], [trim($result->stdout), $result->replicas]);
    }

    /** Two nodes run the job, and both receipts come, checked. */
    public function testReplicas(): void
    {
        $second = Plasmd::onNetwork('--accept=all', '--peer=' . self::$asked->address());
        try {
            $this->connected($second->peerId);
            $result = Client::auto(2, self::$asked->socket)->run(new Job(Module::writes([[1, 'same']])));
            $peers = array_map(static fn ($r) => $r->peerId, $result->replicas);
            sort($peers);
            $want = [self::$worker->peerId, $second->peerId];
            sort($want);
            self::assertSame([$want, 'same'], [$peers, $result->stdout]);
            foreach ($result->replicas as $replica) {
                self::assertTrue($replica->agrees);
                self::assertSame($replica->peerId, $replica->receipt->statement->peerId);
            }
        } finally {
            $second->stop();
        }
    }

    /** @return list<array{string, int}> */
    public static function wrongReplicas(): array
    {
        return [['auto', 0], ['auto', 17], ['12D3KooWx', 2]];
    }

    /** @dataProvider wrongReplicas */
    public function testWrongReplicas(string $peer, int $replicas): void
    {
        $this->expectException(\ValueError::class);
        new RemoteTransport(Http::unix('/nowhere'), $peer, replicas: $replicas);
    }

    /** Waits until the daemon that is asked is connected to a node and knows what it can do. */
    private function connected(string $peer): void
    {
        for ($until = hrtime(true) / 1e9 + 30; hrtime(true) / 1e9 < $until; usleep(20_000)) {
            foreach (self::$asked->peers()->peers as $p) {
                if ($p->peer === $peer && isset($p->capability)) {
                    return;
                }
            }
        }
        self::fail("not connected to $peer");
    }

    /** Connect, offer, run, receipt, verified: as a person reads it. */
    public function testReport(): void
    {
        [$peer, $module] = [self::$worker->peerId, Plasmd::example('hello')];
        $said = $this->report([$peer, $module], 0);
        $steps = ['connect ', "offer     accepted by $peer as run ", 'run       the module has begun', 'receipt ', "verified  signed by $peer"];
        $at = 0;
        foreach ($steps as $step) {
            $next = strpos($said, $step, $at);
            self::assertNotFalse($next, "no $step in: $said");
            $at = $next;
        }
        self::assertStringContainsString("outcome   exited, exit code 0\n", $said);
        self::assertStringContainsString("stdout    olleh\n", $said);
        self::assertStringContainsString("FAILED    NotAuthorized", $this->report([self::$miser->peerId, $module], 1));
        self::assertSame('', $this->report([], 2));
        fwrite(STDERR, "\n$said");
    }

    /** @param list<string> $arguments of the example */
    private function report(array $arguments, int $code): string
    {
        $environment = ['PHASE_SOCKET' => self::$asked->socket] + getenv();
        $files = [['pipe', 'r'], ['pipe', 'w'], ['file', '/dev/null', 'w']];
        $process = proc_open([PHP_BINARY, __DIR__ . '/../examples/peer.php', ...$arguments], $files, $pipes, null, $environment);
        fwrite($pipes[0], 'hello');
        fclose($pipes[0]);
        $said = stream_get_contents($pipes[1]);
        self::assertSame($code, proc_close($process), $said);
        return $said;
    }
}
