<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Exception\InvalidJson;
use Phase\Json\Value;
use Phase\Outcome;
use Phase\Receipt;

/** The answer of a node, or of plasmd execute-job. */
final class JobAnswer implements Answer
{
    /** @param list<array{string, string, bool}> $replicas */
    private function __construct(
        private readonly string $jobId,
        private readonly string $runId,
        private readonly int $exitCode,
        private readonly Outcome $outcome,
        private readonly string $receipt,
        private readonly ?string $worker,
        private readonly array $replicas,
    ) {
    }

    /**
     * Reads {job_id, run_id, exit_code, outcome, receipt}, and where other nodes ran the
     * job {worker, replicas}.
     *
     * @param array<string, Value> $fields
     * @throws InvalidJson
     */
    public static function read(array $fields): self
    {
        foreach (['job_id', 'run_id', 'exit_code', 'outcome', 'receipt'] as $name) {
            if (!isset($fields[$name])) {
                throw new InvalidJson("the answer has no $name");
            }
        }
        $fields['receipt']->known();
        return new self(
            $fields['job_id']->string(),
            $fields['run_id']->string(),
            $fields['exit_code']->integer(),
            Outcome::tryFrom($fields['outcome']->string()) ?? throw new InvalidJson('the outcome is not known'),
            $fields['receipt']->text(),
            isset($fields['worker']) ? $fields['worker']->string() : null,
            isset($fields['replicas']) ? array_map(self::replica(...), $fields['replicas']->items(RemoteTransport::MAX_REPLICAS)) : [],
        );
    }

    /**
     * Reads {peer, receipt, agrees}.
     *
     * @return array{string, string, bool}
     * @throws InvalidJson
     */
    private static function replica(Value $value): array
    {
        $fields = $value->known('peer', 'receipt', 'agrees');
        foreach (['peer', 'receipt', 'agrees'] as $name) {
            if (!isset($fields[$name])) {
                throw new InvalidJson("a replica has no $name");
            }
        }
        $fields['receipt']->known();
        return [$fields['peer']->string(), $fields['receipt']->text(), $fields['agrees']->text() === 'true'];
    }

    public function worker(): ?string
    {
        return $this->worker;
    }

    public function replicas(): array
    {
        return $this->replicas;
    }

    public function receipt(): string
    {
        return $this->receipt;
    }

    public function compare(Receipt $receipt): void
    {
        $receipt->mustTell($this->jobId, $this->runId, $this->outcome, $this->exitCode);
    }
}
