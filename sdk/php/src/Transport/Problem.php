<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Exception\InvalidJson;
use Phase\Exception\NodeFailed;
use Phase\Exception\NotAuthorized;
use Phase\Exception\PhaseException;
use Phase\Exception\QueueFull;
use Phase\Exception\Rejected;
use Phase\Exception\TransportFailed;
use Phase\Http\Response;
use Phase\Json\Reader;
use Phase\Json\Value;
use Phase\Text;

/** Errors as nodes write them, application/problem+json (RFC 9457). */
final class Problem
{
    private const MAX_BYTES = 64 << 10;
    private const TYPE = 'application/problem+json';
    private const MAX_RETRY_SECONDS = 3600;

    /** The exception that an answer other than 200 means. */
    public static function of(Response $response): PhaseException
    {
        if ($response->type() !== self::TYPE) {
            return new TransportFailed("the answer is $response->status, and not one of a Phase node");
        }
        try {
            $problem = Reader::read($response->whole(self::MAX_BYTES), self::MAX_BYTES);
            return self::exception($problem, $response->status, (int) $response->header('retry-after'));
        } catch (InvalidJson $e) {
            return new TransportFailed("the answer is $response->status, and does not say why", 0, $e);
        }
    }

    /**
     * @param int $retryAfter seconds
     * @throws InvalidJson
     */
    public static function exception(Value $problem, int $status, int $retryAfter): PhaseException
    {
        $fields = $problem->known('title', 'detail', 'code', 'status');
        $code = isset($fields['code']) ? Text::clean($fields['code']->string()) : '';
        $detail = Text::clean(($fields['detail'] ?? $fields['title'] ?? $problem)->string());
        return match (true) {
            $status === 401 => new NotAuthorized($code, $detail, $status),
            $status === 503 => new QueueFull($code, $detail, $status, min(max(1, $retryAfter), self::MAX_RETRY_SECONDS)),
            $status >= 500 => new NodeFailed($detail),
            default => new Rejected($code, $detail, $status),
        };
    }
}
