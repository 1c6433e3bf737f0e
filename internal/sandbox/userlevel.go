package sandbox

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// person is somebody of an account, who consents to an app.
type person struct {
	id    int64
	email string
}

// personNamed is the person of the portal with a number; empty is the one of
// [Portal.User]. Every number is somebody's.
func (p *Portal) personNamed(number string) (person, error) {
	if number == "" {
		return p.personWith(0), nil
	}
	id, err := strconv.ParseInt(number, 10, 32)
	if err != nil || id <= 0 {
		return person{}, errors.New("the number of a person is positive and of 31 bits at most")
	}
	return p.personWith(id), nil
}

func (p *Portal) personWith(id int64) person {
	if id == 0 || id == p.UserID {
		return person{p.UserID, p.User}
	}
	return person{id, fmt.Sprintf("user-%d@%s", id, p.HubDomain)}
}

// notForUserLevel are the beginnings of paths that were seen to refuse
// user-level tokens although the scope was granted (July to November 2026).
var notForUserLevel = []string{
	"/appinstalls/", "/cms/", "/crm/v3/lists", "/crm/lists/", "/crm/v3/owners", "/crm/owners/", "/crm/pipelines/",
	"/crm/v3/pipelines", "/marketing/",
}

// refusesUserLevel reports whether an endpoint takes no user-level tokens. That
// includes the archiving of objects.
func refusesUserLevel(method, path string) bool {
	for _, prefix := range notForUserLevel {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return method == http.MethodDelete && strings.HasPrefix(path, "/crm/")
}

func userLevelRefused(correlation string) reply {
	return apiError{Message: "User level OAuth token is not allowed for this endpoint."}.reply(http.StatusForbidden, correlation)
}
