package relay

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/strictbody"
)

// tokenInfoPath is where a client asks what its access token is for, and sends
// the token in the body. For clients of the sidecar that is a caller's key,
// which HubSpot must not get, so it is answered here. HubSpot's MCP server asks
// it before anything else (@hubspot/mcp-server 0.4.0,
// dist/tools/oauth/getUserDetailsTool.js).
const tokenInfoPath = "/oauth/v2/private-apps/get/access-token-info"

// maxTokenInfoBody is the largest body of such a request in bytes.
const maxTokenInfoBody = 16 << 10

// tokenInfo is the answer, in HubSpot's words. The HubSpot user is not known
// here.
type tokenInfo struct {
	HubID  int64    `json:"hubId,omitempty"`
	AppID  int64    `json:"appId,omitempty"`
	Scopes []string `json:"scopes"`
}

// asksTokenInfo reports whether the call is for tokenInfoPath, to the letter.
// Other spellings and methods stay blocked.
func (c *Call) asksTokenInfo() bool {
	return !c.asApp && c.method == http.MethodPost && c.target == target{path: tokenInfoPath}
}

// answerTokenInfo answers from what is known of the connection. wrong is what
// is wrong with the target. The rules about methods and paths are not asked:
// nothing goes to HubSpot.
func (c *Call) answerTokenInfo(wrong error) error {
	var err error
	if c.caller, err = c.authenticateTokenInfo(); err != nil {
		return err
	}
	if wrong != nil {
		return wrong
	}
	if err := checkUpgrade(c.inbound); err != nil {
		return err
	}
	if err := checkOverrides(c.inbound.Header); err != nil {
		return err
	}
	if err := c.judgeUser(); err != nil {
		return err
	}
	if err := c.refuseFrozen(false); err != nil {
		return err
	}
	known, err := c.knownConnection()
	if err != nil {
		return c.explain(c.inbound.Context(), err)
	}
	return c.writeTokenInfo(known)
}

// authenticateTokenInfo finds the caller by the header and the body. HubSpot
// asks for no header here, so that the body will do; where there are both, they
// have to be of one caller.
func (c *Call) authenticateTokenInfo() (*access.Caller, error) {
	var caller *access.Caller
	_, hasHeader := c.inbound.Header["Authorization"]
	if hasHeader {
		var err error
		if caller, err = c.authenticate(c.inbound); err != nil {
			return nil, err
		}
	}
	key, err := c.readTokenKey()
	if err != nil {
		return nil, err
	}
	bearer := c.inbound.Clone(c.inbound.Context())
	bearer.Header.Set("Authorization", "Bearer "+key)
	asked, err := c.authenticate(bearer)
	if err != nil {
		return nil, err
	}
	if hasHeader && (caller.Name() != asked.Name() || admission.TokenID(caller) != admission.TokenID(asked)) {
		return nil, apierror.Bad(errors.New("the request is of two callers: the header Authorization and the field tokenKey have different keys; let them agree"))
	}
	return asked, nil
}

// readTokenKey reads the key in the body. No error shows any of it.
func (c *Call) readTokenKey() (string, error) {
	fields, err := strictbody.Read(c.inbound, strictbody.Options{What: "the body", Limit: maxTokenInfoBody, JSONOnly: true})
	if _, broken := errors.AsType[*strictbody.BrokenError](err); broken {
		return "", c.unreadable("the body", err)
	}
	// A second field of the name makes an error of the whole.
	for _, field := range fields {
		if field.Name != "tokenKey" {
			continue
		}
		if key, err := field.Text(); err == nil && key != "" {
			return key, nil
		}
	}
	return "", apierror.Bad(errors.New("the body has to be application/json of no more than 16 KiB, with the key of a caller in the field tokenKey"))
}

// knownConnection is the connection of the call's user, which has a token.
func (c *Call) knownConnection() (known connection.Summary, err error) {
	ctx := c.inbound.Context()
	if err := c.getToken(ctx); err != nil {
		return connection.Summary{}, err
	}
	wait := c.patience(ctx)
	defer wait.end()
	return c.relay.App.Manager.Get(wait, c.user)
}

func (c *Call) writeTokenInfo(known connection.Summary) error {
	info := tokenInfo{HubID: known.HubID, AppID: c.relay.App.Settings.AppID, Scopes: known.Scopes}
	if info.Scopes == nil {
		info.Scopes = []string{}
	}
	content, err := json.Marshal(info)
	if err != nil {
		return err
	}
	header := c.answer.Header()
	header.Set("Content-Type", "application/json;charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(content)))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set(headerProxyStatus, `caddy-hubspot; details="answered by the sidecar"`)
	header.Set(headerPortal, strconv.FormatInt(known.HubID, 10))
	c.answered = true
	c.answer.WriteHeader(http.StatusOK)
	// A client that is gone cannot be told.
	_, _ = c.answer.Write(content)
	return nil
}
