package main

import (
	"slices"
	"sort"

	"github.com/anishathalye/porcupine"
)

// state is the store at one revision. It is never changed, only copied.
type state struct {
	revision int64
	compact  int64       // the history before this is gone
	values   []*KeyValue // by the keys' order; nil: no such key
	leases   []int64     // sorted
}

// store is what all states have in common: every key of the history, sorted.
type store struct {
	keys []string
}

// The names of the client's exceptions that the model can foresee.
const (
	leaseNotFound  = "LeaseNotFound"
	leaseExists    = "LeaseExists"
	compacted      = "Compacted"
	futureRevision = "FutureRevision"
)

// model is etcd, as a set of the states that it may be in.
func model(operations []*Operation) porcupine.Model {
	s := &store{keysOf(operations)}
	m := porcupine.NondeterministicModel{
		Init: func() []any {
			return []any{&state{revision: 1, compact: -1, values: make([]*KeyValue, len(s.keys))}}
		},
		Step: func(from, input, _ any) []any {
			return s.step(from.(*state), input.(*Operation))
		},
		Equal: func(a, b any) bool { return a.(*state).equal(b.(*state)) },
		Hash:  func(from any) uint64 { return uint64(from.(*state).revision) },
	}
	return m.ToModel()
}

// step returns the states that an operation with this outcome may lead to.
func (s *store) step(from *state, operation *Operation) []any {
	next, answer, err := s.apply(from, operation.Request)
	switch {
	case operation.Persisted != 0:
		return only(next, err == "" && from.revision < operation.Persisted && next.revision == operation.Persisted)
	case operation.Maybe && err == "" && !next.equal(from):
		return []any{from, next}
	case operation.Maybe:
		return []any{from}
	case operation.Error == leaseNotFound && operation.Request.Op == "revoke":
		// The client may repeat a revoke: the first try ended the lease, the second did not find it.
		return only(next, err == "" || err == leaseNotFound)
	case operation.Error != "":
		return only(from, err == operation.Error)
	}
	return only(next, err == "" && matches(operation.Request, *operation.Answer, answer))
}

func only(next *state, is bool) []any {
	if !is {
		return nil
	}
	return []any{next}
}

// apply returns the state after a request and what etcd answers. After an error the state is the same.
func (s *store) apply(from *state, request Request) (*state, Answer, string) {
	switch request.Op {
	case "get", "range":
		return from, s.find(from, request), from.readable(request.Revision)
	case "txn":
		return s.txn(from, request)
	case "grant":
		return from.grant(request.Lease)
	case "revoke":
		return from.revoke(request.Lease)
	case "compact":
		return from.compactTo(request.Revision)
	case "vanish":
		return s.vanish(from, request.VanishKeys)
	}
	next, answers, err := s.write(from, []Request{request})
	if err != "" {
		return from, Answer{}, err
	}
	answers[0].Revision = next.revision
	return next, answers[0], ""
}

func (s *store) txn(from *state, request Request) (*state, Answer, string) {
	branch, succeeded := request.Success, true
	for _, compare := range request.Compare {
		succeeded = succeeded && s.holds(from, compare)
	}
	if !succeeded {
		branch = request.Failure
	}
	next, answers, err := s.write(from, branch)
	if err != "" {
		return from, Answer{}, err
	}
	return next, Answer{Revision: next.revision, Succeeded: succeeded, Answers: answers}, ""
}

// vanish deletes keys that must be there.
func (s *store) vanish(from *state, keys []string) (*state, Answer, string) {
	next := from.copy()
	next.revision++
	for _, key := range keys {
		if from.values[s.index(key)] == nil {
			return from, Answer{}, "KeyNotFound"
		}
		next.values[s.index(key)] = nil
	}
	return next, Answer{Revision: next.revision}, ""
}

// write does requests in turn; all that they change gets one new revision.
func (s *store) write(from *state, requests []Request) (*state, []Answer, string) {
	next, revision := from.copy(), from.revision+1
	answers := make([]Answer, len(requests))
	for i, request := range requests {
		switch request.Op {
		case "put":
			if request.Lease != 0 && !next.hasLease(request.Lease) {
				return from, nil, leaseNotFound
			}
			answers[i] = s.put(next, request, revision)
			next.revision = revision
		case "delete":
			answers[i] = s.remove(next, request)
			if answers[i].Deleted > 0 {
				next.revision = revision
			}
		default:
			answers[i] = s.find(next, request)
		}
	}
	return next, answers, ""
}

func (s *store) put(in *state, request Request, revision int64) Answer {
	at := s.index(request.Key)
	before := in.values[at]
	after := KeyValue{request.Key, request.Value, revision, revision, 1, request.Lease}
	var answer Answer
	if before != nil {
		after.CreateRevision, after.Version = before.CreateRevision, before.Version+1
		if request.PrevKV {
			answer.PrevKVs = []KeyValue{*before}
		}
	}
	in.values[at] = &after
	return answer
}

func (s *store) remove(in *state, request Request) Answer {
	var answer Answer
	first, last := s.between(request.Key, request.RangeEnd)
	for at := first; at < last; at++ {
		if before := in.values[at]; before != nil {
			in.values[at] = nil
			answer.Deleted++
			if request.PrevKV {
				answer.PrevKVs = append(answer.PrevKVs, *before)
			}
		}
	}
	return answer
}

