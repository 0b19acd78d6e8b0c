<?php

declare(strict_types=1);

namespace Phase;

use Phase\Exception\InvalidKey;

/** Ed25519 keys in PEM files: one block, and nothing beside it. */
final class Pem
{
    /** What stands before the 32 bytes of the key in SPKI and in PKCS#8 (RFC 8410). */
    public const PUBLIC = ['PUBLIC KEY', "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"];
    public const PRIVATE = ['PRIVATE KEY', "\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"];

    private const MAX_BYTES = 16 << 10;

    /**
     * @param array{string, string} $kind PUBLIC or PRIVATE
     * @return string the 32 bytes of the public key, or of the seed of the private one
     * @throws InvalidKey
     */
    public static function read(string $file, array $kind): string
    {
        [$label, $prefix] = $kind;
        $pem = @file_get_contents($file, false, null, 0, self::MAX_BYTES);
        if ($pem === false) {
            throw new InvalidKey("the key file $file cannot be read");
        }
        $form = "/^-----BEGIN $label-----\\s+([A-Za-z0-9+\\/=\\s]+)-----END $label-----\\s*$/D";
        // base64_decode() passes line breaks over.
        $der = preg_match($form, $pem, $match) === 1 ? base64_decode($match[1], true) : false;
        if ($der === false || strlen($der) !== strlen($prefix) + 32 || !str_starts_with($der, $prefix)) {
            throw new InvalidKey("$file does not hold an Ed25519 key as PEM block \"$label\" and nothing else");
        }
        return substr($der, -32);
    }
}
