<?php

declare(strict_types=1);

namespace Phase\Tests;

use Phase\Exception\InvalidJson;
use Phase\Exception\TooLarge;
use Phase\Json\Base64;
use Phase\Json\CaseFold;
use Phase\Json\Reader;
use Phase\Json\Value;
use PHPUnit\Framework\TestCase;

final class JsonTest extends TestCase
{
    /** @return list<array{string, bool}> text, whether it is read */
    public function texts(): array
    {
        $deep = Reader::MAX_DEPTH;
        return [
            ['{}', true], ['[]', true], ['"x"', true], ['0', true], ['true', true], ['null', true], [' [ 1 , 2 ] ', true],
            ['', false], [' ', false], ['{', false], ['[1,]', false], ['[1 2]', false], ['{"a":1,}', false], ['{"a"}', false],
            ['{a:1}', false], ["{'a':1}", false], ['[1]2', false], ['[1]]', false], ["[1]\0", false], ['[1]//', false],
            ["\u{feff}[]", false], ['tru', false], ['True', false], ['NaN', false], ['Infinity', false], ['undefined', false],
            ['"', false], ['"\\', false], ['"\\"', false], ['"a', false], ["\"a\nb\"", false], ["\"\0\"", false], ["\"\x7f\"", true],
            ['"\x"', false], ['"\u12"', false], ['"\u00e9"', true], ['"\ud83d\ude00"', true], ['"\ud83d"', false],
            ['"\ude00"', false], ['"\ud83dx"', false], ["\"\xff\"", false], ["\"\xc0\xaf\"", false], ["\"\xed\xa0\x80\"", false],
            ["\"\xf4\x90\x80\x80\"", false], ["{\"\xff\":1}", false], ["\"\xf4\x8f\xbf\xbf\"", true],
            ['01', false], ['-0', true], ['-', false], ['+1', false], ['1.', false], ['.5', false], ['1e', false], ['1e+2', true],
            ['0x10', false], ['1_0', false], ['9007199254740991', true], ['9007199254740992', false], ['-9007199254740992', false],
            ['9007199254740993', false], ['1e15', true], ['1e16', false], ['1e400', false], ['1e-400', true], [str_repeat('9', 400), false],
            ['{"a":1,"b":2}', true], ['{"a":1,"a":1}', false], ['{"a":1,"A":1}', false], ['{"a":1,"\u0061":1}', false],
            ['{"a":{"a":1}}', true], ['[{"a":1},{"a":1}]', true], ['{"":1,"":1}', false], ['{"0":1,"0":1}', false],
            ['{"é":1,"É":1}', false], ['{"k":1,"K":1}', false], ['{"s":1,"ſ":1}', false], ['{"σ":1,"ς":1}', false],
            ['{"ß":1,"ẞ":1}', false], ['{"ß":1,"ss":1}', true], ['{"i":1,"ı":1}', false], ['{"İ":1,"i":1}', false], ['{"é":1,"e":1}', true],
            [str_repeat('[', $deep) . str_repeat(']', $deep), true], [str_repeat('[', $deep + 1) . str_repeat(']', $deep + 1), false],
            [str_repeat('[', 1 << 20), false], [str_repeat('{"a":', 1 << 17), false],
        ];
    }

    /** @dataProvider texts */
    public function testText(string $text, bool $read): void
    {
        try {
            Reader::read($text);
            self::assertTrue($read, 'it was read');
        } catch (InvalidJson $e) {
            self::assertFalse($read, $e->getMessage());
        }
    }

    public function testValues(): void
    {
        $text = '{"s":"a\/\u00e9\n","n":-12,"f":0.5,"l":[1, "x"],"o":{ "0" : null }}';
        $v = Reader::read($text)->members();
        self::assertSame("a/é\n", $v['s']->string());
        self::assertSame(-12, $v['n']->integer());
        self::assertSame(0.5, $v['f']->number());
        self::assertSame('x', $v['l']->items()[1]->string());
        self::assertTrue($v['o']->members()['0']->isNull());
        self::assertSame('{ "0" : null }', $v['o']->text());
        self::assertSame('[1, "x"]', $v['l']->text());
        foreach (['1.0', '1e2', '"1"', 'true', '[]'] as $no) {
            try {
                Reader::read($no)->integer();
                self::fail("$no is taken for an integer");
            } catch (InvalidJson) {
                $this->addToAssertionCount(1);
            }
        }
    }

