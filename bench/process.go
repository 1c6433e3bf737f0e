package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// stopTimeout is how long a process may take to stop before it is killed.
	stopTimeout = 5 * time.Second
	// startTimeout is how long a process may take until it listens.
	startTimeout = 20 * time.Second
	// clockTick is the unit of the times in /proc/PID/stat: the kernel shows
	// 100 a second to programs on every architecture that Go runs on.
	clockTick = 10 * time.Millisecond
)

// process is a program that the bench has started and has to stop.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	// ended is closed when the program has.
	ended chan struct{}
}

// start runs a program with its output in a file of the folder, and waits
// until it listens on the port. It must be called on the main goroutine; see
// [childAttributes].
func start(ctx context.Context, name, folder string, port int, env []string, command ...string) (*process, error) {
	path := filepath.Join(folder, "output.log")
	output, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	defer output.Close()
	cmd := exec.Command(command[0], command[1:]...) //nolint:gosec,noctx // stopped by stop, in good order
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, log: path, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended does not matter: it was stopped, or its log says why
		close(p.ended)
	}()
	if err := p.awaitPort(ctx, port); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// awaitPort waits until something listens on the port.
func (p *process) awaitPort(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s has ended:\n%s", p.name, p.lastLines())
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s: %w\n%s", p.name, address, ctx.Err(), p.lastLines())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends the program and waits for that.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// lastLines is the end of what the program wrote.
func (p *process) lastLines() string {
	content, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// usage is what a program and its children have used.
type usage struct {
	// CPU is user and system time since the start.
	CPU time.Duration
	// RSS is the memory held at present, in bytes. What processes share is
	// counted in each of them.
	RSS int64
}

// usage reads what the program uses, its workers included.
func (p *process) usage() (usage, error) {
	pids, err := withChildren(p.cmd.Process.Pid)
	if err != nil {
		return usage{}, err
	}
	var total usage
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return usage{}, fmt.Errorf("reading what %s uses: %w", p.name, err)
		}
		parsed, err := parseStat(stat)
		if err != nil {
			return usage{}, fmt.Errorf("reading what %s uses: %w", p.name, err)
		}
		total.CPU += parsed.cpu
		total.RSS += parsed.pages * int64(os.Getpagesize())
	}
	return total, nil
}

// stat is what is read of /proc/PID/stat.
type stat struct {
	parent int
	cpu    time.Duration
	pages  int64
}

// parseStat reads the fields ppid (4), utime (14), stime (15) and rss (24) as
// proc_pid_stat(5) numbers them. The second one, the program's name in
// parentheses, may hold spaces and parentheses.
func parseStat(content []byte) (stat, error) {
	end := bytes.LastIndexByte(content, ')')
	fields := strings.Fields(string(content[end+1:]))
	if end < 0 || len(fields) < 22 {
		return stat{}, fmt.Errorf("stat %q is cut off", content)
	}
	var numbers [4]int64
	for i, field := range []int{4, 14, 15, 24} {
		var err error
		if numbers[i], err = strconv.ParseInt(fields[field-3], 10, 64); err != nil {
			return stat{}, fmt.Errorf("field %d of stat: %w", field, err)
		}
	}
	return stat{
		parent: int(numbers[0]),
		cpu:    time.Duration(numbers[1]+numbers[2]) * clockTick,
		pages:  numbers[3],
	}, nil
}

// withChildren is a process and those that it has started.
func withChildren(pid int) ([]int, error) {
	pids := []int{pid}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended since
		}
		parsed, err := parseStat(content)
		if err != nil {
			return nil, err
		}
		if parsed.parent != pid {
			continue
		}
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, fmt.Errorf("listing processes: %w", err)
		}
		pids = append(pids, child)
	}
	return pids, nil
}

// busy is what programs have used of all processors since the machine
// started, and what was kept from it, as /proc/stat says; see proc_stat(5).
// The time of interrupts is left out: no program is charged with it.
func busy() (time.Duration, error) {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("reading what the machine does: %w", err)
	}
	var user, nice, system, idle, wait, irq, softirq, steal int64
	if _, err := fmt.Sscanf(string(content), "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &wait, &irq, &softirq, &steal); err != nil {
		return 0, fmt.Errorf("reading what the machine does: %w", err)
	}
	return time.Duration(user+nice+system+steal) * clockTick, nil
}

// freePort finds a port of loopback on which nobody listens, outside of the
// range from which the system takes those of outgoing connections: it has to
// stay free until a program listens there.
func freePort() (int, error) {
	for range 100 {
		port := 20000 + rand.IntN(10000)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) //nolint:noctx // does not wait
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			return 0, fmt.Errorf("looking for a free port: %w", err)
		}
		return port, nil
	}
	return 0, errors.New("looking for a free port: none of 100 tried is")
}
