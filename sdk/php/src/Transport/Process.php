<?php

declare(strict_types=1);

namespace Phase\Transport;

use Phase\Chunk;
use Phase\Exception\InvalidJob;
use Phase\Exception\TransportFailed;
use Phase\Stream;
use Phase\Text;

/** A program that runs: input goes in, and both outputs come out as they are. */
final class Process
{
    private const PIECE = 64 << 10;
    private const TERM = 15;
    private const KILL = 9;
    private const GRACE_SECONDS = 2.0;
    /** Bytes of one argument: Linux takes 32 pages, with the NUL behind it (execve(2)). */
    private const MAX_ARGUMENT = (128 << 10) - 1;
    private const NOT_STARTED = 127; // as PHP has it of what cannot be executed

    /** @var resource|null */
    private $process;

    /** @var array<int, resource> stdin, stdout, stderr as long as they are open */
    private array $pipes = [];

    private int $status = -1;

    /**
     * What a program on this machine cannot be given is refused by its field.
     *
     * @param list<string> $arguments
     * @throws InvalidJob
     */
    public static function mustTake(string $field, array $arguments): void
    {
        foreach ($arguments as $argument) {
            if (strlen($argument) > self::MAX_ARGUMENT) {
                $problem = 'one of them takes %d bytes, which is more than a program can be given (%d); ask a daemon or a node';
                throw new InvalidJob($field, sprintf($problem, strlen($argument), self::MAX_ARGUMENT));
            }
        }
    }

    /**
     * @param list<string> $command no shell sees it
     * @throws TransportFailed
     */
    public function __construct(array $command, private readonly Deadline $deadline)
    {
        $pipes = [];
        $process = @proc_open($command, [['pipe', 'r'], ['pipe', 'w'], ['pipe', 'w']], $pipes);
        if ($process === false) {
            throw new TransportFailed("starting $command[0]: " . (error_get_last()['message'] ?? ''));
        }
        [$this->process, $this->pipes] = [$process, $pipes];
        foreach ($pipes as $pipe) {
            stream_set_blocking($pipe, false);
        }
    }

    /** What it means that a program ended with this code, and said that, in place of an answer. */
    public static function unanswered(string $program, int $status, string $said): TransportFailed
    {
        if ($status === self::NOT_STARTED && trim($said) === '') {
            return new TransportFailed("$program is not there, or is no program; `make build` makes build/bin/plasmd, give its path");
        }
        return new TransportFailed("$program ended with $status and no answer: " . Text::clean(trim($said)));
    }

    /**
     * Feeds the program and yields what it writes, until both outputs end.
     *
     * @return \Generator<int, Chunk, void, int> its exit code; 128 and the number of the signal that killed it
     * @throws TransportFailed
     */
    public function output(string $stdin): \Generator
    {
        for ($at = 0; isset($this->pipes[1]) || isset($this->pipes[2]);) {
            if (isset($this->pipes[0]) && $at === strlen($stdin)) {
                $this->shut(0);
            }
            $write = array_intersect_key($this->pipes, [0 => true]);
            $read = array_diff_key($this->pipes, $write);
            $none = null;
            $left = $this->deadline->left();
            if (@stream_select($read, $write, $none, (int) $left, (int) (fmod($left, 1) * 1e6)) === false) {
                usleep(1000); // a signal, or too high a descriptor: all are tried, and none of them blocks
            }
            if ($write !== []) {
                $written = @fwrite($this->pipes[0], substr($stdin, $at, self::PIECE));
                // False: the program reads no more of it, which it may.
                $at = $written === false ? strlen($stdin) : $at + $written;
            }
            foreach ([1 => Stream::Stdout, 2 => Stream::Stderr] as $number => $stream) {
                if (isset($this->pipes[$number])) {
                    $bytes = (string) @fread($this->pipes[$number], self::PIECE);
                    if ($bytes !== '') {
                        yield new Chunk($stream, $bytes);
                    } elseif (feof($this->pipes[$number])) {
                        $this->shut($number);
                    }
                }
            }
        }
        while ($this->running()) {
            $this->deadline->left();
            usleep(1000);
        }
        return $this->status;
    }

    /** Ends the program if it has not ended. It passes the end on to what it started. */
    public function close(): void
    {
        foreach (array_keys($this->pipes) as $number) {
            $this->shut($number);
        }
        if ($this->process === null) {
            return;
        }
        if ($this->running()) {
            proc_terminate($this->process, self::TERM);
            $until = hrtime(true) / 1e9 + self::GRACE_SECONDS;
            while ($this->running() && hrtime(true) / 1e9 < $until) {
                usleep(1000);
            }
            if ($this->running()) {
                proc_terminate($this->process, self::KILL);
            }
        }
        proc_close($this->process);
        $this->process = null;
    }

    private function running(): bool
    {
        $status = proc_get_status($this->process);
        if (!$status['running'] && $this->status < 0) { // PHP tells the exit code once
            $this->status = $status['signaled'] ? 128 + $status['termsig'] : $status['exitcode'];
        }
        return $status['running'];
    }

    private function shut(int $number): void
    {
        fclose($this->pipes[$number]);
        unset($this->pipes[$number]);
    }
}
