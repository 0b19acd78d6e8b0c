// Package fat writes and reads the boot partition: a FAT file system in which
// every file lies in one piece. The BIOS boot loader reads the kernel
// from consecutive sectors and knows no file system, and a flashed stick gets
// its settings by overwriting a file where it lies; so where each file lies is
// part of the answer here, which general FAT libraries do not give. Written
// after Microsoft's "FAT: General Overview of On-Disk Format", 1.03. FAT16
// because UEFI reads it from removable media and its tables stay small, and FAT12
// where the number of clusters means that. Its sectors are as large as those of
// the disk: Linux and firmware take no smaller ones. The same files give the same
// bytes: times are an argument.
package fat

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// On-disk units, in bytes.
const (
	bootSize  = 512 // what is used of the boot sector
	entrySize = 32
)

// Numbers fixed by this package, or by FAT itself.
const (
	rootEntries  = 512
	tables       = 2
	reserved     = 1
	minClusters  = 4085  // below, FAT12 is meant
	maxClusters  = 65524 // above, FAT32 is meant
	firstCluster = 2
	maxSector    = 4096 // bytes
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
	From io.ReaderAt
}

// Extent is where a file lies, in bytes from the start of the file system.
type Extent struct {
	Offset, Size int64
}

// Volume describes a file system to write.
type Volume struct {
	Sector int64  // bytes of a sector of the disk, 512 or 4096
	Size   int64  // bytes, in whole sectors
	Start  int64  // bytes from the start of the disk to this file system
	Label  string // at most 11 upper-case characters
	Serial [4]byte
	Time   time.Time // of every file and folder; FAT counts in two seconds
}

// geometry is where the parts of a file system begin, in sectors of some bytes.
type geometry struct {
	sector                        int64
	sectors, perCluster, perTable int64
	root, data, clusters          int64
	bits                          int64 // of an entry of the tables
}

// layout chooses the smallest cluster that FAT16 can count, as far as there are
// enough of them for FAT16. Readers tell FAT12 from it by that number alone.
func layout(size, sector int64) (geometry, error) {
	g := geometry{sector: sector, bits: 16}
	if sector != bootSize && sector != maxSector || size%sector != 0 {
		return geometry{}, fmt.Errorf("a FAT file system cannot have %d bytes in sectors of %d", size, sector)
	}
	g.sectors = size / sector
	for g.perCluster = 1; g.perCluster <= 64; g.perCluster *= 2 {
		// The tables are counted for all sectors, which wastes at most a few.
		g.count()
		if g.clusters <= maxClusters {
			break
		}
	}
	if g.clusters < minClusters {
		g.bits = 12
		g.count()
	}
	if g.clusters < 1 || g.clusters > maxClusters || g.bits == 12 && g.clusters >= minClusters || g.tableBytes(g.clusters+firstCluster) > g.perTable*g.sector {
		return geometry{}, fmt.Errorf("a FAT file system of this kind cannot have %d bytes", size)
	}
	return g, nil
}

// count works out what follows from the size of clusters and of table entries.
func (g *geometry) count() {
	g.perTable = (g.tableBytes(g.sectors/g.perCluster) + g.sector - 1) / g.sector
	g.root = reserved + tables*g.perTable
	g.data = g.root + rootEntries*entrySize/g.sector
	g.clusters = (g.sectors - g.data) / g.perCluster
}

// tableBytes is how many bytes n entries of a table take.
func (g geometry) tableBytes(n int64) int64 { return (n*g.bits + 7) / 8 }

// endOfChain is the entry of a file's last cluster.
func (g geometry) endOfChain() uint16 { return 0xFFFF >> (16 - g.bits) }

// get reads an entry of a table, put writes one into a table of zeros.
func (g geometry) get(table []byte, cluster int64) uint16 {
	at := cluster * g.bits
	pair := binary.LittleEndian.Uint16(table[at/8:])
	return pair >> (at % 8) & g.endOfChain()
}

func (g geometry) put(table []byte, cluster int64, entry uint16) {
	at := cluster * g.bits
	pair := binary.LittleEndian.Uint16(table[at/8:])
	binary.LittleEndian.PutUint16(table[at/8:], pair|entry<<(at%8))
}

func (g geometry) clusterBytes() int64 { return g.perCluster * g.sector }

// offset of a cluster's first byte in the file system.
func (g geometry) offset(cluster int64) int64 {
	return (g.data + (cluster-firstCluster)*g.perCluster) * g.sector
}

func (g geometry) clustersFor(bytes int64) int64 {
	return (bytes + g.clusterBytes() - 1) / g.clusterBytes()
}