    public function testLimit(): void
    {
        self::assertSame(0, Reader::read(str_pad('0', Reader::MAX_BYTES))->integer());
        $this->expectException(TooLarge::class);
        Reader::read(str_pad('0', Reader::MAX_BYTES + 1));
    }

    public function testKnownNames(): void
    {
        self::assertSame(['run_id'], array_keys(Reader::read('{"run_id":1,"other":2}')->known('run_id')));
        foreach (['Run_Id', 'runid', 'run-id', 'RUNID', 'ru_n_id'] as $name) {
            try {
                Reader::read("{\"$name\":1}")->known('run_id');
                self::fail("$name is passed over");
            } catch (InvalidJson) {
                $this->addToAssertionCount(1);
            }
        }
    }

    /**
     * The law: what is accepted means one thing. Whatever is done to a sound
     * document, PHP's own decoder reads the same from it, or it is refused.
     */
    public function testDamageIsSeenOrMeansTheSame(): void
    {
        mt_srand(1);
        $good = Vectors::load('job', 'good-all.json');
        $bits = '{}[]":,\\u0aA1-.eE +/truefalsn' . "\0\n\xff\xc3\xa9";
        for ($i = 0; $i < 20000; $i++) {
            $text = $good;
            for ($n = mt_rand(1, 3); $n > 0; $n--) {
                $at = mt_rand(0, strlen($text) - 1);
                $text = match (mt_rand(0, 3)) {
                    0 => substr_replace($text, $bits[mt_rand(0, strlen($bits) - 1)], $at, 1),
                    1 => substr_replace($text, $bits[mt_rand(0, strlen($bits) - 1)], $at, 0),
                    2 => substr_replace($text, '', $at, mt_rand(1, 8)),
                    default => substr_replace($text, substr($text, mt_rand(0, $at), mt_rand(1, 40)), $at, 0),
                };
            }
            try {
                $ours = self::plain(Reader::read($text));
            } catch (InvalidJson) {
                continue;
            }
            self::assertEquals(json_decode($text, true, 512, JSON_THROW_ON_ERROR), $ours, $text);
        }
    }

    private static function plain(Value $value): mixed
    {
        return match ($value->kind->name) {
            'Object' => array_map(self::plain(...), $value->members()),
            'List' => array_map(self::plain(...), $value->items()),
            'Text' => $value->string(),
            'Number' => 0 + $value->text(),
            default => ['true' => true, 'false' => false, 'null' => null][$value->text()],
        };
    }

    /** A hostile object costs no more than its length. */
    public function testManyLetters(): void
    {
        $names = '';
        for ($c = 0xa1; $c < 0x3000; $c++) {
            $names .= CaseFold::fold(html_entity_decode("&#$c;"));
        }
        self::assertSame(CaseFold::fold($names), $names, 'folding twice is folding once');
        self::assertSame('straße', CaseFold::fold('STRAẞE'));
    }

    public function testBase64(): void
    {
        foreach (['' => '', 'aGVsbG8=' => 'hello', '/+8=' => "\xff\xef", '_-8=' => "\xff\xef"] as $text => $data) {
            self::assertSame($data, Base64::decode($text));
        }
        foreach (['aGVsbG8', "aGVs\nbG8=", "aGVsbG8=\r\n", 'aGVsbG9=', '/-8=', 'aGVsbG8==', ' aGVsbG8=', '*', '=', "\0"] as $text) {
            try {
                self::assertNull(Base64::decode($text), "$text was read");
            } catch (InvalidJson) {
                $this->addToAssertionCount(1);
            }
        }
    }
}
