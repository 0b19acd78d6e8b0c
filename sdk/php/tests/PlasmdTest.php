<?php

declare(strict_types=1);

namespace Phase\Tests;

use Phase\Client;
use Phase\Exception\InvalidJob;
use Phase\Exception\NotAuthorized;
use Phase\Exception\Rejected;
use Phase\Exception\TransportFailed;
use Phase\Exception\WrongSignature;
use Phase\Job;
use Phase\Limits;
use Phase\Outcome;
use Phase\Pin;
use Phase\Receipt;
use Phase\Stream;
use Phase\Transport\Http;
use Phase\Transport\Offer;
use PHPUnit\Framework\TestCase;

/** Jobs that the real plasmd runs, by every way there is to ask it. */
final class PlasmdTest extends TestCase
{
    private static ?Plasmd $daemon = null;

    public static function tearDownAfterClass(): void
    {
        self::$daemon?->stop();
        self::$daemon = null;
    }

    private static function daemon(): Plasmd
    {
        return self::$daemon ??= new Plasmd();
    }

    /** @return array<string, array{string}> */
    public function ways(): array
    {
        return ['plasmd execute-job' => ['job']] + $this->streaming();
    }

    /** @return array<string, array{string}> those that pass output on as it comes */
    public function streaming(): array
    {
        return ['plasmd run' => ['run'], 'HTTP' => ['http'], 'unix socket' => ['socket']];
    }

    private function client(string $way): Client
    {
        return match ($way) {
            'run' => Client::localStream(Plasmd::program()),
            'job' => Client::local(Plasmd::program()),
            'socket' => Client::socket(Pin::peer(self::daemon()->peerId), self::daemon()->socket),
            'http' => Client::http(self::daemon()->url, self::daemon()->token, Pin::peer(self::daemon()->peerId)),
        };
    }

    /** @dataProvider ways */
    public function testEveryByteComesBack(string $way): void
    {
        $bytes = implode('', array_map('chr', range(0, 255)));
        $out = ["\n\n  line\r\n", $bytes, str_repeat("\0\xff\n", 100000), ' '];
        $module = Module::writes([[1, $out[0]], [2, "plasmd: \n"], [1, $out[1]], [2, $bytes], [1, $out[2]], [2, "\n"], [1, $out[3]]], 7);
        $result = $this->client($way)->run(new Job($module));
        self::assertSame(bin2hex(implode('', $out)), bin2hex($result->stdout));
        self::assertSame(bin2hex("plasmd: \n{$bytes}\n"), bin2hex($result->stderr));
        self::assertSame([Outcome::Exited, 7], [$result->outcome, $result->exitCode]);
    }

    /** @dataProvider ways */
    public function testErrorsThatLookLikePlasmds(string $way): void
    {
        $result = $this->client($way)->run(new Job(Module::writes([[2, 'plasmd: the module says so']], 1)));
        self::assertSame(['', 'plasmd: the module says so', 1], [$result->stdout, $result->stderr, $result->exitCode]);
    }

    /** @dataProvider ways */
    public function testInputArgumentsAndEnvironment(string $way): void
    {
        $input = random_bytes(1 << 20);
        $hello = Job::fromFile(Plasmd::example('hello'), ['--memory', '', "ü\n\x07"], ['K' => 'V', '0' => '=', 'A' => "\u{2028}<&>"], "\xff$input");
        $result = $this->client($way)->run($hello);
        self::assertSame(strlen($input) + 1, strlen($result->stdout));
        self::assertSame("\xff", $result->stdout[-1]);
        self::assertSame(hash('sha256', "\xff$input"), $result->receipt->statement->stdinSha256);
    }

    /** @return array<string, array{string, string, Outcome}> */
    public function ends(): array
    {
        $ends = [];
        foreach ($this->ways() as $name => [$way]) {
            $ends["$name, trapped"] = [$way, Module::traps(), Outcome::Trapped];
            $ends["$name, timeout"] = [$way, Module::loops(), Outcome::Timeout];
            $ends["$name, memory"] = [$way, Module::needs(2000), Outcome::Memory];
        }
        return $ends;
    }

