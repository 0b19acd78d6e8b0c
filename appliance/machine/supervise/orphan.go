package supervise

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
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
	n, _ := fmt.Sscan(string(stat[end+1:]), &state, &ppid)
	return state, ppid, end >= 0 && n == 2
}
