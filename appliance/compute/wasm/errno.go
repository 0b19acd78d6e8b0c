package wasm

import "syscall"

// errno is an error number of WASI preview 1
// (https://github.com/WebAssembly/WASI/blob/wasi-0.1/preview1/docs.md#errno).
type errno uint16

const (
	success    errno = 0
	again      errno = 6
	badf       errno = 8
	fault      errno = 21
	ilseq      errno = 25
	inval      errno = 28
	ioerr      errno = 29
	isdir      errno = 31
	mfile      errno = 33
	toolong    errno = 37
	noent      errno = 44
	notdir     errno = 54
	notsock    errno = 57
	notsup     errno = 58
	overflow   errno = 61
	perm       errno = 63
	notcapable errno = 76
)

// fromKernel has WASI's number of each error that the kernel returns for calls on
// files.
var fromKernel = map[syscall.Errno]errno{
	syscall.E2BIG:        1,
	syscall.EACCES:       2,
	syscall.EAGAIN:       again,
	syscall.EBADF:        badf,
	syscall.EBUSY:        10,
	syscall.ECONNRESET:   15,
	syscall.EDEADLK:      16,
	syscall.EDQUOT:       19,
	syscall.EEXIST:       20,
	syscall.EFAULT:       fault,
	syscall.EFBIG:        22,
	syscall.EILSEQ:       ilseq,
	syscall.EINTR:        27,
	syscall.EINVAL:       inval,
	syscall.EIO:          ioerr,
	syscall.EISDIR:       isdir,
	syscall.ELOOP:        32,
	syscall.EMFILE:       mfile,
	syscall.EMLINK:       34,
	syscall.ENAMETOOLONG: toolong,
	syscall.ENFILE:       41,
	syscall.ENOBUFS:      42,
	syscall.ENODEV:       43,
	syscall.ENOENT:       noent,
	syscall.ENOLCK:       46,
	syscall.ENOMEM:       48,
	syscall.ENOSPC:       51,
	syscall.ENOSYS:       52,
	syscall.ENOTCONN:     53,
	syscall.ENOTDIR:      notdir,
	syscall.ENOTEMPTY:    55,
	syscall.ENOTSUP:      notsup,
	syscall.ENOTTY:       59,
	syscall.ENXIO:        60,
	syscall.EOVERFLOW:    overflow,
	syscall.EPERM:        perm,
	syscall.EPIPE:        64,
	syscall.ERANGE:       68,
	syscall.EROFS:        69,
	syscall.ESPIPE:       70,
	syscall.ESTALE:       72,
	syscall.ETIMEDOUT:    73,
	syscall.ETXTBSY:      74,
	syscall.EXDEV:        75,
}

// errnoOf is WASI's number of an error of package hostfs.
func errnoOf(err error) errno {
	if err == nil {
		return success
	}
	if no, ok := err.(syscall.Errno); ok {
		if known, ok := fromKernel[no]; ok {
			return known
		}
	}
	return ioerr
}
