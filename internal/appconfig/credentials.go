package appconfig

import (
	"errors"
	"regexp"
	"strings"
)

var pathSegment = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]*$`)

// checkCredentials checks the setting credentials: the word vault and a path.
// Only plain characters are taken: Vault, its client and proxies read others in
// different ways.
func checkCredentials(value string) error {
	fields := strings.Fields(value)
	if len(fields) != 2 || fields[0] != "vault" {
		return errors.New("write where to read the credentials as vault and a path, such as vault secret/hubspot-apps/hbdev")
	}
	segments := strings.Split(fields[1], "/")
	if len(segments) < 2 {
		return errors.New("the path needs the mount and the secret, such as secret/hubspot-apps/hbdev")
	}
	for _, segment := range segments {
		if !pathSegment.MatchString(segment) {
			return errors.New("the path must have letters, digits, -, _ and . between single slashes, and no slash at either end")
		}
	}
	return nil
}
