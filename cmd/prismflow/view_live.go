package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/rs/zerolog"

	"github.com/prismflow/prismflow/dag"
)

// A liveView draws the stages in flight at the bottom of a terminal; what has
// finished stands above as lines. It draws only once a run has lasted a moment,
// so that one which finds everything in the cache is not slowed down by it.
type liveView struct {
	to     stream
	paint  painter
	logs   *logView
	start  *time.Timer
	cached int

	mu      sync.Mutex // guards what follows
	model   liveModel
	held    []string // lines from before the drawing began
	closed  bool
	program *tea.Program // nil before
	ended   chan struct{}
}

// liveDelay is how long a run must last to be worth drawing.
const liveDelay = 150 * time.Millisecond

// liveInterval is the time between two drawings.
const liveInterval = 100 * time.Millisecond

func newLiveView(ctx context.Context, s *streams) *liveView {
	v := &liveView{to: s.err, paint: painter{s.colourful(s.err)}, ended: make(chan struct{})}
	v.model = liveModel{paint: v.paint, now: s.now, began: s.now(), interrupted: ctx.Done()}
	lines := lineWriter{v.line}
	v.logs = &logView{zerolog.New(zerolog.ConsoleWriter{Out: lines, NoColor: !v.paint.colour, TimeFormat: "15:04:05"}).Level(parseLogLevel(s.logLevel))}
	v.start = time.AfterFunc(liveDelay, v.draw)
	return v
}

// draw begins to draw.
func (v *liveView) draw() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return
	}
	for _, line := range v.held {
		v.to.printf("%s\n", line)
	}
	v.held = nil
	// Without input the terminal keeps turning Ctrl-C into a signal, which is
	// how a run is stopped, and is asked no questions.
	v.program = tea.NewProgram(v.model, tea.WithInput(nil), tea.WithOutput(v.to.Writer), tea.WithoutSignalHandler(), tea.WithFPS(30))
	go func() {
		defer close(v.ended)
		_, _ = v.program.Run() // a drawing that cannot go on does not stop the run
	}()
}

func (v *liveView) close() {
	v.start.Stop()
	if v.cached > mostCached {
		v.line(fmt.Sprintf("cached   … and %d more", v.cached-mostCached))
	}
	v.mu.Lock()
	v.closed = true
	program, held := v.program, v.held
	v.mu.Unlock()
	if program != nil {
		program.Send(clearMsg{})
		program.Quit()
		<-v.ended
		return
	}
	for _, line := range held {
		v.to.printf("%s\n", line)
	}
}

func (v *liveView) event(e dag.Event) {
	v.logs.event(e)
	switch e.Type {
	case dag.StageFinished:
		if e.State == dag.Cached {
			v.cached++
		}
		if worthLine(e, v.cached) {
			v.line(v.paint.finished(e))
		}
	case dag.StageRetry:
		v.line(fmt.Sprintf("retry    %s: attempt %d failed: %s", e.Stage, e.Attempt, e.Error))
	case dag.Note:
		v.line(noteLine(e))
	}
	v.mu.Lock()
	program := v.program
	if program == nil {
		v.model = v.model.apply(e)
	}
	v.mu.Unlock()
	if program != nil {
		program.Send(eventMsg(e))
	}
}

// line prints a line above what is drawn.
func (v *liveView) line(text string) {
	v.mu.Lock()
	program := v.program
	if program == nil {
		v.held = append(v.held, text)
	}
	v.mu.Unlock()
	if program != nil {
		program.Println(text)
	}
}

// A lineWriter passes on what is written as lines.
type lineWriter struct{ line func(string) }

func (w lineWriter) Write(p []byte) (int, error) {
	w.line(string(bytes.TrimRight(p, "\n")))
	return len(p), nil
}

// Messages of the drawing.
type (
	eventMsg dag.Event
	tickMsg  time.Time
	clearMsg struct{} // the last drawing is empty
)

// A liveModel is what is drawn.
type liveModel struct {
	paint       painter
	now         func() time.Time
	began       time.Time
	interrupted <-chan struct{}

	running []*progress // in the order in which they began
	total   int64       // stages of the run
	done    int64
	width   int
	height  int
	cleared bool
}

func (m liveModel) Init() tea.Cmd { return tick() }

