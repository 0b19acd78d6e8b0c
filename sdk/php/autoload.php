<?php

/**
 * Loads the classes of the SDK where there is no Composer: require this file.
 */

declare(strict_types=1);

spl_autoload_register(static function (string $class): void {
    if (str_starts_with($class, 'Phase\\') && !str_starts_with($class, 'Phase\\Tests\\')) {
        $file = __DIR__ . '/src/' . strtr(substr($class, 6), '\\', '/') . '.php';
        if (is_file($file)) {
            require $file;
        }
    }
});
