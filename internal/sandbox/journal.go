package sandbox

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox/journal"
)

// journalFiles is where the files of the journal are. HubSpot keeps them in a
// storage of others.
const journalFiles = "/_sandbox/journal-files/"

// maxJournalBatch is how many entries can be asked for at a time.
const maxJournalBatch = 100

// Scopes of the app's own token.
const (
	scopeJournalRead  = "developer.webhooks_journal.read"
	scopeJournalSubs  = "developer.webhooks_journal.subscriptions.read"
	scopeJournalWrite = "developer.webhooks_journal.subscriptions.write"
)

func (w *world) routeJournal(handle func(string, methods)) {
	get := func(h apiHandler) methods { return methods{http.MethodGet: w.appAPI(scopeJournalRead, h)} }
	for _, kind := range []string{"journal", "journal-local"} {
		prefix := "/webhooks-journal/" + kind + "/{version}"
		handle(prefix+"/earliest", get(w.journalEarliest))
		handle(prefix+"/latest", get(w.journalLatest))
		handle(prefix+"/offset/{offset}/next", get(w.journalNext))
		handle(prefix+"/batch/earliest/{count}", get(w.journalEarliest))
		handle(prefix+"/batch/latest/{count}", get(w.journalLatest))
		handle(prefix+"/batch/{offset}/next/{count}", get(w.journalNext))
		handle(prefix+"/batch/read", methods{http.MethodPost: w.appAPI(scopeJournalRead, w.journalRead)})
	}
	handle("/webhooks-journal/subscriptions/{version}", methods{
		http.MethodGet:  w.appAPI(scopeJournalSubs, w.listSubscriptions),
		http.MethodPost: w.appAPI(scopeJournalWrite, w.subscribe),
	})
	handle("/webhooks-journal/subscriptions/{version}/{id}", methods{http.MethodDelete: w.appAPI(scopeJournalWrite, w.unsubscribe)})
	handle(journalFiles+"{file}", methods{http.MethodGet: w.journalFile})
}

// appAPI is api for what takes a token of the app itself. It has no quota: none
// of HubSpot's ordinary ones counts it.
func (w *world) appAPI(scope string, h apiHandler) handler {
	return func(r *http.Request) reply {
		c := &call{Request: r, correlation: newCorrelationID()}
		if !isDated(r.PathValue("version")) {
			return notFound(c.correlation)
		}
		if refused, ok := w.authenticate(c); !ok {
			return refused
		}
		answer := w.faults.applyAPI(w, c, func() reply {
			// A customer's token has none of these scopes.
			if c.token.grant != nil || !slices.Contains(c.token.scopes, scope) {
				return missingScope(c.correlation, scope)
			}
			return h(c)
		})
		w.stats.portalStatus(c.hubID(), answer.status)
		return answer.with(headerCorrelation, c.correlation)
	}
}

// count reads how many entries a path asks for; without a count it is the path
// of one entry.
func (c *call) count() (n int, batch bool, err error) {
	text := c.PathValue("count")
	if text == "" {
		return 1, false, nil
	}
	n, err = strconv.Atoi(text)
	if err != nil || n < 1 || n > maxJournalBatch {
		return 0, true, errors.New("count must be a number from 1 to 100")
	}
	return n, true, nil
}

func (w *world) journalEarliest(c *call) reply { return w.journalAfter(c, "") }

func (w *world) journalNext(c *call) reply { return w.journalAfter(c, c.PathValue("offset")) }

func (w *world) journalAfter(c *call, offset string) reply {
	n, batch, err := c.count()
	if err != nil {
		return validationError(c.correlation, err.Error())
	}
	entries, err := w.journal.After(c.token.app.ClientID, offset, n)
	if err != nil {
		// What HubSpot answers is not documented.
		return apiError{Message: "The offset is not known.", Category: "OBJECT_NOT_FOUND"}.reply(http.StatusNotFound, c.correlation)
	}
	return c.journalReply(entries, batch, nil)
}

func (w *world) journalLatest(c *call) reply {
	n, batch, err := c.count()
	if err != nil {
		return validationError(c.correlation, err.Error())
	}
	return c.journalReply(w.journal.Latest(c.token.app.ClientID, n), batch, nil)
}

