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
    private function __construct(
        private readonly string $jobId,
        private readonly string $runId,
        private readonly int $exitCode,
        private readonly Outcome $outcome,
        private readonly string $receipt,
    ) {
    }

    /**
     * Reads {job_id, run_id, exit_code, outcome, receipt}.
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
        );
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
