<?php

declare(strict_types=1);

namespace Phase;

use Phase\Exception\InvalidJson;
use Phase\Json\Base64;
use Phase\Json\Reader;
use Phase\Json\Value;

/**
 * A DSSE v1 envelope (https://github.com/secure-systems-lab/dsse): a document
 * with its type, and Ed25519 signatures over both.
 */
final class Envelope
{
    private const MAX_SIGNATURES = 32;

    /** @param list<string> $signatures raw */
    private function __construct(
        public readonly string $payloadType,
        /** The exact bytes that were signed; not to be read before a signature holds. */
        public readonly string $payload,
        private readonly array $signatures,
    ) {
    }

    /**
     * Reads an envelope of at most 1 MiB. Says nothing about who signed.
     *
     * @throws InvalidJson
     */
    public static function read(string $data): self
    {
        $fields = Reader::read($data)->known('payloadType', 'payload', 'signatures');
        foreach (['payloadType', 'payload', 'signatures'] as $name) {
            if (!isset($fields[$name])) {
                throw new InvalidJson("the envelope has no $name");
            }
        }
        return new self(
            $fields['payloadType']->string(),
            Base64::decode($fields['payload']->string()),
            array_map(self::signature(...), $fields['signatures']->items(self::MAX_SIGNATURES)),
        );
    }

    /** The keyid beside a signature is a hint that nobody signed, and is not used. */
    private static function signature(Value $value): string
    {
        $fields = $value->known('keyid', 'sig');
        if (isset($fields['keyid'])) {
            $fields['keyid']->string();
        }
        return Base64::decode(isset($fields['sig']) ? $fields['sig']->string() : '');
    }

    /** Whether this node has signed exactly this payload under this type. */
    public function isSignedBy(Pin $node): bool
    {
        $message = self::pae($this->payloadType, $this->payload);
        foreach ($this->signatures as $signature) {
            if (
                strlen($signature) === SODIUM_CRYPTO_SIGN_BYTES
                && sodium_crypto_sign_verify_detached($signature, $message, $node->key)
            ) {
                return true;
            }
        }
        return false;
    }

    /** DSSE's pre-authentication encoding: the bytes that are signed. */
    public static function pae(string $type, string $payload): string
    {
        return 'DSSEv1 ' . strlen($type) . " $type " . strlen($payload) . " $payload";
    }
}
