<?php

declare(strict_types=1);

namespace Phase;

use Phase\Exception\InvalidJson;
use Phase\Json\Base64;
use Phase\Json\Reader;
use Phase\Json\Value;

/**
 * What a node says a job did: an in-toto Statement v1 with every field there
 * and in its form. Who said so is Receipt's business.
 */
final class Statement
{
    private const TYPE = 'https://in-toto.io/Statement/v1';
    private const PREDICATE_TYPE = 'urn:phase:execution-receipt:v1';

    private function __construct(
        /** What was asked: the digest of the job file. */
        public readonly string $jobId,
        /** Which run: 16 random bytes in hex. */
        public readonly string $runId,
        /** The 16 bytes the requester chose, base64. */
        public readonly string $offerNonce,
        public readonly string $moduleHash,
        public readonly string $argsSha256,
        public readonly string $envSha256,
        public readonly string $stdinSha256,
        public readonly string $stdoutSha256,
        public readonly string $stderrSha256,
        public readonly int $exitCode,
        public readonly Outcome $outcome,
        public readonly int $wallTimeMs,
        public readonly Instant $started,
        public readonly Instant $finished,
        public readonly string $runtimeName,
        public readonly string $runtimeVersion,
        public readonly string $runtimeProfile,
        public readonly int $cpuCores,
        /** MiB. */
        public readonly int $memoryMb,
        public readonly float $timeoutSeconds,
        /** 0 where output was not limited. */
        public readonly int $outputBytes,
        public readonly string $peerId,
        /** Raw; empty where it is no base64. */
        public readonly string $publicKey,
    ) {
    }

    /** @throws InvalidJson */
    public static function read(string $payload): self
    {
        $top = self::all(Reader::read($payload), '_type', 'subject', 'predicateType', 'predicate');
        self::hold($top['_type']->string() === self::TYPE, '_type is not that of an in-toto statement');
        self::hold($top['predicateType']->string() === self::PREDICATE_TYPE, 'predicateType is not that of a receipt');
        [$stdout, $stderr] = self::subjects($top['subject']);
        $p = self::all(
            $top['predicate'],
            ...['job_id', 'run_id', 'offer_nonce', 'module_hash', 'args_sha256', 'env_sha256', 'stdin_sha256'],
            ...['exit_code', 'outcome', 'wall_time_ms', 'started', 'finished', 'runtime', 'limits', 'node'],
        );
        $runtime = self::all($p['runtime'], 'name', 'version', 'profile');
        $limits = self::all($p['limits'], 'cpu_cores', 'memory_mb', 'timeout_seconds', 'output_bytes');
        $node = self::all($p['node'], 'peer_id', 'public_key');
        $statement = new self(
            self::digest($p['job_id']),
            self::hex($p['run_id'], 16),
            self::nonce($p['offer_nonce']),
            self::digest($p['module_hash']),
            self::hex($p['args_sha256']),
            self::hex($p['env_sha256']),
            self::hex($p['stdin_sha256']),
            $stdout,
            $stderr,
            self::exitCode($p['exit_code']),
            Outcome::tryFrom($p['outcome']->string()) ?? throw new InvalidJson('outcome is not known'),
            $p['wall_time_ms']->integer(),
            Instant::read($p['started']->string()),
            Instant::read($p['finished']->string()),
            $runtime['name']->string(),
            $runtime['version']->string(),
            $runtime['profile']->string(),
            $limits['cpu_cores']->integer(),
            $limits['memory_mb']->integer(),
            $limits['timeout_seconds']->number(),
            $limits['output_bytes']->integer(),
            $node['peer_id']->string(),
            self::key($node['public_key']->string()),
        );
        $statement->check();
        return $statement;
    }

    private function check(): void
    {
        $code = $this->outcome->exitCode();
        self::hold($code === null || $code === $this->exitCode, 'exit_code is not that of the outcome');
        self::hold($this->wallTimeMs >= 0, 'wall_time_ms is negative');
        self::hold(!$this->finished->isBefore($this->started), 'finished is before started');
        self::hold(
            $this->cpuCores >= 1 && $this->memoryMb >= 1 && $this->timeoutSeconds > 0 && $this->outputBytes >= 0,
            'limits are no limits',
        );
    }

    /**
     * The digests of stdout and stderr.
     *
     * @return array{string, string}
     */
    private static function subjects(Value $subject): array
    {
        $list = $subject->items(2);
        self::hold(count($list) === 2, 'subject is not stdout and stderr');
        $digests = [];
        foreach (['stdout', 'stderr'] as $i => $name) {
            $fields = self::all($list[$i], 'name', 'digest');
            self::hold($fields['name']->string() === $name, "subject $i is not $name");
            $digest = $fields['digest']->strings()['sha256'] ?? throw new InvalidJson("$name has no sha256");
            self::hold(Digest::isHex($digest, 32), "the sha256 of $name does not have its form");
            $digests[] = $digest;
        }
        return $digests;
    }

    /**
     * Members of an object that all must be there.
     *
     * @return array<string, Value>
     */
    private static function all(Value $value, string ...$names): array
    {
        $members = $value->known(...$names);
        foreach ($names as $name) {
            self::hold(isset($members[$name]) && !$members[$name]->isNull(), "$name is missing");
        }
        return $members;
    }

    private static function digest(Value $value): string
    {
        $text = $value->string();
        self::hold(Digest::isDigest($text), 'a digest does not have its form');
        return $text;
    }

    private static function hex(Value $value, int $bytes = 32): string
    {
        $text = $value->string();
        self::hold(Digest::isHex($text, $bytes), "$bytes bytes in lower-case hex are wanted");
        return $text;
    }

    private static function nonce(Value $value): string
    {
        $text = $value->string();
        self::hold(strlen(Base64::decode($text)) === 16, 'offer_nonce is not the base64 of 16 bytes');
        return $text;
    }

    private static function exitCode(Value $value): int
    {
        $code = $value->integer();
        self::hold($code >= 0 && $code <= 0xffffffff && $value->text()[0] !== '-', 'exit_code is no number of 32 bits');
        return $code;
    }

    private static function key(string $text): string
    {
        try {
            return Base64::decode($text);
        } catch (InvalidJson) {
            return '';
        }
    }

    private static function hold(bool $true, string $problem): void
    {
        if (!$true) {
            throw new InvalidJson($problem);
        }
    }
}