func (w *world) journalRead(c *call) reply {
	var asked struct {
		Inputs []string `json:"inputs"`
	}
	if err := json.NewDecoder(c.Body).Decode(&asked); err != nil || len(asked.Inputs) == 0 || len(asked.Inputs) > maxJournalBatch {
		return validationError(c.correlation, "inputs must be 1 to 100 offsets")
	}
	entries, missing := w.journal.Read(c.token.app.ClientID, asked.Inputs)
	return c.journalReply(entries, true, missing)
}

// journalEntry is an entry as HubSpot shows it.
type journalEntry struct {
	CurrentOffset string `json:"currentOffset"`
	ExpiresAt     string `json:"expiresAt"`
	URL           string `json:"url"`
}

type journalBatch struct {
	Status      string         `json:"status"`
	Results     []journalEntry `json:"results"`
	StartedAt   string         `json:"startedAt"`
	CompletedAt string         `json:"completedAt"`
	NumErrors   int            `json:"numErrors,omitempty"`
	Errors      []errorDetail  `json:"errors,omitempty"`
}

// journalReply shows entries: the one that was asked for, which is 204 when
// there is none, or a batch.
func (c *call) journalReply(entries []journal.Entry, batch bool, missing []string) reply {
	shown := make([]journalEntry, 0, len(entries))
	for _, e := range entries {
		shown = append(shown, journalEntry{CurrentOffset: e.Offset, ExpiresAt: instant(e.ExpiresAt), URL: c.fileLink(e)})
	}
	if !batch {
		if len(shown) == 0 {
			return reply{status: http.StatusNoContent}
		}
		return jsonReply(http.StatusOK, shown[0])
	}
	now := instant(time.Now())
	out := journalBatch{Status: "COMPLETE", Results: shown, StartedAt: now, CompletedAt: now, NumErrors: len(missing)}
	for _, offset := range missing {
		out.Errors = append(out.Errors, errorDetail{Message: "The offset is not known.", Context: map[string][]string{"offset": {offset}}})
	}
	if len(missing) > 0 {
		return jsonReply(http.StatusMultiStatus, out)
	}
	return jsonReply(http.StatusOK, out)
}

// fileLink is the pre-signed address of a file, at the origin that was asked.
func (c *call) fileLink(e journal.Entry) string {
	link := url.URL{Scheme: "http", Host: c.Host, Path: journalFiles + e.ID, RawQuery: url.Values{"X-Amz-Signature": {e.Signature}}.Encode()}
	if c.TLS != nil {
		link.Scheme = "https"
	}
	return link.String()
}

// journalFile answers as a storage with pre-signed links does, which refuses a
// token beside the signature.
func (w *world) journalFile(r *http.Request) reply {
	if r.Header.Get("Authorization") != "" {
		return reply{status: http.StatusBadRequest, body: []byte("<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>")}.
			with("Content-Type", "application/xml")
	}
	data, ok := w.journal.File(r.PathValue("file"), r.URL.Query().Get("X-Amz-Signature"))
	if !ok {
		return reply{status: http.StatusForbidden, body: []byte("<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")}.
			with("Content-Type", "application/xml")
	}
	return reply{status: http.StatusOK, body: data}.with("Content-Type", "application/json")
}

func (w *world) listSubscriptions(c *call) reply {
	type page struct {
		Results []journal.Subscription `json:"results"`
	}
	return jsonReply(http.StatusOK, page{append([]journal.Subscription{}, w.journal.Subscriptions(c.token.app.ClientID)...)})
}

func (w *world) subscribe(c *call) reply {
	var s journal.Subscription
	if err := json.NewDecoder(c.Body).Decode(&s); err != nil {
		return validationError(c.correlation, "the body is not a subscription")
	}
	if s.Type != "APP_LIFECYCLE_EVENT" || s.EventTypeID != journal.TypeInstall && s.EventTypeID != journal.TypeUninstall {
		return validationError(c.correlation, "the sandbox knows subscriptions of the type APP_LIFECYCLE_EVENT with the eventTypeId "+
			journal.TypeInstall+" or "+journal.TypeUninstall)
	}
	s.AppID = c.token.app.AppID
	return jsonReply(http.StatusCreated, w.journal.Subscribe(c.token.app.ClientID, s))
}

func (w *world) unsubscribe(c *call) reply {
	id, err := strconv.ParseInt(c.PathValue("id"), 10, 64)
	if err != nil || !w.journal.Unsubscribe(c.token.app.ClientID, id) {
		return notFound(c.correlation)
	}
	return reply{status: http.StatusNoContent}
}
