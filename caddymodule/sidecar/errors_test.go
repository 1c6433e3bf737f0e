package sidecar_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
)

// plainApp is an app block without mistakes, as three lines.
const plainApp = "app hbdev {\n client_id {env.HUBSPOT_CLIENT_ID}\n client_secret {env.HUBSPOT_CLIENT_SECRET}\n }\n"

// TestWrongCaddyfile has settings that are refused while the Caddyfile is
// read. Each error carries the place, here as the line within the block of
// the global option, counted from 1.
func TestWrongCaddyfile(t *testing.T) {
	t.Setenv("HUBSPOT_CLIENT_SECRET", "a-planted-secret")
	for _, tc := range []struct {
		name  string
		block string
		line  int
		want  string
	}{
		{"no app", "", 0, "no app is configured"},
		{"unknown setting", plainApp + "stores caddy", 5, `hubspot: unknown setting "stores"; there are: app, apps_file, audit, caller, endpoints, export_to, fallback_cache, migrate_from, store`},
		{"apps_file without a file", "apps_file", 1, "apps_file: give exactly one value"},
		{"apps_file twice", "apps_file a.yaml\n apps_file b.yaml", 2, "apps_file is given twice"},
		{"apps_file with two files", "apps_file a.yaml b.yaml", 1, "apps_file: give exactly one value"},

		{"fallback_cache without a folder", "fallback_cache {\n key {env.K}\n }", 1, "fallback_cache: give one folder"},
		{"fallback_cache without a key", plainApp + "fallback_cache /tmp/x {\n max_age 1h\n }", 7, "fallback_cache: key is missing"},
		{"fallback_cache with a literal key", plainApp + "fallback_cache /tmp/x {\n key abc\n }", 6, "key: write it as a placeholder"},
		{"fallback_cache with a bad age", plainApp + "fallback_cache /tmp/x {\n key {env.K}\n max_age 0\n }", 7, `max_age: "0" is not a duration above zero`},

		{"audit without a file", "audit {\n roll_keep 1\n }", 1, "audit: give one file"},
		{"audit with two files", "audit a b", 1, "audit: give one file"},
		{"audit twice", "audit a\n audit b", 2, "audit is given twice"},
		{"audit with another setting", "audit a {\n mode 0644\n }", 2, `audit: unknown setting "mode"; there are: roll_keep, roll_size`},
		{"audit with a small size", "audit a {\n roll_size 63KiB\n }", 2, `roll_size: "63KiB" is not a size of 64KiB or more`},
		{"audit with a size in words", "audit a {\n roll_size large\n }", 2, `roll_size: "large" is not a size`},
		{"audit that keeps none", "audit a {\n roll_keep 0\n }", 2, `roll_keep: "0" is not a number of files above zero`},

		{"migrate_from without a name", plainApp + "migrate_from", 5, "migrate_from: name the store"},
		{"migrate_from an unknown store", plainApp + "migrate_from etcd", 5, `migrate_from: unknown store "etcd"`},
		{"app without a name", "app {\n client_id x\n }", 1, "app: give exactly one name"},
		{"app with two names", "app a b {\n client_id x\n }", 1, "app: give exactly one name"},
		{"app with a bad name", "app a/b {\n client_id x\n }", 1, `app "a/b": an app's name is 1 to 64 letters`},
		{"app twice in another case", plainApp + "app HBdev {\n client_id x\n }", 5, `app "HBdev": there is one called "hbdev" already`},
		{"app without settings", "app hbdev", 1, "client_id: is missing"},
		{"app without a secret", "app hbdev {\n client_id x\n }", 1, "client_secret: is missing"},
		{"static app of persons", "app hbdev {\n static\n user_level\n }", 2, "static: user_level is given as well"},
		{"static app with a client", "app hbdev {\n static\n client_id x\n }", 2, "static: client_id is given as well; a static app has no client id"},
		{"static app with scopes", "app hbdev {\n scopes oauth\n static\n }", 3, "static: scopes is given as well"},
		{"static app with a value", "app hbdev {\n static yes\n }", 2, "static: takes no value"},
		{"unknown app setting", "app hbdev {\n client_key x\n }", 2, `app hbdev: unknown setting "client_key"; there are: app_id, app_scopes, client_id`},
		{"setting twice", "app hbdev {\n client_id x\n client_id x\n }", 3, "client_id is given twice"},
		{"surplus argument", "app hbdev {\n client_id x y\n }", 2, "client_id: give exactly one value"},
		{"missing argument", "app hbdev {\n client_id\n }", 2, "client_id: give exactly one value"},
		{"block where none belongs", "app hbdev {\n client_id x {\n }\n }", 2, "client_id takes no block"},
		{"literal secret", "app hbdev {\n client_id x\n client_secret 0123-4567\n }", 3, "client_secret: write it as a placeholder"},
		{"secret with a literal part", "app hbdev {\n client_id x\n client_secret a{env.X}\n }", 3, "client_secret: write it as a placeholder"},
		{"secret expanded too early", "app hbdev {\n client_id x\n client_secret {$HUBSPOT_CLIENT_SECRET}\n }", 3, "client_secret: write it as a placeholder"},
		{"same secret twice", "app hbdev {\n client_id x\n client_secret {env.A}\n client_secret_next {env.A}\n }", 4, "client_secret_next: is the same placeholder"},
		{"credentials beside a client id", "app hbdev {\n client_id x\n credentials vault secret/x\n }", 3, "credentials: client_id is given as well"},
		{"credentials without a path", "app hbdev {\n credentials vault\n }", 2, "credentials: give vault and a path"},
		{"credentials elsewhere", "app hbdev {\n credentials file secret/x\n }", 2, "credentials: write where to read the credentials as vault and a path"},
		{"app id in words", "app hbdev {\n app_id seven\n }", 2, `app_id: "seven" is not a positive number`},
		{"app id zero", "app hbdev {\n app_id 0\n }", 2, `app_id: "0" is not a positive number`},
		{"no scopes", "app hbdev {\n scopes\n }", 2, "scopes: give at least one value"},
		{"scope twice", installApp("scopes oauth oauth"), 4, `scopes: "oauth" is given twice`},
		{"scope required and optional", installApp("scopes oauth a\n optional_scopes a"), 5, `optional_scopes: "a" is in scopes already`},
		{"journal of a static app", "app hbdev {\n static\n journal\n }", 2, "static: journal is given as well"},
		{"app scope twice", installApp("scopes oauth\n app_scopes a a"), 5, `app_scopes: "a" is given twice`},
		{"app scopes in one word", installApp("scopes oauth\n app_scopes a,b"), 5, `app_scopes: "a,b" holds a comma`},
		{"scopes without a redirect", "app hbdev {\n client_id x\n client_secret {env.X}\n scopes oauth\n }", 1, "redirect_uri: is missing"},
		{"scopes and a file", installApp("scopes oauth\n scopes_from a.json"), 5, "scopes_from: scopes, conditional_scopes or optional_scopes are given as well"},
		{"redirect to an IP address", redirectApp("https://192.0.2.1/callback"), 5, "redirect_uri:"},
		{"redirect in the clear", redirectApp("http://app.example.com/callback"), 5, "redirect_uri:"},
		{"quota of 0", installApp("scopes oauth\n quota 0 10s"), 5, "quota: a rate of 0 would let nothing through"},
		{"quota without a span", installApp("scopes oauth\n quota 110"), 5, "quota: give a number of requests and a span of time"},
		{"search quota with a bad span", installApp("scopes oauth\n search_quota 5 soon"), 5, `search_quota: "soon" is not a span of time`},
		{"refresh quota below zero", installApp("scopes oauth\n refresh_quota -1 1s"), 5, "refresh_quota: the number of requests must be between"},

		{"caller without a name", plainApp + "caller {\n }", 5, "caller: give exactly one name"},
		{"caller with a bad name", plainApp + "caller a:b {\n key {env.K}\n }", 6, `caller "a:b": a name is 1 to 64 letters`},
		{"caller twice", plainApp + "caller a {\n key {env.K}\n }\n caller A {\n key {env.K}\n }", 8, `caller "A": there is one called "a" already`},
		{"caller without a key", plainApp + "caller a {\n users acme\n }", 7, "caller a: nothing says how to know it: give a key, as a placeholder such as {env.X} or sha256:<hex>, or cert_san, jwt, uid or gid"},
		{"caller without a block", plainApp + "caller a", 5, "caller a: nothing says how to know it"},
		{"literal key", plainApp + "caller a {\n key 01234567890123456789\n }", 6, "key: write it as a placeholder"},
		{"key with a broken hash", plainApp + "caller a {\n key sha256:abc\n }", 6, "key 1: must have 64 hex digits"},
		{"same key twice", plainApp + "caller a {\n key {env.K}\n key {env.K}\n }", 7, "key 2: is given twice"},
		{"method unknown to HTTP", plainApp + "caller a {\n key {env.K}\n allow FETCH /crm/*\n }", 7, `allow: "FETCH" is not an HTTP method`},
		{"method in lower case", plainApp + "caller a {\n key {env.K}\n deny get /crm/*\n }", 7, `deny: method "get" must be in upper case`},
		{"rule without a path", plainApp + "caller a {\n key {env.K}\n allow GET\n }", 7, "allow: give methods and one path"},
		{"rule with two paths", plainApp + "caller a {\n key {env.K}\n allow GET /a /b\n }", 7, "allow: give methods and one path"},
		{"rule twice", plainApp + "caller a {\n key {env.K}\n allow GET /a\n allow GET /a\n }", 8, `rule "GET /a" is given twice`},
		{"path glob that never matches", plainApp + "caller a {\n key {env.K}\n allow GET crm/*\n }", 7, "a path starts with /"},
		{"path glob with a query", plainApp + "caller a {\n key {env.K}\n allow GET /a?b\n }", 7, "the query is not compared"},
		{"app glob that never matches", plainApp + "caller a {\n key {env.K}\n apps a/b\n }", 7, `glob "a/b" can never match`},
		{"name in a certificate that never matches", plainApp + "caller a {\n cert_san prod/ns/crm\n }", 6, `cert_san: glob "prod/ns/crm" can never match`},
		{"no name in a certificate", plainApp + "caller a {\n cert_san\n }", 6, "cert_san: give at least one value"},
		{"name of a user", plainApp + "caller a {\n uid root\n }", 6, `uid: "root" is not a number; names are not looked up`},
		{"user below zero", plainApp + "caller a {\n gid -1\n }", 6, `gid: "-1" is not a number`},
		{"no user", plainApp + "caller a {\n uid\n }", 6, "uid: give at least one number"},
		{"user twice", plainApp + "caller a {\n uid 7 7\n }", 6, "uid: 7 is given twice"},
		{"jwt with a value", plainApp + "caller a {\n jwt x {\n }\n }", 6, "jwt: takes no value"},
		{"jwt twice", plainApp + "caller a {\n " + jwtBlock("jwks_file /k") + "\n jwt {\n }\n }", 12, "jwt is given twice"},
		{"jwt with an unknown setting", plainApp + "caller a {\n jwt {\n aud x\n }\n }", 7, `caller a: jwt: unknown setting "aud"; there are: audience, issuer, jwks_file, jwks_url, subject`},
		{"jwt without keys", plainApp + "caller a {\n " + jwtBlock("") + "\n }", 11, "jwt: jwks_url or jwks_file is missing"},
		{"jwt with keys twice", plainApp + "caller a {\n " + jwtBlock("jwks_file /k\n jwks_url https://i/k") + "\n }", 12, "jwt: give jwks_url or jwks_file, not both"},
		{"keys in the clear", plainApp + "caller a {\n jwt {\n jwks_url http://issuer.example.com/keys\n }\n }", 7, "must be https; plain http is for localhost"},
		{"jwt without a subject", plainApp + "caller a {\n jwt {\n issuer i\n audience a\n jwks_file /k\n }\n }", 10, "jwt: subject is missing: give globs over the claim sub, or *"},
		{"jwt without an audience", plainApp + "caller a {\n jwt {\n issuer i\n subject *\n jwks_file /k\n }\n }", 10, "jwt: audience is missing"},
		{"dry_run with a value", plainApp + "caller a {\n key {env.K}\n dry_run on\n }", 7, "dry_run: takes no value"},
		{"share of 0", plainApp + "caller a {\n key {env.K}\n share 0\n }", 7, `share: "0" is not a number from 1 to 1000`},
		{"share of too much", plainApp + "caller a {\n key {env.K}\n share 1001\n }", 7, `share: "1001" is not a number from 1 to 1000`},
		{"share in words", plainApp + "caller a {\n key {env.K}\n share half\n }", 7, `share: "half" is not a number from 1 to 1000`},
		{"share without a number", plainApp + "caller a {\n key {env.K}\n share\n }", 7, "share: give exactly one value"},
		{"share twice", plainApp + "caller a {\n key {env.K}\n share 2\n share 2\n }", 8, "share is given twice"},
		{"no users", plainApp + "caller a {\n key {env.K}\n users\n }", 7, "users: give at least one value"},

		{"endpoints with a value", plainApp + "endpoints https://api.hubapi.com", 5, "endpoints: takes no value"},
		{"API in the clear", plainApp + "endpoints {\n api http://api.example.com\n }", 6, "must be https; plain http is for localhost"},
		{"API with a path", plainApp + "endpoints {\n api https://api.example.com/v1\n }", 6, "without a path"},
		{"consent page without a path", plainApp + "endpoints {\n authorize https://app.example.com\n }", 6, "the whole URL of the consent page"},
		{"old token endpoint", plainApp + "endpoints {\n version v1\n }", 6, "must be a date version"},

		{"store without a name", plainApp + "store", 5, "store: name the store: vault or caddy"},
		{"unknown store", plainApp + "store redis", 5, `store: unknown store "redis"; there are: vault, caddy`},
		{"two stores", plainApp + "store caddy\n store caddy", 6, "store is given twice"},
		{"store caddy with a value", plainApp + "store caddy /var/lib", 5, "store caddy: takes no value"},
		{"literal encryption key", plainApp + "store caddy {\n encryption_key AAAA\n }", 6, "encryption_key: write it as a placeholder"},
		{"two keys of store caddy", plainApp + "store caddy {\n encryption_key {env.K}\n key_file /k\n }", 8, "give encryption_key or key_file, not both"},
		{"vault without an address", plainApp + "store vault {\n auth token {env.T}\n }", 5, "store vault: give the address of Vault"},
		{"vault with two addresses", plainApp + "store vault https://a https://b", 5, "store vault: give the address of Vault and nothing else"},
		{"vault with a bad address", plainApp + "store vault vault:8200 {\n auth token {env.T}\n }", 5, `address "vault:8200": give a URL`},
		{"vault without a login", plainApp + "store vault https://v:8200", 5, "store vault: auth is missing: give one of"},
		{"vault with an unknown setting", plainApp + "store vault https://v:8200 {\n token {env.T}\n }", 6, `store vault: unknown setting "token"; there are: auth, ca,`},
		{"vault with a bad timeout", plainApp + "store vault https://v:8200 {\n timeout 0s\n }", 6, `timeout: "0s" is not a duration above zero`},
		{"login without a method", plainApp + "store vault https://v:8200 {\n auth\n }", 6, "auth: give one of"},
		{"unknown login", plainApp + "store vault https://v:8200 {\n auth ldap\n }", 6, `auth: unknown method "ldap"; give one of`},
		{"two logins", plainApp + "store vault https://v:8200 {\n auth token {env.T}\n auth token {env.T}\n }", 7, "auth is given twice"},
		{"literal vault token", plainApp + "store vault https://v:8200 {\n auth token hvs.abc\n }", 6, "token: write it as a placeholder"},
		{"approle with a value", plainApp + "store vault https://v:8200 {\n auth approle x {\n }\n }", 6, "auth approle: takes no value"},
		{"approle without a role", plainApp + "store vault https://v:8200 {\n auth approle {\n secret_id {env.S}\n }\n }", 8, "auth approle: role_id is missing"},
		{"approle without a secret id", plainApp + "store vault https://v:8200 {\n auth approle {\n role_id r\n }\n }", 8, "auth approle: secret_id or secret_id_file is missing"},
		{"approle with two secret ids", plainApp + "store vault https://v:8200 {\n auth approle {\n role_id r\n secret_id {env.S}\n secret_id_file /s\n }\n }", 10, "give secret_id or secret_id_file, not both"},
		{"literal secret id", plainApp + "store vault https://v:8200 {\n auth approle {\n secret_id abc\n }\n }", 7, "secret_id: write it as a placeholder"},
		{"wrapped with a value", plainApp + "store vault https://v:8200 {\n auth approle {\n secret_id_wrapped yes\n }\n }", 7, "secret_id_wrapped: takes no value"},
		{"setting of another login", plainApp + "store vault https://v:8200 {\n auth kubernetes {\n role_id r\n }\n }", 7, `auth kubernetes: unknown setting "role_id"; there are: mount, role, token_file`},
		{"kubernetes without a role", plainApp + "store vault https://v:8200 {\n auth kubernetes {\n mount k8s\n }\n }", 8, "auth kubernetes: role is missing"},
		{"jwt without a file", plainApp + "store vault https://v:8200 {\n auth jwt {\n role r\n }\n }", 8, "auth jwt: token_file is missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("{\nhubspot {\n"+tc.block+"\n}\n}\n"), map[string]any{"filename": "Caddyfile"})
			if err == nil {
				t.Fatal("it was accepted")
			}
			place := "Caddyfile:"
			if tc.line > 0 {
				place = fmt.Sprintf("Caddyfile:%d", tc.line+2)
			}
			if !strings.Contains(err.Error(), tc.want) || !strings.HasSuffix(err.Error(), place) && tc.line > 0 {
				t.Errorf("error: %v\nwant:  %s … at %s", err, tc.want, place)
			}
			if strings.Contains(err.Error(), "a-planted-secret") {
				t.Errorf("error holds a secret: %v", err)
			}
		})
	}
}

