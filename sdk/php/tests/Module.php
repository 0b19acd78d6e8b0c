<?php

declare(strict_types=1);

namespace Phase\Tests;

/** Assembles small WASI modules that do one thing each. */
final class Module
{
    private const FD_WRITE = 0;
    private const PROC_EXIT = 1;

    /**
     * Writes each piece to its descriptor, 1 or 2, in this order, and exits.
     *
     * @param list<array{int, string}> $pieces
     */
    public static function writes(array $pieces, int $exit = 0): string
    {
        $data = '';
        $code = '';
        foreach ($pieces as [$descriptor, $bytes]) {
            $vector = strlen($data);
            $data .= pack('VV', $vector + 16, strlen($bytes)) . str_repeat("\0", 8) . $bytes;
            $data .= str_repeat("\0", -strlen($data) & 7);
            $arguments = [$descriptor, $vector, 1, $vector + 8];
            $code .= implode('', array_map(self::number(...), $arguments)) . "\x10" . chr(self::FD_WRITE) . "\x1a";
        }
        return self::module($code . self::number($exit) . "\x10" . chr(self::PROC_EXIT), $data);
    }

    public static function loops(): string
    {
        return self::module("\x03\x40\x0c\x00\x0b", '');
    }

    /** Writes once to its standard output, and never ends. */
    public static function writesAndLoops(string $bytes): string
    {
        $call = implode('', array_map(self::number(...), [1, 0, 1, 8])) . "\x10" . chr(self::FD_WRITE) . "\x1a";
        return self::module($call . "\x03\x40\x0c\x00\x0b", pack('VVVV', 16, strlen($bytes), 0, 0) . $bytes);
    }

    public static function traps(): string
    {
        return self::module("\x00", '');
    }

    /** Writes 64 KiB to its standard output for ever. */
    public static function floods(): string
    {
        $arguments = [1, 0, 1, 8];
        $call = implode('', array_map(self::number(...), $arguments)) . "\x10" . chr(self::FD_WRITE) . "\x1a";
        return self::module("\x03\x40" . $call . "\x0c\x00\x0b", pack('VV', 0, 1 << 16));
    }

    /** Has this many pages of 64 KiB from the beginning. */
    public static function needs(int $pages): string
    {
        return self::module('', '', $pages);
    }

    private static function module(string $code, string $data, int $pages = 0): string
    {
        $pages = max($pages, (strlen($data) >> 16) + 2);
        $import = static fn (string $name, int $type): string =>
            self::text('wasi_snapshot_preview1') . self::text($name) . "\x00" . chr($type);
        $body = "\x00" . $code . "\x0b";
        return "\0asm\1\0\0\0"
            . self::section(1, "\x03\x60\x04\x7f\x7f\x7f\x7f\x01\x7f" . "\x60\x01\x7f\x00" . "\x60\x00\x00")
            . self::section(2, "\x02" . $import('fd_write', 0) . $import('proc_exit', 1))
            . self::section(3, "\x01\x02")
            . self::section(5, "\x01\x00" . self::unsigned($pages))
            . self::section(7, "\x02" . self::text('memory') . "\x02\x00" . self::text('_start') . "\x00\x02")
            . self::section(10, "\x01" . self::unsigned(strlen($body)) . $body)
            . self::section(11, "\x01\x00\x41\x00\x0b" . self::unsigned(strlen($data)) . $data);
    }

    private static function section(int $id, string $content): string
    {
        return chr($id) . self::unsigned(strlen($content)) . $content;
    }

    private static function text(string $text): string
    {
        return chr(strlen($text)) . $text;
    }

    /** i32.const, whose number is signed LEB128. */
    private static function number(int $value): string
    {
        $out = '';
        for (; $value > 63; $value >>= 7) {
            $out .= chr($value & 127 | 128);
        }
        return "\x41" . $out . chr($value);
    }

    private static function unsigned(int $value): string
    {
        $out = '';
        for (; $value > 127; $value >>= 7) {
            $out .= chr($value & 127 | 128);
        }
        return $out . chr($value);
    }
}
