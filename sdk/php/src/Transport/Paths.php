<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Exception\InvalidKey;
use Phase\Exception\TransportFailed;

/** Where plasmd keeps things on this machine: one place for root, another for other users. */
final class Paths
{
    /**
     * @param bool|null $root whether for root; null for the user that runs this
     * @throws TransportFailed HOME is not set
     */
    public static function socket(?bool $root = null): string
    {
        if ($root ?? self::isRoot()) {
            return '/run/phase/plasmd.sock';
        }
        // Without a folder for the session it is beside the identity.
        $folder = self::folder('XDG_RUNTIME_DIR') ?? self::data();
        return ($folder ?? throw new TransportFailed('where the socket is cannot be told: HOME is not set')) . '/phase/plasmd.sock';
    }

    /**
     * @param bool|null $root as of socket()
     * @throws InvalidKey HOME is not set
     */
    public static function identity(?bool $root = null): string
    {
        $folder = ($root ?? self::isRoot()) ? '/var/lib' : self::data();
        return ($folder ?? throw new InvalidKey('where the identity is cannot be told: HOME is not set')) . '/phase/identity.pem';
    }

    private static function data(): ?string
    {
        $home = (string) getenv('HOME');
        return self::folder('XDG_DATA_HOME') ?? ($home === '' ? null : "$home/.local/share");
    }

    /** A folder of the XDG base directory specification, which has relative ones ignored. */
    private static function folder(string $variable): ?string
    {
        $folder = (string) getenv($variable);
        return str_starts_with($folder, '/') ? $folder : null;
    }

    private static function isRoot(): bool
    {
        return @fileowner('/proc/self') === 0; // the effective user, without ext-posix
    }
}
