package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox/webhooks"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// The app that the sandbox knows when no other is configured. The secret is
// public on purpose and opens nothing but a sandbox.
const (
	DemoClientID     = "5a4db0c5-0000-4000-8000-00000000de70"
	DemoClientSecret = "sandbox-client-secret-of-no-value"
)

// The portals (HubSpot accounts) that the sandbox has when no other is
// configured.
const (
	// DemoHubID has every scope.
	DemoHubID int64 = 62515001
	// DemoLimitedHubID is in the EU data centre and lacks the deal scopes,
	// as an account without the paid product would.
	DemoLimitedHubID int64 = 145700002
)

// App is a HubSpot app that the sandbox knows: what one would have entered
// in the app's settings at HubSpot.
type App struct {
	// ClientID is required and unique. HubSpot's are UUIDs.
	ClientID string
	// ClientSecret is required.
	ClientSecret secret.Text
	// ClientSecretNext is accepted beside ClientSecret, as HubSpot does
	// while a secret is being rotated. Empty: only ClientSecret counts.
	ClientSecretNext secret.Text
	// AppID is the app's number in introspection answers and quota groups.
	// Zero: a number derived from ClientID.
	AppID int64
	// RedirectURIs are the registered redirect URLs, compared exactly.
	// Empty: any http://localhost (with any port) and any https URL whose
	// host is a name; HubSpot refuses IP addresses.
	RedirectURIs []string
	// Scopes are the required scopes: every one must be in the install
	// URL's scope parameter. At least one; HubSpot's apps all have "oauth".
	Scopes []string
	// ConditionalScopes may be in the scope parameter, and are required
	// once they are.
	ConditionalScopes []string
	// OptionalScopes may be in the optional_scope parameter; the user may
	// decline them and an account that lacks them drops them silently.
	OptionalScopes []string
	// UserLevel makes a user-level app of it (isUserLevel in app-hsmeta.json):
	// each person of an account has a grant of their own, and some endpoints
	// refuse its tokens.
	UserLevel bool
}

// Portal is a HubSpot account in the sandbox.
type Portal struct {
	// HubID is required, positive and unique; HubSpot's fit in 31 bits.
	HubID int64
	// HubDomain is the web site domain of the customer (not a HubSpot host)
	// that introspection shows. Empty: hub-<HubID>.example.com.
	HubDomain string
	// User is the e-mail address of the person who installs the app.
	// Empty: admin@<HubDomain>.
	User string
	// UserID is that person's number. Zero: derived from HubID.
	UserID int64
	// Hublet is the data centre, the prefix of codes and refresh tokens.
	// Empty: na1.
	Hublet string
	// LacksScopes are scopes that the account does not have: optional ones
	// are dropped silently, a required one stops the install.
	LacksScopes []string
	// Contacts is how many contacts are seeded, with a fifth as many
	// companies and half as many deals. Zero: 300. Negative: none.
	Contacts int
}

// Quota is a rolling limit: Requests in any stretch of Interval.
type Quota struct {
	// Requests is how many are allowed.
	Requests int
	// Interval is the length of the window.
	Interval time.Duration
}

// Options configure a sandbox. The zero value is usable: one demo app, two
// portals, HubSpot's own lifetimes and quotas.
type Options struct {
	// Apps are the apps that may be installed. Empty: the one of [DemoApp].
	Apps []App
	// Portals are the accounts that they can be installed in. Empty: the
	// two of [DemoPortals].
	Portals []Portal
	// CustomProperties are extra property names of text type, by object
	// type (contacts, companies, deals), in every portal. Properties that
	// are neither here nor HubSpot's standard ones are refused when written.
	CustomProperties map[string][]string
	// Quota is the limit per app and portal on API calls other than
	// search. Zero: 110 in 10 s, HubSpot's for OAuth apps.
	Quota Quota
	// SearchQuota is the limit per portal on search. Zero: 5 in 1 s.
	SearchQuota Quota
	// DisableQuota lets requests beyond the quota through. They are still
	// counted, and the rate-limit headers are still sent.
	DisableQuota bool
	// TokenLifetime is how long an access token lives, at least a second.
	// Zero: 30 minutes.
	TokenLifetime time.Duration
	// AuthCodeLifetime is how long an authorization code can be exchanged.
	// Zero: 5 minutes (HubSpot says "a short window" and no number).
	AuthCodeLifetime time.Duration
	// StateFile is a file that keeps what is installed, refresh tokens
	// included, over a restart; it is made when it is missing. Access tokens
	// and CRM data are not kept: a refresh gets new tokens, the data is
	// seeded anew. Empty: everything is in memory.
	StateFile string
	// WebhooksURL is where all apps are told of what changes in the CRM of the
	// portals that they are installed in. Empty: nowhere, until
	// POST /_sandbox/webhooks says where.
	WebhooksURL string
	// WebhooksTransport makes those requests. Nil: http.DefaultTransport.
	WebhooksTransport http.RoundTripper
	// Now is the clock. Nil: time.Now. It is called concurrently.
	Now func() time.Time
	// Logger gets one line per event and, at debug, per request; never a
	// token, code, state or secret. Nil: no log.
	Logger *slog.Logger
}

// DemoApp returns the app that an empty [Options.Apps] stands for: the scopes
// oauth and crm.objects.contacts.read are required, writing contacts and
// everything about companies and deals is optional, redirect URLs are free.
func DemoApp() App {
	return App{
		ClientID:     DemoClientID,
		ClientSecret: secret.New(DemoClientSecret),
		AppID:        5150001,
		Scopes:       []string{"oauth", "crm.objects.contacts.read"},
		OptionalScopes: []string{
			"crm.objects.contacts.write",
			"crm.objects.companies.read", "crm.objects.companies.write",
			"crm.objects.deals.read", "crm.objects.deals.write",
		},
	}
}

