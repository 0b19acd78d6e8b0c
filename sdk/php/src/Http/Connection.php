<?php

declare(strict_types=1);

namespace Phase\Http;

use Phase\Exception\TransportFailed;
use Phase\Text;
use Phase\Transport\Deadline;

/** A connection to a node: bytes out and in, and never a wait without an end. */
final class Connection
{
    private const PIECE = 64 << 10;

    /** @var resource */
    private $socket;

    /**
     * @param string $address as of stream_socket_client, tcp://… or unix://…
     * @throws TransportFailed
     */
    public function __construct(string $address, float $connectSeconds, private readonly Deadline $deadline)
    {
        $context = stream_context_create(['socket' => ['tcp_nodelay' => true]]);
        $seconds = min($connectSeconds, $deadline->left());
        $socket = @stream_socket_client($address, $number, $problem, $seconds, STREAM_CLIENT_CONNECT, $context);
        if ($socket === false) {
            throw new TransportFailed('connecting to ' . Text::clean("$address: $problem"));
        }
        stream_set_blocking($socket, false);
        $this->socket = $socket;
    }

    /**
     * Writes until all is written or an answer comes: a node that refuses does
     * not read on.
     *
     * @param list<string> $pieces
     * @throws TransportFailed
     */
    public function send(array $pieces): void
    {
        foreach ($pieces as $piece) {
            for ($at = 0; $at < strlen($piece);) {
                [$readable, $writable] = $this->wait(true);
                if ($readable) {
                    return;
                }
                if ($writable) {
                    $written = @fwrite($this->socket, substr($piece, $at, self::PIECE));
                    if ($written === false) {
                        return; // it has gone; what it said before is there to be read
                    }
                    $at += $written;
                }
            }
        }
    }

    /**
     * The next bytes; empty at the end.
     *
     * @throws TransportFailed also when time is up
     */
    public function read(): string
    {
        for (;;) {
            $this->deadline->left(); // who never lets us wait is late, too
            $bytes = @fread($this->socket, self::PIECE);
            if ($bytes !== false && $bytes !== '') {
                return $bytes;
            }
            if ($bytes === false || feof($this->socket)) {
                return '';
            }
            $this->wait(false);
        }
    }

    public function close(): void
    {
        if (is_resource($this->socket)) {
            fclose($this->socket);
        }
    }

    /** @return array{bool, bool} whether it can be read, and written */
    private function wait(bool $toWrite): array
    {
        $read = [$this->socket];
        $write = $toWrite ? [$this->socket] : null;
        $none = null;
        $left = $this->deadline->left();
        if (@stream_select($read, $write, $none, (int) $left, (int) (fmod($left, 1) * 1e6)) === false) {
            // A signal ended the wait, or PHP cannot wait for a descriptor of so
            // high a number. Nothing is known: try to write, and come back.
            usleep(1000);
            return [false, $toWrite];
        }
        return [$read !== [], (bool) $write];
    }
}
