package quota

// Lane says how urgent a request is.
type Lane uint8

const (
	// Interactive requests overtake batch work of the same caller and user
	// token. It is the default.
	Interactive Lane = iota
	// Batch is work that may wait.
	Batch

	lanes = 2
)
