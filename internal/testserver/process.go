package testserver

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// supervise runs "$@" until it ends or standard input does, which is when
// the test process is gone. $1 is the log file; $2 is removed in the end.
const supervise = `
log=$1 remove=$2
shift 2
exec 3<&0
"$@" >>"$log" 2>&1 </dev/null &
pid=$!
echo "$pid"
exec >&-
(cat <&3 >/dev/null; kill "$pid" 2>/dev/null) &
wait "$pid"
code=$?
[ -z "$remove" ] || rm -rf "$remove"
exit "$code"
`

// Process is a running server. Its methods are for one test at a time.
type Process struct {
	pid   int
	stdin io.Closer
	ended chan struct{}
}

// Start starts args, whose output is added to logFile. remove, if not empty, is a
// directory to remove when the server has ended.
func Start(logFile, remove string, args ...string) (*Process, error) {
	cmd := exec.Command("sh", append([]string{"-c", supervise, "testserver", logFile, remove}, args...)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("reading the server's process id: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return nil, fmt.Errorf("reading the server's process id: %w", err)
	}
	p := &Process{pid: pid, stdin: stdin, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// Stop asks the server to end and waits until it has.
func (p *Process) Stop() {
	_ = p.stdin.Close()
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		p.Kill()
	}
}

// Kill ends the server without a chance to react.
func (p *Process) Kill() {
	_ = syscall.Kill(p.pid, syscall.SIGKILL)
	_ = p.stdin.Close()
	<-p.ended
}

// HasEnded reports whether the server is gone.
func (p *Process) HasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Tail returns the end of a log file.
func Tail(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-4000):])
}
