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
        private readonly bool $exact,
    ) {
    }

    /**
     * Reads {job_id, run_id, exit_code, outcome, receipt}.
     *
     * @param array<string, Value> $fields
     * @param bool $exact whether job file and nonce of the offer went out as they are
     * @throws InvalidJson
     */
    public static function read(array $fields, bool $exact): self
    {
        foreach (['job_id', 'run_id', 'exit_code', 'outcome', 'receipt'] as $name) {
            if (!isset($fields[$name])) {
                throw new InvalidJson("the answer has no $name");
            }
        }
        $fields['receipt']->members();
        return new self(
            $fields['job_id']->string(),
            $fields['run_id']->string(),
            $fields['exit_code']->integer(),
            Outcome::tryFrom($fields['outcome']->string()) ?? throw new InvalidJson('the outcome is not known'),
            $fields['receipt']->text(),
            $exact,
        );
    }

    public function receipt(): string
    {
        return $this->receipt;
    }

    public function compare(Receipt $receipt, Offer $offer): void
    {
        $receipt->mustTell($this->jobId, $this->runId, $this->outcome, $this->exitCode);
        if ($this->exact) {
            $receipt->mustBeOf($offer->job->file);
            $receipt->mustAnswer($offer->nonce);
        }
    }
}
