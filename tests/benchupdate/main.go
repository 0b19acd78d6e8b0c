// Command benchupdate times an update as those who use the node see it: from the last
// 200 of the old release to the first of the new one, beside a cold boot of the same
// machine in the same round, and says where the time goes. It also times the power-on
// of a node that has a newer release on its disk, what the decision to stay on the stub
// costs, and what three releases take on the disk. It prints medians and ratios and
// judges nothing.
package main

import "phase/appliance/base/program"

func main() { program.Main("benchupdate", run) }
