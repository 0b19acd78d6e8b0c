<?php

declare(strict_types=1);

namespace Phase\Tests;

use Phase\Base58;
use Phase\Exception\InvalidJob;
use Phase\Exception\InvalidJson;
use Phase\Exception\InvalidKey;
use Phase\Instant;
use Phase\Job;
use Phase\JobFile;
use Phase\Limits;
use Phase\Pin;
use Phase\ThisMachine;
use PHPUnit\Framework\TestCase;

final class JobTest extends TestCase
{
    private const MODULE = "\0asm\1\0\0\0";

    public function testWhatIsWrittenIsRead(): void
    {
        $job = new Job(self::MODULE, ['a', '', "ü/<\u{2028}\x01"], ['B' => '', '0' => '=', 'A' => '1'], "\xff", new Limits(64, 5, 2, 10));
        $read = JobFile::read($job->file->bytes);
        self::assertEquals($job->file, $read);
        self::assertSame(['a', '', "ü/<\u{2028}\x01"], $read->args);
        self::assertSame([0 => '=', 'A' => '1', 'B' => ''], $read->env);
        self::assertSame(['sha256:' . hash('sha256', "\xff"), 10], [$read->stdinHash, $read->limits->outputBytes]);
    }

    /** @return array<string, array{string, callable(): mixed}> the field that is wrong, by what is wrong */
    public function wrong(): array
    {
        return [
            'no module' => ['module', fn () => new Job('hello')],
            'no file' => ['module', fn () => Job::fromFile('/nowhere/x.wasm')],
            'bytes in an argument' => ['args', fn () => new Job(self::MODULE, ["\xff"])],
            'NUL in an argument' => ['args', fn () => new Job(self::MODULE, ["\0"])],
            'number as an argument' => ['args', fn () => new Job(self::MODULE, [1])],
            'named arguments' => ['args', fn () => new Job(self::MODULE, ['name' => 'a'])],
            'long arguments' => ['args', fn () => new Job(self::MODULE, [str_repeat('a', 512 << 10)])],
            'NUL in a value' => ['env', fn () => new Job(self::MODULE, [], ['A' => "\0"])],
            '= in a name' => ['env', fn () => new Job(self::MODULE, [], ['A=' => ''])],
            'names that meet' => ['args', fn () => new Job(self::MODULE, [], ['a' => '', 'A' => ''])],
            'long input' => ['stdin', fn () => new Job(self::MODULE, stdin: str_repeat(' ', (64 << 20) + 1))],
            'no memory' => ['memory_mb', fn () => new Limits(memoryMb: 0)],
            'too much memory' => ['memory_mb', fn () => new Limits(memoryMb: 4097)],
            'no time' => ['timeout_seconds', fn () => new Limits(timeoutSeconds: 0)],
            'too many cores' => ['cpu_cores', fn () => new Limits(cpuCores: 65)],
            'no output' => ['output_bytes', fn () => new Limits(outputBytes: 0)],
        ];
    }

    /** @dataProvider wrong */
    public function testWrongJobNamesItsField(string $field, callable $make): void
    {
        try {
            $make();
            self::fail('it is made');
        } catch (InvalidJob $e) {
            self::assertSame($field, $e->field);
            self::assertStringStartsWith("$field: ", $e->getMessage());
        }
    }

    public function testLongestArguments(): void
    {
        $job = new Job(self::MODULE, [str_repeat('a', (512 << 10) - 1)]);
        self::assertCount(1, $job->file->args);
    }

    public function testPeerIds(): void
    {
        // From libp2p's specification of peer ids, and its own encoding of the same key.
        $pin = Pin::peer('12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA');
        self::assertSame('12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA', Pin::key($pin->key)->peerId);
        $qm = 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N';
        $cut = substr($pin->peerId, 0, -1);
        foreach (['', '1', $qm, $cut, "1$pin->peerId", "$pin->peerId ", strtoupper($pin->peerId), '0' . $cut, str_repeat('z', 1 << 20)] as $text) {
            try {
                Pin::peer($text);
                self::fail(substr($text, 0, 60) . ' is taken for a peer id');
            } catch (InvalidKey) {
                $this->addToAssertionCount(1);
            }
        }
        $this->expectException(InvalidKey::class);
        Pin::key('short');
    }

    public function testBase58(): void
    {
        foreach (['' => '', '2g' => 'a', 'a3gV' => 'bbb', '1111111111' => str_repeat("\0", 10), '11233QC4' => "\0\0\x28\x7f\xb4\xcd"] as $text => $data) {
            self::assertSame([(string) $text, $data], [Base58::encode($data), Base58::decode((string) $text)]);
        }
        self::assertNull(Base58::decode('0OIl'));
    }

    public function testKeyFiles(): void
    {
        $seed = hash('sha256', 'phase test vector key worker', true);
        $pin = (new SigningNode())->pin();
        $file = tempnam(sys_get_temp_dir(), 'phase-key-');
        $pem = static fn (string $label, string $hex, string $key): string =>
            "-----BEGIN $label-----\n" . base64_encode(hex2bin($hex) . $key) . "\n-----END $label-----\n";
        $private = $pem('PRIVATE KEY', '302e020100300506032b657004220420', $seed);
        $public = $pem('PUBLIC KEY', '302a300506032b6570032100', $pin->key);
        try {
            file_put_contents($file, $private);
            self::assertSame($pin->peerId, (new ThisMachine($file))->pin()->peerId);
            file_put_contents($file, $public);
            self::assertSame($pin->peerId, Pin::file($file)->peerId);
            $x25519 = $pem('PUBLIC KEY', '302a300506032b656e032100', $pin->key);
            foreach (['', $private, $public . $public, "x$public", substr($public, 0, 60), $x25519] as $text) {
                file_put_contents($file, $text);
                try {
                    Pin::file($file);
                    self::fail("$text is taken for a public key");
                } catch (InvalidKey) {
                    $this->addToAssertionCount(1);
                }
            }
        } finally {
            unlink($file);
        }
        $this->expectException(InvalidKey::class);
        Pin::file($file);
    }

    public function testInstants(): void
    {
        self::assertSame([0, 5], [Instant::read('1970-01-01T00:00:00.000000005Z')->seconds, Instant::read('1970-01-01T00:00:00.0000000059Z')->nanoseconds]);
        self::assertSame(-3600, Instant::read('1970-01-01T00:00:00+01:00')->seconds);
        self::assertTrue(Instant::read('0000-02-29T23:59:59Z')->isBefore(Instant::read('0000-03-01T00:00:00Z')));
        foreach (['24:00:00', '23:60:00', '23:59:60'] as $clock) {
            try {
                Instant::read("2026-01-01T{$clock}Z");
                self::fail("$clock is taken for a time");
            } catch (InvalidJson) {
                $this->addToAssertionCount(1);
            }
        }
        self::assertFalse(Instant::read('2026-01-01T00:00:00.5Z')->isBefore(Instant::read('2026-01-01T00:00:00.500Z')));
    }
}
