<?php

declare(strict_types=1);

namespace Phase\Tests;

/** A process that answers connections with the bytes it was given. */
final class FakeNode
{
    public readonly string $address;

    /** @var resource */
    private $process;

    /** @var resource */
    private $output;

    private readonly string $file;

    /**
     * @param list<string> $pieces of the answer, each written by itself
     * @param string $read "all" of the request, or "nothing"
     * @param string $then "close", "hang" until the client has gone, or "flood" with the last piece
     * @param list<string> $first the answers to the connections before
     */
    public function __construct(
        array $pieces,
        string $read = 'all',
        string $then = 'close',
        string $listen = 'tcp://127.0.0.1:0',
        array $first = [],
    ) {
        $this->file = tempnam(sys_get_temp_dir(), 'phase-node-');
        file_put_contents($this->file, json_encode([
            'first' => array_map('base64_encode', $first), 'pieces' => array_map('base64_encode', $pieces), 'read' => $read, 'then' => $then,
        ]));
        $this->process = proc_open([PHP_BINARY, __DIR__ . '/fake-node.php', $listen, $this->file], [['null'], ['pipe', 'w'], STDERR], $pipes);
        $this->output = $pipes[1];
        $this->address = $this->line();
    }

    /** The next line it prints. */
    public function line(): string
    {
        return rtrim((string) fgets($this->output), "\n");
    }

    public function request(): string
    {
        return base64_decode($this->line());
    }

    public function stop(): void
    {
        proc_terminate($this->process, 9);
        fclose($this->output);
        proc_close($this->process);
        unlink($this->file);
    }
}
