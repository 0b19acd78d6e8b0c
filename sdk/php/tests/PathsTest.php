<?php

declare(strict_types=1);

namespace Phase\Tests;

use Phase\Exception\InvalidKey;
use Phase\Exception\PhaseException;
use Phase\Exception\TransportFailed;
use Phase\Transport\Paths;
use PHPUnit\Framework\TestCase;

/** Where things are on this machine, as programs/plasmd/paths.go has it. */
final class PathsTest extends TestCase
{
    /** @var array<string, string|false> */
    private array $before = [];

    protected function setUp(): void
    {
        foreach (['HOME', 'XDG_RUNTIME_DIR', 'XDG_DATA_HOME'] as $name) {
            $this->before[$name] = getenv($name);
            putenv($name);
        }
    }

    protected function tearDown(): void
    {
        foreach ($this->before as $name => $value) {
            putenv($value === false ? $name : "$name=$value");
        }
    }

    /** @return list<array{list<string>, string, string}> environment, socket, identity; empty where it is not known */
    public function places(): array
    {
        return [
            [['HOME=/h'], '/h/.local/share/phase/plasmd.sock', '/h/.local/share/phase/identity.pem'],
            [['HOME=/h', 'XDG_RUNTIME_DIR=/r'], '/r/phase/plasmd.sock', '/h/.local/share/phase/identity.pem'],
            [['HOME=/h', 'XDG_DATA_HOME=/d'], '/d/phase/plasmd.sock', '/d/phase/identity.pem'],
            [['HOME=/h', 'XDG_RUNTIME_DIR=r', 'XDG_DATA_HOME=d'], '/h/.local/share/phase/plasmd.sock', '/h/.local/share/phase/identity.pem'],
            [['XDG_RUNTIME_DIR=/r'], '/r/phase/plasmd.sock', ''],
            [['XDG_DATA_HOME=/d'], '/d/phase/plasmd.sock', '/d/phase/identity.pem'],
            [[], '', ''],
        ];
    }

    /**
     * @dataProvider places
     * @param list<string> $environment
     */
    public function testUser(array $environment, string $socket, string $identity): void
    {
        array_map('putenv', $environment);
        foreach ([[Paths::socket(...), $socket, TransportFailed::class], [Paths::identity(...), $identity, InvalidKey::class]] as [$path, $wanted, $class]) {
            try {
                self::assertSame($wanted, $path(false));
            } catch (PhaseException $e) {
                self::assertSame(['', $class], [$wanted, $e::class]);
                self::assertStringContainsString('HOME', $e->getMessage());
            }
        }
    }

    public function testRoot(): void
    {
        putenv('XDG_RUNTIME_DIR=/r');
        self::assertSame(['/run/phase/plasmd.sock', '/var/lib/phase/identity.pem'], [Paths::socket(true), Paths::identity(true)]);
    }
}
