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

// Some words of the oldest paths, such as singleEmail, have capital letters.
func TestWords(t *testing.T) {
	for word := range knownWords() {
		begin := strings.Trim(word[:min(1, len(word))], "abcdefghijklmnopqrstuvwxyz")
		if word == "" || len(word) > 40 || begin != "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != "" {
			t.Errorf("%q is not like a word of the API", word)
		}
	}
	// Each word has one line, and the first line is a comment.
	if n := len(knownWords()); n+1 != strings.Count(words, "\n") {
		t.Errorf("%d words in %d lines", n, strings.Count(words, "\n"))
	}
}

// The paths that the sidecar calls, refuses, counts apart or has in its
// sandbox, and those in its tests, stand in the log as they are.
func TestWordsOfTheSidecar(t *testing.T) {
	for _, path := range []string{
		"/oauth/authorize",
		"/oauth/2026-09/token",
		"/oauth/2026-09/token/introspect",
		"/oauth/2026-09/token/revoke",
		"/oauth/v1/access-tokens/{id}",
		"/oauth/v1/refresh-tokens/{id}",
		"/oauth/v2/private-apps/get/access-token-info",
		"/localdevauth/v1/auth/refresh",
		"/appinstalls/2026-09/external-install",
		"/account-info/2026-09/details",
		"/account-info/v3/api-usage/daily/private-apps",
		"/integrations/v1/me",
		"/crm/objects/2026-09/contacts/{id}/associations/companies",
		"/crm/objects/2026-09/deals/search",
		"/crm/objects/2026-09/companies/batch/read",
		"/crm/v3/objects/companies/batch/upsert",
		"/crm/v3/objects/companies/batch/create",
		"/crm/v3/objects/companies/batch/update",
		"/crm/v3/objects/companies/batch/archive",
		"/crm/v3/objects/company",
		"/crm/objects/2026-09/contacts/gdpr-delete",
		"/crm/v4/associations/contacts/companies/batch/read",
		"/crm/v3/owners",
		"/crm/v3/imports",
		"/crm/v3/lists",
		"/cms/v3/source-code/{id}/content",
		"/cms/v3/blogs/posts",
		"/events/v3/send/batch",
		"/events/v3/events",
		"/marketing/v3/emails/{id}/draft",
		"/marketing/v4/email/single-send",
		"/marketing/v3/transactional/single-email/send",
		"/marketing/transactional/2026-09/smtp-tokens/{id}/password-reset",
		"/email/public/v1/singleEmail/send",
		"/visitor-identification/v3/tokens/create",
		"/files/v3/files/upload",
		"/automation/v4/actions",
		"/automation/v4/flows",
		"/settings/v3/users",
		"/contacts/v1/contact/vid/{id}/profile",
		"/companies/v2/domains/{id}/companies",
		"/webhooks-journal/journal/2026-09/offset/{id}/next",
		"/webhooks-journal/journal-local/2026-09/earliest",
		"/webhooks-journal/subscriptions/2026-09/portals/{id}",
		"/webhooks-journal/snapshots/2026-09/crm",
		"/raw/{id}",
	} {
		if got := Template(path); got != path {
			t.Errorf("%q, want %q", got, path)
		}
	}
}

// Names that accounts give to properties and objects are no words of the API,
// although they are English words.
func TestWordsHaveNoNames(t *testing.T) {
	for _, name := range []string{"persona", "score", "priority", "owner", "member", "source", "lifecycle-stage", "car"} {
		if isWord(name) {
			t.Errorf("%q is a word", name)
		}
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
