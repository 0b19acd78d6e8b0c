<?php

declare(strict_types=1);

namespace Phase\Http;

use Phase\Exception\TransportFailed;

/** An HTTP/1.1 answer (RFC 9112): its head at once, its body as it comes. */
final class Response
{
    private const MAX_HEAD = 64 << 10;
    private const MAX_LINE = 4096;
    private const MAX_INTERIM = 8;
    private const FIELD = '/^([!#$%&\'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*$/D';
    private const ONCE = ['content-length', 'transfer-encoding', 'content-type'];

    private string $buffer = '';

    /** @var array<string, string> by lower-case name */
    private array $headers = [];

    public readonly int $status;

    /** @throws TransportFailed */
    public function __construct(private readonly Connection $connection)
    {
        $status = 100;
        for ($i = 0; $status < 200; $i++) {
            if ($i > self::MAX_INTERIM || $status === 101) {
                throw new TransportFailed('the node answers with interim answers alone');
            }
            $status = $this->head();
        }
        $this->status = $status;
    }

    public function header(string $name): string
    {
        return $this->headers[strtolower($name)] ?? '';
    }

    /** The media type, without its parameters. */
    public function type(): string
    {
        return strtolower(trim(explode(';', $this->header('content-type'))[0]));
    }

    /**
     * The body, piece by piece.
     *
     * @return \Generator<int, string>
     * @throws TransportFailed it ended too early, or is not as HTTP has it
     */
    public function body(): \Generator
    {
        $length = $this->headers['content-length'] ?? null;
        $coding = strtolower($this->headers['transfer-encoding'] ?? '');
        if ($coding !== '' && ($coding !== 'chunked' || $length !== null)) {
            throw new TransportFailed('the answer is coded as nobody asked for');
        }
        if ($coding === 'chunked') {
            yield from $this->chunks();
        } elseif ($length !== null) {
            if (preg_match('/^[0-9]{1,15}$/D', $length) !== 1) {
                throw new TransportFailed('the answer has no sound Content-Length');
            }
            yield from $this->exactly((int) $length);
        } else {
            while ($this->buffer !== '' || $this->fill()) {
                yield $this->take(strlen($this->buffer));
            }
        }
    }

    /**
     * The whole body, of at most so many bytes.
     *
     * @throws TransportFailed
     */
    public function whole(int $most): string
    {
        $whole = '';
        foreach ($this->body() as $piece) {
            if (strlen($whole) + strlen($piece) > $most) {
                throw new TransportFailed("the answer is longer than $most bytes");
            }
            $whole .= $piece;
        }
        return $whole;
    }

    /** Reads one head and returns its status. */
    private function head(): int
    {
        while (($end = strpos($this->buffer, "\r\n\r\n")) === false) {
            if (strlen($this->buffer) > self::MAX_HEAD || !$this->fill()) {
                throw new TransportFailed('the node closed the connection, or does not speak HTTP');
            }
        }
        $lines = explode("\r\n", $this->take($end));
        $this->take(4);
        if (preg_match('/^HTTP\/1\.[01] ([1-5][0-9]{2})(?: |$)/', array_shift($lines), $match) !== 1) {
            throw new TransportFailed('the node does not speak HTTP/1.1');
        }
        $this->headers = [];
        foreach ($lines as $line) {
            if (preg_match(self::FIELD, $line, $part) !== 1) {
                throw new TransportFailed('the answer has a line in its head that is no header');
            }
            $name = strtolower($part[1]);
            if (isset($this->headers[$name]) && in_array($name, self::ONCE, true)) {
                throw new TransportFailed("the answer has $name twice");
            }
            $this->headers[$name] = $part[2];
        }
        return (int) $match[1];
    }

    private function chunks(): \Generator
    {
        while (($size = $this->chunkSize()) > 0) {
            yield from $this->exactly($size);
            if ($this->line() !== '') {
                throw new TransportFailed('a chunk is longer than it says');
            }
        }
        for ($trailer = 0; $this->line() !== ''; $trailer++) {
            if ($trailer > 64) {
                throw new TransportFailed('the answer has no end');
            }
        }
    }

    private function chunkSize(): int
    {
        if (preg_match('/^([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?$/D', $this->line(), $match) !== 1) {
            throw new TransportFailed('a chunk has no sound size');
        }
        return (int) hexdec($match[1]);
    }

    private function exactly(int $length): \Generator
    {
        while ($length > 0) {
            if ($this->buffer === '' && !$this->fill()) {
                throw new TransportFailed('the answer ended too early');
            }
            $piece = $this->take(min($length, strlen($this->buffer)));
            $length -= strlen($piece);
            yield $piece;
        }
    }

    private function line(): string
    {
        while (($end = strpos($this->buffer, "\r\n")) === false) {
            if (strlen($this->buffer) > self::MAX_LINE || !$this->fill()) {
                throw new TransportFailed('the answer ended too early');
            }
        }
        $line = $this->take($end);
        $this->take(2);
        return $line;
    }

    private function take(int $bytes): string
    {
        $taken = substr($this->buffer, 0, $bytes);
        $this->buffer = substr($this->buffer, $bytes);
        return $taken;
    }

    private function fill(): bool
    {
        $bytes = $this->connection->read();
        $this->buffer .= $bytes;
        return $bytes !== '';
    }
}