// jwtBlock is a caller's block jwt of five lines, with keys on the fifth.
func jwtBlock(keys string) string {
	return "jwt {\n issuer https://i\n audience a\n subject *\n " + keys + "\n }"
}

// installApp is an app with a redirect URI and more settings from line 4.
func installApp(settings string) string {
	return "app hbdev {\n client_id x\n client_secret {env.X}\n " + settings + "\n redirect_uri https://app.example.com/cb\n }"
}

// redirectApp is an app with a redirect URI on line 5.
func redirectApp(uri string) string {
	return "app hbdev {\n client_id x\n client_secret {env.X}\n scopes oauth\n redirect_uri " + uri + "\n }"
}

func TestGlobalOptionTwice(t *testing.T) {
	block := "hubspot {\n" + plainApp + "}\n"
	_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("{\n"+block+block+"}\n"), map[string]any{"filename": "Caddyfile"})
	want := "hubspot: the global option is given twice"
	if err == nil || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), "Caddyfile:8") {
		t.Errorf("error: %v\nwant:  %s … at Caddyfile:8", err, want)
	}
}

// TestWrongValues has settings that show to be wrong once placeholders are
// expanded and files are read. Each error names the setting.
func TestWrongValues(t *testing.T) {
	shortKey := base64.StdEncoding.EncodeToString([]byte("too short"))
	for _, tc := range []struct {
		name  string
		block string
		want  string
	}{
		{"secret not in the environment", "app hbdev {\n client_id x\n client_secret {env.NO_SUCH}\n }", `app "hbdev": client_secret: expanding its placeholder: evaluated placeholder {env.NO_SUCH} is empty`},
		{"secret not in a file", "app hbdev {\n client_id x\n client_secret {file.DIR/no-such}\n }", `app "hbdev": client_secret: expanding its placeholder`},
		{"unknown placeholder", "app hbdev {\n client_id {http.request.host}\n client_secret {env.OK}\n }", `app "hbdev": client_id: expanding its placeholder: unrecognized placeholder {http.request.host}`},
		{"redirect to an IP address", "app hbdev {\n client_id x\n client_secret {env.OK}\n scopes oauth\n redirect_uri {env.IP_REDIRECT}\n }", `app "hbdev": redirect_uri:`},
		{"no such scopes file", "app hbdev {\n client_id x\n client_secret {env.OK}\n scopes_from DIR/no-such.json\n redirect_uri https://a.example.com/cb\n }", `app "hbdev": scopes_from: opening file`},
		{"no such apps file", "apps_file DIR/no-such.yaml", "apps_file: opening file"},
		{"unknown key in the apps file", "apps_file DIR/unknown.yaml", `unknown.yaml:5: app "yamlapp": unknown key "client_key"`},
		{"secret of the apps file", "apps_file DIR/secret.yaml", `secret.yaml:2: app "yamlapp": client_secret: expanding its placeholder`},
		{"app in both places", plainApp + "apps_file DIR/same.yaml", `same.yaml:2: app "HBDEV": there is an app "hbdev" already`},
		{"same redirect path", redirectApp("https://a.example.com/cb") + "\n" + strings.Replace(redirectApp("https://b.example.com/cb"), "hbdev", "other", 1), `app "other": redirect_uri: has the path /cb, as has app "hbdev"`},
		{"credentials without vault", "app hbdev {\n credentials vault secret/hubspot-apps/hbdev\n }", `app "hbdev": credentials: store caddy does not keep client credentials; use store vault`},

		{"key too short", plainApp + "caller a {\n key {env.OK}\n }", `caller "a": key 1: has 2 characters; at least 20 are needed`},
		{"key not in the environment", plainApp + "caller a {\n key {env.NO_SUCH}\n }", `caller "a": key 1: evaluated placeholder {env.NO_SUCH} is empty`},
		{"two callers with one key", plainApp + "caller a {\n key {env.LONG}\n }\n caller b {\n key {env.LONG}\n }", `caller "b": key: caller "a" has the same`},
		{"caller of no app", plainApp + "caller a {\n key {env.LONG}\n apps hbdve\n }", `caller "a": apps: "hbdve" matches none of the configured apps (hbdev)`},

		{"two callers with one certificate", plainApp + "caller a {\n cert_san *.a.internal\n }\n caller b {\n cert_san *.A.internal\n }", `caller "b": cert_san: "*.A.internal": caller "a" has the same`},
		{"two callers with one user", plainApp + "caller a {\n uid 1 2\n }\n caller b {\n uid 2\n }", `caller "b": uid and gid: peers: caller "a" has the same`},
		{"two callers with one subject", plainApp + "caller a {\n " + jwtBlock("jwks_url https://i/k") + "\n }\n caller b {\n " + jwtBlock("jwks_url https://i/k") + "\n }", `caller "b": jwt: the issuer, the audience and the subject "*": caller "a" has the same`},
		{"issuer with two addresses", plainApp + "caller a {\n " + jwtBlock("jwks_url https://i/k") + "\n }\n caller b {\n " + jwtBlock("jwks_url https://i/l") + "\n }", `caller "b": jwt: issuer "https://i" has its keys elsewhere at caller "a"`},
		{"no such file of keys", plainApp + "caller a {\n " + jwtBlock("jwks_file DIR/no-such.json") + "\n }", `caller "a": jwt: jwks_file: reading keys: open`},
		{"file that has no keys", plainApp + "caller a {\n " + jwtBlock("jwks_file DIR/secret.yaml") + "\n }", "it is not a JWK set"},
		{"issuer not in the environment", plainApp + "caller a {\n jwt {\n issuer {env.NO_SUCH}\n audience a\n subject *\n jwks_url https://i/k\n }\n }", `caller "a": jwt: issuer: evaluated placeholder {env.NO_SUCH} is empty`},
		{"address of keys in the clear", plainApp + "caller a {\n " + jwtBlock("jwks_url {env.PLAIN_API}") + "\n }", `caller "a": jwt: jwks_url "http://api.example.com": must be https`},

		{"API in the clear", plainApp + "endpoints {\n api {env.PLAIN_API}\n }", "endpoints: api"},
		{"empty endpoint", plainApp + "endpoints {\n api {env.NO_SUCH}\n }", "endpoints: api: evaluated placeholder {env.NO_SUCH} is empty"},

		{"encryption key too short", plainApp + "store caddy {\n encryption_key {env.SHORT}\n }", "encryption_key:"},
		{"fallback key too short", plainApp + "fallback_cache /tmp/x {\n key {env.SHORT}\n }", "fallback_cache: key:"},
		{"encryption key missing", plainApp + "store caddy {\n encryption_key {env.NO_SUCH}\n }", "encryption_key: evaluated placeholder {env.NO_SUCH} is empty"},
		{"key file open to others", plainApp + "store caddy {\n key_file DIR/open.key\n }", "key_file:"},
		{"vault token missing", plainApp + "store vault https://v:8200 {\n auth token {env.NO_SUCH}\n }", "auth: token: evaluated placeholder {env.NO_SUCH} is empty"},
		{"vault CA missing", plainApp + "store vault https://v:8200 {\n auth token {env.OK}\n ca DIR/no-such.pem\n }", "no-such.pem"},
		{"vault mount with dots", plainApp + "store vault https://v:8200 {\n auth token {env.OK}\n mount ../sys\n }", "mount must be names of letters"},
		{"cert without a certificate", plainApp + "store vault https://v:8200 {\n auth cert {\n role r\n }\n }", "cert: client_cert and client_key are missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := caddytest.New(t)
			t.Setenv("OK", "ok")
			t.Setenv("X", "x")
			t.Setenv("LONG", "01234567890123456789")
			t.Setenv("IP_REDIRECT", "https://192.0.2.1/callback")
			t.Setenv("PLAIN_API", "http://api.example.com")
			t.Setenv("SHORT", shortKey)
			h.WriteFile("unknown.yaml", "apps:\n  yamlapp:\n    client_id: x\n    client_secret: \"{env.OK}\"\n    client_key: y\n")
			h.WriteFile("secret.yaml", "apps:\n  yamlapp:\n    client_id: x\n    client_secret: \"{env.NO_SUCH}\"\n")
			h.WriteFile("same.yaml", "apps:\n  HBDEV:\n    client_id: x\n    client_secret: \"{env.OK}\"\n")
			if err := os.Chmod(h.WriteFile("open.key", strings.Repeat("A", 43)+"="), 0o644); err != nil {
				t.Fatal(err)
			}
			err := h.Load("{\nhubspot {\n" + tc.block + "\n}\n}\n")
			if err == nil {
				t.Fatal("it was accepted")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error: %v\nwant:  %s", err, tc.want)
			}
			if strings.Contains(err.Error(), shortKey) || strings.Contains(err.Error(), caddytest.ClientSecret) {
				t.Errorf("error holds a secret: %v", err)
			}
		})
	}
}

