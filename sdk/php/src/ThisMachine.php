<?php

declare(strict_types=1);

namespace Phase;

/**
 * The identity with which plasmd signs what it runs for this user on this
 * machine. It is read when it is first needed, as plasmd makes it with its
 * first receipt.
 */
final class ThisMachine implements Pinned
{
    /** @param string|null $file identity.pem; null for where plasmd keeps it */
    public function __construct(private readonly ?string $file = null)
    {
    }

    public function pin(): Pin
    {
        $pair = sodium_crypto_sign_seed_keypair(Pem::read($this->file ?? self::file(), Pem::PRIVATE));
        return Pin::key(sodium_crypto_sign_publickey($pair));
    }

    /** Where plasmd keeps it: for root in /var/lib/phase, else by the XDG base directories. */
    private static function file(): string
    {
        if (@fileowner('/proc/self') === 0) { // who runs this, without ext-posix
            return '/var/lib/phase/identity.pem';
        }
        $data = (string) getenv('XDG_DATA_HOME');
        if (!str_starts_with($data, '/')) {
            $data = getenv('HOME') . '/.local/share';
        }
        return "$data/phase/identity.pem";
    }
}