    /** @dataProvider ends */
    public function testEnds(string $way, string $module, Outcome $outcome): void
    {
        $seconds = $outcome === Outcome::Timeout ? 1 : 60; // what ends by itself has the time it takes on a busy machine
        $result = $this->client($way)->run(new Job($module, limits: new Limits(memoryMb: 64, timeoutSeconds: $seconds)));
        self::assertSame([$outcome, $outcome->exitCode()], [$result->outcome, $result->exitCode]);
    }

    public function testOutputIsLimited(): void
    {
        $job = new Job(Module::floods(), limits: new Limits(timeoutSeconds: 20, outputBytes: 100000));
        foreach (['http', 'socket'] as $way) {
            $result = $this->client($way)->run($job);
            self::assertSame([Outcome::Output, 141], [$result->outcome, $result->exitCode]);
            self::assertLessThanOrEqual(100000, strlen($result->stdout));
        }
    }

    public function testLimitThatCannotBeSetIsRefused(): void
    {
        $refused = ['run' => [new Limits(outputBytes: 10), new Limits(cpuCores: 2)], 'job' => [new Limits(outputBytes: 10)]];
        foreach ($refused as $way => $list) {
            foreach ($list as $limits) {
                $this->refusesLimits($way, $limits);
            }
        }
    }

    private function refusesLimits(string $way, Limits $limits): void
    {
        try {
            $this->client($way)->run(new Job(Module::traps(), limits: $limits));
            self::fail('a limit is passed over');
        } catch (InvalidJob) {
            $this->addToAssertionCount(1);
        }
    }

    /** A program takes no argument of more than 128 KiB (Linux); a node does. */
    public function testLongArguments(): void
    {
        $fits = str_repeat('a', 130_000);
        $long = str_repeat('a', 132_000);
        foreach (['job', 'run'] as $way) {
            self::assertSame(0, $this->client($way)->run(new Job(Module::writes([]), [$fits]))->exitCode);
            foreach (['args' => new Job(Module::writes([]), [$long]), 'env' => new Job(Module::writes([]), [], ['K' => $long])] as $field => $job) {
                try {
                    $this->client($way)->run($job);
                    self::fail('it was passed on');
                } catch (InvalidJob $e) {
                    self::assertSame($field, $e->field);
                }
            }
        }
        foreach (['http', 'socket'] as $way) {
            self::assertSame(0, $this->client($way)->run(new Job(Module::writes([]), [$long], ['K' => $long]))->exitCode);
        }
    }

    /** @dataProvider ways */
    public function testWhatIsNoModuleIsRejected(string $way): void
    {
        try {
            $this->client($way)->run(new Job("\0asm\x0d\0\1\0"));
            self::fail('a component was run');
        } catch (Rejected $e) {
            self::assertStringContainsString('component', $e->detail);
        }
    }

    /** @dataProvider streaming */
    public function testOutputComesBeforeTheEnd(string $way): void
    {
        $job = new Job(Module::writesAndLoops('early'), limits: new Limits(timeoutSeconds: 30));
        $started = hrtime(true);
        foreach ($this->client($way)->stream($job) as $chunk) {
            self::assertSame([Stream::Stdout, 'early'], [$chunk->stream, $chunk->bytes]);
            break; // and cancel the rest
        }
        self::assertTrue(isset($chunk), 'nothing came');
        self::assertLessThan(20.0, (hrtime(true) - $started) / 1e9);
    }

    /** What was sent once is run by its digest. */
    public function testWarmModuleIsNotSentAgain(): void
    {
        $job = new Job(Module::writes([[1, 'x']]), limits: new Limits(memoryMb: 61));
        $by = self::daemon();
        $client = $this->client('socket');
        $client->run($job);
        $offer = Offer::of($job);
        $alone = new \ReflectionMethod(Http::class, 'request'); // without the module, and never with it
        $way = Http::unix($by->socket);
        $request = implode('', $alone->invoke($way, $offer, ''));
        self::assertStringNotContainsString($job->module, $request);
        $socket = stream_socket_client("unix://{$by->socket}");
        fwrite($socket, $request);
        self::assertStringContainsString('"event":"done"', stream_get_contents($socket));
        fclose($socket);
    }

