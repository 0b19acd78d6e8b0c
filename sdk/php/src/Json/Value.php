<?php

declare(strict_types=1);

namespace Phase\Json;

use Phase\Exception\InvalidJson;

/**
 * One JSON value, with the text it was read from: digests and signatures are
 * of bytes as they stand, never of a second encoding.
 */
final class Value
{
    /**
     * @internal only a Reader makes values
     * @param array<int|string, Value>|string|bool|null $inner members by name, items, the decoded string, the bool
     */
    public function __construct(
        public readonly Kind $kind,
        private readonly array|string|bool|null $inner,
        private readonly string $document,
        private readonly int $from,
        private readonly int $length,
    ) {
    }

    /** The value as it stands in the document. */
    public function text(): string
    {
        return substr($this->document, $this->from, $this->length);
    }

    /**
     * The members of an object. PHP makes integers of names like "0".
     *
     * @return array<int|string, Value>
     * @throws InvalidJson
     */
    public function members(): array
    {
        return $this->inner(Kind::Object);
    }

    /**
     * The members of an object of which these names are known. Unknown names
     * are ignored, but one that a lenient reader takes for a known one is
     * refused: it would see another document.
     *
     * @return array<string, Value>
     * @throws InvalidJson
     */
    public function known(string ...$names): array
    {
        $found = [];
        $loose = [];
        foreach ($names as $name) {
            $loose[CaseFold::loose($name)] = $name;
        }
        foreach ($this->members() as $name => $value) {
            $name = (string) $name;
            $known = $loose[CaseFold::loose($name)] ?? null;
            if ($known !== null && $known !== $name) {
                throw new InvalidJson("a name differs from the known $known only in case");
            }
            if ($known !== null) {
                $found[$name] = $value;
            }
        }
        return $found;
    }

    /**
     * @return list<Value>
     * @throws InvalidJson
     */
    public function items(): array
    {
        return $this->inner(Kind::List);
    }

    /** @throws InvalidJson */
    public function string(): string
    {
        return $this->inner(Kind::Text);
    }

    /**
     * An integer, written as one: 5.0 and 5e0 are not.
     *
     * @throws InvalidJson
     */
    public function integer(): int
    {
        $text = $this->kind === Kind::Number ? $this->text() : $this->kind->value;
        if (preg_match('/^-?[0-9]+$/D', $text) !== 1) {
            throw new InvalidJson('an integer is wanted, not ' . substr($text, 0, 32));
        }
        return (int) $text;
    }

    /** @throws InvalidJson */
    public function number(): float
    {
        if ($this->kind !== Kind::Number) {
            throw new InvalidJson('a number is wanted, not ' . $this->kind->value);
        }
        return (float) $this->text();
    }

    public function isNull(): bool
    {
        return $this->kind === Kind::Null;
    }

    private function inner(Kind $wanted): mixed
    {
        if ($this->kind !== $wanted) {
            throw new InvalidJson("{$wanted->value} is wanted, not {$this->kind->value}");
        }
        return $this->inner;
    }
}
