package natsqueue

// Kill ends a queue as kill -9 ends a sidecar: nobody is told.
func (q *Queue) Kill() {
	q.killed = true
	_ = q.Close()
}

var (
	CheckVersion = checkVersion
	Share        = share
	PartitionOf  = partitionOf
)