    public function testInputThatNobodyReads(): void
    {
        foreach (['job', 'http', 'socket'] as $way) {
            $result = $this->client($way)->run(new Job(Module::writes([[1, 'x']]), stdin: str_repeat('a', 5 << 20)));
            self::assertSame('x', $result->stdout);
        }
    }

    public function testReceiptIsForAnybody(): void
    {
        $result = $this->client('http')->run(new Job(Module::writes([[1, 'x']])));
        $peer = Pin::peer(self::daemon()->peerId);
        $again = Receipt::verify($result->receipt->bytes, $peer);
        self::assertSame($result->receipt->statement->runId, $again->statement->runId);
        $file = tempnam(sys_get_temp_dir(), 'phase-receipt-');
        try {
            file_put_contents($file, $result->receipt->bytes);
            exec(Plasmd::program() . " receipt verify --key $peer->peerId $file", $said, $code);
            self::assertSame(0, $code, implode("\n", $said));
        } finally {
            unlink($file);
        }
        $this->expectException(WrongSignature::class);
        Receipt::verify($result->receipt->bytes, (new SigningNode())->pin());
    }

    public function testAnotherNodeIsNotBelieved(): void
    {
        $client = Client::http(self::daemon()->url, self::daemon()->token, (new SigningNode())->pin());
        $this->expectException(WrongSignature::class);
        $client->run(new Job(Module::writes([])));
    }

    public function testWrongTokenIsRefused(): void
    {
        $client = Client::http(self::daemon()->url, 'not-the-token', Pin::peer(self::daemon()->peerId));
        $this->expectException(NotAuthorized::class);
        $client->run(new Job(Module::writes([])));
    }

    /** What an example writes to its standard output. */
    private function example(string $command, int $code): string
    {
        Plasmd::example('hello');
        $environment = ['PHASE_TOKEN' => self::daemon()->token] + getenv();
        $files = [['file', '/dev/null', 'r'], ['pipe', 'w'], ['file', '/dev/null', 'w']];
        $arguments = array_filter(explode(' ', $command));
        $process = proc_open([PHP_BINARY, ...$arguments], $files, $pipes, __DIR__ . '/../examples', $environment);
        $said = stream_get_contents($pipes[1]);
        self::assertSame($code, proc_close($process), $said);
        return $said;
    }

    public function testExamples(): void
    {
        self::assertSame("olleh\n", $this->example('hello.php hello', 0));
        [$url, $peer, $module] = [self::daemon()->url, self::daemon()->peerId, Plasmd::example('hello')];
        $said = $this->example("remote.php $url $peer $module", 0);
        self::assertStringContainsString("outcome     exited, exit code 0\nstdout      (nothing)\n", $said);
        self::assertStringContainsString("signed by   $peer (verified)\n", $said);
        $stranger = (new SigningNode())->pin()->peerId;
        self::assertSame('', $this->example("remote.php $url $stranger $module", 1));
        self::assertSame('', $this->example("remote.php $url", 2));
    }

    /** @dataProvider noPlasmd */
    public function testNoProgram(string $program, string $says): void
    {
        $node = Pin::peer(self::daemon()->peerId);
        foreach ([Client::local($program, $node), Client::localStream($program, $node)] as $client) {
            try {
                $client->run(new Job(Module::writes([])));
                self::fail('it ran');
            } catch (TransportFailed $e) {
                self::assertStringContainsString($program, $e->getMessage());
                self::assertStringContainsString($says, $e->getMessage());
            }
        }
    }

    /** @return array<string, array{string, string}> */
    public function noPlasmd(): array
    {
        return [
            'nothing' => ['/nowhere/plasmd', 'make build'],
            'nothing in PATH' => ['plasmd-that-is-not-there', 'make build'],
            'a folder' => ['/tmp', 'make build'],
            'another program' => ['/bin/false', 'ended with 1'],
        ];
    }

    public function testNothingIsLeftBehind(): void
    {
        $before = glob(sys_get_temp_dir() . '/phase-????????????????');
        $this->client('run')->run(new Job(Module::writes([])));
        foreach ($this->client('run')->stream(new Job(Module::writesAndLoops('x'), limits: new Limits(timeoutSeconds: 30))) as $chunk) {
            break;
        }
        unset($chunk);
        self::assertSame($before, glob(sys_get_temp_dir() . '/phase-????????????????'));
    }
}
