// Package quota keeps requests to HubSpot's API within HubSpot's limits. It
// knows nothing of HTTP servers and of Caddy.
//
// A [Limiter] belongs to one app. It has two buckets for each portal, one for
// search and one for everything else that HubSpot counts, as [hubspot.LimitOf] says.
// Whoever sends a request asks first and tells the [Ticket] it gets what came
// of the request. [Limiter.Try] lets it go at once if it may, [Limiter.Wait]
// has it wait for its turn; in between, the caller can do what makes sense only
// for a request that waits:
//
//	r := quota.Request{HubID: 62515, Limit: hubspot.BurstLimit, Wait: 10 * time.Second}
//	ticket, ok := limiter.Try(r)
//	if !ok {
//		ticket, err = limiter.Wait(ctx, r)
//	}
//	if err != nil {
//		return err // a *quota.Refusal, or the error of ctx
//	}
//	res, err := transport.RoundTrip(req)
//	…
//	ticket.Answered(hubspot.ReadUsage(res.Header))
//
// [Limiter.Acquire] is the two in a row.
//
// # Below the quota
//
// Nobody waits. Any number of requests may go out at once, as long as the
// rolling window has room for them.
//
// # At the quota
//
// Requests wait and are let go evenly, one after each Per/Count, or faster
// where somebody's patience would end. Callers have turns, as many as their
// weights say; within a caller its user tokens have turns; those of one token,
// or of a caller without one, go in the order of their arrival. So it does not
// matter to others how many requests of one wait. While several ask, at most
// half of a window goes to those in a hurry, and what is left of it is spread
// until there is more: who comes later finds a place, too. None is
// refused before its patience ends, whoever is in front of it, because they may
// give up. Only one that does not wait, or for which there is no place in time
// even if all others give up, is refused at once.
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
// the same app. From then on a bucket holds on to a number of places, its
// slots, which follow from what is left, smoothed over some windows:
//
//	slots = floor · exp(left / step)
//
// What is left is the same for all who look, so sidecars that want more than
// there is come to the same number of slots, whatever they started with. The
// more a bucket has, the more it leaves: with too many slots in all, nothing is
// left and all of them shrink, the larger ones first. The exponential makes an
// error in what is left weigh the same for many slots as for few. Two sidecars
// leave about 4 % of the quota, five 3 %.
//
// Slots that are not used do not become more, so who wants little is not
// counted for more. A slot that is used again takes nothing from others. To
// take more than it had, a bucket keeps to its part of what HubSpot told last
// is left; for the slots that it lacks it tries its luck, one after the other
// over a window, as does a request that was refused, in its time. So a newcomer
// gets in, and a 429 is rare but for what it sends before the first answer,
// which tells it of the others.
//
// Search tells nothing in headers. There, only a 429 shows that somebody else
// is at work: the slots are cut by a third and grow back slowly.
//
// # Answers with 429
//
// They close the bucket for as long as HubSpot says in Retry-After, or else
// for about the time until a place gets free, longer each time. Where HubSpot
// asks for more than a minute, one request at a time finds out each minute
// whether it is still so, and the first that gets through opens the bucket.
// So does one after the daily limit was reached, while all others are refused
// without asking. Windows of more than a minute in HubSpot's headers are not
// believed. So nothing that HubSpot says, or a box in between, shuts a portal
// for longer than a minute without a probe; [Limiter.Reset] forgets all of it.
//
// # Lanes
//
// Requests of the lane [Batch] are overtaken by those of [Interactive], of the
// same caller and user token. While both wait, every tenth place is for batch
// work; while batch work is alone it leaves a twentieth of the quota free, so
// that an interactive request finds a place.
package quota
