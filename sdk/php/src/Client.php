<?php

declare(strict_types=1);

namespace Phase;

use Phase\Exception\InvalidJob;
use Phase\Exception\NodeFailed;
use Phase\Exception\ReceiptRefused;
use Phase\Exception\Rejected;
use Phase\Exception\TransportFailed;
use Phase\Transport\ByPlasmd;
use Phase\Transport\Http;
use Phase\Transport\LocalJob;
use Phase\Transport\LocalRun;
use Phase\Transport\Offer;
use Phase\Transport\RemoteTransport;
use Phase\Transport\Transport;

/**
 * Has jobs run, and believes nothing about them that the pinned node has not
 * signed. There is no way to get a result without that check.
 */
final class Client
{
    /**
     * @param Pinned|null $node whose receipts count; null for those of the node that the
     *     transport names, which is for a daemon of one's own that picks it
     */
    public function __construct(private readonly Transport $transport, private readonly ?Pinned $node)
    {
    }

    /**
     * Runs jobs on this machine with the program plasmd, whether or not there
     * is a daemon. Output comes when the job has ended.
     *
     * @param string $plasmd its path, or its name in PATH
     */
    public static function local(string $plasmd = 'plasmd', Pinned $node = new ThisMachine()): self
    {
        return new self(new LocalJob($plasmd), $node);
    }

    /**
     * As local, with no daemon and output as it comes. The module must read its
     * input to the end: plasmd run signs what was read of it.
     *
     * @param string $plasmd its path, or its name in PATH
     */
    public static function localStream(string $plasmd = 'plasmd', Pinned $node = new ThisMachine()): self
    {
        return new self(new LocalRun($plasmd), $node);
    }

    /**
     * Has jobs run by the daemon on this machine.
     *
     * @param string|null $path of its unix socket; null for where plasmd puts it
     * @param float $waitSeconds as of http()
     * @throws TransportFailed
     */
    public static function socket(
        Pinned $node = new ThisMachine(),
        ?string $path = null,
        float $waitSeconds = Http::WAIT_SECONDS,
    ): self {
        return new self(Http::unix($path, $waitSeconds), $node);
    }

    /**
     * Has jobs run by a node over HTTP.
     *
     * @param string $url like http://[fe80::1%25eth0]:8080
     * @param string $token the owner's, as the node prints it on its console
     * @param Pinned $node whose receipts count; the console shows its peer id, too
     * @param float $waitSeconds how long a job may take beyond its own limit: to be
     *     sent, to wait for its turn, to be answered
     * @throws TransportFailed
     */
    public static function http(
        string $url,
        #[\SensitiveParameter] string $token,
        Pinned $node,
        float $waitSeconds = Http::WAIT_SECONDS,
    ): self {
        return new self(Http::url($url, $token, $waitSeconds), $node);
    }

    /**
     * Has jobs run by another node, by way of the daemon on this machine, which
     * finds the node and reaches it over an encrypted stream. Only receipts of
     * that node count, whatever the daemon says.
     *
     * @param Pinned $peer the node that runs the jobs: `plasmd peers` lists those that are connected
     * @param string|null $path of the daemon's unix socket; null for where plasmd puts it
     * @param float $waitSeconds as of http()
     * @param (\Closure(string $step, string $detail): void)|null $watch as of RemoteTransport
     * @throws TransportFailed
     */
    public static function peer(
        Pinned $peer,
        ?string $path = null,
        float $waitSeconds = Http::WAIT_SECONDS,
        ?\Closure $watch = null,
    ): self {
        $pin = $peer->pin();
        return new self(new RemoteTransport(Http::unix($path, $waitSeconds), $pin->peerId, $watch), $pin);
    }

    /**
     * Has jobs run by nodes that the daemon on this machine picks, by what they can do and
     * how busy they are; another is asked when one refuses, dies or lies. Which node it was
     * is in the receipt, and the daemon is believed that it is one of those it picked. With
     * replicas, several run each job and say what came of it before they know what the
     * others said: the result is that of most, and each receipt is checked.
     *
     * @param int $replicas how many nodes run each job
     * @param string|null $path of the daemon's unix socket; null for where plasmd puts it
     * @param float $waitSeconds as of http()
     * @param (\Closure(string $step, string $detail): void)|null $watch as of RemoteTransport
     * @throws TransportFailed
     */
    public static function auto(
        int $replicas = 1,
        ?string $path = null,
        float $waitSeconds = Http::WAIT_SECONDS,
        ?\Closure $watch = null,
    ): self {
        return new self(new RemoteTransport(Http::unix($path, $waitSeconds), RemoteTransport::AUTO, $watch, $replicas), null);
    }

    /**
     * Runs a job and returns all it wrote.
     *
     * @throws InvalidJob|Rejected|NodeFailed|TransportFailed
     * @throws ReceiptRefused what came back is not proved
     */
    public function run(Job $job): Result
    {
        $output = ['stdout' => '', 'stderr' => ''];
        $ended = $this->each($job, static function (Stream $stream, string $bytes) use (&$output): void {
            $output[$stream->value] .= $bytes;
        });
        return new Result($ended->receipt, $output['stdout'], $output['stderr'], $ended->replicas);
    }

    /**
     * Runs a job and hands on what it writes as it comes. Nothing of it is
     * proved before this returns.
     *
     * @param callable(Stream, string): void $write
     * @throws InvalidJob|Rejected|NodeFailed|TransportFailed|ReceiptRefused
     */
    public function each(Job $job, callable $write): Ended
    {
        $chunks = $this->stream($job);
        foreach ($chunks as $chunk) {
            $write($chunk->stream, $chunk->bytes);
        }
        return $chunks->getReturn();
    }

    /**
     * Runs a job, yields what it writes as it comes and returns how it ended.
     * Nothing of it is proved before the generator has ended. Leaving it early
     * cancels the job.
     *
     * @return \Generator<int, Chunk, void, Ended>
     * @throws InvalidJob|Rejected|NodeFailed|TransportFailed|ReceiptRefused
     */
    public function stream(Job $job): \Generator
    {
        $offer = Offer::of($job);
        $sums = ['stdout' => hash_init('sha256'), 'stderr' => hash_init('sha256')];
        $chunks = $this->transport->run($offer);
        foreach ($chunks as $chunk) {
            hash_update($sums[$chunk->stream->value], $chunk->bytes);
            yield $chunk;
        }
        $answer = $chunks->getReturn();
        $node = $this->node ?? Replicas::node($answer->worker());
        $receipt = Receipt::verify($answer->receipt(), $node);
        $receipt->mustDo($job->file);
        if (!$this->transport instanceof ByPlasmd) {
            $receipt->mustBeOf($job->file);
            $receipt->mustAnswer($offer->nonce);
        }
        $receipt->mustHaveWritten(hash_final($sums['stdout']), hash_final($sums['stderr']));
        $answer->compare($receipt);
        $wanted = $this->transport instanceof RemoteTransport ? $this->transport->replicas : 1;
        $replicas = Replicas::check($receipt, $job->file, $offer->nonce, $answer->replicas(), $wanted);
        return new Ended($receipt, $replicas);
    }
}
