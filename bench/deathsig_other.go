//go:build !linux

package main

import "syscall"

// childAttributes is for Linux only, as is the bench, which reads /proc.
func childAttributes() *syscall.SysProcAttr { return nil }
