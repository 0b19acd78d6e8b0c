<?php

/**
 * A node that answers connections with bytes it was given: fake-node.php ADDRESS
 * FILE. FILE is JSON, {"first": [base64, …], "pieces": [base64, …], "read":
 * "all|nothing", "then": "close|hang|flood"}. Each of "first" is the whole answer to
 * a connection before the last one, whose answer is "pieces". Prints its address,
 * then for each connection the request in base64, and "left" when the client has gone.
 */

declare(strict_types=1);

[, $address, $file] = $argv;
$plan = json_decode(file_get_contents($file), false, 8, JSON_THROW_ON_ERROR);
$server = stream_socket_server($address, $number, $problem) ?: exit("$problem\n");
echo stream_socket_get_name($server, false), "\n";

/** @return resource */
function nextClient($server)
{
    $client = stream_socket_accept($server, 30) ?: exit("nobody came\n");
    stream_set_timeout($client, 30);
    return $client;
}

function request($client): string
{
    $request = '';
    $needed = PHP_INT_MAX;
    while (strlen($request) < $needed) {
        $bytes = fread($client, 1 << 16);
        if ($bytes === '' || $bytes === false) {
            break;
        }
        $request .= $bytes;
        if ($needed === PHP_INT_MAX && preg_match('/\r\nContent-Length: ([0-9]+)\r\n.*?\r\n\r\n/s', $request, $head, PREG_OFFSET_CAPTURE) === 1) {
            $needed = $head[0][1] + strlen($head[0][0]) + (int) $head[1][0];
        }
    }
    return $request;
}

foreach ($plan->first as $answer) {
    $client = nextClient($server);
    $request = request($client);
    fwrite($client, base64_decode($answer));
    echo base64_encode($request), "\n";
    fclose($client);
}
$client = nextClient($server);
$request = $plan->read === 'all' ? request($client) : '';
foreach ($plan->pieces as $piece) {
    fwrite($client, base64_decode($piece));
}
if ($plan->then === 'flood') { // with the last piece again and again, for ten seconds at most
    $until = hrtime(true) + 10e9;
    while (hrtime(true) < $until && @fwrite($client, base64_decode($plan->pieces[array_key_last($plan->pieces)])) !== false);
}
echo base64_encode($request), "\n";
if ($plan->then === 'hang') {
    while (!feof($client)) {
        fread($client, 1 << 16);
    }
}
fclose($client);
echo "left\n";
