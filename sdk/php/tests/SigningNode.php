<?php

declare(strict_types=1);

namespace Phase\Tests;

use Phase\Envelope;
use Phase\Outcome;
use Phase\Pin;
use Phase\Transport\Offer;

/** A node with one of the test keys, which signs what it is told to. */
final class SigningNode
{
    private readonly string $pair;

    public function __construct(string $name = 'worker')
    {
        $this->pair = sodium_crypto_sign_seed_keypair(hash('sha256', "phase test vector key $name", true));
    }

    public function pin(): Pin
    {
        return Pin::key(sodium_crypto_sign_publickey($this->pair));
    }

    /**
     * What an honest node says of a job that wrote this.
     *
     * @return array<string, mixed> the statement
     */
    public function statement(Offer $offer, string $stdout, string $stderr, Outcome $outcome = Outcome::Exited): array
    {
        $file = $offer->job->file;
        $subject = static fn (string $name, string $data): array => ['name' => $name, 'digest' => ['sha256' => hash('sha256', $data)]];
        return [
            '_type' => 'https://in-toto.io/Statement/v1',
            'subject' => [$subject('stdout', $stdout), $subject('stderr', $stderr)],
            'predicateType' => 'urn:phase:execution-receipt:v1',
            'predicate' => [
                'job_id' => $file->id(), 'run_id' => str_repeat('0a', 16), 'offer_nonce' => $offer->nonce,
                'module_hash' => $file->moduleHash, 'args_sha256' => $file->argsSha256, 'env_sha256' => $file->envSha256,
                'stdin_sha256' => hash('sha256', $offer->job->stdin),
                'exit_code' => $outcome->exitCode() ?? 0, 'outcome' => $outcome->value, 'wall_time_ms' => 1,
                'started' => '2026-11-23T12:00:00Z', 'finished' => '2026-11-23T12:00:00.001Z',
                'runtime' => ['name' => 'test', 'version' => '1', 'profile' => 'wasip1'],
                'limits' => [
                    'cpu_cores' => $file->limits->cpuCores, 'memory_mb' => $file->limits->memoryMb,
                    'timeout_seconds' => $file->limits->timeoutSeconds, 'output_bytes' => $file->limits->output(),
                ],
                'node' => ['peer_id' => $this->pin()->peerId, 'public_key' => base64_encode($this->pin()->key)],
            ],
        ];
    }

    /** @param array<string, mixed> $statement */
    public function sign(array $statement): string
    {
        $type = 'application/vnd.in-toto+json';
        $payload = json_encode($statement, JSON_THROW_ON_ERROR);
        $signature = sodium_crypto_sign_detached(Envelope::pae($type, $payload), sodium_crypto_sign_secretkey($this->pair));
        return json_encode([
            'payloadType' => $type,
            'payload' => base64_encode($payload),
            'signatures' => [['keyid' => hash('sha256', $this->pin()->key), 'sig' => base64_encode($signature)]],
        ], JSON_THROW_ON_ERROR);
    }
}
