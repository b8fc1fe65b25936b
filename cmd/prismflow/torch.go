package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/model/gotorch"
)

type torchCommandOptions struct {
	libtorch string
	json     bool
}

const torchDoc = `Models are trained by libtorch, which is loaded when it is needed. Between it and
this program is a small library that is compiled once for each libtorch; stages
that need it do that by themselves.

libtorch is looked for in --libtorch, $LIBTORCH, the system's directories, and
the torch package of python3.`

func newTorchCommand(s *streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "torch",
		Short:   "Find libtorch and build what connects to it",
		Long:    torchDoc,
		Example: "  prismflow torch info\n  prismflow torch build --libtorch /opt/libtorch",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTorchBuildCommand(s), newTorchInfoCommand(s))
	return cmd
}

func (o *torchCommandOptions) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.libtorch, "libtorch", "", "use the libtorch in `DIR`: an unpacked zip, or a wheel's torch directory")
	registerJSON(cmd, &o.json, "print one JSON object")
}

// torchReport is what `torch info --json` and `torch build --json` print.
type torchReport struct {
	Format      int      `json:"format"`
	Libtorch    string   `json:"libtorch"` // its directory
	Source      string   `json:"source"`   // how it was found: option, LIBTORCH, system or python
	Version     string   `json:"version"`
	LibDir      string   `json:"lib_dir"`
	IncludeDirs []string `json:"include_dirs"`
	CUDA        bool     `json:"cuda"` // it was built with CUDA
	CUDADevices int      `json:"cuda_devices"`
	Shim        string   `json:"shim"`
	Build       string   `json:"build,omitempty"`  // libtorch's own account of how it was built
	Advice      []string `json:"advice,omitempty"` // what makes it needlessly slow, and the remedy
}

func newTorchBuildCommand(s *streams) *cobra.Command {
	var o torchCommandOptions
	cmd := &cobra.Command{
		Use:     "build",
		Short:   "Compile what connects to libtorch",
		Long:    "Build finds libtorch and compiles what connects to it, unless that was done\nbefore.",
		Example: "  prismflow torch build\n  prismflow torch build --libtorch /opt/libtorch",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runTorchBuild(cmd.Context(), o, s) },
	}
	o.register(cmd)
	return cmd
}

func runTorchBuild(ctx context.Context, o torchCommandOptions, s *streams) error {
	options, err := torchOptions(o.libtorch, s)
	if err != nil {
		return err
	}
	options.Log = func(format string, args ...any) { s.err.printf(format+"\n", args...) }
	installation, err := gotorch.Find(ctx, options)
	if err != nil {
		return err
	}
	shim, err := gotorch.Build(ctx, installation, options)
	if err != nil {
		return err
	}
	if o.json {
		return writeJSON(s.out, reportInstallation(installation, shim))
	}
	s.out.printf("libtorch %s in %s\n%s\n", installation.Version, installation.LibDir, shim)
	return nil
}

func reportInstallation(i gotorch.Installation, shim string) torchReport {
	return torchReport{
		Format: 1, Libtorch: i.Dir, Source: i.Source, Version: i.Version,
		LibDir: i.LibDir, IncludeDirs: i.IncludeDirs, CUDA: i.CUDA, Shim: shim,
	}
}

func newTorchInfoCommand(s *streams) *cobra.Command {
	var o torchCommandOptions
	cmd := &cobra.Command{
		Use:     "info",
		Short:   "Say which libtorch is used and on which devices",
		Long:    "Info loads libtorch and says where it is, its version, its devices, and how it\nwas built.",
		Example: "  prismflow torch info\n  prismflow torch info --json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runTorchInfo(cmd.Context(), o, s) },
	}
	o.register(cmd)
	return cmd
}

func runTorchInfo(ctx context.Context, o torchCommandOptions, s *streams) error {
	options, err := torchOptions(o.libtorch, s)
	if err != nil {
		return err
	}
	options.Log = func(format string, args ...any) { s.err.printf(format+"\n", args...) }
	library, err := gotorch.Open(ctx, options)
	if err != nil {
		return err
	}
	report := reportInstallation(library.Installation(), library.Path())
	report.CUDADevices, report.Advice = library.DeviceCount(gotorch.CUDA), library.Advice()
	if report.Build, err = library.BuildInfo(); err != nil {
		return err
	}
	if o.json {
		return writeJSON(s.out, report)
	}
	s.out.printf("libtorch  %s, found by: %s\n", report.Version, report.Source)
	s.out.printf("in        %s\n", report.LibDir)
	s.out.printf("devices   %s\n", devicesText(report))
	s.out.printf("shim      %s\n", report.Shim)
	for _, advice := range report.Advice {
		s.out.printf("advice    %s\n", advice)
	}
	s.out.printf("\n%s\n", strings.TrimSpace(report.Build))
	return nil
}

func devicesText(r torchReport) string {
	switch {
	case r.CUDADevices > 0:
		return "cpu, " + count(r.CUDADevices, "CUDA device")
	case r.CUDA:
		return "cpu (it was built with CUDA, but there is no CUDA device or no driver)"
	}
	return "cpu"
}
