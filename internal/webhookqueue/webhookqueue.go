// Package webhookqueue says what keeps HubSpot's webhooks between the moment
// HubSpot is told that they have arrived and the moment the app behind has them:
// the interface [Queue], and what is kept, [Message]. Package queuetest, below, is
// the suite that every queue passes.
//
// A queue stores and hands out. When a message is tried again, and when it has
// been tried often enough, is not its business: whoever receives it says so.
package webhookqueue

import (
	"context"
	"errors"
	"time"
)

const (
	// Window is how long the key of an event is remembered. HubSpot tries an
	// event again for 24 hours.
	Window = 24 * time.Hour
	// MaxPerPortal is how many messages of one app and portal are out at a
	// time, so that a portal whose messages the app behind chokes on leaves
	// room for the others.
	MaxPerPortal = 4
)

var (
	// ErrFull means that the queue takes no more, because of its settings or
	// because the disk is full. It goes away as messages are delivered.
	ErrFull = errors.New("the queue is full")
	// ErrUnavailable means that the queue does not work at present.
	ErrUnavailable = errors.New("the queue is not available")
	// ErrClosed means that the queue was closed.
	ErrClosed = errors.New("the queue is closed")
	// ErrNotFound means that there is no dead message of that ID.
	ErrNotFound = errors.New("there is no such dead letter")
)

// Queue keeps messages until they are delivered. Its methods are safe for
// concurrent use, end when their context does, and return errors that wrap those
// of this package where one fits.
type Queue interface {
	// Put stores messages, all of them or none, and returns once they are
	// durable: neither kill -9 nor, as far as the disk tells the truth, a loss
	// of power loses them afterwards. Events whose key was put within Window
	// are left out, also those that come twice in one call, and so are
	// messages of which nothing is left. After an error the messages may be
	// stored all the same; whoever sends them again is met by their keys.
	Put(ctx context.Context, messages []Message) (Receipt, error)

	// Receive waits for a message that can be delivered, and hands it to
	// nobody else until it is settled, or until the process that has it is
	// gone. The messages of one app, portal and lane come one at a time, in
	// the order of Put; the next comes when the one before is done or dead.
	// Those without a lane come in any order. No more than MaxPerPortal of one
	// app and portal are out at a time, and the portals take turns.
	Receive(ctx context.Context) (Delivery, error)

	// List returns up to limit of the messages that wait or are out, or else
	// of the dead ones, the oldest first, from the one after the ID after on;
	// an empty after begins with the first. One that is gone is an empty list.
	List(ctx context.Context, dead bool, after string, limit int) ([]Entry, error)

	// Retry makes a dead message wait again, behind all others of its lane.
	// It keeps its ID, and its next attempt is the first. ErrNotFound.
	Retry(ctx context.Context, id string) error

	// Drop forgets a dead message. ErrNotFound.
	Drop(ctx context.Context, id string) error

	// Stats says what the queue holds.
	Stats(ctx context.Context) (Stats, error)

	// Close ends the queue. What is out comes again from the next queue that
	// is opened on the same storage. Receive returns ErrClosed.
	Close() error
}

// Delivery is a message that was received. Exactly one of its last four methods is
// called, again if it failed; until one has worked the message is out. They are
// durable when they return.
type Delivery interface {
	// Message returns what to deliver. It is not to be changed.
	Message() Message
	// Attempt is the number of this attempt, from 1. It goes on counting after
	// kill -9; the attempt that was under way then may be counted or not.
	Attempt() int

	// Done forgets the message, but for the keys of its events.
	Done(ctx context.Context) error
	// Retry has the message come again, not before after has passed. status is
	// what the app behind answered, 0 if it did not.
	Retry(ctx context.Context, after time.Duration, status int) error
	// Bury makes the message a dead letter.
	Bury(ctx context.Context, status int) error
	// Return gives the message back as though it had not been received.
	Return(ctx context.Context) error
}

// Receipt is what came of a Put.
type Receipt struct {
	// Messages and Events count what was stored.
	Messages, Events int
	// Duplicates counts the events that were left out.
	Duplicates int
}

// Entry is what may be shown of a message: nothing of its content.
type Entry struct {
	ID     string
	App    string
	Portal int64
	// Attempts counts those that have failed.
	Attempts int
	// ReceivedAt is when it came from HubSpot, LastAt when it was last tried;
	// zero if it was not.
	ReceivedAt, LastAt time.Time
	// LastStatus is the last answer of the app behind; 0 if there was none.
	LastStatus int
	Events     int
	Dead       bool
}

// Stats is what a queue holds.
type Stats struct {
	// Waiting counts the messages that wait or are out.
	Waiting int
	Dead    int
	// Bytes is how much of MaxBytes is used, dead letters included; MaxBytes
	// is 0 if there is no bound.
	Bytes, MaxBytes int64
	// Oldest is when the oldest message that waits came from HubSpot, as
	// closely as the queue knows; zero if none waits.
	Oldest time.Time
}
