// Package quota keeps requests to HubSpot's API within HubSpot's limits. It
// knows nothing of HTTP servers and of Caddy.
//
// A [Limiter] belongs to one app. It has two buckets for each portal, one for
// search and one for everything else that HubSpot counts, as [ClassOf] says.
// Whoever sends a request asks [Limiter.Acquire] first and tells the
// [Ticket] it gets what came of the request:
//
//	ticket, err := limiter.Acquire(ctx, quota.Request{HubID: 62515, Class: class, Wait: 10 * time.Second})
//	if err != nil {
//		return err // a *quota.Refusal, or the error of ctx
//	}
//	res, err := transport.RoundTrip(req)
//	…
//	ticket.Answered(quota.ReadUsage(res.Header))
//
// # Below the quota
//
// Nobody waits. Any number of requests may go out at once, as long as the
// rolling window has room for them.
//
// # At the quota
//
// Requests wait in the order of their arrival and are let go evenly, one
// after each Per/Count, or faster where somebody's patience would end. One
// whose patience ends before a place can be free is refused at once.
//
// No span of time of the length Per ever has more than Count requests in it.
// HubSpot counts a request when it arrives there, which is somewhere between
// sending it and its answer. So a place is free again when Per has passed
// since the answer; for slow answers, since a fiftieth of Per after sending.
//
// # Sharing a portal
//
// HubSpot says with each answer how much of the quota is left. What is used
// and not ours is somebody else's: another sidecar, or another program with
// the same app. From then on a bucket holds on to a number of places (its
// slots) and corrects it with every answer: it grows with what is left beyond
// a small reserve, and shrinks in proportion to itself. What is left is the
// same for all who look, so sidecars that want more than there is end up with
// equal numbers of slots; what they reserve, and the slots that are between
// two uses, keep them from running into each other. A newcomer starts with a
// twentieth of the quota at the least.
//
// Search tells nothing in headers. There, only a 429 shows that somebody else
// is at work: the slots are cut by a third and grow back slowly.
//
// # Answers with 429
//
// They close the bucket for as long as HubSpot says in Retry-After, or else
// for about the time until a place gets free, longer each time. After one of
// the daily limit everything is refused without asking, but for one request
// each minute that finds out whether the limit was reset.
//
// # Lanes
//
// Requests of the lane [Batch] are overtaken by those of [Interactive]. While
// both wait, every tenth place is for batch work; while batch work is alone it
// leaves a twentieth of the quota free, so that an interactive request finds
// a place.
package quota
