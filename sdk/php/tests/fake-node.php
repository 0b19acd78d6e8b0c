<?php

/**
 * A node that answers one connection with bytes it was given:
 * fake-node.php ADDRESS FILE. FILE is JSON, {"pieces": [base64, …], "read":
 * "all|nothing", "then": "close|hang|flood"}. Prints its address, then the request in
 * base64, then "left" when the client has gone.
 */

declare(strict_types=1);

[, $address, $file] = $argv;
$plan = json_decode(file_get_contents($file), false, 8, JSON_THROW_ON_ERROR);
$server = stream_socket_server($address, $number, $problem) ?: exit("$problem\n");
echo stream_socket_get_name($server, false), "\n";
$client = stream_socket_accept($server, 30) ?: exit("nobody came\n");
stream_set_timeout($client, 30);
$request = '';
if ($plan->read === 'all') {
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
}
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
