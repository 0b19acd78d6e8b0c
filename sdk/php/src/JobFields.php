<?php

declare(strict_types=1);

namespace Phase;

use Phase\Exception\InvalidJob;
use Phase\Exception\InvalidJson;
use Phase\Json\Kind;
use Phase\Json\Value;

/** The fields of a job file as they are read, one by one. */
final class JobFields
{
    /** @param array<int|string, Value> $members */
    public function __construct(private readonly array $members)
    {
    }

    /** @throws InvalidJob null is neither given nor left out */
    public function refuseNull(): void
    {
        foreach ($this->members as $name => $value) {
            if ($value->isNull()) {
                throw new InvalidJob((string) $name, 'is null; leave it out instead');
            }
        }
    }

    /** @throws InvalidJob|InvalidJson */
    public function integer(string $field): int
    {
        return $this->need($field)->integer();
    }

    /** @throws InvalidJob|InvalidJson */
    public function string(string $field): string
    {
        return $this->need($field)->string();
    }

    /** @throws InvalidJob|InvalidJson */
    public function digest(string $field): string
    {
        $text = $this->string($field);
        if (!Digest::isDigest($text)) {
            throw new InvalidJob($field, 'is no digest, which is sha256: and 64 lower-case hex digits');
        }
        return $text;
    }

    /**
     * A list or an object of strings; empty when it is not there.
     *
     * @return array<int|string, string>
     * @throws InvalidJob
     */
    public function strings(string $field, Kind $kind): array
    {
        if (!isset($this->members[$field])) {
            return [];
        }
        try {
            $value = $this->members[$field];
            $list = $kind === Kind::List ? $value->items() : $value->members();
            return array_map(static fn (Value $v): string => $v->string(), $list);
        } catch (InvalidJson) {
            throw new InvalidJob($field, "must be {$kind->value} of strings");
        }
    }

    private function need(string $field): Value
    {
        return $this->members[$field] ?? throw new InvalidJob($field, 'is missing');
    }
}
