package wasm

import (
	"syscall"

	"phase/appliance/compute/hostfs"
)

// follow is the flag of a lookup that follows a link at the end of the path.
const follow = 1

// at finds the directory of parameter fd, and the path in it that parameter
// text points to.
func (c call) at(fd, text int, need rights) (*descriptor, string, errno) {
	name, no := c.text(text)
	if no != success {
		return nil, "", no
	}
	d, no := c.find(c.arg(fd), 0)
	switch {
	case no != success:
		return nil, "", no
	case d.folder == nil:
		return nil, "", notdir
	case d.base&need != need:
		return nil, "", notcapable
	}
	return d, name, success
}

// Flags of path_open.
const (
	create = 1 << iota
	onlyDirectory
	exclusive
	truncate
)

// The permissions of new files and directories, of which the umask takes some
// away, as for any other program.
const (
	newFile      = 0o666
	newDirectory = 0o777
)

func open(c call) errno {
	how, flags := c.arg(4), c.arg(7)
	need := mayOpen
	if how&create != 0 {
		need |= mayCreateFile
	}
	if how&truncate != 0 {
		need |= mayPathSetSize
	}
	dir, name, no := c.at(0, 2, need)
	if no != success {
		return no
	}
	if how&create != 0 && how&onlyDirectory != 0 || how >= truncate<<1 || flags >= sync<<1 {
		return inval
	}
	may := rights(c.arg64(5)) & (mayRead | mayWrite)
	file, err := dir.folder.Open(name, kernelFlags(c.arg(1), how, flags, may), newFile)
	if err != nil {
		return errnoOf(err)
	}
	d := &descriptor{File: file, flags: uint16(flags), readOnly: dir.readOnly}
	if err := d.identify(may, dir.inheriting); err != nil {
		file.Close()
		return errnoOf(err)
	}
	if d.kind == directory {
		d.folder = hostfs.NewFolder(file, dir.readOnly)
	}
	fd := c.add(d)
	if no := c.put32(8, fd); no != success {
		c.close(fd)
		return no
	}
	return success
}

// kernelFlags are the flags of open(2) for those of path_open.
func kernelFlags(lookup, how, flags uint32, may rights) int {
	kernel := syscall.O_RDONLY
	switch {
	case may == mayRead|mayWrite:
		kernel = syscall.O_RDWR
	case may&mayWrite != 0:
		kernel = syscall.O_WRONLY
	}
	for _, pair := range []struct {
		set    bool
		kernel int
	}{
		{lookup&follow == 0, syscall.O_NOFOLLOW},
		{how&create != 0, syscall.O_CREAT},
		{how&onlyDirectory != 0, syscall.O_DIRECTORY},
		{how&exclusive != 0, syscall.O_EXCL},
		{how&truncate != 0, syscall.O_TRUNC},
		{flags&appended != 0, syscall.O_APPEND},
		{flags&dsync != 0, syscall.O_DSYNC},
		{flags&nonblock != 0, syscall.O_NONBLOCK},
		{flags&rsync != 0, syscall.O_RSYNC},
		{flags&sync != 0, syscall.O_SYNC},
	} {
		if pair.set {
			kernel |= pair.kernel
		}
	}
	return kernel
}

func createDirectory(_ call, dir *descriptor, name string) errno {
	return errnoOf(dir.folder.Mkdir(name, newDirectory))
}

func removeDirectory(_ call, dir *descriptor, name string) errno {
	return errnoOf(dir.folder.Rmdir(name))
}

func unlink(_ call, dir *descriptor, name string) errno { return errnoOf(dir.folder.Unlink(name)) }

func pathFilestat(c call, dir *descriptor, name string) errno {
	stat, err := dir.folder.Stat(name, c.arg(1)&follow != 0)
	if err != nil {
		return errnoOf(err)
	}
	return c.put(4, encodeStat(stat))
}

func pathSetTimes(c call, dir *descriptor, name string) errno {
	access, modified, no := c.times(4)
	if no != success {
		return no
	}
	return errnoOf(dir.folder.Times(name, c.arg(1)&follow != 0, access, modified))
}

// link gives a file another name. Following a link at the end is refused, as
// other runtimes do.
func link(c call) errno {
	if c.arg(1) != 0 {
		return inval
	}
	return onPaths(2, mayLinkSource, 4, mayLinkTarget, (*hostfs.Folder).Link)(c)
}

func symlink(c call) errno {
	target, no := c.text(0)
	if no != success {
		return no
	}
	dir, name, no := c.at(2, 3, maySymlink)
	if no != success {
		return no
	}
	return errnoOf(dir.folder.Symlink(target, name))
}

// readlink fills a buffer that may be too short, as readlink(2) does.
func readlink(c call, dir *descriptor, name string) errno {
	target, err := dir.folder.Readlink(name)
	if err != nil {
		return errnoOf(err)
	}
	target = target[:min(len(target), int(c.arg(4)))]
	if no := c.put(3, []byte(target)); no != success {
		return no
	}
	return c.put32(5, uint32(len(target)))
}
