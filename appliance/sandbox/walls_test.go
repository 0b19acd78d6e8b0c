package sandbox

func behindTheWalls([]string) {}
