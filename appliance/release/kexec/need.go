package kexec

import (
	"fmt"

	"phase/appliance/base/refusal"
	"phase/appliance/base/ui"
	"phase/appliance/machine/linux"
)

const (
	mib = 1 << 20
	// margin is what must stay free beside the load itself: page tables, the
	// kernel's reserves, and programs that go on running. Too little of it is
	// no error but a panic.
	// Tried: on x86_64 with 256 MiB, 8 MiB of it ended in the OOM killer.
	margin = 24 * mib
	// stageSlack is what the programs that stay grow by between the decision
	// where to stage and the load.
	stageSlack = 16 * mib
	// comfort is what must be free beyond that for the services to go on
	// running meanwhile. MemAvailable counts the pages of running programs,
	// which can be dropped and are needed again at once: eating into those is
	// thrashing (tried: x86_64, 256 MiB), so the services are paused instead.
	comfort = 32 * mib
	// nextBase is what the next kernel needs for itself and its programs while
	// it unpacks. MemTotal leaves out the kernel's own image, as does this.
	nextBase = 64 * mib
)

// Sizes are what the memory a load needs depends on, in bytes.
type Sizes struct {
	Kernel   int64 // the memory it begins in, which is more than its file
	Unpacked int64 // a compressed kernel's own file, 0 when it is loaded from where it lies
	Initrd   int64 // with everything that is carried over
}

// Need is how much memory a load takes, in bytes. kexec_load copies kernel and
// initrd once, from the files they lie in. Files on a disk cost nothing more,
// since their cached pages are given back; files in memory are there a second
// time.
type Need struct {
	Load  int64 // free when the files are in place
	Stage int64 // free before the first byte is fetched into memory
	Disk  int64 // free before the first byte is fetched to a disk that holds the initrd alone
	Total int64 // the machine's memory: the next kernel unpacks the initrd while it still holds it
}

// NeedOf computes the need from the sizes.
func NeedOf(s Sizes) Need {
	load := s.Kernel + s.Initrd + margin
	disk := load + s.Unpacked
	return Need{Load: load, Disk: disk, Stage: disk + s.Initrd + stageSlack, Total: 2*s.Initrd + nextBase}
}

// room says whether have is enough, and refuses in words when it is not. what
// is the thing that needs it, hint what the owner can do.
func room(what string, need, have int64, hint string) error {
	if have >= need {
		return nil
	}
	return refusal.New(refusal.Busy, "%s needs %s of free memory and this machine has %s; %s", what, ui.Bytes(need), ui.Bytes(max(have, 0)), hint)
}

// CheckStage decides where a release can be staged: in memory if there is
// plenty of it, else on the disk if there is one with enough room, else in
// memory if pausing the services frees enough. free is what
// MemAvailable would be with the services paused; disk is the room on disk, 0
// without one. It refuses what fits in neither.
func CheckStage(version uint64, s Sizes, m linux.Memory, free, disk int64) (onDisk bool, err error) {
	need := NeedOf(s)
	what := fmt.Sprintf("version %d", version)
	if m.Total < need.Total {
		return false, refusal.New(refusal.Busy, "%s needs a machine with %s of memory to come up in and this one has %s; it is not loaded", what, ui.Bytes(need.Total), ui.Bytes(m.Total))
	}
	if m.Available >= need.Stage+comfort {
		return false, nil
	}
	// Memory that is there only once services are paused is the last resort.
	if disk >= s.Initrd+diskSlack {
		wanted := need.Disk
		if disk >= s.Initrd+s.Unpacked+2*diskSlack {
			wanted = need.Load
		}
		return true, room("loading "+what+" from disk", wanted, m.Available+free, "it is not loaded; give the machine more memory")
	}
	return false, room("loading "+what, need.Stage, m.Available+free, "it is not loaded; give the machine more memory, or more room on a disk to load from")
}

// diskSlack stays free on the disk for the node's other files.
const diskSlack = 8 * mib

// guess estimates the sizes before the kernel was downloaded. gokrazy's kernels are, compressed and
// unpacked, 18 and 59 MB on arm64, and need 62 and on x86_64, where the file is
// 16.4 MB, 57 MB.
func guess(arch string, file, initrd int64) Sizes {
	s := Sizes{Kernel: 4 * file, Initrd: initrd}
	if arch == "arm64" {
		s.Kernel = file + file/8
		if file < 32*mib { // it is compressed
			s.Unpacked = 3*file + file/3
			s.Kernel = s.Unpacked + s.Unpacked/8
		}
	}
	return s
}
