<?php

declare(strict_types=1);

namespace Phase;

use Phase\Exception\InvalidKey;

/**
 * The node that is asked, and so the only one whose receipts count: an Ed25519
 * key, which is also its libp2p peer id. It comes from outside (the node's
 * console, a key file), never from a receipt.
 */
final class Pin implements Pinned
{
    /**
     * What stands before the key in a peer id: an identity multihash of the
     * protobuf key (https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md).
     */
    private const PEER = "\x00\x24\x08\x01\x12\x20";

    private const MAX_PEER_ID = 64;

    /** @param string $key 32 raw bytes */
    private function __construct(public readonly string $key, public readonly string $peerId)
    {
    }

    /**
     * From a peer id, "12D3KooW…", as the node prints it.
     *
     * @throws InvalidKey
     */
    public static function peer(string $peerId): self
    {
        $data = strlen($peerId) <= self::MAX_PEER_ID ? Base58::decode($peerId) : null;
        if ($data === null || !str_starts_with($data, self::PEER)) {
            throw new InvalidKey('that is no peer id of an Ed25519 key, 52 characters from 12D3KooW on');
        }
        return self::key(substr($data, strlen(self::PEER)));
    }

    /**
     * From the 32 raw bytes of a public key.
     *
     * @throws InvalidKey
     */
    public static function key(string $key): self
    {
        if (strlen($key) !== SODIUM_CRYPTO_SIGN_PUBLICKEYBYTES) {
            throw new InvalidKey(sprintf('a public key has 32 bytes, not %d', strlen($key)));
        }
        return new self($key, Base58::encode(self::PEER . $key));
    }

    /**
     * From a file with a public key, SPKI PEM.
     *
     * @throws InvalidKey
     */
    public static function file(string $path): self
    {
        return self::key(Pem::read($path, Pem::PUBLIC));
    }

    public function pin(): self
    {
        return $this;
    }
}
