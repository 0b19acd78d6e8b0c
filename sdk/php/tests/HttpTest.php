<?php

declare(strict_types=1);

namespace Phase\Tests;

use Phase\Client;
use Phase\Exception\NodeFailed;
use Phase\Exception\NotAuthorized;
use Phase\Exception\PhaseException;
use Phase\Exception\QueueFull;
use Phase\Exception\Rejected;
use Phase\Exception\ReceiptRefused;
use Phase\Exception\TimedOut;
use Phase\Exception\TransportFailed;
use Phase\Job;
use Phase\Limits;
use Phase\Transport\Http;
use Phase\Transport\Offer;
use PHPUnit\Framework\TestCase;

/** What is sent to a node, and what is made of answers that are none. */
final class HttpTest extends TestCase
{
    private const EVENTS = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n";

    private ?FakeNode $node = null;

    protected function tearDown(): void
    {
        $this->node?->stop();
        $this->node = null;
    }

    private static function job(string $stdin = "in\r\n--x\0\xff"): Job
    {
        return new Job("\0asm\1\0\0\0", stdin: $stdin, limits: new Limits(timeoutSeconds: 1, outputBytes: 100));
    }

    private static function problem(int $status, string $body, string $headers = ''): string
    {
        return "HTTP/1.1 $status X\r\nContent-Type: application/problem+json; charset=utf-8\r\n$headers\r\n$body";
    }

    /**
     * The parts of a request.
     *
     * @return array<string, string>
     */
    private function parts(string $request): array
    {
        [$head, $body] = explode("\r\n\r\n", $request, 2);
        self::assertStringStartsWith("POST /v1/jobs HTTP/1.1\r\nHost: {$this->node->address}\r\n", $head);
        self::assertStringContainsString("\r\nAuthorization: Bearer secret\r\n", $head);
        self::assertSame(1, preg_match('/boundary=([0-9a-f]{32})\r\n/', $head, $match));
        $parts = [];
        foreach (explode("--$match[1]", $body) as $part) {
            if (preg_match('/^\r\nContent-Disposition: form-data; name="([a-z_]+)"\r\n\r\n(.*)\r\n$/Ds', $part, $found) === 1) {
                $parts[$found[1]] = $found[2];
            }
        }
        return $parts;
    }

    /** What is asked first is the digest; the module is sent to a node that has said that it needs it. */
    public function testRequest(): void
    {
        $needed = self::problem(422, '{"title":"X","status":422,"code":"ModuleNeeded","detail":"send it"}');
        $this->node = new FakeNode([self::EVENTS], first: [$needed]);
        $job = self::job();
        $offer = Offer::of($job);
        try {
            Http::url("http://{$this->node->address}/", 'secret')->run($offer)->current();
            self::fail('something was run');
        } catch (TransportFailed $e) {
            self::assertStringContainsString('ended before', $e->getMessage());
        }
        $sent = ['job' => $job->file->bytes, 'offer_nonce' => $offer->nonce, 'stdin' => $job->stdin];
        self::assertSame($sent, $this->parts($this->node->request()));
        $parts = $this->parts($this->node->request());
        self::assertSame($job->module, $parts['module']);
        unset($parts['module']);
        self::assertSame($sent, $parts);
    }

    /** A node is not sent a job twice because of what it says once it has begun, nor a third time. */
    public function testModuleIsSentOnce(): void
    {
        $needed = '{"title":"X","status":422,"code":"ModuleNeeded","detail":"send it"}';
        $begun = self::EVENTS . "{\"event\":\"accepted\"}\n{\"event\":\"error\",\"problem\":$needed}\n";
        $refusal = self::problem(422, $needed);
        foreach ([new FakeNode([$begun]), new FakeNode([$refusal], first: [$refusal])] as $node) {
            $this->node = $node;
            try {
                Client::http("http://{$node->address}", 'secret', (new SigningNode())->pin())->run(self::job());
                self::fail('something was run');
            } catch (Rejected $e) {
                self::assertSame('ModuleNeeded', $e->reason);
            }
            $node->stop();
            $this->node = null;
        }
    }

