<?php

declare(strict_types=1);

namespace Phase\Json;

/**
 * Maps names that differ only in case to one string, in every script, without
 * ext-mbstring: which letters meet is asked of PCRE, which knows Unicode.
 */
final class CaseFold
{
    /** Letters that have a case, and the few signs beside them that do. */
    private const CASED = '/[\p{L&}\x{345}\x{2160}-\x{2188}\x{24B6}-\x{24E9}]/u';

    /** @var array<string, string> what each letter seen is mapped to */
    private static array $seen = [];

    /** One string of each set of letters that meet. */
    private static string $first = 'abcdefghijklmnopqrstuvwxyz';

    /** @param string $name valid UTF-8 */
    public static function fold(string $name): string
    {
        $name = strtolower($name); // since PHP 8.0 without a locale: a later one must not change it
        if (preg_match('/[^\x00-\x7f]/', $name) !== 1) {
            return $name;
        }
        // Turkish i with and without a dot meet i on one of the two ways.
        $name = strtr($name, ["\u{130}" => 'i', "\u{131}" => 'i']);
        return preg_replace_callback(self::CASED, self::letter(...), $name);
    }

    /** As the most lenient readers compare names: without case, _ and -. */
    public static function loose(string $name): string
    {
        return str_replace(['_', '-'], '', self::fold($name));
    }

    /** @param array{string} $match */
    private static function letter(array $match): string
    {
        $letter = $match[0];
        if (strlen($letter) === 1) {
            return $letter;
        }
        if (!isset(self::$seen[$letter])) {
            if (preg_match('/' . $letter . '/iu', self::$first, $found) === 1) {
                self::$seen[$letter] = $found[0];
            } else {
                self::$seen[$letter] = $letter;
                self::$first .= $letter;
            }
        }
        return self::$seen[$letter];
    }
}
