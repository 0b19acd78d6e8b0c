// Package grow lets what a node keeps take all of the medium that the node starts
// from, however the image came onto it: partition table, the kernel's idea of the
// persistent partition, and the file system on it, in this order. All of it is
// done while the partitions are in use, can be cut off at any moment, and is
// finished the next time.
package grow

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/ext4"
	"phase/appliance/machine/disk/gpt"
)

// Perm lets the persistent partition of the boot disk, and its file system, which
// is mounted at dir, take the rest of the medium. root is the root partition of
// that disk. It returns how many bytes the file system has grown by. A table that
// another tool wrote is left as it is, and the file system takes the partition.
func Perm(root disk.Partition, dir string) (grown int64, err error) {
	perm, err := root.Sibling(disk.Perm)
	if err != nil {
		return 0, err
	}
	if err := partition(root, perm); err != nil {
		err = fmt.Errorf("the persistent partition keeps its size: %w", err)
		grown, behind := ext4.Grow(dir, perm.Device())
		return grown, errors.Join(err, behind)
	}
	return ext4.Grow(dir, perm.Device())
}

// partition enlarges the persistent partition, on the medium and in the kernel.
func partition(root, perm disk.Partition) error {
	medium, geometry, err := open(root.Disk)
	if err != nil {
		return err
	}
	defer medium.Close()
	rootAt, err := root.Extent()
	if err != nil {
		return err
	}
	permAt, err := perm.Extent()
	if err != nil {
		return err
	}
	table, err := Table(medium, geometry, func(t gpt.Table) error { return sameDisk(t, root, rootAt, permAt) })
	if errors.Is(err, gpt.ErrFormat) && geometry.Size-permAt.Start-permAt.Size < smallRest {
		return nil // whoever wrote that table has left nothing to take
	}
	if err != nil {
		return fmt.Errorf("%s: %w", medium.Name(), err)
	}
	p, err := table.Partition(disk.Perm)
	if err != nil || p.Size <= permAt.Size {
		return err
	}
	return tellKernel(medium, p)
}

// smallRest is what a partition may leave of its medium, in bytes: the copy of
// the table, and what is cut to a round end.
const smallRest = 4 << 20

// sameDisk refuses a table that is not the one by which the kernel found the
// partitions: what is written then would not be what is in use.
func sameDisk(t gpt.Table, root disk.Partition, rootAt, permAt disk.Extent) error {
	onRoot, err := t.Partition(disk.Root)
	if err != nil {
		return err
	}
	onPerm, err := t.Partition(disk.Perm)
	if err != nil {
		return err
	}
	if root.UUID != t.PartitionID(disk.Root).String() || onRoot.Start != rootAt.Start || onRoot.Size != rootAt.Size || onPerm.Start != permAt.Start {
		return errors.New("its partition table is not the one this machine has started with; restart it")
	}
	if last := t.Partitions[len(t.Partitions)-1]; last.Number != disk.Perm {
		return fmt.Errorf("partition %d lies behind the persistent one", last.Number)
	}
	return nil
}

// open opens a whole disk, by the kernel's name, and measures it.
func open(name string) (*os.File, gpt.Geometry, error) {
	f, err := os.OpenFile("/dev/"+name, os.O_RDWR, 0)
	if err != nil {
		return nil, gpt.Geometry{}, err
	}
	g, err := disk.Measure(f)
	if err != nil {
		return nil, gpt.Geometry{}, errors.Join(fmt.Errorf("measuring %s: %w", f.Name(), err), f.Close())
	}
	return f, g, nil
}

// tellKernel gives a partition that is in use the size it has in the table.
func tellKernel(medium *os.File, p gpt.Partition) error {
	part := unix.BlkpgPartition{Start: p.Start, Length: p.Size, Pno: int32(p.Number)}
	arg := unix.BlkpgIoctlArg{Op: unix.BLKPG_RESIZE_PARTITION, Datalen: int32(unsafe.Sizeof(part)), Data: (*byte)(unsafe.Pointer(&part))}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, medium.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg)))
	if errno != 0 {
		return fmt.Errorf("giving partition %d its new size in the kernel, which it has at the next start: %w", p.Number, errno)
	}
	return nil
}