    /** @return array<string, array{string, class-string, string}> answer, exception, what its message says */
    public function refusals(): array
    {
        $invalid = '{"type":"about:blank","title":"X","status":422,"code":"InvalidRequest","detail":"no\u001b[2J\u202emodule"}';
        return [
            'rejected' => [self::problem(422, $invalid), Rejected::class, 'InvalidRequest: no [2J module'],
            'token' => [self::problem(401, '{"status":401,"title":"Unauthorized","code":"NotAuthorized"}'), NotAuthorized::class, 'Unauthorized'],
            'busy' => [self::problem(503, '{"title":"Busy","code":"QueueFull"}', "Retry-After: 7\r\n"), QueueFull::class, 'QueueFull: Busy'],
            'failed' => [self::problem(500, '{"title":"X","detail":"the disk is full"}'), NodeFailed::class, 'the disk is full'],
            'no JSON' => [self::problem(500, 'oops'), TransportFailed::class, 'does not say why'],
            'not a node' => ["HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n<h1>", TransportFailed::class, '404'],
            'moved' => ["HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", TransportFailed::class, '302'],
            'another type' => ["HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nok", TransportFailed::class, 'stream of events'],
            'all at once' => ["HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{}", TransportFailed::class, 'stream of events'],
            'no object' => [self::EVENTS . "[]\n", TransportFailed::class, 'an object is wanted'],
            'twice' => [self::EVENTS . '{"event":"new","exit_code":0,"exit_code":1}' . "\n", TransportFailed::class, 'twice'],
            'no events' => [self::EVENTS, TransportFailed::class, 'ended before'],
            'events cut' => [self::EVENTS . "{\"event\":\"accepted\"}\n", TransportFailed::class, 'ended before'],
            'event cut' => [self::EVENTS . '{"event":"acc', TransportFailed::class, 'within an event'],
            'event without end' => [self::EVENTS . str_repeat(' ', 5 << 20), TransportFailed::class, 'longer than'],
            'event no JSON' => [self::EVENTS . "hello\n", TransportFailed::class, 'not as it should be'],
            'event no name' => [self::EVENTS . "{}\n", TransportFailed::class, 'event is missing'],
            'output no base64' => [self::EVENTS . "{\"event\":\"stdout\",\"data\":\"a\"}\n", TransportFailed::class, 'base64'],
            'done without receipt' => [self::EVENTS . "{\"event\":\"done\"}\n", TransportFailed::class, 'no job_id'],
            'error' => [self::EVENTS . "{\"event\":\"error\",\"problem\":$invalid}\n", Rejected::class, 'InvalidRequest'],
            'too much output' => [
                self::EVENTS . str_repeat('{"event":"stdout","data":"' . base64_encode(str_repeat('x', 99)) . "\"}\n", 2),
                TransportFailed::class, 'more output',
            ],
        ];
    }

    /** @dataProvider refusals */
    public function testRefusal(string $answer, string $class, string $says): void
    {
        $this->node = new FakeNode([$answer]);
        try {
            Client::http("http://{$this->node->address}", 'secret', (new SigningNode())->pin())->run(self::job());
            self::fail('something was run');
        } catch (PhaseException $e) {
            self::assertInstanceOf($class, $e, $e->getMessage());
            self::assertStringContainsString($says, $e->getMessage());
            self::assertSame($e instanceof QueueFull ? 7 : null, $e->retryAfter ?? null);
        }
    }

    public function testRefusalBeforeAllIsSent(): void
    {
        $body = '{"title":"Unauthorized","code":"NotAuthorized"}';
        $problem = self::problem(401, $body, 'Content-Length: ' . strlen($body) . "\r\n");
        $this->node = new FakeNode([$problem], 'nothing', 'hang');
        $this->expectException(NotAuthorized::class);
        Client::http("http://{$this->node->address}", 'secret', (new SigningNode())->pin())->run(self::job(str_repeat('x', 32 << 20)));
    }

