<?php

declare(strict_types=1);

namespace Phase;

/** SHA-256, as jobs and receipts write it. */
final class Digest
{
    /** "sha256:" and 64 lower-case hex digits. */
    public static function of(string $data): string
    {
        return 'sha256:' . hash('sha256', $data);
    }

    public static function isDigest(string $text): bool
    {
        return str_starts_with($text, 'sha256:') && self::isHex(substr($text, 7), 32);
    }

    /** Whether text is so many bytes in lower-case hex. */
    public static function isHex(string $text, int $bytes): bool
    {
        return strlen($text) === 2 * $bytes && strspn($text, '0123456789abcdef') === 2 * $bytes;
    }
}
