<?php

declare(strict_types=1);

namespace Phase;

/** What others wrote, made fit for a message that reaches logs and terminals. */
final class Text
{
    private const MAX_BYTES = 500;

    /** Without control characters, not even those that turn text around, and not long. */
    public static function clean(string $text): string
    {
        $text = substr($text, 0, self::MAX_BYTES);
        $clean = preg_replace('/[\p{C}\x{2028}\x{2029}]+/u', ' ', $text);
        return $clean ?? preg_replace('/[^\x20-\x7e]+/', ' ', $text); // null: no UTF-8, or cut within a character
    }
}
