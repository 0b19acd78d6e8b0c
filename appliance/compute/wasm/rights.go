package wasm

// rights are what may be done with an open file (preview 1's rights). A file
// that is opened has all that make sense for it, but for reading and writing,
// which must be asked for; a module that gives rights up has lost them.
type rights uint64

const (
	mayDatasync rights = 1 << iota
	mayRead
	maySeek
	maySetFlags
	maySync
	mayTell
	mayWrite
	mayAdvise
	mayAllocate
	mayCreateDirectory
	mayCreateFile
	mayLinkSource
	mayLinkTarget
	mayOpen
	mayReaddir
	mayReadlink
	mayRenameSource
	mayRenameTarget
	mayPathFilestat
	mayPathSetSize
	mayPathSetTimes
	mayFilestat
	maySetSize
	maySetTimes
	maySymlink
	mayRemoveDirectory
	mayUnlink
	mayPoll
)

const (
	ofFile = mayDatasync | mayRead | maySeek | maySetFlags | maySync | mayTell | mayWrite | mayAdvise | mayAllocate |
		mayFilestat | maySetSize | maySetTimes | mayPoll
	ofDirectory = mayDatasync | maySetFlags | maySync | mayCreateDirectory | mayCreateFile | mayLinkSource | mayLinkTarget |
		mayOpen | mayReaddir | mayReadlink | mayRenameSource | mayRenameTarget | mayPathFilestat | mayPathSetSize |
		mayPathSetTimes | mayFilestat | maySetTimes | maySymlink | mayRemoveDirectory | mayUnlink | mayPoll
)

// setRights gives rights up. None come back.
func setRights(c call, d *descriptor) errno {
	base, inheriting := rights(c.arg64(1)), rights(c.arg64(2))
	if base&^d.base != 0 || inheriting&^d.inheriting != 0 {
		return notcapable
	}
	d.base, d.inheriting = base, inheriting
	return success
}
