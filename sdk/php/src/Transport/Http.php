<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Exception\TransportFailed;
use Phase\Http\Connection;
use Phase\Http\Response;

/**
 * POST /v1/jobs of a node, over TCP with the owner's token or over the unix
 * socket of a daemon on this machine, where the kernel says who asks.
 */
final class Http implements Transport
{
    /**
     * How many seconds a job may take beyond its own limit: to be sent, to wait
     * for its turn, to be answered.
     */
    public const WAIT_SECONDS = 120.0;

    private const CONNECT_SECONDS = 5.0;
    private const EVENTS = 'application/x-ndjson';

    private function __construct(
        private readonly string $address,
        private readonly string $host,
        private readonly ?string $token,
        private readonly float $waitSeconds,
    ) {
    }

    /**
     * @param string $url like http://192.0.2.7:8080 or http://[fe80::1%25eth0]:8080
     * @param string $token the owner's
     * @throws TransportFailed
     */
    public static function url(string $url, #[\SensitiveParameter] string $token, float $waitSeconds = self::WAIT_SECONDS): self
    {
        $form = '~^http://(\[[0-9A-Fa-f:.]+(?:%25[0-9A-Za-z._-]+)?\]|[0-9A-Za-z._-]+)(?::([0-9]{1,5}))?/?$~D';
        if (preg_match($form, $url, $part) !== 1) {
            throw new TransportFailed(
                'a node is reached at http://HOST:PORT; to hide the token, lead its unix socket here with ssh -L',
            );
        }
        if (preg_match('/^[\x21-\x7e]+$/D', $token) !== 1) {
            throw new TransportFailed('the token is empty or holds what no token does');
        }
        $port = $part[2] ?? '80';
        // A zone names an interface of this machine and means nothing to the node.
        $host = preg_replace('/%25[^\]]*/', '', $part[1]);
        return new self('tcp://' . str_replace('%25', '%', $part[1]) . ":$port", "$host:$port", $token, $waitSeconds);
    }

    /**
     * @param string|null $path null for where plasmd puts its socket
     * @throws TransportFailed
     */
    public static function unix(?string $path = null, float $waitSeconds = self::WAIT_SECONDS): self
    {
        $path ??= Paths::socket();
        if (str_contains($path, "\0") || !str_starts_with($path, '/')) {
            throw new TransportFailed('the path of the socket must begin with /');
        }
        return new self("unix://$path", 'localhost', null, $waitSeconds);
    }

    public function run(Offer $offer): \Generator
    {
        $deadline = new Deadline($offer->job->file->limits->timeoutSeconds + $this->waitSeconds);
        $connection = new Connection($this->address, self::CONNECT_SECONDS, $deadline);
        try {
            $connection->send($this->request($offer));
            $response = new Response($connection);
            return yield from match (true) {
                $response->status !== 200 => throw Problem::of($response),
                $response->type() === self::EVENTS => Events::read($response, $offer),
                default => throw new TransportFailed('the answer is no stream of events'),
            };
        } finally {
            $connection->close(); // if the caller has stopped early, this cancels the job
        }
    }

    /** @return list<string> what is sent, in pieces that are never copied into one */
    private function request(Offer $offer): array
    {
        $job = $offer->job;
        $boundary = bin2hex(random_bytes(16));
        $body = [];
        $parts = [
            'job' => $job->file->bytes,
            'offer_nonce' => $offer->nonce,
            'module' => $job->module,
            'stdin' => $job->stdin,
        ];
        foreach ($parts as $name => $data) {
            $body[] = "--$boundary\r\nContent-Disposition: form-data; name=\"$name\"\r\n\r\n";
            $body[] = $data;
            $body[] = "\r\n";
        }
        $body[] = "--$boundary--\r\n";
        $head = [
            'POST /v1/jobs HTTP/1.1',
            "Host: $this->host",
            ...($this->token === null ? [] : ["Authorization: Bearer $this->token"]),
            'Accept: ' . self::EVENTS,
            "Content-Type: multipart/form-data; boundary=$boundary",
            'Content-Length: ' . array_sum(array_map('strlen', $body)),
            'Connection: close',
        ];
        return [implode("\r\n", $head) . "\r\n\r\n", ...$body];
    }
}
