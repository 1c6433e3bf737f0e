package install

import (
	"container/list"
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

// clientLimiter limits how often one client address may use the public
// endpoints. It is safe for concurrent use.
type clientLimiter struct {
	limit rate.Limit
	burst int
	// forget is the time after which an idle client has all its requests
	// again, so that forgetting it changes nothing.
	forget time.Duration

	mu      sync.Mutex
	clients map[netip.Addr]*list.Element
	// recent has the limitedClients, the one seen last in front.
	recent *list.List
}

type limitedClient struct {
	address netip.Addr
	bucket  *rate.Limiter
	seen    time.Time
}

func newClientLimiter(r appconfig.Rate) *clientLimiter {
	return &clientLimiter{
		limit:   rate.Limit(float64(r.Count) / r.Per.Seconds()),
		burst:   r.Count,
		forget:  r.Per,
		clients: make(map[netip.Addr]*list.Element),
		recent:  list.New(),
	}
}

// take counts a request of client. If it is one too many, take returns how
// long the client has to wait.
func (l *clientLimiter) take(client netip.Addr, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket := l.bucket(counted(client), now)
	reservation := bucket.ReserveN(now, 1)
	wait = reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

// bucket finds or makes the client's bucket. The caller holds mu.
func (l *clientLimiter) bucket(client netip.Addr, now time.Time) *rate.Limiter {
	if e, ok := l.clients[client]; ok {
		l.recent.MoveToFront(e)
		known := e.Value.(*limitedClient)
		known.seen = now
		return known.bucket
	}
	l.evict(now)
	c := &limitedClient{address: client, bucket: rate.NewLimiter(l.limit, l.burst), seen: now}
	l.clients[client] = l.recent.PushFront(c)
	return c.bucket
}

// evict forgets clients that have been idle long enough, a few at a time,
// and the one idle for longest if there are too many. The caller holds mu.
func (l *clientLimiter) evict(now time.Time) {
	for range 2 {
		e := l.recent.Back()
		if e == nil {
			return
		}
		c := e.Value.(*limitedClient)
		if l.recent.Len() < maxLimited && now.Sub(c.seen) < l.forget {
			return
		}
		l.recent.Remove(e)
		delete(l.clients, c.address)
	}
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
