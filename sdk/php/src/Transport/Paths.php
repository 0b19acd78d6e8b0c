<?php

declare(strict_types=1);

namespace Phase\Transport;

/** Where plasmd keeps things on this machine: one place for root, another for everybody else. */
final class Paths
{
    public static function socket(): string
    {
        $run = self::isRoot() ? '/run' : self::folder('XDG_RUNTIME_DIR', '/run');
        return "$run/phase/plasmd.sock";
    }

    public static function identity(): string
    {
        $data = self::isRoot() ? '/var/lib' : self::folder('XDG_DATA_HOME', getenv('HOME') . '/.local/share');
        return "$data/phase/identity.pem";
    }

    /** A folder of the XDG base directory specification, which has relative ones ignored. */
    private static function folder(string $variable, string $default): string
    {
        $folder = (string) getenv($variable);
        return str_starts_with($folder, '/') ? $folder : $default;
    }

    private static function isRoot(): bool
    {
        return @fileowner('/proc/self') === 0; // the effective user, without ext-posix
    }
}