    /**
     * A node that wants to use up this process's memory (128 MiB, phpunit.xml)
     * is an exception, not a death.
     *
     * @return array<string, array{string}>
     */
    public function floods(): array
    {
        $list = static fn (int $bytes): string => '[' . str_repeat('0,', intdiv($bytes, 2)) . '0]';
        $names = '';
        for ($i = 0; strlen($names) < 2_000_000; $i++) {
            $names .= ',"' . base_convert((string) $i, 10, 36) . '":0';
        }
        $done = '{"event":"done","job_id":"x","run_id":"x","exit_code":0,"outcome":"exited","receipt":';
        return [
            'a long list' => ['{"event":"new","x":' . $list(2_000_000) . "}\n"],
            'many names' => ['{"event":"new"' . $names . "}\n"],
            'a long list in a receipt' => ["{$done}{\"x\":" . $list(1_000_000) . "}}\n"],
            'deep' => ['{"event":"new","x":' . str_repeat('[', 1_000_000) . "}\n"],
        ];
    }

    /** @dataProvider floods */
    public function testFlood(string $line): void
    {
        $this->node = new FakeNode([self::EVENTS . $line]);
        $this->expectException(PhaseException::class);
        Client::http("http://{$this->node->address}", 'secret', (new SigningNode())->pin())->run(self::job());
    }

    /** Who sleeps as long as a node says wakes up again. */
    public function testRetryAfterIsSane(): void
    {
        foreach (['0' => 1, '-5' => 1, 'Fri, 27 Nov 2026 12:00:00 GMT' => 1, '7' => 7, '99999999999999999999' => 3600] as $said => $seconds) {
            $this->node = new FakeNode([self::problem(503, '{"title":"Busy","code":"QueueFull"}', "Retry-After: $said\r\n")]);
            try {
                Client::http("http://{$this->node->address}", 'secret', (new SigningNode())->pin())->run(self::job());
                self::fail('it was not busy');
            } catch (QueueFull $e) {
                self::assertSame($seconds, $e->retryAfter, (string) $said);
            }
            $this->node->stop();
            $this->node = null;
        }
    }

    /** Who logs a stack trace with its arguments does not log the token. */
    public function testTokenIsInNoTrace(): void
    {
        if (PHP_VERSION_ID < 80200) {
            self::markTestSkipped('PHP knows what is sensitive since 8.2');
        }
        $before = ini_set('zend.exception_ignore_args', '0');
        try {
            Client::http('http://h', 'secret token', (new SigningNode())->pin());
            self::fail('that is a token');
        } catch (TransportFailed $e) {
            [$url, $http] = $e->getTrace();
            self::assertSame([['http://h', 'http://h'], 'url', 'http'], [[$url['args'][0], $http['args'][0]], $url['function'], $http['function']]);
            self::assertNotContains('secret token', [...$url['args'], ...$http['args']]);
        } finally {
            ini_set('zend.exception_ignore_args', (string) $before);
        }
    }

    /** A signal, as the workers of frameworks use them, cuts no request short. */
    public function testSignalsBreakNothing(): void
    {
        if (!function_exists('pcntl_async_signals')) {
            self::markTestSkipped('PHP was built without ext-pcntl');
        }
        $body = '{"title":"all of it has come"}';
        $problem = self::problem(422, $body, 'Content-Length: ' . strlen($body) . "\r\n");
        $this->node = new FakeNode([$problem]);
        $before = pcntl_async_signals(true);
        pcntl_signal(SIGUSR1, static function (): void {
        });
        $kill = ['sh', '-c', 'while kill -USR1 "$0" 2>/dev/null; do sleep 0.001; done', (string) getmypid()];
        $killer = proc_open($kill, [['null'], ['null'], ['null']], $pipes);
        try {
            Client::http("http://{$this->node->address}", 'secret', (new SigningNode())->pin())->run(self::job(str_repeat('x', 8 << 20)));
            self::fail('something was run');
        } catch (Rejected $e) {
            self::assertSame('all of it has come', $e->detail);
            self::assertGreaterThan(8 << 20, strlen($this->node->request()));
        } finally {
            proc_terminate($killer, 9);
            proc_close($killer);
            pcntl_signal(SIGUSR1, SIG_DFL);
            pcntl_async_signals($before);
        }
    }