// find answers a read; what it found is of no meaning if it was of another revision.
func (s *store) find(in *state, request Request) Answer {
	count := 0
	answer := Answer{Revision: in.revision, Count: &count}
	first, last := s.between(request.Key, request.RangeEnd)
	for _, value := range in.values[first:last] {
		if value == nil {
			continue
		}
		count++
		if request.CountOnly {
			continue
		}
		if request.Limit > 0 && len(answer.KVs) == request.Limit {
			answer.More = true
			continue
		}
		found := *value
		if request.KeysOnly {
			found.Value = ""
		}
		answer.KVs = append(answer.KVs, found)
	}
	return answer
}

// holds tells whether a condition is met by every key of its range, or by the absence of all.
func (s *store) holds(in *state, compare Compare) bool {
	first, last := s.between(compare.Key, compare.RangeEnd)
	found := false
	for _, value := range in.values[first:last] {
		if value != nil {
			found = true
			if !compare.holds(*value) {
				return false
			}
		}
	}
	// The value of what is not there equals nothing, not even the empty one (etcd server, txn.applyCompare).
	return found || compare.Target != Value && compare.holds(KeyValue{})
}

func (c Compare) holds(value KeyValue) bool {
	order := 0
	if c.Target == Value {
		order = sign(value.Value < c.text, value.Value > c.text)
	} else {
		actual := map[int]int64{
			Version: value.Version, Create: value.CreateRevision, Mod: value.ModRevision, Lease: value.Lease,
		}[c.Target]
		order = sign(actual < c.number, actual > c.number)
	}
	switch c.Result {
	case Equal:
		return order == 0
	case Greater:
		return order > 0
	case Less:
		return order < 0
	}
	return order != 0
}

func sign(less, greater bool) int {
	if less {
		return -1
	}
	if greater {
		return 1
	}
	return 0
}

func (in *state) readable(revision int64) string {
	if revision > in.revision {
		return futureRevision
	}
	if revision != 0 && revision < in.compact {
		return compacted
	}
	return ""
}

func (in *state) grant(lease int64) (*state, Answer, string) {
	at, found := slices.BinarySearch(in.leases, lease)
	if found {
		return in, Answer{}, leaseExists
	}
	next := in.copy()
	next.leases = slices.Insert(slices.Clone(in.leases), at, lease)
	return next, Answer{Revision: in.revision, Lease: lease}, ""
}

func (in *state) revoke(lease int64) (*state, Answer, string) {
	at, found := slices.BinarySearch(in.leases, lease)
	if !found {
		return in, Answer{}, leaseNotFound
	}
	next := in.copy()
	next.leases = slices.Delete(slices.Clone(in.leases), at, at+1)
	for i, value := range next.values {
		if value != nil && value.Lease == lease {
			next.values[i] = nil
			next.revision = in.revision + 1
		}
	}
	return next, Answer{Revision: next.revision}, ""
}

func (in *state) compactTo(revision int64) (*state, Answer, string) {
	if revision <= in.compact {
		return in, Answer{}, compacted
	}
	if revision > in.revision {
		return in, Answer{}, futureRevision
	}
	next := in.copy()
	next.compact = revision
	return next, Answer{Revision: in.revision}, ""
}

func (in *state) hasLease(lease int64) bool {
	_, found := slices.BinarySearch(in.leases, lease)
	return found
}

func (in *state) copy() *state {
	next := *in
	next.values = slices.Clone(in.values)
	return &next
}

func (in *state) equal(other *state) bool {
	if in == other {
		return true
	}
	same := func(a, b *KeyValue) bool { return a == b || a != nil && b != nil && *a == *b }
	return in.revision == other.revision && in.compact == other.compact &&
		slices.EqualFunc(in.values, other.values, same) && slices.Equal(in.leases, other.leases)
}

func (s *store) index(key string) int {
	return sort.SearchStrings(s.keys, key)
}

// between returns where a range begins, and where it has ended.
func (s *store) between(key, end string) (int, int) {
	first := s.index(key)
	switch {
	case end == "" && first < len(s.keys) && s.keys[first] == key:
		return first, first + 1
	case end == "":
		return first, first
	case end == "\x00":
		return first, len(s.keys)
	}
	return first, max(first, s.index(end))
}

func keysOf(operations []*Operation) []string {
	found := map[string]bool{}
	var add func(request Request)
	add = func(request Request) {
		if request.Op == "put" {
			found[request.Key] = true
		}
		for _, key := range request.VanishKeys {
			found[key] = true
		}
		for _, branch := range [][]Request{request.Success, request.Failure} {
			for _, each := range branch {
				add(each)
			}
		}
	}
	for _, operation := range operations {
		add(operation.Request)
	}
	keys := make([]string, 0, len(found))
	for key := range found {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

// matches tells whether the model answers as etcd did, as far as the client told.
func matches(request Request, got, want Answer) bool {
	if request.Op == "compact" {
		return true // which does not wait for what was written before, whatever its header says
	}
	if got.Revision != 0 && got.Revision != want.Revision {
		return false
	}
	switch request.Op {
	case "get", "range":
		return request.Revision != 0 || found(got, want)
	case "put", "delete":
		return got.Deleted == want.Deleted && slices.Equal(got.PrevKVs, want.PrevKVs)
	case "grant":
		return got.Lease == want.Lease
	case "txn":
		branch := request.Failure
		if want.Succeeded {
			branch = request.Success
		}
		if got.Succeeded != want.Succeeded || len(got.Answers) != len(want.Answers) {
			return false
		}
		for i, each := range branch {
			// Whatever is told inside a transaction is of the transaction's revision.
			want.Answers[i].Revision = want.Revision
			if !matches(each, got.Answers[i], want.Answers[i]) {
				return false
			}
		}
	}
	return true
}

func found(got, want Answer) bool {
	if got.Count != nil && (*got.Count != *want.Count || got.More != want.More) {
		return false
	}
	return slices.Equal(got.KVs, want.KVs)
}
