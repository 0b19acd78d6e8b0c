<?php

declare(strict_types=1);

namespace Phase;

use Phase\Exception\InvalidJob;

/** A job with all it needs: the module, its arguments and input, its limits. */
final class Job
{
    /** The largest module and the largest input that nodes take, in bytes. */
    public const MAX_MODULE = 64 << 20;
    public const MAX_STDIN = 64 << 20;

    public readonly JobFile $file;

    /**
     * @param string $module the bytes of a WebAssembly module
     * @param list<string> $args UTF-8, without the program's name
     * @param array<int|string, string> $env UTF-8; nothing else is in the module's environment
     * @param string $stdin any bytes
     * @throws InvalidJob
     */
    public function __construct(
        public readonly string $module,
        array $args = [],
        array $env = [],
        public readonly string $stdin = '',
        Limits $limits = new Limits(),
    ) {
        $most = ['module' => self::MAX_MODULE, 'stdin' => self::MAX_STDIN];
        foreach (['module' => $module, 'stdin' => $stdin] as $field => $data) {
            if (strlen($data) > $most[$field]) {
                throw new InvalidJob($field, sprintf('%d bytes, at most %d are allowed', strlen($data), $most[$field]));
            }
        }
        if (!str_starts_with($module, "\0asm")) {
            throw new InvalidJob('module', 'is no WebAssembly module, which begins with the bytes 00 61 73 6d');
        }
        $this->file = JobFile::write(Digest::of($module), $limits, $args, $env, Digest::of($stdin));
    }

    /**
     * Reads the module from a file.
     *
     * @param list<string> $args
     * @param array<int|string, string> $env
     * @throws InvalidJob
     */
    public static function fromFile(
        string $path,
        array $args = [],
        array $env = [],
        string $stdin = '',
        Limits $limits = new Limits(),
    ): self {
        $file = is_dir($path) ? false : @fopen($path, 'rb');
        if ($file === false) {
            throw new InvalidJob('module', "$path cannot be read");
        }
        $module = ''; // in pieces, as PHP allocates as much memory as it may read at most
        while (strlen($module) <= self::MAX_MODULE && (string) ($piece = @fread($file, 1 << 20)) !== '') {
            $module .= $piece;
        }
        fclose($file);
        return new self($module, $args, $env, $stdin, $limits);
    }
}
