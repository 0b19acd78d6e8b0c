<?php

declare(strict_types=1);

namespace Phase\Json;

/** What a JSON value is. */
enum Kind: string
{
    case Object = 'an object';
    case List = 'a list';
    case Text = 'a string';
    case Number = 'a number';
    case Bool = 'true or false';
    case Null = 'null';
}
