package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/sourcegraph/conc/pool"
	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/server"
)

// serveOptions are the flags of `cache serve`.
type serveOptions struct {
	listen        string
	metricsListen string
	dir           string
	tokens        string
	anonymous     string
	tlsCert       string
	tlsKey        string
	maxSize       string
	maxBlob       string
	maxClients    int
	stall         time.Duration
	grace         time.Duration
	noZstd        bool
}

func newCacheServeCommand(s *streams) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve a cache to the team, over HTTP",
		Long: `Serve keeps a cache in a directory and serves it to others, until it is
interrupted: as http(s)://HOST:PORT in the remotes of prismflow, and to Bazel,
ccache and whatever else knows the layout of the common build caches
(/cas/<sha256> and /ac/<key>).

Who may do what is said by the tokens of a file, each with a role: read, or
read-write. "prismflow cache token" makes them. The file is read again when it
changes, and so are certificate and key. Without a token nobody gets in, unless
--anonymous lets them.

Above --max-size what was used longest ago goes. What was used within the last
quarter of an hour stays, and when that is too much nothing more is taken.
"prismflow cache gc --cache DIR" and the other commands on a cache can be used
beside the server.

It writes the address that it listens on to stdout, and a line for each request
to stderr: JSON if that is no terminal. /healthz and /readyz ask for no token;
/metrics, for Prometheus, asks for one that may read, and --metrics-listen has
all three without.`,
		Example: `  prismflow cache token --add tokens --name ci --role read-write
  prismflow cache serve --listen :7117 --dir /srv/cache --tokens tokens --tls-cert cert.pem --tls-key key.pem
  prismflow cache serve --dir /srv/cache --tokens tokens --max-size 200GiB
  prismflow cache serve --dir cache --anonymous read-write`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runCacheServe(cmd.Context(), o, cmd.Flags().Changed("log-level"), s)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.listen, "listen", "127.0.0.1:7117", "listen at `ADDR`: host and port, or :port for all addresses of this machine")
	flags.StringVar(&o.metricsListen, "metrics-listen", "", "serve /metrics, /healthz and /readyz without a token at `ADDR`, too")
	flags.StringVar(&o.dir, "dir", "", "keep the cache in `DIR`")
	flags.StringVar(&o.tokens, "tokens", "", "let those in whose tokens `FILE` lists")
	flags.StringVar(&o.anonymous, "anonymous", "", "let those in who have no token, to `ROLE`: read or read-write")
	flags.StringVar(&o.tlsCert, "tls-cert", "", "speak TLS, with the certificate in `FILE` (PEM)")
	flags.StringVar(&o.tlsKey, "tls-key", "", "the certificate's key, in `FILE` (PEM)")
	flags.StringVar(&o.maxSize, "max-size", "", "keep the cache at most at `SIZE`, such as 200GiB (default: as large as the disk)")
	flags.StringVar(&o.maxBlob, "max-blob", "32GiB", "take no file that is larger than `SIZE`")
	flags.IntVar(&o.maxClients, "max-clients", server.DefaultMaxClients, "serve at most `N` requests at once")
	flags.DurationVar(&o.stall, "stall", server.DefaultStall, "cut off who needs longer than `TIME` for a quarter of a MiB")
	flags.DurationVar(&o.grace, "grace", server.DefaultGrace, "let transfers go on for `TIME` when interrupted")
	flags.BoolVar(&o.noZstd, "no-zstd", false, "compress nothing on the wire: for a network that is faster than the processors")
	complete(cmd, "anonymous", "read", "read-write")
	return cmd
}

func runCacheServe(ctx context.Context, o serveOptions, levelSet bool, s *streams) error {
	log := newLogger(s.err, s).With().Timestamp().Logger()
	if !levelSet {
		log = log.Level(zerolog.InfoLevel) // who starts a server wants to see what it serves
	}
	warn := func(message string) { log.Error().Msg(message) }
	options, err := o.serverOptions(&log)
	if err != nil {
		return usageError{err}
	}
	if o.tokens != "" {
		options.Tokens, err = server.OpenTokens(s.path(o.tokens), warn)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return usageError{fmt.Errorf("--tokens: %w; this makes one: prismflow cache token --add %s --name NAME --role read-write", err, shellWord(o.tokens))}
		case err != nil:
			return usageError{fmt.Errorf("--tokens: %w", err)}
		case options.Tokens.Len() == 0 && options.Anonymous == server.NoAccess:
			log.Warn().Msgf("nobody gets in yet: there is no token in %s", o.tokens)
		}
	}
	certificate, err := o.certificate(s, warn)
	if err != nil {
		return err
	}
	if err := o.lonely(options); err != nil {
		return err
	}
	store, err := disk.Open(s.path(o.dir), disk.Options{Now: s.now})
	if err != nil {
		return cacheError{err}
	}
	defer store.Close()
	options.Keep = func(ctx context.Context) ([]disk.Keep, error) {
		return new(gcReport).keep(ctx, store, 0, s.now().Add(-downloadsStay))
	}
	serving, err := server.New(store, options)
	if err != nil {
		return cacheError{err}
	}
	err = o.serve(ctx, serving, certificate, options, s, log)
	return errors.Join(err, serving.Close())
}

