<?php

declare(strict_types=1);

namespace Phase;

/** Base58 with Bitcoin's alphabet, in which peer ids are written. */
final class Base58
{
    private const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

    public static function encode(string $data): string
    {
        $digits = self::convert(array_values(unpack('C*', $data)), 256, 58);
        $text = str_repeat('1', strspn($data, "\0"));
        foreach ($digits as $digit) {
            $text .= self::ALPHABET[$digit];
        }
        return $text;
    }

    /** The bytes, or null for text that is no base58. Time grows with the square of the length. */
    public static function decode(string $text): ?string
    {
        if (strspn($text, self::ALPHABET) !== strlen($text)) {
            return null;
        }
        $digits = array_map(static fn (string $c): int => (int) strpos(self::ALPHABET, $c), str_split($text));
        return str_repeat("\0", strspn($text, '1')) . pack('C*', ...self::convert($digits, 58, 256));
    }

    /**
     * Writes a number in another base, without zeros in front.
     *
     * @param list<int> $digits
     * @return list<int>
     */
    private static function convert(array $digits, int $from, int $to): array
    {
        $out = [];
        while ($digits !== []) {
            $rest = 0;
            $quotient = [];
            foreach ($digits as $digit) {
                $rest = $rest * $from + $digit;
                $next = intdiv($rest, $to);
                $rest %= $to;
                if ($quotient !== [] || $next !== 0) {
                    $quotient[] = $next;
                }
            }
            if ($quotient !== [] || $rest !== 0) {
                $out[] = $rest;
            }
            $digits = $quotient;
        }
        return array_reverse($out);
    }
}