// DemoPortals returns the portals that an empty [Options.Portals] stands for.
func DemoPortals() []Portal {
	return []Portal{
		{HubID: DemoHubID, HubDomain: "acme.example.com", User: "alex.admin@acme.example.com"},
		{
			HubID: DemoLimitedHubID, HubDomain: "globex.example.com", User: "gil.admin@globex.example.com",
			Hublet:      "eu1",
			LacksScopes: []string{"crm.objects.deals.read", "crm.objects.deals.write"},
		},
	}
}

// withDefaults returns a copy with every zero value replaced, or an error
// that names the setting which is wrong.
func (o Options) withDefaults() (Options, error) {
	if len(o.Apps) == 0 {
		o.Apps = []App{DemoApp()}
	}
	if len(o.Portals) == 0 {
		o.Portals = DemoPortals()
	}
	o.Apps, o.Portals = slices.Clone(o.Apps), slices.Clone(o.Portals)
	o.Quota = cmp.Or(o.Quota, Quota{Requests: 110, Interval: 10 * time.Second})
	o.SearchQuota = cmp.Or(o.SearchQuota, Quota{Requests: 5, Interval: time.Second})
	o.TokenLifetime = cmp.Or(o.TokenLifetime, 30*time.Minute)
	o.AuthCodeLifetime = cmp.Or(o.AuthCodeLifetime, 5*time.Minute)
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	return o, o.check()
}

func (o Options) check() error {
	for name, q := range map[string]Quota{"Quota": o.Quota, "SearchQuota": o.SearchQuota} {
		if q.Requests < 1 || q.Interval <= 0 {
			return fmt.Errorf("%s: both Requests and Interval must be positive", name)
		}
	}
	if o.TokenLifetime < time.Second {
		return errors.New("TokenLifetime: must be at least 1s")
	}
	if o.AuthCodeLifetime < 0 {
		return errors.New("AuthCodeLifetime: must be positive")
	}
	for kind := range o.CustomProperties {
		if _, ok := objectTypes[kind]; !ok {
			return fmt.Errorf("CustomProperties: no object type %q; there are contacts, companies and deals", kind)
		}
	}
	if o.WebhooksURL != "" {
		if err := webhooks.CheckURL(o.WebhooksURL); err != nil {
			return fmt.Errorf("WebhooksURL: %w", err)
		}
	}
	if err := checkApps(o.Apps); err != nil {
		return err
	}
	return checkPortals(o.Portals)
}

// checkApps checks the apps and fills in their defaults.
func checkApps(apps []App) error {
	seen := make(map[string]bool)
	for i := range apps {
		app := &apps[i]
		if app.ClientID == "" {
			return fmt.Errorf("Apps[%d].ClientID: required", i)
		}
		if seen[app.ClientID] {
			return fmt.Errorf("Apps[%d].ClientID: %q is there twice", i, app.ClientID)
		}
		seen[app.ClientID] = true
		if app.ClientSecret.IsZero() {
			return fmt.Errorf("Apps[%d].ClientSecret: required", i)
		}
		if err := app.checkScopes(); err != nil {
			return fmt.Errorf("Apps[%d].%w", i, err)
		}
		for _, uri := range app.RedirectURIs {
			if err := checkRedirectURI(uri); err != nil {
				return fmt.Errorf("Apps[%d].RedirectURIs: %q: %w", i, uri, err)
			}
		}
		app.AppID = cmp.Or(app.AppID, derivedNumber(app.ClientID))
	}
	return nil
}

func (a *App) checkScopes() error {
	if len(a.Scopes) == 0 {
		return errors.New("Scopes: at least one is required, such as oauth")
	}
	seen := make(map[string]string)
	for class, scopes := range map[string][]string{
		"Scopes": a.Scopes, "ConditionalScopes": a.ConditionalScopes, "OptionalScopes": a.OptionalScopes,
	} {
		for _, scope := range scopes {
			if scope == "" || strings.ContainsAny(scope, " \t\r\n") {
				return fmt.Errorf("%s: %q is not a scope; give one per entry", class, scope)
			}
			if other, ok := seen[scope]; ok {
				return fmt.Errorf("%s: %s is also in %s; a scope has one class", class, scope, other)
			}
			seen[scope] = class
		}
	}
	return nil
}

// checkPortals checks the portals and fills in their defaults.
func checkPortals(portals []Portal) error {
	seen := make(map[int64]bool)
	for i := range portals {
		p := &portals[i]
		if p.HubID <= 0 {
			return fmt.Errorf("Portals[%d].HubID: must be positive", i)
		}
		if seen[p.HubID] {
			return fmt.Errorf("Portals[%d].HubID: %d is there twice", i, p.HubID)
		}
		seen[p.HubID] = true
		p.HubDomain = cmp.Or(p.HubDomain, fmt.Sprintf("hub-%d.example.com", p.HubID))
		p.User = cmp.Or(p.User, "admin@"+p.HubDomain)
		p.UserID = cmp.Or(p.UserID, derivedNumber(p.User))
		p.Hublet = cmp.Or(p.Hublet, "na1")
		p.Contacts = max(0, cmp.Or(p.Contacts, 300))
	}
	return nil
}

// derivedNumber makes a stable positive number of at most 31 bits from s.
func derivedNumber(s string) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s))
	return int64(h.Sum32()>>1) | 1
}

func (p *Portal) lacks(scope string) bool { return slices.Contains(p.LacksScopes, scope) }
