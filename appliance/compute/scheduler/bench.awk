# Makes one table of what the benches of jobs print: see job.mk.

/^Benchmark/ {
	name = $1
	sub(/^Benchmark/, "", name)
	sub(/-[0-9]+$/, "", name)
	for (i = 3; i < NF; i += 2) {
		value[name, $(i+1)] = $i
		if (name ~ /^CPU\// && !(name in seen)) {
			seen[name] = 1
			problems[++count] = name
		}
	}
}

function line(what, key, unit, scale) {
	printf "%-58s %10s %s\n", what, (key in value) ? sprintf("%.4g", value[key] / scale) : "-", unit
}

function cell(key, form) { return (key in value) ? sprintf(form, value[key]) : "-" }

END {
	line("compile a Go module of " cell("Compile/cold" SUBSEP "module-MB", "%.1f") " MB, cold", "Compile/cold" SUBSEP "ns/op", "ms", 1e6)
	line("run it without a daemon, compiled now", "Compile/run-cold" SUBSEP "ns/op", "ms", 1e6)
	line("run it without a daemon, compiled before", "Compile/run-cached" SUBSEP "ns/op", "ms", 1e6)
	line("the same job again through the daemon, p50", "Hello/by-digest" SUBSEP "p50-ms", "ms", 1)
	line("the same job again through the daemon, p99", "Hello/by-digest" SUBSEP "p99-ms", "ms", 1)
	line("the same with its module, p50", "Hello/with-module" SUBSEP "p50-ms", "ms", 1)
	line("signed jobs, in a process that is kept", "Signed/kept-process" SUBSEP "jobs/s", "a second", 1)
	line("signed jobs, each in a fresh process", "Signed/fresh-process" SUBSEP "jobs/s", "a second", 1)
	printf "\nthe best of the turns, in ms, and what a job takes more than bare wazero\n"
	form = "%-10s %10s %12s %10s %10s %10s %18s\n"
	printf form, "", "native", "bare wazero", "wasmtime", "a job", "more", "processor time"
	for (i = 1; i <= count; i++) {
		p = problems[i]
		printf form, substr(p, 5),
			cell(p SUBSEP "native-ms", "%.1f"), cell(p SUBSEP "wazero-ms", "%.1f"), cell(p SUBSEP "wasmtime-ms", "%.1f"),
			cell(p SUBSEP "phase-ms", "%.1f"), cell(p SUBSEP "overhead-%", "%.1f %%"), cell(p SUBSEP "cpu-overhead-%", "%.1f %%")
	}
}
