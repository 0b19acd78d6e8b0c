<?php

declare(strict_types=1);

namespace Phase;

/** How a job ended. */
enum Outcome: string
{
    case Exited = 'exited';       // by itself, with its own exit code
    case Trapped = 'trapped';     // WebAssembly trap
    case Timeout = 'timeout';     // killed at its deadline
    case Memory = 'memory';       // hit its memory limit
    case Output = 'output';       // wrote more than output_bytes
    case Cancelled = 'cancelled'; // killed because nobody waited for it

    /** The exit code of this outcome; of Exited, null: that is the module's own. */
    public function exitCode(): ?int
    {
        return match ($this) {
            self::Exited => null,
            self::Trapped => 134,
            self::Timeout => 124,
            self::Memory => 137,
            self::Output => 141,
            self::Cancelled => 130,
        };
    }
}
