<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Exception\TransportFailed;

/** A private folder for a run's files, gone when the run is over. */
final class TempFolder
{
    public readonly string $path;

    /** @throws TransportFailed */
    public function __construct()
    {
        $this->path = sys_get_temp_dir() . '/phase-' . bin2hex(random_bytes(8));
        if (!@mkdir($this->path, 0700)) {
            throw new TransportFailed("making the folder $this->path");
        }
    }

    /** @throws TransportFailed */
    public function write(string $name, string $data): string
    {
        $file = "$this->path/$name";
        if (@file_put_contents($file, $data) !== strlen($data)) {
            throw new TransportFailed("writing $file");
        }
        return $file;
    }

    public function remove(): void
    {
        foreach (glob("$this->path/*") ?: [] as $file) {
            unlink($file);
        }
        rmdir($this->path);
    }
}
