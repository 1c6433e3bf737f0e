package jwtauth

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"
)

func sumOf(i int) [sha256.Size]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
}

func TestCacheIsBounded(t *testing.T) {
	var c cache
	now := time.Now()
	claims := Claims{Subject: "x", Expires: now.Add(time.Hour)}
	for i := range 3 * cacheSize {
		c.put(sumOf(i), claims, now)
		if n := len(c.entries); n > cacheSize {
			t.Fatalf("%d entries after %d tokens, want at most %d", n, i+1, cacheSize)
		}
		if _, ok := c.get(sumOf(i), now); !ok {
			t.Fatalf("token %d is forgotten at once", i)
		}
	}
	// What has ended mostly goes first.
	later := now.Add(cacheTime)
	for i := range cacheSize / 2 {
		c.put(sumOf(-1-i), claims, later)
	}
	kept := 0
	for i := range cacheSize / 2 {
		if _, ok := c.get(sumOf(-1-i), later); ok {
			kept++
		}
	}
	if kept < cacheSize/2*9/10 {
		t.Errorf("%d of %d tokens are remembered while others have ended", kept, cacheSize/2)
	}
}

func TestCacheForgets(t *testing.T) {
	var c cache
	now := time.Now()
	c.put(sumOf(1), Claims{Expires: now.Add(time.Hour)}, now)
	c.put(sumOf(2), Claims{Expires: now.Add(time.Second)}, now)
	for _, tc := range []struct {
		token int
		after time.Duration
		want  bool
	}{
		{1, 0, true}, {1, cacheTime - 1, true}, {1, cacheTime, false},
		{2, time.Second - 1, true}, {2, time.Second, false}, {3, 0, false},
	} {
		if _, ok := c.get(sumOf(tc.token), now.Add(tc.after)); ok != tc.want {
			t.Errorf("token %d after %v: %v, want %v", tc.token, tc.after, ok, tc.want)
		}
	}
}
