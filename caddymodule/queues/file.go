// Package queues has the modules hubspot.queues.*, which keep webhooks until they
// are delivered.
package queues

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/queueapi"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/internal/filequeue"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

func init() {
	caddy.RegisterModule(File{})
}

const (
	defaultMaxSize = 1 << 30
	minMaxSize     = 1 << 20
)

// File keeps webhooks in a folder of this machine until they are delivered. What
// HubSpot was told has arrived is on the disk.
type File struct {
	// The folder, which is made if it is missing, readable by its owner only.
	// One process at a time can use it. Placeholders are expanded when the
	// config is loaded.
	// Default: `hubspot/webhooks` in Caddy's data directory.
	Path string `json:"path,omitempty"`

	// How many bytes may be kept: what waits, dead letters, and, up to a
	// quarter, what duplicates are recognised by. Beyond that HubSpot is told
	// to come again later. At least 1 MiB. Default: 1 GiB.
	MaxSize int64 `json:"max_size,omitempty"`

	path string
}

// CaddyModule returns the Caddy module information.
func (File) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  queueapi.Namespace + ".file",
		New: func() caddy.Module { return new(File) },
	}
}

// UnmarshalCaddyfile sets up the queue from Caddyfile tokens. Syntax:
//
//	queue file {
//	    path     <folder>
//	    max_size <size>
//	}
func (f *File) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume queue name
	if d.NextArg() {
		return d.Err("queue file: takes no value, but may have a block of settings")
	}
	return settings.Block(d, "queue file", map[string]settings.Setting{
		"path":     settings.Text(&f.Path),
		"max_size": maxSize(&f.MaxSize),
	})
}

// maxSize is the setting of how many bytes may be kept.
func maxSize(target *int64) settings.Setting {
	return settings.Setting{Parse: func(d *caddyfile.Dispenser) error {
		value, err := settings.OneArg(d)
		if err != nil {
			return err
		}
		size, err := humanize.ParseBytes(value)
		if err != nil || size < minMaxSize || size > 1<<62 {
			return d.Errf("max_size: %q is not a size of 1MiB or more, such as 1GiB", value)
		}
		*target = int64(size)
		return nil
	}}
}

// Provision checks the settings.
func (f *File) Provision(caddy.Context) error {
	if f.MaxSize != 0 && f.MaxSize < minMaxSize {
		return fmt.Errorf("max_size: %d bytes are too few; give 1048576 (1 MiB) or more", f.MaxSize)
	}
	if f.Path == "" {
		f.path = filepath.Join(caddy.AppDataDir(), "hubspot", "webhooks")
		return nil
	}
	path, err := settings.Expand(f.Path)
	if err != nil {
		return fmt.Errorf("path: %w", err)
	}
	// Another spelling of a folder is the same folder.
	if f.path, err = filepath.Abs(path); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	return nil
}

// QueueIdentity implements [queueapi.Module].
func (f *File) QueueIdentity() any { return f.path }

// QueueSettings implements [queueapi.Module].
func (f *File) QueueSettings() any { return f.maxSize() }

func (f *File) maxSize() int64 {
	if f.MaxSize == 0 {
		return defaultMaxSize
	}
	return f.MaxSize
}

// OpenQueue implements [queueapi.Module].
func (f *File) OpenQueue(host queueapi.Host) (queueapi.Queue, error) {
	return filequeue.Open(filequeue.Options{Path: f.path, MaxBytes: f.maxSize(), Logger: host.Logger})
}

// ConfigureQueue implements [queueapi.Module].
func (f *File) ConfigureQueue(queue webhookqueue.Queue) error {
	q, ok := queue.(*filequeue.Queue)
	if !ok {
		return errors.New("the open queue is another's")
	}
	q.SetMaxBytes(f.maxSize())
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*File)(nil)
	_ caddyfile.Unmarshaler = (*File)(nil)
	_ queueapi.Module       = (*File)(nil)
)
