package callerapi

import (
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/strictbody"
)

// FuzzParseTokenRequest looks for requests that are taken though they are
// not whole, or that are read in another way than they were written.
func FuzzParseTokenRequest(f *testing.F) {
	f.Add(true, []byte(`{"userForeignIdentifier":"acme","expiresIn":60,"allow":["GET,POST /crm/*"],"deny":["* /crm/*/x"]}`))
	f.Add(true, []byte(`{"userForeignIdentifier":"a","allow":[],"deny":[]}`))
	f.Add(false, []byte("userForeignIdentifier=%C3%A9*&expiresIn=3600&allow=GET+%2Fa&allow=*+*&deny=*+%2Fc"))
	const form = "application/x-www-form-urlencoded"
	parse := func(contentType string, data []byte) (tokenRequest, error) {
		fields, err := strictbody.Parse(contentType, data, tokenBody)
		if err != nil {
			return tokenRequest{}, err
		}
		return parseTokenRequest(fields)
	}
	f.Fuzz(func(t *testing.T, asJSON bool, data []byte) {
		contentType := form
		if asJSON {
			contentType = "application/json"
		}
		q, err := parse(contentType, data)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a text")
			}
			return
		}
		if q.user == "" || q.lifetime < time.Second || q.lifetime > time.Hour {
			t.Errorf("taken with user %q for %v", q.user, q.lifetime)
		}
		values := url.Values{fieldUser: {q.user}, fieldExpiresIn: {strconv.Itoa(int(q.lifetime / time.Second))}}
		for _, rule := range q.allow {
			values.Add(fieldAllow, rule.String())
		}
		for _, rule := range q.deny {
			values.Add(fieldDeny, rule.String())
		}
		again, err := parse(form, []byte(values.Encode()))
		if err != nil || again.user != q.user || again.lifetime != q.lifetime || len(again.allow) != len(q.allow) || len(again.deny) != len(q.deny) {
			t.Errorf("%q comes back as %+v, %v", values, again, err)
		}
	})
}
