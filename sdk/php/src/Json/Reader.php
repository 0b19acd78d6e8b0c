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
    /** The largest document, in bytes, where the caller names no other limit: 1 MiB. */
    public const MAX_BYTES = 1 << 20;

    /** The largest number: 2^53-1, the last integer that every reader holds. */
    public const MAX_NUMBER = (1 << 53) - 1;

    /** How deep objects and lists may nest. */
    public const MAX_DEPTH = 64;

    private const SPACE = " \t\r\n";
    private const NUMBER = '/\G-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?/';
    /** A string that says what it means: no escapes, nothing to be invalid. */
    private const PLAIN = '/\G"[\x20\x21\x23-\x5b\x5d-\x7f]*+"/';

    private int $depth = 0;

    private function __construct(private readonly string $text, private int $at = 0)
    {
    }

    /**
     * Reads one JSON value with nothing after it. All of it is checked, and
     * nothing of it kept: what is in it is read again when it is asked for, so that
     * a document costs no more memory than its own and that of its names.
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

    /**
     * Hands on the members of the object that begins there in a document that
     * read() has checked.
     *
     * @param callable(string, Value): void $each
     */
    public static function members(string $text, int $from, callable $each): void
    {
        (new self($text, $from + 1))->object($each);
    }

    /**
     * The same for the items of a list.
     *
     * @param callable(Value): void $each
     */
    public static function items(string $text, int $from, callable $each): void
    {
        (new self($text, $from + 1))->list($each);
    }

    /** The same for a string. */
    public static function text(string $text, int $from): string
    {
        return (new self($text, $from))->string();
    }

    private function value(): Value
    {
        $this->space();
        $from = $this->at;
        $kind = match ($this->text[$from] ?? '') {
            '{' => $this->nested(Kind::Object),
            '[' => $this->nested(Kind::List),
            '"' => $this->skipString(),
            't' => $this->word('true', Kind::Bool),
            'f' => $this->word('false', Kind::Bool),
            'n' => $this->word('null', Kind::Null),
            default => $this->number(),
        };
        return new Value($kind, $this->text, $from, $this->at - $from);
    }

    /** @param (callable(string, Value): void)|null $each */
    private function object(?callable $each): void
    {
        $folded = [];
        if ($this->next('}')) {
            return;
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
            $value = $this->value();
            if ($each !== null) {
                $each($name, $value);
            }
        } while ($this->next(','));
        $this->need('}');
    }

    /** @param (callable(Value): void)|null $each */
    private function list(?callable $each): void
    {
        if ($this->next(']')) {
            return;
        }
        do {
            $value = $this->value();
            if ($each !== null) {
                $each($value);
            }
        } while ($this->next(','));
        $this->need(']');
    }

    private function nested(Kind $kind): Kind
    {
        if (++$this->depth > self::MAX_DEPTH) {
            throw $this->problem('nested more than ' . self::MAX_DEPTH . ' deep');
        }
        $this->at++;
        $kind === Kind::Object ? $this->object(null) : $this->list(null);
        $this->depth--;
        return $kind;
    }

    private function string(): string
    {
        [$from, $plain] = [$this->at, $this->pass()];
        $string = substr($this->text, $from, $this->at - $from);
        return $plain ? substr($string, 1, -1) : $this->decode($string);
    }

    private function skipString(): Kind
    {
        $from = $this->at;
        if (!$this->pass()) {
            $this->decode(substr($this->text, $from, $this->at - $from));
        }
        return Kind::Text;
    }

    /** Goes to the end of a string, and says whether there is nothing in it to decode. */
    private function pass(): bool
    {
        $from = $this->at;
        if (($this->text[$from] ?? '') !== '"') {
            throw $this->problem('a string is wanted');
        }
        $end = $from + 1;
        for (;;) {
            $end += strcspn($this->text, '"\\', $end);
            $stop = $this->text[$end] ?? throw $this->problem('a string has no end');
            if ($stop === '"') {
                break;
            }
            $end += 2;
        }
        $this->at = $end + 1;
        return preg_match(self::PLAIN, $this->text, offset: $from) === 1;
    }

    /**
     * One string leaves json_decode nothing to be lenient about: it refuses
     * control characters, invalid UTF-8 and half surrogate pairs.
     */
    private function decode(string $string): string
    {
        $decoded = json_decode($string);
        if (!is_string($decoded)) {
            throw $this->problem('a string is invalid: ' . json_last_error_msg());
        }
        return $decoded;
    }

    private function number(): Kind
    {
        if (preg_match(self::NUMBER, $this->text, $match, 0, $this->at) !== 1) {
            throw $this->problem($this->at === strlen($this->text) ? 'it ends too early' : 'a value is wanted');
        }
        if (abs((float) $match[0]) > self::MAX_NUMBER) {
            throw $this->problem('a number is not below 2^53');
        }
        $this->at += strlen($match[0]);
        return Kind::Number;
    }

    private function word(string $word, Kind $kind): Kind
    {
        if (substr_compare($this->text, $word, $this->at, strlen($word)) !== 0) {
            throw $this->problem('a value is wanted');
        }
        $this->at += strlen($word);
        return $kind;
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