// TestWrongJSON has settings that the Caddyfile cannot express.
func TestWrongJSON(t *testing.T) {
	app := `"apps":{"hbdev":{"client_id":"x","client_secret":"{env.HUBSPOT_CLIENT_SECRET}"}}`
	for _, tc := range []struct {
		name, json, want string
	}{
		{"unknown key", `{"app":{}}`, `unknown field "app"`},
		{"no app", `{}`, "no app is configured"},
		{"null app", `{"apps":{"hbdev":null}}`, `app "hbdev": has no settings`},
		{"null caller", `{` + app + `,"callers":{"a":null}}`, `caller "a": has no settings`},
		{"literal client secret", `{"apps":{"hbdev":{"client_id":"x","client_secret":"literal"}}}`, "client_secret: write it as a placeholder"},
		{"literal caller key", `{` + app + `,"callers":{"a":{"keys":["01234567890123456789"]}}}`, `caller "a": key 1: write it as a placeholder`},
		{"rule without a path", `{` + app + `,"callers":{"a":{"keys":["{env.CALLER_KEY}"],"allow":["GET"]}}}`, `caller "a": allow: "GET": give methods and a path`},
		{"share of too much", `{` + app + `,"callers":{"a":{"keys":["{env.CALLER_KEY}"],"share":1001}}}`, `caller "a": share: 1001 is not a number from 1 to 1000`},
		{"two apps that differ in case", `{"apps":{"a":{"client_id":"x","client_secret":"{env.HUBSPOT_CLIENT_SECRET}"},"A":{"client_id":"x","client_secret":"{env.HUBSPOT_CLIENT_SECRET}"}}}`, "names compare without regard to case"},
		{"unknown store", `{` + app + `,"store":{"type":"redis"}}`, "unknown module: hubspot.stores.redis"},
		{"store that is none", `{` + app + `,"store":{"type":"none_at_all"}}`, "is not a store of connections"},
		{"literal vault token", `{` + app + `,"store":{"type":"vault","address":"https://v","auth":{"method":"token","token":"hvs.x"}}}`, "auth: token: write it as a placeholder"},
		{"vault without a login", `{` + app + `,"store":{"type":"vault","address":"https://v"}}`, "auth: give one of"},
		{"setting of another login", `{` + app + `,"store":{"type":"vault","address":"https://v","auth":{"method":"cert","token_file":"/t"}}}`, "auth cert: token_file is a setting of token_file, kubernetes and jwt"},
		{"literal encryption key", `{` + app + `,"store":{"type":"caddy","encryption_key":"AAAA"}}`, "encryption_key: write it as a placeholder"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			caddytest.New(t)
			err := caddy.Load([]byte(`{"admin":{"disabled":true},"apps":{"hubspot":`+tc.json+`}}`), true)
			if err == nil {
				t.Fatal("it was accepted")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error: %v\nwant:  %s", err, tc.want)
			}
		})
	}
}

func init() {
	caddy.RegisterModule(noStore{})
}

// noStore is in the namespace of stores and is none.
type noStore struct{}

func (noStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "hubspot.stores.none_at_all", New: func() caddy.Module { return new(noStore) }}
}

// TestLoadTouchesNothing: checking a config makes no file and calls nobody.
func TestLoadTouchesNothing(t *testing.T) {
	h := caddytest.New(t)
	config, err := h.Adapt(caddytest.Caddyfile("", "hubspot_auth\n hubspot_proxy hbdev"))
	if err != nil {
		t.Fatal(err)
	}
	var parsed caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &parsed); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&parsed); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(h.Dir, "data", "caddy", "hubspot")); !os.IsNotExist(err) {
		t.Errorf("the key's directory: %v; want none", err)
	}
	if requests := h.Sandbox.Stats().Endpoints; len(requests) != 0 {
		t.Errorf("HubSpot was asked: %v", requests)
	}
}
