package main

import (
	"slices"
	"sort"

	"github.com/anishathalye/porcupine"
)

// state is every state that the store may be in at one revision: they differ only in what may yet come to pass, because
// of requests with unknown outcomes. It is never changed, only copied.
//
// Such a request need not be tried at every place of the order: it is put where it was called, and comes to pass where
// an answer shows that it did, and not before. Those that leave their mark on revisions are no part of this: it is known
// which revision is theirs, if any.
type state struct {
	revision int64
	compact  int64       // the history before this is gone
	values   []*KeyValue // by the keys' order; nil: no such key
	leases   set

	coming      set // leases that may yet be granted
	dying       set // leases that may yet be revoked, while they have no keys
	compactions set // revisions that history may yet be compacted to
}

// store is what all states have in common: every key of the history, sorted.
type store struct {
	keys []string
}

// The names of the client's exceptions that tell of the store's state.
const (
	leaseNotFound  = "LeaseNotFound"
	leaseExists    = "LeaseExists"
	compacted      = "Compacted"
	futureRevision = "FutureRevision"
)

func model(operations []*Operation) porcupine.Model {
	s := &store{keysOf(operations)}
	return porcupine.Model{
		Init: func() any {
			return &state{revision: 1, compact: -1, values: make([]*KeyValue, len(s.keys))}
		},
		Step: func(from, input, _ any) (bool, any) {
			next := s.step(from.(*state), input.(*Operation))
			return next != nil, next
		},
		Equal: func(a, b any) bool { return a.(*state).equal(b.(*state)) },
		Hash:  func(from any) uint64 { return uint64(from.(*state).revision) },
	}
}

// step returns the state after an operation, nil if it can't have had this outcome here.
func (s *store) step(from *state, operation *Operation) *state {
	switch {
	case operation.Maybe:
		return from.mayYet(operation.Request)
	case operation.Error != "":
		return s.refuse(from, operation.Request, operation.Error)
	}
	next, answer := s.apply(from, operation.Request)
	switch {
	case next == nil:
		return nil
	case operation.Persisted != 0:
		return next.provided(from.revision < operation.Persisted && next.revision == operation.Persisted)
	}
	return next.provided(matches(operation.Request, *operation.Answer, answer))
}

// refuse returns the state after a request that was answered with this error; nil if it should have been carried out.
func (s *store) refuse(from *state, request Request, refusal string) *state {
	switch {
	case refusal == futureRevision:
		return from.provided(request.Revision > from.revision)
	case refusal == compacted && request.Op == "compact":
		return from.compactedBeyond(request.Revision)
	case refusal == compacted:
		return from.compactedBeyond(request.Revision + 1)
	case refusal == leaseExists && request.Op == "grant":
		return from.with(request.Lease)
	case refusal == leaseNotFound && request.Op == "revoke" && from.leases.has(request.Lease):
		// The client may repeat a revoke: the first try ended the lease, the second did not find it.
		return from.revoke(request.Lease)
	case refusal == leaseNotFound && request.Op == "revoke":
		return from
	case refusal == leaseNotFound:
		for _, each := range s.branch(from, request) {
			if next := from.without(each.Lease); each.Op == "put" && each.Lease != 0 && next != nil {
				return next
			}
		}
	}
	return nil
}

// apply returns the state after a request and what etcd answers; no state if it would be refused.
func (s *store) apply(from *state, request Request) (*state, Answer) {
	switch request.Op {
	case "get", "range":
		return from.readable(request.Revision), s.find(from, request)
	case "grant":
		return from.grant(request.Lease), Answer{Revision: from.revision, Lease: request.Lease}
	case "compact":
		return from.compactTo(request.Revision), Answer{}
	case "vanish":
		return s.vanish(from, request.VanishKeys), Answer{}
	case "revoke":
		next := from.revoke(request.Lease)
		if next == nil {
			return nil, Answer{}
		}
		return next, Answer{Revision: next.revision}
	}
	next, answers := s.write(from, s.branch(from, request))
	if next == nil {
		return nil, Answer{}
	}
	if request.Op != "txn" {
		answers[0].Revision = next.revision
		return next, answers[0]
	}
	return next, Answer{Revision: next.revision, Succeeded: s.succeeds(from, request), Answers: answers}
}

// branch returns what is carried out of a request: one branch of a transaction.
func (s *store) branch(from *state, request Request) []Request {
	switch {
	case request.Op != "txn":
		return []Request{request}
	case s.succeeds(from, request):
		return request.Success
	}
	return request.Failure
}

func (s *store) succeeds(from *state, request Request) bool {
	for _, compare := range request.Compare {
		if !s.holds(from, compare) {
			return false
		}
	}
	return true
}

// vanish deletes keys that must be there.
func (s *store) vanish(from *state, keys []string) *state {
	next := from.copy()
	next.revision++
	for _, key := range keys {
		if from.values[s.index(key)] == nil {
			return nil
		}
		next.values[s.index(key)] = nil
	}
	return next
}

