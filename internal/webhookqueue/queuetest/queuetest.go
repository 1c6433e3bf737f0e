// Package queuetest is the conformance suite of [webhookqueue.Queue]. Every
// queue of the program passes it.
package queuetest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// Storage is where a queue keeps its messages, empty at first.
type Storage struct {
	// Open opens a queue that holds maxBytes, which is enough for everything
	// if it is 0. The suite closes it before it opens the next, as though the
	// process had been started again. Required.
	Open func(t *testing.T, maxBytes int64) webhookqueue.Queue

	// Kill ends a queue as kill -9 does. Nil means that Close does the same.
	Kill func(webhookqueue.Queue)
}

// Suite is how the suite is run.
type Suite struct {
	// Fresh is called once per test, for a storage of its own. Required.
	Fresh func(t *testing.T) Storage

	// RealTime has the tests run on the real clock, with short times, for a
	// queue whose server has no other. Tests that need a day are left out.
	// Otherwise each runs in a bubble of testing/synctest.
	RealTime bool
}

// Run runs the suite.
func Run(t *testing.T, s Suite) {
	t.Helper()
	for _, tc := range []struct {
		name string
		// long says that the test needs more time than a real clock has.
		long bool
		test func(k *kit)
	}{
		{"WhatIsPutIsReceived", false, testReceived},
		{"WhatIsDoneIsGone", false, testDone},
		{"WhatIsNotSettledComesAgain", false, testNotSettled},
		{"AttemptsAreCounted", false, testAttempts},
		{"RetryWaits", false, testRetryWaits},
		{"ReturnDoesNotCount", false, testReturn},
		{"ReceiveWaitsForPut", false, testReceiveWaits},
		{"LanesKeepOrder", false, testLanes},
		{"LanesKeepOrderAfterAStart", false, testLanesAfterStart},
		{"DeadLettersLeaveTheLane", false, testDeadLane},
		{"PortalsDoNotBlockEachOther", false, testPortals},
		{"DeadLetters", false, testDead},
		{"DeadLettersAreListedInPages", false, testDeadPages},
		{"DuplicatesAreLeftOut", false, testDuplicates},
		{"DuplicatesOfWhatIsDone", false, testDuplicatesOfDone},
		{"DuplicatesForADay", true, testDuplicatesForADay},
		{"FullTakesNoMore", false, testFull},
		{"ManyAtOnce", false, testManyAtOnce},
		{"ContextsEnd", false, testContexts},
		{"ClosedIsClosed", false, testClosed},
	} {
		if tc.long && s.RealTime {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			if s.RealTime {
				tc.test(newKit(t, s))
				return
			}
			synctest.Test(t, func(t *testing.T) { tc.test(newKit(t, s)) })
		})
	}
}

// kit is what a test works with.
type kit struct {
	*testing.T
	storage Storage
	// backoff is a wait that is long against everything else.
	backoff time.Duration
	opened  webhookqueue.Queue
}

func newKit(t *testing.T, s Suite) *kit {
	k := &kit{T: t, storage: s.Fresh(t), backoff: time.Minute}
	if s.RealTime {
		k.backoff = 600 * time.Millisecond
	}
	t.Cleanup(func() { k.close(webhookqueue.Queue.Close) })
	return k
}

func (k *kit) close(end func(webhookqueue.Queue) error) {
	k.Helper()
	if k.opened == nil {
		return
	}
	if err := end(k.opened); err != nil {
		k.Errorf("Close: %v", err)
	}
	k.opened = nil
}

// open opens the queue, after it has closed the one that was open.
func (k *kit) open() webhookqueue.Queue {
	k.Helper()
	k.close(webhookqueue.Queue.Close)
	k.opened = k.storage.Open(k.T, 0)
	return k.opened
}

// killed opens the queue after the one that was open has been killed.
func (k *kit) killed() webhookqueue.Queue {
	k.Helper()
	k.close(func(q webhookqueue.Queue) error {
		if k.storage.Kill == nil {
			return q.Close()
		}
		k.storage.Kill(q)
		return nil
	})
	return k.open()
}
