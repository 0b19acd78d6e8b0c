<?php

declare(strict_types=1);

namespace Phase;

use Phase\Transport\Paths;

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
        $pair = sodium_crypto_sign_seed_keypair(Pem::read($this->file ?? Paths::identity(), Pem::PRIVATE));
        return Pin::key(sodium_crypto_sign_publickey($pair));
    }
}
