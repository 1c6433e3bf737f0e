package oauthstate

import (
	"testing"

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
