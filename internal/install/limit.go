package install

import (
	"math"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
)

// maxLimited bounds the addresses that a clientLimiter remembers, which is
// about 4 MB.
const maxLimited = 16_384

// clientLimiter limits how often one client address may use the endpoints for
// browsers. It is safe for concurrent use.
type clientLimiter struct {
	rate appconfig.Rate

	mu sync.Mutex
	// recent has the clients seen since turned, and older those that were
	// seen before and not since then. A client that has been idle for the
	// rate's span has all its requests again, so that forgetting it changes
	// nothing.
	recent, older map[netip.Addr]*rate.Limiter
	turned        time.Time
}

func newClientLimiter(r appconfig.Rate) *clientLimiter { return &clientLimiter{rate: r} }

// take counts a request of client. If it is one too many, take returns how
// long the client has to wait.
func (l *clientLimiter) take(client netip.Addr, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.recent == nil || now.Sub(l.turned) >= l.rate.Per || len(l.recent) >= maxLimited/2 {
		l.recent, l.older, l.turned = make(map[netip.Addr]*rate.Limiter), l.recent, now
	}
	client = counted(client)
	bucket, ok := l.recent[client]
	if !ok {
		if bucket, ok = l.older[client]; !ok {
			bucket = rate.NewLimiter(rate.Limit(float64(l.rate.Count)/l.rate.Per.Seconds()), l.rate.Count)
		}
		delete(l.older, client)
		l.recent[client] = bucket
	}
	reservation := bucket.ReserveN(now, 1)
	wait = reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

// counted is what a client's address is counted under. An IPv6 client has a
// whole /64 to choose from, so that counts as one. Requests whose address is
// not known, such as those of a unix socket, share the zero address.
func counted(client netip.Addr) netip.Addr {
	client = client.Unmap().WithZone("")
	if !client.Is6() {
		return client
	}
	prefix, _ := client.Prefix(64) // cannot fail for an IPv6 address
	return prefix.Addr()
}

// retryAfterSeconds is the value of a Retry-After header.
func retryAfterSeconds(wait time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
}
