package chaos_test

import (
	"errors"
	"os/exec"
	"runtime"
	"sync"
)

// nursery starts processes, all on one thread that lives as long as itself:
// on Linux they end with the thread that started them.
type nursery struct {
	mu    sync.Mutex
	tasks chan func()
	done  bool
}

func newNursery() *nursery {
	n := &nursery{tasks: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for task := range n.tasks {
			task()
		}
	}()
	return n
}

func (n *nursery) start(cmd *exec.Cmd) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.done {
		return errors.New("the test is over")
	}
	result := make(chan error)
	n.tasks <- func() { result <- cmd.Start() }
	return <-result
}

func (n *nursery) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.done = true
	close(n.tasks)
}
