// Package stick offers the disk image of the release that a node runs, to whoever
// writes a stick with a browser and dd alone. It is laid out as it is sent: no
// room is taken for it, and a download that broke off goes on where it was.
package stick

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"phase/appliance/base/problem"
	"phase/appliance/machine/disk/gpt"
	"phase/appliance/machine/disk/parts"
	"phase/appliance/network/bounds"
	"phase/appliance/release/diskimage"
	"phase/appliance/release/kexec"
	"phase/appliance/release/provide"
	"phase/appliance/release/store"
	"phase/kernel"
)

// Path is where the image is.
const Path = "/stick.img"

// How many may load the image at once, all together and of one address: where the
// kernel travels compressed, each unpacks it anew.
const (
	maxLoads   = 4
	loadsOfOne = 2
)

// Offer is the image of the release that runs. It is an http.Handler, for GET and
// HEAD, and safe for concurrent use.
type Offer struct {
	held    *store.Store
	release string // digest of the one that runs
	rootfs  string // the folder that is its rootfs
	loads   *bounds.Bounds[string]

	measuring sync.Mutex // one at a time: it takes a second
	unpacked  int64      // bytes of the kernel, 0 as long as nobody asked
}

// New offers the image of the release with that digest, whose rootfs is a folder:
// "/" on a node.
func New(held *store.Store, release, rootfs string) *Offer {
	return &Offer{held: held, release: release, rootfs: rootfs, loads: bounds.New[string](maxLoads, loadsOfOne)}
}

// ServeHTTP sends the image.
func (o *Offer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	later := func(what string) {
		w.Header().Set("Retry-After", "10")
		problem.Write(w, http.StatusServiceUnavailable, what)
	}
	from := bounds.Client(r.RemoteAddr)
	if !o.loads.Enter(from) {
		later(fmt.Sprintf("the image is being loaded too often: %d times at once for one address, %d for all; wait until one is done", loadsOfOne, maxLoads))
		return
	}
	defer o.loads.Leave(from)
	release, ok := o.find()
	if !ok {
		later("the release that runs here is being hashed, or is not whole: see /status")
		return
	}
	var open opened
	defer open.close()
	image, err := o.lay(release, &open)
	if err != nil {
		problem.Write(w, http.StatusInternalServerError, "making the image: "+err.Error())
		return
	}
	provide.Made(image, image.Size(), release.Digest(), "phase-"+release.Manifest().Arch+".img").ServeHTTP(w, r)
}

// find is the release that runs, among those that are held, whole.
func (o *Offer) find() (store.Release, bool) {
	for _, r := range o.held.Releases() {
		if r.Digest().String() == o.release {
			_, whole := r.Intact()
			return r, whole
		}
	}
	return store.Release{}, false
}

// lay puts the image together, out of what is opened for it.
func (o *Offer) lay(r store.Release, open *opened) (image parts.Image, err error) {
	m, digest := r.Manifest(), r.Digest()
	from := diskimage.Source{
		Cmdline: m.Cmdline, Manifest: []byte(r.Envelope().Data), ID: gpt.NewID(digest[:]), Time: m.Created,
		Artifact: map[string]diskimage.Bytes{},
	}
	for name := range m.Artifacts {
		if from.Artifact[name], err = artifact(r, name); err != nil {
			return image, err
		}
	}
	if from.Kernel, err = kernel.For(m.Arch); err != nil {
		return image, err
	}
	if from.Conf, err = diskimage.Conf(nil); err != nil {
		return image, err
	}
	if from.Perm, err = open.file(o.rootfs, diskimage.PermFile); err != nil {
		return image, err
	}
	if from.EFI, err = open.file(o.rootfs, diskimage.EFIFile); err != nil {
		return image, err
	}
	if from.Loader, err = os.ReadFile(filepath.Join(o.rootfs, diskimage.LoaderFile)); err != nil {
		return image, err
	}
	if from.Kernel.Compressed {
		if from.Image, err = o.unpack(from.Artifact["kernel"], open); err != nil {
			return image, err
		}
	}
	files, err := from.Files()
	if err != nil {
		return image, err
	}
	return from.Lay(files)
}

func artifact(r store.Release, name string) (diskimage.Bytes, error) {
	blob, ok := r.Artifact(name)
	if !ok {
		return nil, fmt.Errorf("the release has no %s", name)
	}
	return blob, nil
}

// opened is what is read while an image is sent.
type opened []io.Closer

func (o *opened) file(path ...string) (diskimage.Bytes, error) {
	f, err := os.Open(filepath.Join(path...))
	if err != nil {
		return nil, err
	}
	*o = append(*o, f)
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(f, 0, info.Size()), nil
}

func (o *opened) close() {
	for _, c := range *o {
		c.Close() // it was only read
	}
}

// unpack is the kernel of an artifact, which is compressed.
func (o *Offer) unpack(packed diskimage.Bytes, open *opened) (diskimage.Bytes, error) {
	size, err := o.measure(packed)
	if err != nil {
		return nil, err
	}
	u := &unpacking{from: packed, size: size}
	*open = append(*open, u)
	return u, nil
}

// measure is how many bytes the kernel has that is started: the image says so
// before it comes.
func (o *Offer) measure(packed diskimage.Bytes) (int64, error) {
	o.measuring.Lock()
	defer o.measuring.Unlock()
	var err error
	if o.unpacked == 0 {
		o.unpacked, err = kexec.Unpack(io.Discard, io.NewSectionReader(packed, 0, packed.Size()))
	}
	return o.unpacked, err
}

// unpacking reads a compressed kernel as if it were not. Who reads on where the
// last read ended pays for no more than that; who goes back begins anew.
type unpacking struct {
	from diskimage.Bytes
	size int64

	mu sync.Mutex
	r  io.ReadCloser // nil at first
	at int64         // what it reads next
}

// Size is that of the kernel, unpacked, in bytes.
func (u *unpacking) Size() int64 { return u.size }

// ReadAt reads as io.ReaderAt does.
func (u *unpacking) ReadAt(b []byte, at int64) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.r == nil || at < u.at {
		if err := u.close(); err != nil {
			return 0, err
		}
		var err error
		if u.r, err = kexec.Unpacked(io.NewSectionReader(u.from, 0, u.from.Size())); err != nil {
			return 0, err
		}
		u.at = 0
	}
	n, err := io.CopyN(io.Discard, u.r, at-u.at)
	u.at += n
	if err != nil {
		return 0, err
	}
	read, err := io.ReadFull(u.r, b)
	u.at += int64(read)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return read, err
}

// Close ends the reading.
func (u *unpacking) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.close()
}

func (u *unpacking) close() error {
	if u.r == nil {
		return nil
	}
	r := u.r
	u.r = nil
	return r.Close()
}
