package main

// The calls by their numbers, which package syscall has not for all of them.
const (
	sysKexecLoad     = 104
	sysKexecFileLoad = 294
)