// write carries out requests in turn; all that they change gets one new revision. What each is told is the revision at
// its turn: a read before the first change is told the old one (kvstore_txn.go, metricsTxnWrite.Rev).
func (s *store) write(from *state, requests []Request) (*state, []Answer) {
	next, revision := from.copy(), from.revision+1
	answers := make([]Answer, len(requests))
	for i, request := range requests {
		switch request.Op {
		case "put":
			if request.Lease != 0 {
				if next = next.with(request.Lease); next == nil {
					return nil, nil
				}
			}
			answers[i] = s.put(next, request, revision)
			next.revision = revision
			answers[i].Revision = revision
		case "delete":
			answers[i] = s.remove(next, request)
			if answers[i].Deleted > 0 {
				next.revision = revision
			}
			answers[i].Revision = next.revision
		default:
			answers[i] = s.find(next, request)
		}
	}
	return next, answers
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

// provided returns the state itself if a condition holds.
func (in *state) provided(condition bool) *state {
	if !condition {
		return nil
	}
	return in
}

// mayYet notes that a request may be carried out, now or later.
func (in *state) mayYet(request Request) *state {
	next := in.copy()
	switch request.Op {
	case "grant":
		next.coming = in.coming.with(request.Lease)
	case "revoke":
		next.dying = in.dying.with(request.Lease)
	case "compact":
		next.compactions = in.compactions.with(request.Revision)
	}
	return next
}

// with returns the state if a lease exists in it, or comes to exist.
func (in *state) with(lease int64) *state {
	if in.leases.has(lease) || !in.coming.has(lease) {
		return in.provided(in.leases.has(lease))
	}
	next := in.copy()
	next.leases, next.coming = in.leases.with(lease), in.coming.without(lease)
	return next
}

// without returns the state if a lease does not exist in it, or ceases to. With keys it would have left a revision.
func (in *state) without(lease int64) *state {
	if !in.leases.has(lease) {
		return in
	}
	if !in.dying.has(lease) || in.holdsKeys(lease) {
		return nil
	}
	next := in.copy()
	next.leases, next.dying = in.leases.without(lease), in.dying.without(lease)
	return next
}

func (in *state) holdsKeys(lease int64) bool {
	return slices.ContainsFunc(in.values, func(value *KeyValue) bool { return value != nil && value.Lease == lease })
}

func (in *state) grant(lease int64) *state {
	before := in.without(lease)
	if before == nil {
		return nil
	}
	next := before.copy()
	next.leases = before.leases.with(lease)
	return next
}

func (in *state) revoke(lease int64) *state {
	before := in.with(lease)
	if before == nil {
		return nil
	}
	next := before.copy()
	next.leases = before.leases.without(lease)
	for i, value := range next.values {
		if value != nil && value.Lease == lease {
			next.values[i] = nil
			next.revision = in.revision + 1
		}
	}
	return next
}

func (in *state) readable(revision int64) *state {
	return in.provided(revision <= in.revision && (revision == 0 || revision >= in.compact))
}

func (in *state) compactTo(revision int64) *state {
	if revision <= in.compact || revision > in.revision {
		return nil
	}
	next := in.copy()
	next.compact = revision
	return next
}

// compactedBeyond returns the state if history begins at revision or later, or comes to: no later than it must.
func (in *state) compactedBeyond(revision int64) *state {
	if in.compact >= revision {
		return in
	}
	for _, each := range in.compactions {
		if each >= revision {
			return in.compactTo(each)
		}
	}
	return nil
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
		slices.EqualFunc(in.values, other.values, same) && slices.Equal(in.leases, other.leases) &&
		slices.Equal(in.coming, other.coming) && slices.Equal(in.dying, other.dying) &&
		slices.Equal(in.compactions, other.compactions)
}

// set holds numbers, ascending. It is never changed, only copied.
type set []int64

func (s set) has(number int64) bool {
	_, found := slices.BinarySearch(s, number)
	return found
}

func (s set) with(number int64) set {
	at, found := slices.BinarySearch(s, number)
	if found {
		return s
	}
	return slices.Insert(slices.Clone(s), at, number)
}

func (s set) without(number int64) set {
	at, found := slices.BinarySearch(s, number)
	if !found {
		return s
	}
	return slices.Delete(slices.Clone(s), at, at+1)
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
		return request.Revision != 0 || found(request, got, want)
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
			if !matches(each, got.Answers[i], want.Answers[i]) {
				return false
			}
		}
	}
	return true
}

func found(request Request, got, want Answer) bool {
	if got.Count != nil && (*got.Count != *want.Count || got.More != want.More) {
		return false
	}
	return slices.EqualFunc(got.KVs, want.KVs, func(got, want KeyValue) bool {
		if request.KeysOnly && got.Lease == 0 {
			want.Lease = 0 // etcd 3.7 answers from its index, which knows no leases
		}
		return got == want
	})
}
