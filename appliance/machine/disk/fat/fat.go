// Package fat writes and reads the boot partition: a FAT16 file system in
// which every file lies in one piece. The BIOS boot loader reads the kernel
// from consecutive sectors and knows no file system, and a flashed stick gets
// its settings by overwriting a file where it lies; so where each file lies is
// part of the answer here, which general FAT libraries do not give. Written
// after Microsoft's "FAT: General Overview of On-Disk Format", 1.03. FAT16
// because UEFI reads it from removable media and its tables stay small. The
// same files give the same bytes: times are an argument.
package fat

import (
	"fmt"
	"io"
	"time"
)

// On-disk units, in bytes.
const (
	sectorSize = 512
	entrySize  = 32
)

// Numbers fixed by this package, or by FAT16 itself.
const (
	rootEntries  = 512
	tables       = 2
	reserved     = 1
	minClusters  = 4085  // below, FAT12 is meant
	maxClusters  = 65524 // above, FAT32 is meant
	firstCluster = 2
	endOfChain   = 0xFFFF
	media        = 0xF8 // a fixed disk

	attrDirectory = 0x10
	attrArchive   = 0x20
	attrVolumeID  = 0x08
	attrLongName  = 0x0F
)

// File is one file to write. Path has slashes, no leading one; its folders are
// made as needed.
type File struct {
	Path string
	Size int64 // bytes
	Open func() (io.ReadCloser, error)
}

// Extent is where a file lies, in bytes from the start of the file system.
type Extent struct {
	Offset, Size int64
}

// Volume describes a file system to write.
type Volume struct {
	Size   int64  // bytes, a multiple of 512
	Start  int64  // bytes from the start of the disk to this file system
	Label  string // at most 11 upper-case characters
	Serial [4]byte
	Time   time.Time // of every file and folder; FAT counts in two seconds
}

// geometry is where the parts of a file system begin, in sectors.
type geometry struct {
	sectors, perCluster, perTable int64
	root, data, clusters          int64
}

// layout chooses the smallest cluster that keeps the file system FAT16.
func layout(size int64) (geometry, error) {
	g := geometry{sectors: size / sectorSize}
	for g.perCluster = 1; g.perCluster <= 64; g.perCluster *= 2 {
		// One table entry is two bytes; the tables are counted for all
		// sectors, which wastes at most a few.
		g.perTable = (g.sectors/g.perCluster*2 + sectorSize - 1) / sectorSize
		g.root = reserved + tables*g.perTable
		g.data = g.root + rootEntries*entrySize/sectorSize
		g.clusters = (g.sectors - g.data) / g.perCluster
		if g.clusters <= maxClusters {
			break
		}
	}
	if size%sectorSize != 0 || g.clusters < minClusters || g.clusters > maxClusters {
		return geometry{}, fmt.Errorf("a FAT16 file system cannot have %d bytes", size)
	}
	return g, nil
}

func (g geometry) clusterBytes() int64 { return g.perCluster * sectorSize }

// offset of a cluster's first byte in the file system.
func (g geometry) offset(cluster int64) int64 {
	return (g.data + (cluster-firstCluster)*g.perCluster) * sectorSize
}

func (g geometry) clustersFor(bytes int64) int64 {
	return (bytes + g.clusterBytes() - 1) / g.clusterBytes()
}
