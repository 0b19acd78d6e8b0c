<?php

declare(strict_types=1);

namespace Phase\Json;

use Phase\Exception\InvalidJson;

/**
 * Base64 as it stands in documents: standard or URL-safe, padded, with no line
 * breaks, no stray bits and not both alphabets in one text (RFC 4648 §3.5, §12).
 */
final class Base64
{
    /** @throws InvalidJson */
    public static function decode(string $text): string
    {
        $standard = strpbrk($text, '-_') === false ? $text : strtr($text, '-_+/', '+/**');
        // PHP forgives white space, missing padding and stray bits, even when
        // strict. Only the last four characters can hold those last two.
        $last = substr($standard, -4);
        if (
            strlen($standard) % 4 !== 0
            || preg_match('/^[A-Za-z0-9+\/]*+={0,2}$/D', $standard) !== 1
            || base64_encode((string) base64_decode($last, true)) !== $last
        ) {
            throw new InvalidJson('text is not strict base64');
        }
        return base64_decode($standard, true);
    }
}
