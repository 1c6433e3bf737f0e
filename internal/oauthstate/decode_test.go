package oauthstate

import (
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// What another version sealed with the same key.
func TestDecodeOfOtherVersions(t *testing.T) {
	s, err := NewSealer("hbdev", secret.New("secret"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		plain string
		good  bool
	}{
		"this version":    {`{"u":"acme","v":"v","n":"n","t":1}`, true},
		"a field more":    {`{"u":"acme","v":"v","n":"n","t":1,"only_from":"1.2.3.4"}`, false},
		"a field less":    {`{"u":"acme","n":"n","t":1}`, false},
		"another type":    {`{"u":"acme","v":"v","n":"n","t":"now"}`, false},
		"not JSON":        {`acme`, false},
		"nothing":         {``, false},
		"nonce with junk": {`{"u":"acme","v":"v","n":"n n","t":1}`, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := s.decode([]byte(tt.plain)); (err == nil) != tt.good {
				t.Errorf("decode() = %v, want good = %v", err, tt.good)
			}
		})
	}
}

// A state that the first version sealed, from the corpus of FuzzOpen: links
// that are on their way survive an update.
func TestOpenOfTheFirstVersion(t *testing.T) {
	const sealed = "aHMB0C7CrpjoA9w7fGj86IBRkt7Zobz7Vm1uoCDbJ1w5LTUkpSE15F1hXsDvtzarC4PGToynJpv2mb7KJFrrgIVCM66HYwjaaCw3EbZUgX7YAzMQfkbUWXDEBpNz0L4J5TRUuVyp-45_HznCo1652A9WG6mTh5_UaCXrRj-fis_kVxneDbweOgGfMIsiZSJ5BYtoicWGII9ncW7hUwtKwojn18_SQpnF6-K95WRNJc1BxNNbuX2ijvsFuohe5y-3PMo8hGV8Xihe2rbZw7988V3fVq8DIyEzBjhvoGA_TG7oyl8CbAH5MvWFedenXRiZYPJPrOlf7PdyPaNztBDs7IyQRZOz4lSHgDSMQY0FzcLq0ejKNg35xQs7Z4XLufFKBXrZ"
	s, err := NewSealer("hbdev", secret.New("11111111-aaaa-bbbb-cccc-000000000002"))
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.Open(sealed, time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if st.App != "hbdev" || st.User != "jane.doe+test@example.com" {
		t.Error("the state is another one")
	}
}
