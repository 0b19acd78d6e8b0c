package supervise

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// zombies returns the ended children of parent that were not waited for yet.
// /proc is read rather than wait4(-1) called, because that would also take the
// end of a service away from the exec.Cmd that waits for it.
func zombies(parent int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // gone meanwhile
		}
		if state, ppid, ok := parseStat(stat); ok && state == "Z" && ppid == parent {
			found = append(found, pid)
		}
	}
	return found
}

// parseStat reads state and parent of /proc/PID/stat (proc_pid_stat(5)). The
// name before them is in parentheses and may hold anything, more of them too.
func parseStat(stat []byte) (state string, ppid int, ok bool) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return "", 0, false
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 2 {
		return "", 0, false
	}
	ppid, err := strconv.Atoi(fields[1])
	return fields[0], ppid, err == nil
}
