package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionReport is what `version --json` prints.
type versionReport struct {
	Format   int    `json:"format"`
	Version  string `json:"version"`            // of the module, "(devel)" when built from a checkout
	Revision string `json:"revision,omitempty"` // of the source, with "+" when it was changed
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersionCommand(s *streams) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the program's version",
		Long:    "Version prints the program's version, the source revision that it was built\nfrom, and the Go version.",
		Example: "  prismflow version\n  prismflow version --json",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return runVersion(asJSON, s) },
	}
	registerJSON(cmd, &asJSON, "print one JSON object")
	return cmd
}

func runVersion(asJSON bool, s *streams) error {
	report := buildVersion()
	if asJSON {
		return writeJSON(s.out, report)
	}
	s.out.printf("prismflow %s, %s, %s\n", report.revised(), report.Go, report.Platform)
	return nil
}

// revised is the version, with the revision where that is known.
func (r versionReport) revised() string {
	if r.Revision == "" {
		return r.Version
	}
	return r.Version + " (" + r.Revision + ")"
}

func buildVersion() versionReport {
	report := versionReport{Format: 1, Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return report
	}
	if info.Main.Version != "" {
		report.Version = info.Main.Version
	}
	modified := false
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			report.Revision = setting.Value
		case "vcs.modified":
			modified = setting.Value == "true"
		}
	}
	if len(report.Revision) > 12 {
		report.Revision = report.Revision[:12]
	}
	if modified {
		report.Revision += "+"
	}
	return report
}

// versions are those that results record.
func versions() map[string]string {
	report := buildVersion()
	return map[string]string{"prismflow": report.Version, "go": report.Go, "platform": report.Platform}
}

func registerJSON(cmd *cobra.Command, asJSON *bool, usage string) {
	cmd.Flags().BoolVar(asJSON, "json", false, usage)
}

// writeJSON prints one JSON value on a line.
func writeJSON(to stream, value any) error {
	encoder := json.NewEncoder(to)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return nil
}
