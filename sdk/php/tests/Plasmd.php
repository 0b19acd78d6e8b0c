<?php

declare(strict_types=1);

namespace Phase\Tests;

use PHPUnit\Framework\Assert;

/** The real plasmd, as make build leaves it, and a daemon of it. */
final class Plasmd
{
    private const BUILD = __DIR__ . '/../../../build';

    public readonly string $peerId;
    public readonly string $token;
    public readonly string $url;
    public readonly string $socket;

    /** @var resource */
    private $process;

    /** @var resource */
    private $log;

    private readonly string $folder;

    /**
     * Starts a daemon and waits until it serves.
     *
     * @param string ...$network its options of the network of nodes
     */
    public function __construct(string ...$network)
    {
        $this->folder = sys_get_temp_dir() . '/phase-daemon-' . bin2hex(random_bytes(8));
        mkdir($this->folder, 0700);
        mkdir("$this->folder/state");
        touch("$this->folder/plasmd.toml"); // not that of this machine
        $this->socket = "$this->folder/plasmd.sock";
        $command = [
            self::program(), 'start', ...($network ?: ['--network=off']), '--http=127.0.0.1:0', "--config=$this->folder/plasmd.toml",
            "--socket=$this->socket", "--state=$this->folder/state", "--data=$this->folder/data",
        ];
        $this->process = proc_open($command, [['null'], ['null'], ['pipe', 'w']], $pipes);
        $said = [];
        $log = '';
        while (count($said) < 3) {
            $line = fgets($pipes[2]);
            if ($line === false) {
                Assert::fail("plasmd start ended: $log");
            }
            $log .= $line;
            if (preg_match('/^(peer|token|serving http on) (\S+)$/', rtrim($line), $match) === 1) {
                $said[$match[1]] = $match[2];
            }
        }
        $this->log = $pipes[2]; // a daemon whose log nobody holds open dies of it
        [$this->peerId, $this->token, $this->url] = [$said['peer'], $said['token'], "http://{$said['serving http on']}"];
    }

    /**
     * A daemon that has a part in the network of nodes, on loopback alone.
     *
     * @param string ...$options more of them
     */
    public static function onNetwork(string ...$options): self
    {
        return new self('--network=internet', '--listen=/ip4/127.0.0.1/tcp/0', ...$options);
    }

    /** What `plasmd peers` says. */
    public function peers(): \stdClass
    {
        exec(escapeshellarg(self::program()) . ' peers --json --socket ' . escapeshellarg($this->socket), $said, $code);
        Assert::assertSame(0, $code);
        return json_decode(implode("\n", $said), false, 32, JSON_THROW_ON_ERROR);
    }

    /** Where other daemons reach this one, with its peer id, once it listens. */
    public function address(): string
    {
        for ($until = hrtime(true) / 1e9 + 30; hrtime(true) / 1e9 < $until; usleep(20_000)) {
            $addresses = $this->peers()->addresses;
            if ($addresses !== []) {
                return $addresses[0];
            }
        }
        Assert::fail('the daemon does not listen for peers');
    }

    public function stop(): void
    {
        proc_terminate($this->process);
        stream_get_contents($this->log); // until it has ended
        proc_close($this->process);
        $inside = new \RecursiveDirectoryIterator($this->folder, \FilesystemIterator::SKIP_DOTS);
        foreach (new \RecursiveIteratorIterator($inside, \RecursiveIteratorIterator::CHILD_FIRST) as $path => $entry) {
            $entry->isDir() && !$entry->isLink() ? rmdir($path) : unlink($path);
        }
        rmdir($this->folder);
    }

    /** The program, or a skipped test. */
    public static function program(): string
    {
        return self::built('bin/plasmd', 'make build');
    }

    /** An example module, or a skipped test. */
    public static function example(string $name): string
    {
        return self::built("examples/$name.wasm", 'make examples');
    }

    private static function built(string $file, string $by): string
    {
        $path = realpath(self::BUILD . "/$file");
        if ($path === false) {
            $reason = "build/$file is not there; $by makes it";
            getenv('PHASE_REQUIRE') ? Assert::fail($reason) : Assert::markTestSkipped($reason);
        }
        return self::BUILD . "/$file";
    }
}
