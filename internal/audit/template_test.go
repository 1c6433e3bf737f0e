package audit

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestTemplate(t *testing.T) {
	for path, want := range map[string]string{
		"":                               "",
		"/":                              "/",
		"/crm/objects/2026-09/contacts":  "/crm/objects/2026-09/contacts",
		"/crm/objects/2026-09/contacts/": "/crm/objects/2026-09/contacts/",
		"/crm/objects/2026-09-beta/contacts/search":                         "/crm/objects/2026-09-beta/contacts/search",
		"/crm/v3/objects/contacts/12345":                                    "/crm/v3/objects/contacts/{id}",
		"/crm/v3/objects/contacts/jane.doe@example.com":                     "/crm/v3/objects/contacts/{id}",
		"/crm/v3/objects/contacts/jane.doe%40example.com":                   "/crm/v3/objects/contacts/{id}",
		"/crm/v3/objects/contacts/acme":                                     "/crm/v3/objects/contacts/{id}",
		"/crm/v3/objects/contacts/janedoe/associations/companies":           "/crm/v3/objects/contacts/{id}/associations/companies",
		"/crm/v3/objects/0-1/batch/read":                                    "/crm/v3/objects/0-1/batch/read",
		"/crm/v3/objects/0-1234/1":                                          "/crm/v3/objects/{id}/{id}",
		"/crm/v3/objects/2-4711/1":                                          "/crm/v3/objects/{id}/{id}",
		"/crm/v3/objects/p123_cars/search":                                  "/crm/v3/objects/{id}/search",
		"/crm/v4/objects/contacts/1/associations/default/companies/2":       "/crm/v4/objects/contacts/{id}/associations/default/companies/{id}",
		"/crm/v3/properties/contacts/shoe_size":                             "/crm/v3/properties/contacts/{id}",
		"/crm/v3/objects/Contacts/search":                                   "/crm/v3/objects/{id}/search",
		"/crm/v3/objects/con%74acts/search":                                 "/crm/v3/objects/{id}/search",
		"/crm/v3/objects/contacts;a=b/search":                               "/crm/v3/objects/{id}/search",
		"/crm/v3/objects//contacts":                                         "/crm/v3/objects//contacts",
		"/crm/../crm/./v3":                                                  "/crm/{id}/crm/{id}/v3",
		"/contacts/v1/contact/email/jane@example.com/profile":               "/contacts/v1/contact/email/{id}/profile",
		"/contacts/v1/contact/vid/42/profile":                               "/contacts/v1/contact/vid/{id}/profile",
		"/companies/v2/domains/example.com/companies":                       "/companies/v2/domains/{id}/companies",
		"/crm/v3/objects/contacts/7b2f4a0e-0000-4000-8000-000000000000":     "/crm/v3/objects/contacts/{id}",
		"/crm/v3/objects/contacts/deadbeefdeadbeefdeadbeefdeadbeef":         "/crm/v3/objects/contacts/{id}",
		"/crm/v3/objects/contacts/2026-9":                                   "/crm/v3/objects/contacts/{id}",
		"/crm/v123/objects":                                                 "/crm/{id}/objects",
		"/crm/v/objects":                                                    "/crm/{id}/objects",
		"/crm/\x00":                                                         "/crm/{id}",
		"/crm/ünïcode":                                                      "/crm/{id}",
		"contacts":                                                          "{id}",
		"*":                                                                 "{id}",
		strings.Repeat("/crm", maxSegments):                                 strings.Repeat("/crm", maxSegments),
		strings.Repeat("/crm", maxSegments+1):                               strings.Repeat("/crm", maxSegments) + "/…",
		"/crm/v3/objects/contacts/" + strings.Repeat("a", 1<<20) + "/notes": "/crm/v3/objects/contacts/{id}/notes",
	} {
		if got := Template(path); got != want {
			t.Errorf("%.80q: %q, want %q", path, got, want)
		}
	}
}

// FuzzTemplate holds that a template is made of what is known beforehand only,
// so that nothing of a customer's can be in it.
func FuzzTemplate(f *testing.F) {
	for _, path := range []string{"/crm/v3/objects/contacts/jane@example.com", "/as/acme/crm", "//", "/%2f/..", "0-1/{id}/…"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		template := Template(path)
		if len(template) > maxSegments*41+len("/…") {
			t.Errorf("%q has %d bytes", template, len(template))
		}
		for i, segment := range strings.Split(template, "/") {
			if _, word := knownWords()[segment]; !word && segment != "" && segment != placeholder &&
				!isVersion(segment) && !isObjectType(segment) && !(segment == "…" && i == maxSegments+1) {
				t.Errorf("%q has %q", template, segment)
			}
		}
	})
}

// Whatever a customer's identifier looks like, it is not in the template,
// wherever in a path it stands, unless it is one of the words itself.
func TestTemplateHasNoIdentifiers(t *testing.T) {
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789-_.@%+~ABCZ"
	random := rand.New(rand.NewPCG(1, 2))
	around := []string{"crm", "v3", "objects", "contacts", "associations", "2026-09", "batch"}
	for range 20000 {
		id := make([]byte, 4+random.IntN(40))
		for i := range id {
			id[i] = alphabet[random.IntN(len(alphabet))]
		}
		if isWord(string(id)) {
			continue
		}
		segments := append([]string{""}, around...)
		segments[1+random.IntN(len(around))] = string(id)
		if got := Template(strings.Join(segments, "/")); strings.Contains(got, string(id)) && !strings.Contains(placeholder, string(id)) {
			t.Fatalf("%q is in %q", id, got)
		}
	}
}

func TestWords(t *testing.T) {
	for word := range knownWords() {
		if len(word) > 40 || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz-_") != "" {
			t.Errorf("%q is not like a word of the API", word)
		}
	}
	if n := len(knownWords()); n != strings.Count(words, "\n") {
		t.Errorf("%d words in %d lines", n, strings.Count(words, "\n"))
	}
}

func TestMethod(t *testing.T) {
	for method, want := range map[string]string{"GET": "GET", "PATCH": "PATCH", "get": "other", "JANE-DOE": "other", "": "other"} {
		if got := Method(method); got != want {
			t.Errorf("%q: %q, want %q", method, got, want)
		}
	}
}

func TestCorrelationID(t *testing.T) {
	for id, want := range map[string]string{
		"a43683b0-5717-4ceb-80b4-104d02915d8c": "a43683b0-5717-4ceb-80b4-104d02915d8c",
		"":                                     "",
		"jane@example.com":                     "",
		`","caller":"x`:                        "",
		strings.Repeat("a", 65):                "",
	} {
		if got := CorrelationID(id); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}

func BenchmarkTemplate(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Template("/crm/objects/2026-09/contacts/123456789/associations/companies")
	}
}
