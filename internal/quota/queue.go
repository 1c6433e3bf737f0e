package quota

// waiter is a request that waits for a place.
type waiter struct {
	need
	// done gets the outcome once.
	done chan outcome
	// asker is who asks for it; nil once it waits no longer.
	asker *asker

	prev, next *waiter
}

// outcome is a ticket or the reason why there is none.
type outcome struct {
	ticket  Ticket
	refusal *Refusal
}

// queue holds the waiters of a lane in order.
type queue struct {
	head, tail *waiter
	n          int
}

func (q *queue) push(w *waiter, front bool) {
	switch {
	case q.head == nil:
		q.head, q.tail = w, w
	case front:
		w.next, q.head.prev = q.head, w
		q.head = w
	default:
		w.prev, q.tail.next = q.tail, w
		q.tail = w
	}
	q.n++
}

func (q *queue) remove(w *waiter) {
	if w.prev == nil {
		q.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	q.n--
}
