package vaultstore

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Vault locks a role out of its login for 15 minutes, for all who use it,
// after five wrong credentials within 15 minutes
// (https://developer.hashicorp.com/vault/docs/concepts/user-lockout). So a
// credential that was refused is left alone, and so is the login after a few
// of them.
const (
	lockoutWindow = 15 * time.Minute
	// maxRefusals leaves two of the five to others.
	maxRefusals = 3
	// refusedHold is how long a credential that Vault calls wrong is not
	// tried again: longer than Vault counts it.
	refusedHold = lockoutWindow + time.Minute
	// deniedHold is the same for an answer of 403, which may as well mean
	// that the role is locked out and the credential right.
	deniedHold = lockoutWindow / maxRefusals
	// lookAgain is how often it is looked whether the credential is another.
	lookAgain = 5 * time.Second
)

// lockout keeps a login from locking its role out. The zero value is ready;
// it is for one login at a time.
type lockout struct {
	// refused is the credential that was refused last. It is not tried
	// before until; cause is why.
	refused secret.Mark
	until   time.Time
	cause   error
	// refusals are the times of the last logins that Vault refused.
	refusals []time.Time
}

// allow returns why a credential must not be tried now, or nil.
func (l *lockout) allow(credential secret.Mark, mount string) error {
	now := time.Now()
	if credential == l.refused && now.Before(l.until) {
		return l.cause
	}
	if len(l.refusals) < maxRefusals {
		return nil
	}
	free := l.refusals[len(l.refusals)-maxRefusals].Add(lockoutWindow)
	if !now.Before(free) {
		return nil
	}
	return &refusedError{held: true, reason: fmt.Sprintf("%d logins were refused within %v, and the next is tried at %s: %s",
		maxRefusals, lockoutWindow, free.UTC().Format("15:04:05 UTC"), aboutLockout(mount))}
}

// judge notes how a login with a credential ended, and returns its error in
// the words that help with it.
func (l *lockout) judge(credential secret.Mark, mount string, err error) error {
	if err == nil {
		l.refusals = nil
		return nil
	}
	refusal, ok := errors.AsType[*refusedError](err)
	if !ok || refusal.status == 0 || refusal.status == http.StatusNotFound {
		return err
	}
	l.refusals = append(l.refusals, time.Now())
	l.refusals = l.refusals[max(0, len(l.refusals)-maxRefusals):]
	if refusal.status == http.StatusForbidden {
		return l.hold(credential, deniedHold, fmt.Sprintf(
			"%s; Vault says so of a role that is locked out after failed logins, by whoever made them, and where the login's mount is not there; %s",
			refusal.reason, aboutLockout(mount)))
	}
	return l.hold(credential, refusedHold, fmt.Sprintf(
		"%s; the secret id is not tried again before it changes, or for %v, because Vault locks a role out after a few failed logins, for all who use it; %s",
		refusal.reason, refusedHold, aboutLockout(mount)))
}

// hold keeps a credential from being tried.
func (l *lockout) hold(credential secret.Mark, wait time.Duration, reason string) error {
	l.refused, l.until = credential, time.Now().Add(jitter(wait, 0.05))
	l.cause = &refusedError{held: true, reason: reason}
	return l.cause
}

// aboutLockout says how to look and what to do.
func aboutLockout(mount string) string {
	return fmt.Sprintf("see `vault read sys/auth/%[1]s/tune` (user_lockout_…) and `vault read sys/locked-users`; "+
		"`vault write -f sys/locked-users/$(vault read -field=accessor sys/auth/%[1]s)/unlock/<role id>` unlocks", mount)
}
