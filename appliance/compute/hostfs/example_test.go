package hostfs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"phase/appliance/compute/hostfs"
)

// No path leads out of a folder, by whatever links.
func ExampleFolder() {
	dir, err := os.MkdirTemp("", "folder")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := os.Symlink("/etc", filepath.Join(dir, "link")); err != nil {
		fmt.Println(err)
		return
	}
	open, err := os.Open(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer open.Close()
	folder := hostfs.NewFolder(hostfs.FileOf(open), false)

	file, err := folder.Open("note", syscall.O_CREAT|syscall.O_WRONLY, 0o600)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer file.Close()
	n, err := file.Write([][]byte{[]byte("one "), []byte("piece after the other")})
	fmt.Println(n, err)

	for _, name := range []string{"link/passwd", "../note", "/etc/passwd"} {
		_, err := folder.Stat(name, true)
		fmt.Println(name, err)
	}
	// Output:
	// 25 <nil>
	// link/passwd operation not permitted
	// ../note operation not permitted
	// /etc/passwd operation not permitted
}
