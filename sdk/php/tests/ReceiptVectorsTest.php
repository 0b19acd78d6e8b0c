<?php

declare(strict_types=1);

namespace Phase\Tests;

use Phase\Exception\InvalidReceipt;
use Phase\Exception\TooLarge;
use Phase\Exception\WrongReceipt;
use Phase\Exception\WrongSignature;
use Phase\JobFile;
use Phase\Pin;
use Phase\Receipt;
use PHPUnit\Framework\TestCase;

final class ReceiptVectorsTest extends TestCase
{
    /** @return array<string, array{object}> */
    public function cases(): array
    {
        return Vectors::cases('receipt');
    }

    /** @dataProvider cases */
    public function testCase(object $case): void
    {
        $code = '';
        try {
            $receipt = Receipt::verify(Vectors::load('receipt', $case->file, $case->pad_to), Pin::peer($case->peer));
            $receipt->mustBeOf(JobFile::read(Vectors::load('receipt', $case->job)));
            $receipt->mustAnswer($case->offer_nonce);
            $receipt->mustHaveWritten(self::sum($case->stdout_base64), self::sum($case->stderr_base64));
        } catch (InvalidReceipt $e) {
            $code = $e->getPrevious() instanceof TooLarge ? 'size' : 'format';
        } catch (WrongSignature) {
            $code = 'signature';
        } catch (WrongReceipt $e) {
            $code = match ($e->field) {
                'offer_nonce' => 'nonce',
                'stdout', 'stderr' => 'output',
                default => 'job',
            };
        }
        self::assertSame($case->code, $code, $case->why);
    }

    private static function sum(?string $base64): string
    {
        return hash('sha256', base64_decode((string) $base64));
    }
}
