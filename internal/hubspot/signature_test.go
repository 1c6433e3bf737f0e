package hubspot_test

import (
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const vectorSecret = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"

// These signatures were made by HubSpot's own library (@hubspot/api-client
// 14.0.1).
var signatureVectors = []struct {
	version   hubspot.SignatureVersion
	signed    hubspot.Signed
	signature string
}{
	{
		hubspot.SignatureV3,
		hubspot.Signed{
			Method: "POST", URL: "https://www.example.com/webhook_uri",
			Body: []byte(`{'example_field':'example_value'}`), Timestamp: "1693657560000",
		},
		"K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=",
	},
	{
		hubspot.SignatureV3,
		hubspot.Signed{
			Method: "POST", URL: "https://www.example.com/webhook_uri",
			Body: []byte(`{'example_field':'example_value'}`), Timestamp: "1700000300000",
		},
		"RnbPH7+UMKVkbV32P8bz450N4M56aPmcru1+D3kSDtw=",
	},
	{
		hubspot.SignatureV2,
		hubspot.Signed{Method: "POST", URL: "https://www.example.com/webhook_uri", Body: []byte(`{"example_field":"example_value"}`)},
		"9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900",
	},
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	key := secret.New(vectorSecret)
	for _, tc := range signatureVectors {
		if got := tc.signed.Sign(tc.version, key); got != tc.signature {
			t.Errorf("Sign(%s) = %s; want %s", tc.version, got, tc.signature)
		}
		if _, ok := tc.signed.SignedWith(tc.version, tc.signature, key); !ok {
			t.Errorf("%s: HubSpot's signature is refused", tc.version)
		}
		others := map[string]hubspot.Signed{"method": tc.signed, "url": tc.signed, "body": tc.signed}
		for what, other := range others {
			switch what {
			case "method":
				other.Method = "PUT"
			case "url":
				other.URL += "/"
			case "body":
				other.Body = append([]byte(" "), other.Body...)
			}
			if _, ok := other.SignedWith(tc.version, tc.signature, key); ok {
				t.Errorf("%s: the signature holds for another %s", tc.version, what)
			}
		}
		for _, signature := range []string{"", tc.signature + "=", tc.signature[1:], strings.ToUpper(tc.signature), "\x00"} {
			if _, ok := tc.signed.SignedWith(tc.version, signature, key); ok {
				t.Errorf("%s: signature %q is taken", tc.version, signature)
			}
		}
	}
}

func TestSignatureVersion1(t *testing.T) {
	t.Parallel()
	// sha256 of "secret[]"
	s := hubspot.Signed{Method: "POST", URL: "https://a.example/", Body: []byte("[]")}
	const want = "e54739419ee05866a0e9d8df6b398edcb6c4e7b4c1e1a8c66b5fc889d024eb54"
	if got := s.Sign(hubspot.SignatureV1, secret.New("secret")); got != want {
		t.Errorf("Sign(v1) = %s; want %s", got, want)
	}
}

func TestSignatureKeys(t *testing.T) {
	t.Parallel()
	first, next := secret.New("first-secret"), secret.New("next-secret")
	s := hubspot.Signed{Method: "POST", URL: "https://a.example/", Body: []byte("[]"), Timestamp: "1"}
	for _, k := range []secret.Text{first, next} {
		if key, ok := s.SignedWith(hubspot.SignatureV3, s.Sign(hubspot.SignatureV3, k), first, next); !ok || !key.Equal(k) {
			t.Error("one of two secrets is not taken, or taken for the other")
		}
	}
	if _, ok := s.SignedWith(hubspot.SignatureV3, s.Sign(hubspot.SignatureV3, secret.Text{}), first, secret.Text{}); ok {
		t.Error("an empty secret is taken")
	}
	if _, ok := s.SignedWith("v4", "", first); ok {
		t.Error("a version that there is not is taken")
	}
}

// HubSpot says that it decodes some escapes of the URL, and does not say what its
// libraries do, which is nothing: both are taken.
func TestSignedURLs(t *testing.T) {
	t.Parallel()
	key := secret.New(vectorSecret)
	called := "https://a.example/w?a=%3A%2f%3F%40%21%24%27%28%29%2A%2C%3B&b=%20%26%3D%25#"
	decoded := "https://a.example/w?a=:/?@!$'()*,;&b=%20%26%3D%25#"
	if got := hubspot.DecodeSignedURL(called); got != decoded {
		t.Errorf("DecodeSignedURL = %s; want %s", got, decoded)
	}
	for _, version := range []hubspot.SignatureVersion{hubspot.SignatureV2, hubspot.SignatureV3} {
		s := hubspot.Signed{Method: "POST", URL: called, Body: []byte("[]"), Timestamp: "1"}
		for _, url := range []string{called, decoded} {
			signed := s
			signed.URL = url
			if _, ok := s.SignedWith(version, signed.Sign(version, key), key); !ok {
				t.Errorf("%s over %s is refused", version, url)
			}
		}
		for _, url := range []string{"https://a.example/w", "https://a.example/w?a=:/?@!$'()*,;&b= &=%#"} {
			signed := s
			signed.URL = url
			if _, ok := s.SignedWith(version, signed.Sign(version, key), key); ok {
				t.Errorf("%s over %s is taken", version, url)
			}
		}
	}
}
