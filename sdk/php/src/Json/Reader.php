<?php

declare(strict_types=1);

namespace Phase\Json;

use Phase\Exception\InvalidJson;
use Phase\Exception\TooLarge;

/**
 * Reads the JSON that strangers send. Two programs that read the same bytes
 * must see the same document, so whatever two readers could disagree about is
 * refused: names that come twice, in the same or another case, invalid UTF-8,
 * trailing bytes, numbers that no double holds exactly, and documents deeper or
 * longer than any of ours. PHP's own json_decode takes the last of two names
 * and rounds large integers; here it only decodes single strings.
 */
final class Reader
{
    /** The largest document, in bytes, unless told otherwise: 1 MiB. */
    public const MAX_BYTES = 1 << 20;

    /** The largest number: 2^53-1, the last integer that every reader holds. */
    public const MAX_NUMBER = (1 << 53) - 1;

    /** How deep objects and lists may nest. */
    public const MAX_DEPTH = 64;

    private const SPACE = " \t\r\n";
    private const NUMBER = '/\G-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?/';

    private int $at = 0;
    private int $depth = 0;

    private function __construct(private readonly string $text)
    {
    }

    /**
     * Reads one JSON value with nothing after it.
     *
     * @param int $limit the most bytes that are read
     * @throws TooLarge over the limit; nothing was read
     * @throws InvalidJson
     */
    public static function read(string $text, int $limit = self::MAX_BYTES): Value
    {
        if (strlen($text) > $limit) {
            throw new TooLarge(sprintf('the document has %d bytes, at most %d are read', strlen($text), $limit));
        }
        $reader = new self($text);
        $value = $reader->value();
        $reader->space();
        if ($reader->at !== strlen($text)) {
            throw $reader->problem('something stands after the end');
        }
        return $value;
    }

    private function value(): Value
    {
        $this->space();
        $from = $this->at;
        $first = $this->text[$from] ?? '';
        [$kind, $inner] = match (true) {
            $first === '{' => [Kind::Object, $this->nested($this->object(...))],
            $first === '[' => [Kind::List, $this->nested($this->list(...))],
            $first === '"' => [Kind::Text, $this->string()],
            $first === 't' => [Kind::Bool, $this->word('true', true)],
            $first === 'f' => [Kind::Bool, $this->word('false', false)],
            $first === 'n' => [Kind::Null, $this->word('null', null)],
            default => [Kind::Number, $this->number()],
        };
        return new Value($kind, $inner, $this->text, $from, $this->at - $from);
    }

    /** @return array<int|string, Value> */
    private function object(): array
    {
        $members = [];
        $folded = [];
        if ($this->next('}')) {
            return $members;
        }
        do {
            $this->space();
            $name = $this->string();
            $fold = CaseFold::fold($name);
            if (isset($folded[$fold])) {
                throw $this->problem('a name comes twice in one object');
            }
            $folded[$fold] = true;
            $this->need(':');
            $members[$name] = $this->value();
        } while ($this->next(','));
        $this->need('}');
        return $members;
    }

    /** @return list<Value> */
    private function list(): array
    {
        $items = [];
        if ($this->next(']')) {
            return $items;
        }
        do {
            $items[] = $this->value();
        } while ($this->next(','));
        $this->need(']');
        return $items;
    }

    /**
     * @param callable(): array<int|string, Value> $read
     * @return array<int|string, Value>
     */
    private function nested(callable $read): array
    {
        if (++$this->depth > self::MAX_DEPTH) {
            throw $this->problem('nested more than ' . self::MAX_DEPTH . ' deep');
        }
        $this->at++;
        $inner = $read();
        $this->depth--;
        return $inner;
    }

    private function string(): string
    {
        $from = $this->at;
        if (($this->text[$from] ?? '') !== '"') {
            throw $this->problem('a string is wanted');
        }
        $end = $from + 1;
        $plain = true;
        for (;;) {
            $end += strcspn($this->text, '"\\', $end);
            $stop = $this->text[$end] ?? throw $this->problem('a string has no end');
            if ($stop === '"') {
                break;
            }
            $plain = false;
            $end += 2;
        }
        $this->at = $end + 1;
        $string = substr($this->text, $from, $this->at - $from);
        if ($plain && preg_match('/^"[\x20-\x7f]*+"$/D', $string) === 1) {
            return substr($string, 1, -1);
        }
        // One string leaves json_decode nothing to be lenient about: it refuses
        // control characters, invalid UTF-8 and half surrogate pairs.
        $decoded = json_decode($string);
        if (!is_string($decoded)) {
            throw $this->problem('a string is invalid: ' . json_last_error_msg());
        }
        return $decoded;
    }

    private function number(): ?string
    {
        if (preg_match(self::NUMBER, $this->text, $match, 0, $this->at) !== 1) {
            throw $this->problem($this->at === strlen($this->text) ? 'it ends too early' : 'a value is wanted');
        }
        if (abs((float) $match[0]) > self::MAX_NUMBER) {
            throw $this->problem('a number is not below 2^53');
        }
        $this->at += strlen($match[0]);
        return null;
    }

    private function word(string $word, ?bool $means): ?bool
    {
        if (substr_compare($this->text, $word, $this->at, strlen($word)) !== 0) {
            throw $this->problem('a value is wanted');
        }
        $this->at += strlen($word);
        return $means;
    }

    private function space(): void
    {
        $this->at += strspn($this->text, self::SPACE, $this->at);
    }

    private function next(string $sign): bool
    {
        $this->space();
        if (($this->text[$this->at] ?? '') !== $sign) {
            return false;
        }
        $this->at++;
        return true;
    }

    private function need(string $sign): void
    {
        if (!$this->next($sign)) {
            throw $this->problem("$sign is wanted");
        }
    }

    private function problem(string $what): InvalidJson
    {
        return new InvalidJson("$what, at byte {$this->at}");
    }
}
