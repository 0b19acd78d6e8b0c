<?php

declare(strict_types=1);

namespace Phase;

/** One of a job's two outputs. They are never merged. */
enum Stream: string
{
    case Stdout = 'stdout';
    case Stderr = 'stderr';
}
