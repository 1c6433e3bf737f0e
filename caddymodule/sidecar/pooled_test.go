package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func TestPooledValuesDoNotPrint(t *testing.T) {
	t.Parallel()
	const planted = "planted-secret"
	settings := managerSettings{App: "hbdev", Static: hubspot.Credentials{ClientID: "id", Secret: secret.New(planted)}}
	store := &pooledStore{key: pool.KeyOf("store", struct{ Token string }{planted}), name: "caddy"}
	settings.Store = store.key
	manager := &pooledManager{key: pool.KeyOf("manager", settings), credentials: hubspot.StaticCredentials(settings.Static)}
	var out bytes.Buffer
	for _, v := range []any{settings, store, manager, store.key, manager.key} {
		fmt.Fprintf(&out, "%v %+v %#v %s\n", v, v, v, v)
	}
	if strings.Contains(out.String(), planted) || strings.Contains(out.String(), fmt.Sprintf("%x", planted)) {
		t.Errorf("output holds the secret: %s", out.String())
	}
}

// TestChangedSettingChangesKey changes each setting of everything that is
// pooled: with the same key, the change would not take effect.
func TestChangedSettingChangesKey(t *testing.T) {
	t.Parallel()
	for _, settings := range []any{
		&managerSettings{Fallback: new(fallback)}, &limiterSettings{}, &journalSettings{}, &freezeSettings{Fallback: new(fallback)},
		&storeSettings{Settings: "", FromSettings: ""}, &keysAt{}, &auditSettings{},
	} {
		changed := 0
		before := pool.KeyOf("k", settings)
		eachField(reflect.ValueOf(settings).Elem(), func(field string, set, reset func()) {
			set()
			if pool.KeyOf("k", settings) == before {
				t.Errorf("%T: %s is not in the key", settings, field)
			}
			reset()
			changed++
		})
		if changed == 0 || pool.KeyOf("k", settings) != before {
			t.Errorf("%T: %d fields were changed", settings, changed)
		}
	}
}

// eachField calls change for each value in a struct, with functions that change
// it and take that back.
func eachField(v reflect.Value, change func(field string, set, reset func())) {
	for field, value := range v.Fields() {
		switch value.Interface().(type) {
		case pool.Key:
			changeTo(field.Name, value, pool.KeyOf("another", struct{}{}), change)
			continue
		case secret.Text:
			changeTo(field.Name, value, secret.New("another"), change)
			continue
		}
		switch value.Kind() {
		case reflect.Struct:
			eachField(value, change)
		case reflect.Pointer:
			eachField(value.Elem(), change)
			changeTo(field.Name, value, reflect.Zero(value.Type()).Interface(), change)
		case reflect.Bool:
			changeTo(field.Name, value, !value.Bool(), change)
		case reflect.String, reflect.Interface:
			changeTo(field.Name, value, "another", change)
		default:
			changeTo(field.Name, value, reflect.ValueOf(7).Convert(value.Type()).Interface(), change)
		}
	}
}

func changeTo(field string, value reflect.Value, other any, change func(field string, set, reset func())) {
	before := value.Interface()
	change(field, func() { value.Set(reflect.ValueOf(other)) }, func() { value.Set(reflect.ValueOf(before)) })
}

// TestStoreWithoutDocuments is a store of another author: nothing can be
// frozen, and nothing is.
func TestStoreWithoutDocuments(t *testing.T) {
	t.Parallel()
	g := &Generation{freezes: freeze.New(freeze.Config{})}
	defer g.freezes.Close()
	if err := g.freezes.Freeze(t.Context(), freeze.Freeze{}); !errors.Is(err, freeze.ErrNotKept) {
		t.Errorf("freezing = %v; want ErrNotKept", err)
	}
	desk := admission.NewDesk(admission.Config{Freezes: g.freezes})
	if err := desk.CheckFrozen(t.Context(), freeze.Call{}); err != nil {
		t.Errorf("frozen: %v", err)
	}
	if status := g.freezeStatus(); status.Count != 0 || !strings.Contains(status.Problem, "cannot keep freezes") {
		t.Errorf("status: %+v", status)
	}
}
