package plasmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"phase/appliance/base/program"
	"phase/appliance/base/strictjson"
	"phase/appliance/base/ui"
	"phase/appliance/daemon/status"
	"phase/appliance/release/fetch"
)

type providerCmd struct {
	Status providerStatusCmd `cmd:"" help:"How a provider is; exit code 1 when it is unhealthy."`
	List   providerListCmd   `cmd:"" help:"The releases a provider holds; exit code 1 when it is unhealthy."`
}

type providerStatusCmd struct {
	providerURL
	JSON bool `name:"json" short:"j" help:"Print one JSON object."`
}

type providerListCmd struct {
	providerURL
	JSON bool `name:"json" short:"j" help:"Print one JSON array."`
}

type providerURL struct {
	URL string `name:"url" short:"a" default:"http://localhost:8080" placeholder:"URL" help:"The provider (${default})."`
}

const (
	askTime = 10 * time.Second
	askMax  = 1 << 20
)

// ask gets a provider's /status: the text, and what it says.
func ask(ctx context.Context, base string) ([]byte, status.Report, error) {
	var report status.Report
	u, err := fetch.ParseBase(base)
	if err != nil {
		return nil, report, program.Usagef("--url: %w", err)
	}
	u = u.JoinPath("status")
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, fmt.Errorf("no answer within %v", askTime))
	defer cancel()
	client := fetch.NewClient()
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, report, program.Usagef("--url: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, report, fmt.Errorf("asking the provider: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, report, fmt.Errorf("asking the provider: %s answered %d %s", u, resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, askMax+1))
	if err != nil {
		return nil, report, fmt.Errorf("reading the provider's answer: %w", errors.Join(err, context.Cause(ctx)))
	}
	if err := strictjson.Unmarshal(data, &report); err != nil {
		return nil, report, fmt.Errorf("reading the provider's answer: %w", err)
	}
	return data, report, nil
}

func (c providerStatusCmd) run(ctx context.Context, stdout io.Writer) error {
	data, r, err := ask(ctx, c.URL)
	if err != nil {
		return err
	}
	return answer(stdout, c.JSON, data, statusRows, r)
}

func (c providerListCmd) run(ctx context.Context, stdout io.Writer) error {
	_, r, err := ask(ctx, c.URL)
	if err != nil {
		return err
	}
	if r.Releases == nil {
		r.Releases = []status.ReleaseInfo{}
	}
	data, err := strictjson.MarshalIndent(r.Releases)
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return answer(stdout, c.JSON, data, listRows, r)
}

// answer prints what a provider said, as JSON or as rows; its error says that
// the provider is unhealthy, or that the answer could not be printed.
func answer(stdout io.Writer, asJSON bool, data []byte, rows func(status.Report) [][]string, r status.Report) (err error) {
	if asJSON {
		_, err = stdout.Write(printable(data))
	} else {
		err = ui.Table(stdout, rows(r))
	}
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	if r.Health.Status != "healthy" {
		return program.Exit{Code: 1}
	}
	return nil
}

func statusRows(r status.Report) [][]string {
	rows := [][]string{
		{"node", ui.Clean(r.Name)},
		{"peer", ui.Clean(r.PeerID)},
		{"health", ui.Clean(r.Health.Status)},
		{"up", ui.Duration(time.Duration(r.UptimeSeconds) * time.Second)},
		{"program", ui.Clean(r.Program)},
	}
	for _, name := range slices.Sorted(maps.Keys(r.Health.Checks)) {
		if said := r.Health.Checks[name]; said != "ok" {
			rows = append(rows, []string{"", ui.Clean(name + ": " + said)})
		}
	}
	if r.Release != nil {
		rows = append(rows, []string{"release", ui.Clean(fmt.Sprintf("%s/%s version %d %s", r.Release.Channel, r.Release.Arch, r.Release.Version, r.Release.Digest))})
	}
	if r.Root != nil {
		rows = append(rows, []string{"root", fmt.Sprintf("version %d, expires %s", r.Root.Version, r.Root.Expires.UTC().Format(time.DateOnly))})
	}
	rows = append(rows, []string{"update", ui.Clean(r.Update.State)})
	if last := r.Update.Last; last != nil {
		rows = append(rows, []string{"", ui.Clean(fmt.Sprintf("version %d from %s: %s %s", last.Version, last.Provider, last.Result, last.Reason))})
	}
	for _, p := range r.Problems {
		rows = append(rows, []string{"problem", ui.Clean(p)})
	}
	return rows
}

// printable writes JSON from a stranger with nothing in it that a terminal
// would obey. Characters beyond ASCII stand only within strings, where an
// escape says the same; those of ASCII are escaped already, or no JSON.
func printable(data []byte) []byte {
	var out []byte
	for _, r := range string(data) {
		switch {
		case r < 0x7f || unicode.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

func listRows(r status.Report) [][]string {
	rows := [][]string{{"CHANNEL", "ARCH", "VERSION", "NAME", "SIZE", "EXPIRES", "DIGEST"}}
	for _, held := range r.Releases {
		size := int64(0)
		for _, a := range held.Artifacts {
			size += a.Size
		}
		rows = append(rows, []string{
			ui.Clean(held.Channel), ui.Clean(held.Arch), strconv.FormatUint(held.Version, 10), ui.Clean(held.Name),
			ui.Bytes(size), held.Expires.UTC().Format(time.DateOnly), ui.Clean(held.Digest),
		})
	}
	return rows
}
