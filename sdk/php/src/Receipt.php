<?php

declare(strict_types=1);

namespace Phase;

use Phase\Exception\InvalidJson;
use Phase\Exception\InvalidReceipt;
use Phase\Exception\WrongReceipt;
use Phase\Exception\WrongSignature;

/**
 * A receipt whose signature holds. There is no other way to have one than
 * verify(), and no way to call that without saying which node was asked: the
 * key a receipt names itself proves nothing.
 */
final class Receipt
{
    private const PAYLOAD_TYPE = 'application/vnd.in-toto+json';

    private function __construct(
        /** What the node says. */
        public readonly Statement $statement,
        /** The envelope as it came, to be kept and verified again by anybody. */
        public readonly string $bytes,
    ) {
    }

    /**
     * Reads a receipt of at most 1 MiB that $node must have signed.
     *
     * @throws InvalidReceipt it is no receipt; where it is too large, the exception before it is a TooLarge
     * @throws WrongSignature of another node, or of none
     */
    public static function verify(string $bytes, Pinned $node): self
    {
        $pin = $node->pin();
        try {
            $envelope = Envelope::read($bytes);
        } catch (InvalidJson $e) {
            throw new InvalidReceipt('the envelope is invalid: ' . $e->getMessage(), 0, $e);
        }
        if ($envelope->payloadType !== self::PAYLOAD_TYPE) {
            throw new InvalidReceipt('the payload type is not that of a receipt');
        }
        if (!$envelope->isSignedBy($pin)) {
            throw new WrongSignature("the receipt is not signed by {$pin->peerId}, the node that was asked");
        }
        try {
            $statement = Statement::read($envelope->payload);
        } catch (InvalidJson $e) {
            throw new InvalidReceipt('the statement is invalid: ' . $e->getMessage(), 0, $e);
        }
        if (!hash_equals($pin->key, $statement->publicKey) || $statement->peerId !== $pin->peerId) {
            throw new WrongSignature("the receipt names another node than {$pin->peerId}, which signed it");
        }
        return new self($statement, $bytes);
    }

    /**
     * Refuses a receipt of another job: another file, module, arguments,
     * environment or input, or other limits than it set.
     *
     * @throws WrongReceipt
     */
    public function mustBeOf(JobFile $file): void
    {
        self::same('job_id', $this->statement->jobId, $file->id());
        $this->mustDo($file);
    }

    /**
     * As mustBeOf, where the file itself was written by plasmd and only what
     * it says is known.
     *
     * @throws WrongReceipt
     */
    public function mustDo(JobFile $file): void
    {
        $s = $this->statement;
        self::same('module_hash', $s->moduleHash, $file->moduleHash);
        self::same('args_sha256', $s->argsSha256, $file->argsSha256);
        self::same('env_sha256', $s->envSha256, $file->envSha256);
        if ($file->stdinHash !== null) {
            self::same('stdin_sha256', "sha256:$s->stdinSha256", $file->stdinHash);
        }
        self::same('limits.cpu_cores', $s->cpuCores, $file->limits->cpuCores);
        self::same('limits.memory_mb', $s->memoryMb, $file->limits->memoryMb);
        // A run without a job file may have been given a fraction of a second.
        self::same('limits.timeout_seconds', (int) ceil($s->timeoutSeconds), $file->limits->timeoutSeconds);
        if ($s->outputBytes !== 0) { // output that was not limited was not cut either
            self::same('limits.output_bytes', $s->outputBytes, $file->limits->output());
        }
    }

    /**
     * Refuses a receipt for another offer: one that is replayed.
     *
     * @param string $nonce base64, as it was sent
     * @throws WrongReceipt
     */
    public function mustAnswer(string $nonce): void
    {
        self::same('offer_nonce', $this->statement->offerNonce, $nonce);
    }

    /**
     * Refuses output that the node has not signed.
     *
     * @param string $stdoutSha256 hex, of all that came
     * @param string $stderrSha256
     * @throws WrongReceipt
     */
    public function mustHaveWritten(string $stdoutSha256, string $stderrSha256): void
    {
        self::same('stdout', $this->statement->stdoutSha256, $stdoutSha256);
        self::same('stderr', $this->statement->stderrSha256, $stderrSha256);
    }

    /**
     * Refuses an answer that tells of another run or another end than the
     * receipt beside it.
     *
     * @throws WrongReceipt
     */
    public function mustTell(string $jobId, string $runId, Outcome $outcome, int $exitCode): void
    {
        self::same('job_id', $this->statement->jobId, $jobId);
        self::same('run_id', $this->statement->runId, $runId);
        self::same('outcome', $this->statement->outcome->value, $outcome->value);
        self::same('exit_code', $this->statement->exitCode, $exitCode);
    }

    /** @throws \LogicException always: what was stored may have been changed */
    public function __serialize(): array
    {
        throw new \LogicException('store the bytes of a receipt, and have Receipt::verify read them again');
    }

    /** @throws \LogicException always */
    public function __unserialize(array $data): void
    {
        $this->__serialize();
    }

    private static function same(string $field, string|int $receipt, string|int $wanted): void
    {
        if ($receipt !== $wanted) {
            throw new WrongReceipt($field, (string) $receipt, (string) $wanted);
        }
    }
}