// serverOptions are the flags that are the server's own.
func (o *serveOptions) serverOptions(log *zerolog.Logger) (server.Options, error) {
	options := server.Options{MaxClients: o.maxClients, Stall: o.stall, Grace: o.grace, NoZstd: o.noZstd, Log: log}
	var wrong []error
	if o.dir == "" {
		wrong = append(wrong, errors.New("--dir DIR says where the cache is kept, and is needed"))
	}
	if o.maxClients <= 0 || o.stall <= 0 || o.grace < 0 {
		wrong = append(wrong, errors.New("--max-clients and --stall must be positive, and --grace not negative"))
	}
	if options.Grace == 0 {
		options.Grace = time.Nanosecond // 0 would be the default
	}
	for _, size := range []struct {
		flag, text string
		to         *int64
	}{{"--max-size", o.maxSize, &options.MaxBytes}, {"--max-blob", o.maxBlob, &options.MaxBlob}} {
		var err error
		if *size.to, err = parseSize(size.text); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", size.flag, err))
		}
	}
	if o.anonymous != "" {
		var err error
		if options.Anonymous, err = server.ParseRole(o.anonymous); err != nil {
			wrong = append(wrong, fmt.Errorf("--anonymous: %w", err))
		}
	}
	return options, errors.Join(wrong...)
}

func (o *serveOptions) certificate(s *streams, warn func(string)) (*server.Certificate, error) {
	if (o.tlsCert == "") != (o.tlsKey == "") {
		return nil, usageError{errors.New("--tls-cert and --tls-key go together")}
	}
	if o.tlsCert == "" {
		return nil, nil
	}
	certificate, err := server.OpenCertificate(s.path(o.tlsCert), s.path(o.tlsKey), warn)
	if err != nil {
		return nil, usageError{err}
	}
	return certificate, nil
}

// lonely refuses to serve nobody. It goes by what was asked for, and not by the
// address: behind a proxy, a server on loopback serves the world.
func (o *serveOptions) lonely(options server.Options) error {
	if options.Tokens != nil || options.Anonymous != server.NoAccess {
		return nil
	}
	return usageError{errors.New(`nobody could use this cache. Either give tokens to those who may:
  prismflow cache token --add tokens --name NAME --role read-write
  prismflow cache serve --tokens tokens …
or let everybody in who reaches it: --anonymous read, or --anonymous read-write`)}
}

// serve listens until ctx ends.
func (o *serveOptions) serve(ctx context.Context, serving *server.Server, certificate *server.Certificate, options server.Options, s *streams, log zerolog.Logger) error {
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	defer listener.Close()
	scheme := "http"
	if certificate != nil {
		scheme = "https"
	}
	tasks := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	if o.metricsListen != "" {
		monitor, err := net.Listen("tcp", o.metricsListen)
		if err != nil {
			return fmt.Errorf("--metrics-listen: %w", err)
		}
		log.Info().Str("address", monitor.Addr().String()).Msg("serving metrics")
		tasks.Go(func(ctx context.Context) error { return serving.ServeMonitor(ctx, monitor) })
	}
	if scheme == "http" && options.Tokens != nil && !isLoopback(listener.Addr()) {
		log.Warn().Msg("tokens cross the network as they are: give --tls-cert and --tls-key, or listen on 127.0.0.1 behind a proxy that speaks TLS")
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // before anybody can know that there is a server
	defer signal.Stop(hangups)
	ended := make(chan struct{})
	tasks.Go(func(ctx context.Context) error {
		defer close(ended)
		return serving.Serve(ctx, listener, certificate)
	})
	tasks.Go(func(context.Context) error { return reloadOnHangup(hangups, ended, options.Tokens, certificate, log) })
	s.out.printf("listening on %s://%s\n", scheme, listener.Addr())
	return tasks.Wait()
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// reloadOnHangup reads tokens and certificate again at each SIGHUP, until ended.
func reloadOnHangup(hangups <-chan os.Signal, ended <-chan struct{}, tokens *server.Tokens, certificate *server.Certificate, log zerolog.Logger) error {
	for {
		select {
		case <-ended:
			return nil
		case <-hangups:
		}
		if tokens != nil {
			tokens.Reload()
			log.Info().Int("tokens", tokens.Len()).Msg("read the token file again")
		}
		if certificate != nil {
			certificate.Reload()
			log.Info().Msg("read the certificate again")
		}
	}
}