    /** @return array<string, array{string}> */
    public function ways(): array
    {
        return ['TCP' => ['tcp://127.0.0.1:0'], 'unix socket' => ['unix://' . sys_get_temp_dir() . '/phase-' . bin2hex(random_bytes(8)) . '.sock']];
    }

    /** @dataProvider ways */
    public function testEventsInAnyPieces(string $listen): void
    {
        $node = new SigningNode();
        $receipt = file_get_contents(__DIR__ . '/../../../tests/vectors/receipt/good.json');
        $done = '{"event":"done","job_id":"x","run_id":"x","exit_code":0,"outcome":"exited","receipt":' . trim($receipt) . "}\n";
        $data = base64_encode("a\0\xff\n");
        $text = "{\"event\":\"accepted\"}\n{\"event\":\"stdout\",\"data\":\"$data\"}\n{\"event\":\"stderr\",\"data\":\"$data\"}\n{\"event\":\"new\"}\n$done";
        $pieces = ["HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"];
        foreach (str_split($text, 7) as $piece) {
            $pieces[] = dechex(strlen($piece)) . "\r\n";
            $pieces[] = "$piece\r\n";
        }
        $this->node = new FakeNode([...$pieces, "0\r\n\r\n"], listen: $listen);
        $way = str_starts_with($listen, 'unix') ? Http::unix($this->node->address) : Http::url("http://{$this->node->address}", 'secret');
        $got = [];
        try {
            foreach ((new Client($way, $node->pin()))->stream(self::job()) as $chunk) {
                $got[] = [$chunk->stream->value, $chunk->bytes];
            }
            self::fail('the receipt of another job is believed');
        } catch (ReceiptRefused) {
            self::assertSame([['stdout', "a\0\xff\n"], ['stderr', "a\0\xff\n"]], $got);
        } finally {
            if (str_starts_with($listen, 'unix')) {
                unlink($this->node->address);
            }
        }
    }

    public function testLeavingClosesTheConnection(): void
    {
        $this->node = new FakeNode([self::EVENTS . "{\"event\":\"stdout\",\"data\":\"YQ==\"}\n"], 'all', 'hang');
        foreach (Client::http("http://{$this->node->address}", 'secret', (new SigningNode())->pin())->stream(self::job()) as $chunk) {
            self::assertSame('a', $chunk->bytes);
            break;
        }
        $this->node->request();
        self::assertSame('left', $this->node->line());
    }

    public function testSilenceEnds(): void
    {
        $this->node = new FakeNode([self::EVENTS], 'all', 'hang');
        $this->expectException(TimedOut::class);
        Client::http("http://{$this->node->address}", 'secret', (new SigningNode())->pin(), waitSeconds: -0.5)->run(self::job());
    }

    public function testTalkEnds(): void
    {
        $this->node = new FakeNode([self::EVENTS, str_repeat("{\"event\":\"running\"}\n", 100)], 'all', 'flood');
        $this->expectException(TimedOut::class);
        Client::http("http://{$this->node->address}", 'secret', (new SigningNode())->pin(), waitSeconds: 0)->run(self::job());
    }

    public function testAddresses(): void
    {
        foreach (['', 'host', 'https://host', 'http://', 'http://a b', "http://a\r\nX: y", 'http://u:p@host', 'http://host/path', 'http://[::1', 'ftp://h', 'http://h?q'] as $url) {
            try {
                Http::url($url, 'secret');
                self::fail("$url is an address");
            } catch (TransportFailed) {
                $this->addToAssertionCount(1);
            }
        }
        foreach (['http://host', 'http://192.0.2.1:8080/', 'http://[fe80::1%25eth0]:8080'] as $url) {
            self::assertInstanceOf(Http::class, Http::url($url, 'secret'));
        }
        foreach (['', "a\r\nX: y", 'a b'] as $token) {
            try {
                Http::url('http://host', $token);
                self::fail('that is a token');
            } catch (TransportFailed) {
                $this->addToAssertionCount(1);
            }
        }
        $this->expectException(TransportFailed::class);
        Http::unix('relative');
    }
}
