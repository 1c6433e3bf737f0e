package natsqueue

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strconv"
)

// names are the subjects of a stream and the keys of its buckets.
type names struct {
	stream, state, owners string
	subject               string
}

func namesOf(config Config) names {
	return names{
		stream: config.Stream, state: config.Stream + "_STATE", owners: config.Stream + "_OWNERS",
		subject: config.Subject,
	}
}

// all is the filter of everything in the stream.
func (n names) all() string { return n.subject + ".>" }

// messages is the filter of all messages.
func (n names) messages() string { return n.subject + ".message.>" }

// partition is the filter of the messages of a partition.
func (n names) partition(p int) string { return fmt.Sprintf("%s.message.%d.*", n.subject, p) }

// message is the subject of a message, and find the filter of one whose partition
// is not known.
func (n names) message(p int, id string) string {
	return fmt.Sprintf("%s.message.%d.%s", n.subject, p, token(id))
}
func (n names) find(id string) string { return n.subject + ".message.*." + token(id) }

// seen is the subject of the keys of events of a second.
func (n names) seen(second uint32) string { return fmt.Sprintf("%s.seen.%08x", n.subject, second) }

// record is the key of a message's record.
func record(p int, id string) string { return strconv.Itoa(p) + "." + token(id) }

func leaseKey(p int) string { return "lease." + strconv.Itoa(p) }

const memberPrefix = "member."

// token makes one token of a subject of an ID. A UUID stands as it is.
func token(id string) string {
	for _, r := range id {
		if !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_') {
			return "=" + hex.EncodeToString([]byte(id))
		}
	}
	if id == "" {
		return "="
	}
	return id
}

// partitionOf is where the messages of an app and portal are.
func partitionOf(app string, portal int64) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(app + "\x00" + strconv.FormatInt(portal, 10)))
	return int(mix(h.Sum64()) % partitions)
}

// share says which of the members is to own each partition. None has more than its
// share, and whatever order they are in they come to the same.
func share(members []string) (owners [partitions]string) {
	most := (partitions + len(members) - 1) / len(members)
	has := make(map[string]int, len(members))
	for p := range partitions {
		best, weight := "", uint64(0)
		for _, member := range members {
			h := fnv.New64a()
			_, _ = h.Write([]byte(member + "\x00" + strconv.Itoa(p)))
			w := mix(h.Sum64())
			if has[member] < most && (best == "" || w > weight || w == weight && member > best) {
				best, weight = member, w
			}
		}
		owners[p] = best
		has[best]++
	}
	return owners
}

// mix spreads what FNV leaves alike for texts that are nearly the same.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
