# Makes one table of what the benches of the network print: see net.mk.

/^Benchmark/ {
	name = $1
	sub(/^Benchmark/, "", name)
	sub(/-[0-9]+$/, "", name)
	for (i = 3; i < NF; i += 2)
		value[name, $(i+1)] = $i
}

function cell(name, unit) { return ((name, unit) in value) ? sprintf("%.4g", value[name, unit]) : "-" }

function line(what, name, unit, of) {
	printf "%-58s %10s %10s  %s\n", what, cell(name "/quic", unit), cell(name "/tcp", unit), of
}

END {
	printf "%-58s %10s %10s\n", "loopback, two nodes in one process", "QUIC", "TCP"
	line("bare libp2p: a stream, and a byte there and back, p50", "Bare", "p50-ms", "ms")
	line("bare libp2p: bytes one way on a stream", "BareStream", "MB/s", "MB/s")
	printf "%-58s %10s %10s  %s\n", "a job of this node, without any network, p50", cell("Here", "p50-ms"), "", "ms"
	line("a job on another node, offer to verified receipt, p50", "Job", "p50-ms", "ms")
	line("the same, p99", "Job", "p99-ms", "ms")
	line("what the network adds to a job, both in turn, p50", "Beside", "added-ms", "ms")
	line("jobs over one connection, 8 at once", "Jobs", "jobs/s", "a second")
	line("input to a job and its output back, both hashed", "Cat", "MB/s", "MB/s")
	line("the receipt of a finished run, looked up, p50", "Receipt", "p50-ms", "ms")
	line("what a node can do, asked, p50", "Capabilities", "p50-ms", "ms")
	line("a record in the DHT, first value, p50", "Record", "p50-ms", "ms")
	line("who provides something, first answer, p50", "Provider", "p50-ms", "ms")
}
