// Package nbd gives machines a disk whose power can be cut: a server of the
// Network Block Device protocol in this process, and the disk behind it. The disk
// keeps apart what was flushed and what was not; a power cut drops, tears and
// reorders the latter, all drawn from a seed. It can fail and be pulled out, too.
//
// QEMU is the client. The protocol is doc/proto.md of the nbd project
// (https://github.com/NetworkBlockDevice/nbd): fixed newstyle handshake, simple
// replies.
package nbd

// The handshake.
const (
	magicServer = 0x4e42444d41474943 // "NBDMAGIC"
	magicOption = 0x49484156454f5054 // "IHAVEOPT"
	magicReply  = 0x3e889045565a9

	// Flags of the server and of the client, which has the same.
	flagFixedNewstyle = 1 << 0
	flagNoZeroes      = 1 << 1

	optExportName = 1
	optAbort      = 2
	optList       = 3
	optInfo       = 6
	optGo         = 7

	repAck            = 1
	repServer         = 2
	repInfo           = 3
	repErrUnsupported = 1<<31 + 1
	repErrInvalid     = 1<<31 + 3
	repErrUnknown     = 1<<31 + 6
	repErrTooBig      = 1<<31 + 9

	infoExport    = 0
	infoBlockSize = 3
)

// Flags of an export.
const (
	exportHasFlags  = 1 << 0
	exportReadOnly  = 1 << 1
	exportSendFlush = 1 << 2
	exportSendFUA   = 1 << 3
	exportSendTrim  = 1 << 5
)

// Requests and their answers.
const (
	magicRequest     = 0x25609513
	magicSimpleReply = 0x67446698

	requestBytes = 28

	cmdRead       = 0
	cmdWrite      = 1
	cmdDisconnect = 2
	cmdFlush      = 3
	cmdTrim       = 4

	commandFUA = 1 << 0
)

// The most that a client may send in one piece.
const (
	maxOption  = 8 << 10
	maxPayload = 32 << 20
)
