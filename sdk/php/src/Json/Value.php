<?php

declare(strict_types=1);

namespace Phase\Json;

use Phase\Exception\InvalidJson;

/**
 * One JSON value, with the text it stands in: digests and signatures are of
 * bytes as they are, never of a second encoding. What is in it is read when it
 * is asked for.
 */
final class Value
{
    /**
     * @internal only a Reader makes values, of what it has checked
     */
    public function __construct(
        public readonly Kind $kind,
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
        $members = [];
        $this->each(static function (string $name, Value $value) use (&$members): void {
            $members[$name] = $value;
        });
        return $members;
    }

    /**
     * The members of an object of strings alone.
     *
     * @return array<int|string, string>
     * @throws InvalidJson
     */
    public function strings(): array
    {
        return array_map(static fn (Value $value): string => $value->string(), $this->members());
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
        $this->each(static function (string $name, Value $value) use ($loose, &$found): void {
            $known = $loose[CaseFold::loose($name)] ?? null;
            if ($known !== null && $known !== $name) {
                throw new InvalidJson("a name differs from the known $known only in case");
            }
            if ($known !== null) {
                $found[$name] = $value;
            }
        });
        return $found;
    }

    /**
     * The items of a list of at most so many.
     *
     * @return list<Value>
     * @throws InvalidJson
     */
    public function items(int $most = PHP_INT_MAX): array
    {
        $this->must(Kind::List);
        $items = [];
        Reader::items($this->document, $this->from, static function (Value $value) use (&$items, $most): void {
            if (count($items) === $most) {
                throw new InvalidJson("a list has more than $most items");
            }
            $items[] = $value;
        });
        return $items;
    }

    /** @throws InvalidJson */
    public function string(): string
    {
        $this->must(Kind::Text);
        return Reader::text($this->document, $this->from);
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

    /**
     * @param callable(string, Value): void $each
     * @throws InvalidJson
     */
    private function each(callable $each): void
    {
        $this->must(Kind::Object);
        Reader::members($this->document, $this->from, $each);
    }

    private function must(Kind $wanted): void
    {
        if ($this->kind !== $wanted) {
            throw new InvalidJson("{$wanted->value} is wanted, not {$this->kind->value}");
        }
    }
}