func tick() tea.Cmd {
	return tea.Tick(liveInterval, func(t time.Time) tea.Msg { return tickMsg(t) })
}

func (m liveModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case eventMsg:
		return m.apply(dag.Event(msg)), nil
	case tickMsg:
		return m, tick()
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case clearMsg:
		m.cleared = true
	}
	return m, nil
}

// without is what is running but one stage.
func (m liveModel) without(stage string) []*progress {
	for i, p := range m.running {
		if p.stage == stage {
			return append(m.running[:i:i], m.running[i+1:]...)
		}
	}
	return m.running
}

// progress is the model after an event about how far a stage is, which may not
// have begun: it is being downloaded, or what it reads is.
func (m liveModel) progress(e dag.Event) liveModel {
	i := slices.IndexFunc(m.running, func(p *progress) bool { return p.stage == e.Stage })
	if i < 0 {
		i = len(m.running)
		m.running = append(m.running, newProgress(e))
	}
	m.running[i].apply(e)
	return m
}

// apply is the model after an event.
func (m liveModel) apply(e dag.Event) liveModel {
	switch e.Type {
	case dag.RunStarted:
		m.total = e.Total
	case dag.StageStarted:
		m.running = append(m.without(e.Stage), newProgress(e))
	case dag.StageFinished:
		m.done++
		m.running = m.without(e.Stage)
	case dag.Sharing:
		return m.progress(asProgress(e))
	case dag.StageProgress, dag.StageMetrics:
		return m.progress(e)
	}
	return m
}

func (m liveModel) View() tea.View {
	text := ""
	if !m.cleared {
		text = m.text(m.now())
	}
	view := tea.NewView(text)
	view.DisableBracketedPasteMode = true // nothing is read
	return view
}

// text is a line for each running stage and one for the run.
func (m liveModel) text(now time.Time) string {
	running, hidden := m.running, 0
	if most := m.height - 2; m.height > 2 && len(running) > most {
		running, hidden = running[:most], len(running)-most
	}
	names := 0
	for _, p := range running {
		names = max(names, len(p.stage))
	}
	var lines []string
	for _, p := range running {
		lines = append(lines, m.stageLine(p, names, now))
	}
	lines = append(lines, m.runLine(hidden, now))
	for i, line := range lines {
		if m.width > 0 {
			lines[i] = ansi.Truncate(line, m.width-1, "…")
		}
	}
	return strings.Join(lines, "\n")
}

const barWidth = 20

func (m liveModel) stageLine(p *progress, names int, now time.Time) string {
	line := fmt.Sprintf("%s %-*s  ", m.paint.in(green, "▸"), names, p.stage)
	if fraction := p.fraction(); fraction >= 0 {
		full := int(fraction * barWidth)
		line += m.paint.in(green, strings.Repeat("█", full)) + m.paint.in(faint, strings.Repeat("░", barWidth-full))
		line += fmt.Sprintf(" %3.0f %%  ", fraction*100)
	}
	return line + p.text(now)
}

func (m liveModel) runLine(hidden int, now time.Time) string {
	text := fmt.Sprintf("%d of %s, %d running, %s", m.done, count(int(m.total), "stage"), len(m.running), seconds(now.Sub(m.began).Seconds()))
	if hidden > 0 {
		text += fmt.Sprintf(" (%d not shown)", hidden)
	}
	select {
	case <-m.interrupted:
		text += "  stopping; Ctrl-C again to kill"
	default:
	}
	return m.paint.in(faint, text)
}

// A painter colours text, where the terminal takes colours.
type painter struct{ colour bool }

func (p painter) in(colour, text string) string {
	if !p.colour || text == "" {
		return text
	}
	return colour + text + plain
}

// finished colours the line of a finished stage by how it ended. It says why a
// stage ran, for here no line did when it began.
func (p painter) finished(e dag.Event) string {
	line := finishedLine(e)
	switch e.State {
	case dag.Failed:
		return p.in(red, line)
	case dag.Cached, dag.Skipped, dag.Cancelled:
		return p.in(faint, line)
	}
	word, rest, _ := strings.Cut(line, " ")
	return p.in(green, word) + " " + rest + p.in(faint, " ("+e.Reason+")")
}
