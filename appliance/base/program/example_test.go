package program_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"phase/appliance/base/program"
)

// greet is a whole program; its main is program.Main("greet", greet).
func greet(_ context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var cli struct {
		Times int      `default:"1" range:"1-3" help:"How often."`
		Names []string `arg:"" help:"Whom."`
	}
	if _, err := program.Parse("greet", "Says hello.", &cli, args, stdout, stderr); err != nil {
		return err
	}
	for range cli.Times {
		fmt.Fprintln(stdout, "hello", strings.Join(cli.Names, " "))
	}
	return nil
}

func Example() {
	for _, args := range [][]string{{"--times", "2", "you"}, {"--times", "9", "you"}} {
		err := greet(context.Background(), args, strings.NewReader(""), os.Stdout, os.Stdout)
		code, _ := program.Code(err)
		fmt.Println(code, err)
	}
	// Output:
	// hello you
	// hello you
	// 0 <nil>
	// 2 --times: 9 is out of range, 1 to 3 is allowed
}
