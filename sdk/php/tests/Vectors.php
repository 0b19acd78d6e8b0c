<?php

declare(strict_types=1);

namespace Phase\Tests;

/** The vectors that readers in every language share; tests/vectors/README.md tells what they hold. */
final class Vectors
{
    private const FOLDER = __DIR__ . '/../../../tests/vectors/';

    /** @return array<string, array{object}> one case a row, by file */
    public static function cases(string $folder): array
    {
        $list = json_decode(file_get_contents(self::FOLDER . "$folder/cases.json"), false, 8, JSON_THROW_ON_ERROR);
        $rows = [];
        foreach ($list as $case) {
            $rows[$case->file] = [$case];
        }
        return $rows;
    }

    public static function load(string $folder, string $file, int $padTo = 0): string
    {
        return str_pad(file_get_contents(self::FOLDER . "$folder/$file"), $padTo);
    }
}
