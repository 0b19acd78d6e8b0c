<?php

declare(strict_types=1);

namespace Phase\Tests;

use Phase\Exception\TimedOut;
use Phase\Exception\TransportFailed;
use Phase\Http\Connection;
use Phase\Http\Response;
use Phase\Transport\Deadline;
use PHPUnit\Framework\TestCase;

/** HTTP/1.1 answers, sound and damaged. */
final class ResponseTest extends TestCase
{
    /** The answer to a connection on which exactly these bytes come. */
    private function answer(string $bytes, float $seconds = 5): Response
    {
        $server = stream_socket_server('tcp://127.0.0.1:0');
        $connection = new Connection('tcp://' . stream_socket_get_name($server, false), 5, new Deadline($seconds));
        $peer = stream_socket_accept($server, 5);
        fwrite($peer, $bytes);
        fclose($peer);
        return new Response($connection);
    }

    /** @return array<string, array{string, string}> what comes, and its body */
    public function sound(): array
    {
        $ok = "HTTP/1.1 200 OK\r\n";
        return [
            'length' => [$ok . "Content-Length: 3\r\n\r\nabc", 'abc'],
            'length and more' => [$ok . "Content-Length: 3\r\n\r\nabcd", 'abc'],
            'nothing' => [$ok . "content-length:0\r\n\r\n", ''],
            'to the end' => ["HTTP/1.0 200\r\n\r\na\0\r\n", "a\0\r\n"],
            'chunks' => [$ok . "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\n\n\r\n00\r\n\r\n", "abc\n"],
            'chunks, trailer' => [$ok . "Transfer-Encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n", '0123456789'],
            'interim' => ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" . $ok . "Content-Length: 1\r\n\r\na", 'a'],
        ];
    }

    /** @dataProvider sound */
    public function testSound(string $bytes, string $body): void
    {
        self::assertSame($body, $this->answer($bytes)->whole(100));
    }

    /** @return array<string, array{string}> */
    public function damaged(): array
    {
        $ok = "HTTP/1.1 200 OK\r\n";
        $chunked = $ok . "Transfer-Encoding: chunked\r\n\r\n";
        return [
            'nothing' => [''],
            'another protocol' => ["SSH-2.0-OpenSSH\r\n\r\n"],
            'HTTP/2' => ["HTTP/2 200\r\n\r\n"],
            'no status' => ["HTTP/1.1 OK\r\n\r\n"],
            'head cut' => [$ok . 'Content-Le'],
            'head without end' => [$ok . str_repeat("X: y\r\n", 1 << 14)],
            'line without colon' => [$ok . "Hello\r\n\r\n"],
            'folded line' => [$ok . "X: y\r\n z\r\n\r\n"],
            'control character' => [$ok . "X: \x1b[2J\r\n\r\n"],
            'two lengths' => [$ok . "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"],
            'length and chunks' => [$ok . "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
            'negative length' => [$ok . "Content-Length: -1\r\n\r\na"],
            'length of words' => [$ok . "Content-Length: 1x\r\n\r\na"],
            'another coding' => [$ok . "Transfer-Encoding: gzip\r\n\r\na"],
            'body cut' => [$ok . "Content-Length: 4\r\n\r\nabc"],
            'body too long' => [$ok . "Content-Length: 101\r\n\r\n" . str_repeat('a', 101)],
            'body without end' => [$ok . "\r\n" . str_repeat('a', 101)],
            'chunk cut' => [$chunked . "4\r\nabc"],
            'chunk size' => [$chunked . "x\r\nabc\r\n0\r\n\r\n"],
            'chunk size, negative' => [$chunked . "-1\r\nabc\r\n0\r\n\r\n"],
            'chunk size, huge' => [$chunked . "fffffffff\r\nabc"],
            'chunk longer than it says' => [$chunked . "2\r\nabc\r\n0\r\n\r\n"],
            'chunks without end' => [$chunked . "1\r\na\r\n"],
            'no last line' => [$chunked . "0\r\n"],
            'trailer without end' => [$chunked . "0\r\n" . str_repeat("X: y\r\n", 100)],
            'interim without end' => [str_repeat("HTTP/1.1 100 Continue\r\n\r\n", 20)],
            'switching' => ["HTTP/1.1 101 Switching Protocols\r\n\r\n"],
        ];
    }

    /** @dataProvider damaged */
    public function testDamaged(string $bytes): void
    {
        $this->expectException(TransportFailed::class);
        $this->answer($bytes)->whole(100);
    }

    public function testNobodyAnswers(): void
    {
        $server = stream_socket_server('tcp://127.0.0.1:0');
        $connection = new Connection('tcp://' . stream_socket_get_name($server, false), 5, new Deadline(0.2));
        $this->expectException(TimedOut::class);
        new Response($connection);
    }

    public function testNobodyListens(): void
    {
        $server = stream_socket_server('tcp://127.0.0.1:0');
        $address = stream_socket_get_name($server, false);
        fclose($server);
        $this->expectException(TransportFailed::class);
        new Connection("tcp://$address", 5, new Deadline(5));
    }
}
