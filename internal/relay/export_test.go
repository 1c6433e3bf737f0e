package relay

// What tests of package relay_test know of the inside.
const (
	MaxKept     = maxKept
	MaxPeek     = maxPeek
	MaxEnvelope = maxEnvelope
)
