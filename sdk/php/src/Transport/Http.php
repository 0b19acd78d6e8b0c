<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Chunk;
use Phase\Exception\PhaseException;
use Phase\Exception\Rejected;
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
    private const MODULE_NEEDED = 'ModuleNeeded';

    private function __construct(
        private readonly string $address,
        private readonly string $host,
        private readonly ?string $token,
        private readonly float $waitSeconds,
        private readonly ?string $on = null,
        private readonly ?\Closure $watch = null,
        private readonly int $replicas = 1,
    ) {
    }

    /**
     * The same way, to have other nodes run jobs.
     *
     * @internal for RemoteTransport
     * @param string $peer a peer id, or RemoteTransport::AUTO
     * @param (\Closure(string $step, string $detail): void)|null $watch is told of each step
     * @param int $replicas how many nodes run each job
     */
    public function on(string $peer, ?\Closure $watch, int $replicas = 1): self
    {
        return new self($this->address, $this->host, $this->token, $this->waitSeconds, $peer, $watch, $replicas);
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

    /** Asks by the digest of the module first, and with the module where the node does not hold it. */
    public function run(Offer $offer): \Generator
    {
        $deadline = new Deadline($offer->job->file->limits->timeoutSeconds + $this->waitSeconds);
        foreach (['', $offer->job->module] as $module) {
            $connection = new Connection($this->address, self::CONNECT_SECONDS, $deadline);
            try {
                $module === '' ? $this->tell('connect', $this->address) : $this->tell('module', strlen($module) . ' bytes');
                $connection->send($this->request($offer, $module));
                $response = new Response($connection);
                if ($response->status === 200) {
                    return yield from $this->events($response, $offer);
                }
                $problem = Problem::of($response);
            } finally {
                $connection->close(); // if the caller has stopped early, this cancels the job
            }
            if (!$problem instanceof Rejected || $problem->reason !== self::MODULE_NEEDED) {
                break;
            }
        }
        throw $problem;
    }

    /**
     * @return \Generator<int, Chunk, void, Answer>
     * @throws PhaseException
     */
    private function events(Response $response, Offer $offer): \Generator
    {
        if ($response->type() !== self::EVENTS) {
            throw new TransportFailed('the answer is no stream of events');
        }
        return yield from Events::read($response, $offer, $this->tell(...));
    }

    private function tell(string $step, string $detail): void
    {
        if ($this->watch !== null) {
            ($this->watch)($step, $detail);
        }
    }

    /**
     * @param string $module empty for a job by digest
     * @return list<string> what is sent, in pieces that are never copied into one
     */
    private function request(Offer $offer, string $module): array
    {
        $boundary = bin2hex(random_bytes(16));
        $body = [];
        $parts = [
            'job' => $offer->job->file->bytes,
            'offer_nonce' => $offer->nonce,
            ...($this->on === null ? [] : ['on' => $this->on]),
            ...($this->replicas === 1 ? [] : ['replicas' => (string) $this->replicas]),
            ...($module === '' ? [] : ['module' => $module]),
            'stdin' => $offer->job->stdin,
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
