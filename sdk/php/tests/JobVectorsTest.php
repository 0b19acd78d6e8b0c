<?php

declare(strict_types=1);

namespace Phase\Tests;

use Phase\Exception\InvalidJob;
use Phase\Exception\InvalidJson;
use Phase\Exception\TooLarge;
use Phase\JobFile;
use PHPUnit\Framework\TestCase;

final class JobVectorsTest extends TestCase
{
    /** @return array<string, array{object}> */
    public function cases(): array
    {
        return Vectors::cases('job');
    }

    /** @dataProvider cases */
    public function testCase(object $case): void
    {
        [$code, $field, $file] = ['', '', null];
        try {
            $file = JobFile::read(Vectors::load('job', $case->file, $case->pad_to));
        } catch (InvalidJob $e) {
            [$code, $field] = ['field', $e->field];
        } catch (TooLarge) {
            $code = 'size';
        } catch (InvalidJson) {
            $code = 'format';
        }
        self::assertSame([$case->code, $case->field], [$code, $field], $case->why);
        if ($file !== null) {
            $digests = [$file->id(), $file->argsSha256, $file->envSha256];
            self::assertSame([$case->job_id, $case->args_sha256, $case->env_sha256], $digests);
        }
    }
}
