package sealing_test

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sealing"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

var (
	key   = secret.New("11111111-aaaa-bbbb-cccc-000000000001")
	basic = sealing.Use{Label: "test v1", Magic: "te\x01", Cipher: sealing.GCM, MaxLength: 200}
)

func sealer(t *testing.T, use sealing.Use) *sealing.Sealer {
	t.Helper()
	s, err := sealing.NewSealer(use, "HbDev", key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A text of one use is none of another that differs in one thing only, and
// changing one into the other by hand does not help.
func TestUsesAreApart(t *testing.T) {
	sealed, err := sealer(t, basic).Seal([]byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := sealer(t, basic).Open(sealed); err != nil || string(plain) != "content" {
		t.Fatalf("its own: %q, %v", plain, err)
	}
	for name, change := range map[string]func(*sealing.Use){
		"label":  func(u *sealing.Use) { u.Label = "test v2" },
		"magic":  func(u *sealing.Use) { u.Magic = "te\x02" },
		"cipher": func(u *sealing.Use) { u.Cipher = chacha20poly1305.NewX },
	} {
		t.Run(name, func(t *testing.T) {
			other := basic
			change(&other)
			s := sealer(t, other)
			own, err := s.Seal(nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{sealed, own[:16] + sealed[16:]} {
				if plain, err := s.Open(text); err == nil || plain != nil {
					t.Errorf("opened as %q", plain)
				}
			}
			if tag, ok := other.TagOf(sealed); ok && name != "cipher" && tag == other.Tag("hbdev") {
				t.Error("it has the tag of the other")
			}
		})
	}
}

func TestTagOf(t *testing.T) {
	sealed, err := sealer(t, basic).Seal(nil)
	if err != nil {
		t.Fatal(err)
	}
	if tag, ok := basic.TagOf(sealed); !ok || tag != basic.Tag("hbdev") || tag == basic.Tag("other") {
		t.Errorf("the tag is %x, %v", tag, ok)
	}
}

func TestLength(t *testing.T) {
	s := sealer(t, basic)
	for _, size := range []int{0, 100, 110, 111, 200} {
		sealed, err := s.Seal([]byte(strings.Repeat("x", size)))
		if (err != nil) != (size > 110) || err != nil && !errors.Is(err, sealing.ErrTooLong) || len(sealed) > basic.MaxLength {
			t.Errorf("%d bytes become %d characters, %v", size, len(sealed), err)
		}
	}
}

func TestDecodeIsStrict(t *testing.T) {
	var v struct {
		A string `json:"a"`
	}
	plain, err := sealing.Encode(map[string]string{"a": "<&>"})
	if err != nil || !strings.Contains(string(plain), "<&>") {
		t.Errorf("encoded as %q, %v", plain, err)
	}
	if err := sealing.Decode(plain, &v); err != nil || v.A != "<&>" {
		t.Errorf("decoded as %q, %v", v.A, err)
	}
	if err := sealing.Decode([]byte(`{"a":"","only_from":"1.2.3.4"}`), &v); err == nil {
		t.Error("an unknown field is taken")
	}
}
