//go:build !linux

package main

import (
	"errors"
	"syscall"
)

// childAttributes is for Linux only, as is the bench, which reads /proc.
func childAttributes() *syscall.SysProcAttr { return nil }

func setPriority(int) error { return errors.New("setting the priority: only on Linux") }
