package connection

// Known counts the connections that are in memory by their status: those
// that this process has read or written lately. It looks at each of them.
func (m *Manager) Known() map[Status]int {
	counts := make(map[Status]int, 3)
	m.cache.each(func(_ *entry, v *view) bool {
		if !v.missing {
			counts[v.Status]++
		}
		return true
	})
	return counts
}
