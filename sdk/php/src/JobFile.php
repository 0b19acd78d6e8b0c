<?php

declare(strict_types=1);

namespace Phase;

use Phase\Exception\InvalidJob;
use Phase\Exception\InvalidJson;
use Phase\Json\Kind;
use Phase\Json\Reader;
use Phase\Json\Value;

/**
 * The file that says what is asked: which module, with which arguments and
 * input, within which limits. The digest of its bytes is the name of the job,
 * and receipts carry the digests of its parts as they stand in it.
 */
final class JobFile
{
    public const VERSION = '1.0';

    private const MAX_STRINGS = 4096;
    private const MAX_STRING_BYTES = 512 << 10;
    private const FIELDS = [
        'version', 'module_hash', 'cpu_cores', 'memory_mb', 'timeout_seconds', 'output_bytes',
        'args', 'env', 'stdin_hash',
    ];
    private const WRITE = JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_LINE_TERMINATORS;

    /**
     * @param string $bytes the file
     * @param list<string> $args
     * @param array<string, string> $env
     */
    private function __construct(
        public readonly string $bytes,
        public readonly string $moduleHash,
        public readonly Limits $limits,
        public readonly array $args,
        public readonly array $env,
        public readonly ?string $stdinHash,
        public readonly string $argsSha256,
        public readonly string $envSha256,
    ) {
    }

    /** The job_id. */
    public function id(): string
    {
        return Digest::of($this->bytes);
    }

    /**
     * Writes a job file.
     *
     * @param list<string> $args UTF-8, without the program's name
     * @param array<int|string, string> $env UTF-8
     * @throws InvalidJob
     */
    public static function write(string $moduleHash, Limits $limits, array $args, array $env, ?string $stdinHash): self
    {
        if (!array_is_list($args)) {
            throw new InvalidJob('args', 'must be a list of strings, without keys');
        }
        ksort($env, SORT_STRING);
        $fields = [
            'version' => self::VERSION,
            'module_hash' => $moduleHash,
            'cpu_cores' => $limits->cpuCores,
            'memory_mb' => $limits->memoryMb,
            'timeout_seconds' => $limits->timeoutSeconds,
            'output_bytes' => $limits->outputBytes,
            'args' => $args === [] ? null : $args,
            'env' => $env === [] ? null : (object) $env,
            'stdin_hash' => $stdinHash,
        ];
        $text = json_encode(array_filter($fields, static fn (mixed $v): bool => $v !== null), self::WRITE);
        if ($text === false) {
            throw new InvalidJob('args', 'arguments and environment must be UTF-8; other bytes go by stdin');
        }
        try {
            return self::read($text);
        } catch (InvalidJson $e) {
            throw new InvalidJob('args', 'no job file can say this: ' . $e->getMessage());
        }
    }

    /**
     * Reads a job file of at most 1 MiB. Fields that are unknown, missing, null
     * or out of range are refused.
     *
     * @throws InvalidJson it is no JSON of which there is one reading, or not an object of these fields
     * @throws InvalidJob a field is wrong
     */
    public static function read(string $bytes): self
    {
        $members = Reader::read($bytes)->members();
        foreach ($members as $name => $value) {
            if (!in_array($name, self::FIELDS, true)) {
                throw new InvalidJson('unknown field ' . substr((string) $name, 0, 40));
            }
        }
        $fields = new JobFields($members);
        $fields->refuseNull();
        $limits = new Limits(
            cpuCores: $fields->integer('cpu_cores'),
            memoryMb: $fields->integer('memory_mb'),
            timeoutSeconds: $fields->integer('timeout_seconds'),
            outputBytes: isset($members['output_bytes']) ? $fields->integer('output_bytes') : null,
        );
        if ($fields->string('version') !== self::VERSION) {
            throw new InvalidJob('version', 'is not known, ' . self::VERSION . ' is');
        }
        $args = $fields->strings('args', Kind::List);
        $env = $fields->strings('env', Kind::Object);
        self::checkStrings($args, $env);
        return new self(
            $bytes,
            $fields->digest('module_hash'),
            $limits,
            array_values($args),
            $env,
            isset($members['stdin_hash']) ? $fields->digest('stdin_hash') : null,
            hash('sha256', isset($members['args']) ? $members['args']->text() : '[]'),
            hash('sha256', isset($members['env']) ? $members['env']->text() : '{}'),
        );
    }

    /**
     * Refuses what no program could be given.
     *
     * @param array<int|string, string> $args
     * @param array<int|string, string> $env
     */
    private static function checkStrings(array $args, array $env): void
    {
        foreach (['args' => $args, 'env' => $env] as $field => $list) {
            if (count($list) > self::MAX_STRINGS) {
                $problem = '%d of them, at most %d are allowed';
                throw new InvalidJob($field, sprintf($problem, count($list), self::MAX_STRINGS));
            }
        }
        $total = 0;
        foreach ($args as $i => $arg) {
            if (str_contains($arg, "\0")) {
                throw new InvalidJob('args', sprintf('argument %d holds a NUL byte', (int) $i + 1));
            }
            $total += strlen($arg) + 1;
        }
        foreach ($env as $name => $value) {
            $name = (string) $name;
            if ($name === '' || strpbrk($name, "=\0") !== false || str_contains($value, "\0")) {
                throw new InvalidJob('env', 'a name is not empty and holds no "=", neither name nor value a NUL byte');
            }
            $total += strlen($name) + strlen($value) + 2;
        }
        if ($total > self::MAX_STRING_BYTES) {
            $problem = 'arguments and environment are %d bytes, at most %d are allowed';
            throw new InvalidJob('args', sprintf($problem, $total, self::MAX_STRING_BYTES));
        }
    }
}
