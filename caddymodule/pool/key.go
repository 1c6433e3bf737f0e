package pool

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"maps"
	"math"
	"reflect"
	"slices"
	"sync"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Key names a pooled value. It can be compared and shows nothing of what it
// was made of. Make one with [KeyOf].
type Key struct {
	kind string
	sum  [sha256.Size]byte
}

// processSecret keys the sums of keys, which are made from secrets too: a key
// that shows up in a dump cannot be searched for what it was made of.
var processSecret = sync.OnceValue(func() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key)
	return key
})

// KeyOf makes the key of a kind of value from everything that shapes it: a
// struct of settings, secrets included. Two settings have the same key if all
// their fields are the same; an empty list or map is the same as none. Fields
// may be texts, numbers, flags, lists, maps, pointers, interfaces, structs,
// [secret.Text] and other Keys. Any other kind, such as a function, and an
// unexported field panic: what they are cannot be told, and a change would go
// unnoticed.
func KeyOf(kind string, settings any) Key {
	s := sum{hmac.New(sha256.New, processSecret())}
	s.value(reflect.ValueOf(settings))
	key := Key{kind: kind}
	s.mac.Sum(key.sum[:0])
	return key
}

// Kind returns what kind of value the key is of.
func (k Key) Kind() string { return k.kind }

// String tells keys of one kind apart and shows nothing else.
func (k Key) String() string { return fmt.Sprintf("%s-%x", k.kind, k.sum[:4]) }

// sum adds up settings. Everything is written with its kind and its length or
// number, so that no two settings run together.
type sum struct{ mac hash.Hash }

func (s sum) number(n uint64) { s.mac.Write(binary.BigEndian.AppendUint64(nil, n)) }

func (s sum) text(t string) {
	s.number(uint64(len(t)))
	s.mac.Write([]byte(t))
}

func (s sum) flag(set bool) {
	if set {
		s.number(1)
	} else {
		s.number(0)
	}
}

func (s sum) value(v reflect.Value) {
	s.number(uint64(v.Kind()))
	switch v.Kind() {
	case reflect.String:
		s.text(v.String())
	case reflect.Bool:
		s.flag(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		s.number(uint64(v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		s.number(v.Uint())
	case reflect.Float32, reflect.Float64:
		s.number(math.Float64bits(v.Float()))
	case reflect.Slice, reflect.Array:
		s.number(uint64(v.Len()))
		for _, item := range v.Seq2() {
			s.value(item)
		}
	case reflect.Map:
		s.mapping(v)
	case reflect.Pointer:
		s.flag(!v.IsNil())
		if !v.IsNil() {
			s.value(v.Elem())
		}
	case reflect.Interface:
		s.flag(!v.IsNil())
		if !v.IsNil() {
			s.text(v.Elem().Type().String())
			s.value(v.Elem())
		}
	case reflect.Struct:
		s.structure(v)
	default:
		panic(fmt.Sprintf("pool: a %s cannot be part of a key", v.Kind()))
	}
}

// mapping adds the entries in the order of the sums of their keys, which is
// the same for the same map.
func (s sum) mapping(v reflect.Value) {
	entries := make(map[[sha256.Size]byte]reflect.Value, v.Len())
	for name, item := range v.Seq2() {
		entries[KeyOf("", name.Interface()).sum] = item
	}
	s.number(uint64(len(entries)))
	compare := func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) }
	for _, name := range slices.SortedFunc(maps.Keys(entries), compare) {
		s.mac.Write(name[:])
		s.value(entries[name])
	}
}

func (s sum) structure(v reflect.Value) {
	switch special := v.Interface().(type) {
	case secret.Text:
		s.text(special.Reveal())
		return
	case Key:
		s.text(special.kind)
		s.mac.Write(special.sum[:])
		return
	}
	s.number(uint64(v.NumField()))
	for field, value := range v.Fields() {
		if !field.IsExported() {
			panic(fmt.Sprintf("pool: %s.%s is not exported and cannot be part of a key", v.Type(), field.Name))
		}
		s.text(field.Name)
		s.value(value)
	}
}
