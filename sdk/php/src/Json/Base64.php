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
        $data = base64_decode($standard, true);
        // PHP forgives white space, missing padding and stray bits, even when
        // strict; encoding again does not.
        if ($data === false || base64_encode($data) !== $standard) {
            throw new InvalidJson('text is not strict base64');
        }
        return $data;
    }
}
