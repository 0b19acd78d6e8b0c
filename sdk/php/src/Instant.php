<?php

declare(strict_types=1);

namespace Phase;

use Phase\Exception\InvalidJson;

/** A time as receipts write it: RFC 3339, to the nanosecond. */
final class Instant
{
    private const FORM = '/^([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?'
        . '(Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$/D';

    private function __construct(
        /** As it was written. */
        public readonly string $text,
        /** Since 1970, UTC. */
        public readonly int $seconds,
        /** Within the second, cut at nanoseconds. */
        public readonly int $nanoseconds,
    ) {
    }

    /** @throws InvalidJson */
    public static function read(string $text): self
    {
        if (preg_match(self::FORM, $text, $part) !== 1) {
            throw new InvalidJson('a time is written like 2026-11-23T12:00:00.5Z');
        }
        [, $year, $month, $day, $hour, $minute, $second, $fraction, $zone] = $part;
        // checkdate() knows no year 0, which is a leap year as 4 is.
        $isDay = checkdate((int) $month, (int) $day, (int) $year ?: 4);
        if (!$isDay || $hour > '23' || $minute > '59' || $second > '59') {
            throw new InvalidJson('there is no such day or hour');
        }
        $time = new \DateTimeImmutable("$year-$month-{$day}T$hour:$minute:$second$zone");
        return new self($text, $time->getTimestamp(), (int) substr(str_pad($fraction, 9, '0'), 0, 9));
    }

    public function isBefore(self $other): bool
    {
        return [$this->seconds, $this->nanoseconds] < [$other->seconds, $other->nanoseconds];
    }
}
