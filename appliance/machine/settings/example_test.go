package settings_test

import (
	"fmt"

	"phase/appliance/base/names"
	"phase/appliance/machine/settings"
)

// The command line of the kernel wins over phase.conf, and what is not understood
// is reported.
func ExampleParse() {
	options, problems := settings.Parse("console=ttyS0 phase.mode=local", "phase.mode=private\nphase.update=off\nphase.cache=no\n")
	fmt.Println(options.Mode, options.Update, options.Cache)
	for _, p := range problems {
		fmt.Println(p)
	}
	// Output:
	// local false false
	// phase.cache=no: want on or off; off holds
}

func ExampleNextCmdline() {
	line, err := settings.NextCmdline("panic=10 quiet", "root=/dev/vda2 console=ttyS0 phase.mode=local", []string{"phase.update=off"}, names.Digest{}, "")
	fmt.Println(line, err)
	_, err = settings.NextCmdline("init=/bin/sh", "", nil, names.Digest{}, "")
	fmt.Println(err)
	// Output:
	// panic=10 quiet console=ttyS0 phase.mode=local phase.update=off phase.disk=/dev/vda2 <nil>
	// the manifest's command line: cmdline may not hold "init=/bin/sh"
}
