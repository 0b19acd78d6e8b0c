<?php

declare(strict_types=1);

namespace Phase;

/** Says which node's receipts count. */
interface Pinned
{
    /** @throws Exception\InvalidKey */
    public function pin(): Pin;
}
