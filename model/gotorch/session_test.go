package gotorch_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

func TestScopesFreeWhatTheyMade(t *testing.T) {
	s := torchtest.Session(t)
	lib := s.Library()
	before := lib.LiveTensors()
	err := s.Run(func() {
		w := s.Randn(8, 8).RequiresGrad(true)
		var after1 int64
		for i := range 1000 {
			s.Scoped(func() {
				w.SetGrad(nil)
				y := s.Randn(4, 8).MatMul(w).GELU()
				y.Split(2, 0)[0].Mean().Backward()
				s.Call("aten::unbind.int", w, 0)
			})
			if i == 0 {
				after1 = lib.LiveTensors()
			}
		}
		if got := lib.LiveTensors(); got != after1 {
			t.Errorf("%d live tensors after 1 step, %d after 1000", after1, got)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := lib.LiveTensors(); got != before {
		t.Errorf("%d live tensors before Run, %d after", before, got)
	}
}

func TestKeepMovesToTheEnclosingScope(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		var kept, inner *gotorch.Tensor
		s.Scoped(func() {
			s.Scoped(func() {
				kept, inner = s.Ones(1), s.Ones(1)
				s.Keep(kept, nil)
			})
			if !kept.Valid() || inner.Valid() {
				t.Errorf("after the inner scope: kept %v, other %v", kept.Valid(), inner.Valid())
			}
			s.Scoped(func() { s.Keep(kept) }) // made further out: stays there
			if !kept.Valid() {
				t.Error("keeping a tensor of an outer scope freed it")
			}
		})
		if kept.Valid() {
			t.Error("kept beyond the enclosing scope")
		}
	})
}

func TestPersistLivesUntilClose(t *testing.T) {
	lib := torchtest.Open(t)
	before := lib.LiveTensors()
	s, err := lib.NewSession(gotorch.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var p, q, fromOutermost *gotorch.Tensor
	if err := s.Run(func() {
		s.Scoped(func() {
			p, q = s.Full(3, 1), s.Ones(1)
			s.Persist(p, q, p)
		})
		fromOutermost = s.Full(4, 1)
		s.Keep(fromOutermost)
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(func() {
		if p.Item() != 3 || fromOutermost.Item() != 4 {
			t.Error("persistent tensors lost their values")
		}
		s.Free(q, nil, q)
	}); err != nil {
		t.Fatal(err)
	}
	if q.Valid() {
		t.Error("Free left the tensor valid")
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := lib.LiveTensors(); got != before {
		t.Errorf("%d live tensors before the session, %d after", before, got)
	}
	if err := s.Run(func() {}); err == nil {
		t.Error("Run after Close succeeds")
	}
}

func TestUseAfterScopeIsAnError(t *testing.T) {
	for name, use := range map[string]func(s *gotorch.Session, x *gotorch.Tensor){
		"operand":  func(s *gotorch.Session, x *gotorch.Tensor) { s.Ones(1).Add(x) },
		"receiver": func(s *gotorch.Session, x *gotorch.Tensor) { x.Exp() },
		"in list":  func(s *gotorch.Session, x *gotorch.Tensor) { s.Cat(0, s.Ones(1), x) },
		"values":   func(s *gotorch.Session, x *gotorch.Tensor) { x.Float32s() },
		"backward": func(s *gotorch.Session, x *gotorch.Tensor) { x.Backward() },
	} {
		t.Run(name, func(t *testing.T) {
			e := failure(t, func(s *gotorch.Session) {
				var x *gotorch.Tensor
				s.Scoped(func() { x = s.Ones(1) })
				use(s, x)
			})
			wantContains(t, e.Error(), "tensor used after its scope ended")
		})
	}
}

func TestOutsideRunIsAnError(t *testing.T) {
	s := torchtest.Session(t)
	defer func() {
		e, ok := recover().(*gotorch.Error)
		if !ok {
			t.Fatal("no *gotorch.Error")
		}
		wantContains(t, e.Error(), "outside Session.Run")
	}()
	s.Ones(1)
}

func TestForeignAndNilTensorsAreErrors(t *testing.T) {
	other := torchtest.Session(t)
	var foreign *gotorch.Tensor
	if err := other.Run(func() {
		foreign = other.Ones(1)
		other.Persist(foreign)
	}); err != nil {
		t.Fatal(err)
	}
	e := failure(t, func(s *gotorch.Session) { s.Ones(1).Add(foreign) })
	wantContains(t, e.Error(), "tensor of another session")
	e = failure(t, func(s *gotorch.Session) { (*gotorch.Tensor)(nil).Exp() })
	wantContains(t, e.Error(), "nil tensor")
}

func TestRunPassesOtherPanicsAndCleansUp(t *testing.T) {
	s := torchtest.Session(t)
	before := s.Library().LiveTensors()
	func() {
		defer func() {
			if r := recover(); r != "mine" {
				t.Errorf("recovered %v", r)
			}
		}()
		_ = s.Run(func() {
			s.NoGrad(func() {
				s.Scoped(func() {
					s.Ones(3)
					panic("mine")
				})
			})
		})
	}()
	if got := s.Library().LiveTensors(); got != before {
		t.Errorf("the panic leaked %d tensors", got-before)
	}
	if err := s.Run(func() {
		x := s.Ones(1).RequiresGrad(true)
		if !x.Mul(2).NeedsGrad() {
			t.Error("gradients stayed off after the panic")
		}
		if err := s.Run(func() {}); err == nil {
			t.Error("a nested Run succeeds")
		}
		if err := s.Close(); err == nil {
			t.Error("Close inside Run succeeds")
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestNoGrad(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		x := s.Ones(1).RequiresGrad(true)
		s.NoGrad(func() {
			s.NoGrad(func() {})
			if x.Mul(2).NeedsGrad() {
				t.Error("gradient recorded")
			}
		})
		if !x.Mul(2).NeedsGrad() {
			t.Error("gradients stay off afterwards")
		}
	})
}

// Many sessions at once give what each gives alone: no shared generator, grad
// mode or result buffer.
func TestSessionsAreIndependent(t *testing.T) {
	lib := torchtest.Open(t)
	work := func(seed uint64) (out []float32, err error) {
		s, err := lib.NewSession(gotorch.SessionOptions{Seed: seed, Threads: 1})
		if err != nil {
			return nil, err
		}
		defer s.Close()
		err = s.Run(func() {
			w := s.Randn(16, 16).RequiresGrad(true)
			for range 20 {
				s.Scoped(func() {
					w.SetGrad(nil)
					s.Randn(8, 16).MatMul(w).Tanh().Sum().Backward()
					s.NoGrad(func() { w.AddInPlace(w.Grad(), -0.01) })
				})
			}
			out = w.Float32s()
		})
		return out, err
	}
	const sessions = 4
	alone := make([][]float32, sessions)
	for i := range alone {
		var err error
		if alone[i], err = work(uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if cmp.Equal(alone[0], alone[1]) {
		t.Error("different seeds give the same values")
	}
	var wg sync.WaitGroup
	for i := range alone {
		wg.Go(func() {
			got, err := work(uint64(i))
			if err != nil || !cmp.Equal(got, alone[i]) {
				t.Errorf("session %d differs beside others (error %v)", i, err)
			}
		})
	}
	wg.Wait()
}

func TestGenerators(t *testing.T) {
	s := torchtest.Session(t)
	draw := func(args ...any) (out []float32) {
		if err := s.Run(func() {
			out = s.Call1("aten::randn.generator", append([]any{[]int64{4}, gotorch.Named("device", s.Device())}, args...)...).Float32s()
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	g, err := s.NewGenerator(7)
	if err != nil {
		t.Fatal(err)
	}
	state, err := g.State()
	if err != nil {
		t.Fatal(err)
	}
	first := draw(gotorch.Named("generator", g))
	if cmp.Equal(first, draw(gotorch.Named("generator", g))) {
		t.Error("the stream stands still")
	}
	if err := g.SetState(state); err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(first, draw(gotorch.Named("generator", g))) {
		t.Error("a restored state gives other numbers")
	}
	if err := g.Seed(7); err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(first, draw(gotorch.Named("generator", g))) {
		t.Error("the seed again gives other numbers")
	}
	if err := g.SetState([]byte("short")); err == nil {
		t.Error("a state of 5 bytes was accepted")
	}
	if err := s.Generator().Close(); err == nil {
		t.Error("the session's own generator could be closed")
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if _, err := g.State(); err == nil {
		t.Error("a closed generator has a state")
	}
	err = s.Run(func() { s.Call("aten::randn.generator", []int64{1}, gotorch.Named("generator", g)) })
	var e *gotorch.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	wantContains(t, e.Error(), "generator used after Close")
}

func TestDevices(t *testing.T) {
	lib := torchtest.Open(t)
	for _, c := range []struct{ name, want string }{
		{"gpu", "want cpu, cuda, cuda:N or auto"},
		{"cuda:-1", "want cpu"},
		{"cuda:99", "CUDA devices"},
	} {
		_, err := lib.NewSession(gotorch.SessionOptions{Device: c.name})
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		wantContains(t, err.Error(), c.name, c.want)
	}
	if _, err := lib.NewSession(gotorch.SessionOptions{Threads: -1}); err == nil {
		t.Error("-1 threads accepted")
	}
	s, err := lib.NewSession(gotorch.SessionOptions{Device: "auto"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Threads() < 1 {
		t.Errorf("%d threads by default", s.Threads())
	}
	if err := s.Run(func() {
		s.Synchronize()
		s.EmptyCache()
		if stats, ok := s.Memory(); ok && (s.Device().Type == gotorch.CPU || stats.Reserved == 0) {
			t.Errorf("memory on %v is %+v", s.Device(), stats)
		}
		if got := s.Ones(1).Device(); got.Type != s.Device().Type {
			t.Errorf("tensor on %v, session on %v", got, s.Device())
		}
	}); err != nil {
		t.Fatal(err)
	}
}
