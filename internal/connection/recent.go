package connection

import "errors"

// MostRecent returns which of the users' connections was last used in this
// process. Those that are known here to have ended or to be dead are passed over.
// Errors wrap ErrNotConnected, or ErrReauthRequired where what is left has to be
// installed again.
func (m *Manager) MostRecent(users []string) (string, error) {
	found, last, err := "", int64(-1), ErrNotConnected
	for _, user := range users {
		used, refusal := int64(0), error(nil)
		if e := m.cache.get(user); e != nil {
			if v := e.view.Load(); v != nil && !v.missing {
				used, refusal = e.used.Load(), v.refusal()
			}
		}
		switch {
		case errors.Is(refusal, ErrReauthRequired):
			err = refusal
		case refusal == nil && used > last:
			found, last = user, used
		}
	}
	if found == "" {
		return "", err
	}
	return found, nil
}
