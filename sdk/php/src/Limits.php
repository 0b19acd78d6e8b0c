<?php

declare(strict_types=1);

namespace Phase;

use Phase\Exception\InvalidJob;

/** What a job may use. */
final class Limits
{
    /** The most of each; the least is 1. */
    public const MAX = [
        'cpu_cores' => 64,
        'memory_mb' => 4096,
        'timeout_seconds' => 3600,
        'output_bytes' => 1 << 30,
    ];

    /** output_bytes of a job that names none: 64 MiB. */
    public const DEFAULT_OUTPUT_BYTES = 64 << 20;

    /**
     * @param int $memoryMb MiB of memory, 1 to 4096
     * @param int $timeoutSeconds time from the start of the worker, compiling included, 1 to 3600
     * @param int $cpuCores 1 to 64
     * @param int|null $outputBytes stdout and stderr together, 1 to 2^30; null for 64 MiB
     * @throws InvalidJob
     */
    public function __construct(
        public readonly int $memoryMb = 512,
        public readonly int $timeoutSeconds = 60,
        public readonly int $cpuCores = 1,
        public readonly ?int $outputBytes = null,
    ) {
        self::check('cpu_cores', $cpuCores);
        self::check('memory_mb', $memoryMb);
        self::check('timeout_seconds', $timeoutSeconds);
        if ($outputBytes !== null) {
            self::check('output_bytes', $outputBytes);
        }
    }

    /** The bytes of output that are allowed in effect. */
    public function output(): int
    {
        return $this->outputBytes ?? self::DEFAULT_OUTPUT_BYTES;
    }

    private static function check(string $field, int $value): void
    {
        $most = self::MAX[$field];
        if ($value < 1 || $value > $most) {
            throw new InvalidJob($field, "$value is out of range, 1 to $most is allowed");
        }
    }
}
