package main

import (
	"encoding/json"
	"fmt"
	"math"
)

// Operation is one call of a client, or what is left of it when its outcome was unknown.
type Operation struct {
	Call      int64   `json:"call"`
	End       int64   `json:"end"` // -1: it may have happened at any time after the call
	Request   Request `json:"request"`
	Answer    *Answer `json:"answer"`    // exactly this was answered
	Error     string  `json:"error"`     // exactly this was answered: the name of the client's exception
	Persisted int64   `json:"persisted"` // nobody knows the answer, but this revision is the operation's
	Maybe     bool    `json:"maybe"`     // nobody knows whether it happened
}

// Request is what was asked for: fields by etcd_async's names; bytes as Latin-1.
type Request struct {
	Op         string    `json:"op"` // get range put delete txn grant revoke compact; vanish
	Key        string    `json:"key"`
	RangeEnd   string    `json:"range_end"`
	Value      string    `json:"value"`
	Lease      int64     `json:"lease"`
	TTL        int64     `json:"ttl"`
	PrevKV     bool      `json:"prev_kv"`
	Limit      int       `json:"limit"`
	Revision   int64     `json:"revision"`
	KeysOnly   bool      `json:"keys_only"`
	CountOnly  bool      `json:"count_only"`
	Compare    []Compare `json:"compare"`
	Success    []Request `json:"success"`
	Failure    []Request `json:"failure"`
	VanishKeys []string  `json:"keys"` // of a vanish: one of several requests, it is not known which, deleted these
}

// Compare is a condition of a transaction: etcd's numbers for target and result.
type Compare struct {
	Key      string `json:"key"`
	RangeEnd string `json:"range_end"`
	Target   int    `json:"target"`
	Result   int    `json:"result"`
	Operand  any    `json:"operand"` // text for a value, else a number
	text     string
	number   int64
}

// The numbers of etcd's Compare.CompareTarget and CompareResult.
const (
	Version = iota
	Create
	Mod
	Value
	Lease
)
const (
	Equal = iota
	Greater
	Less
	NotEqual
)

// Answer is what came back; a revision of 0 and no count are not told.
type Answer struct {
	Revision  int64      `json:"revision"`
	KVs       []KeyValue `json:"kvs"`
	Count     *int       `json:"count"`
	More      bool       `json:"more"`
	Deleted   int        `json:"deleted"`
	PrevKVs   []KeyValue `json:"prev_kvs"`
	Succeeded bool       `json:"succeeded"`
	Answers   []Answer   `json:"answers"`
	Lease     int64      `json:"lease"`
}

// KeyValue is a key as the store holds it.
type KeyValue struct {
	Key            string `json:"key"`
	Value          string `json:"value"`
	CreateRevision int64  `json:"create_revision"`
	ModRevision    int64  `json:"mod_revision"`
	Version        int64  `json:"version"`
	Lease          int64  `json:"lease"`
}

func (o *Operation) check() error {
	if o.End < 0 {
		o.End = math.MaxInt64
	}
	outcomes := 0
	for _, is := range []bool{o.Answer != nil, o.Error != "", o.Persisted != 0, o.Maybe} {
		if is {
			outcomes++
		}
	}
	if outcomes != 1 {
		return fmt.Errorf("%d outcomes", outcomes)
	}
	if op := o.Request.Op; o.Maybe && op != "grant" && op != "revoke" && op != "compact" {
		return fmt.Errorf("a %s whose revision is not known is not modelled", op)
	}
	return o.Request.check(false)
}

func (r Request) check(inTxn bool) error {
	switch r.Op {
	case "get", "range", "put", "delete":
		if inTxn && r.Revision != 0 {
			return fmt.Errorf("a read of a revision in a txn is not modelled")
		}
	case "grant", "revoke", "compact", "vanish", "txn":
		if inTxn {
			return fmt.Errorf("%s in a txn is not modelled", r.Op)
		}
	default:
		return fmt.Errorf("%q is not modelled", r.Op)
	}
	for i := range r.Compare {
		if err := r.Compare[i].check(); err != nil {
			return err
		}
	}
	for _, branch := range [][]Request{r.Success, r.Failure} {
		for _, each := range branch {
			if err := each.check(true); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Compare) check() error {
	text, isText := c.Operand.(string)
	number, isNumber := c.Operand.(json.Number)
	if c.Target < Version || c.Target > Lease || c.Result < Equal || c.Result > NotEqual {
		return fmt.Errorf("the compare %+v is not modelled", *c)
	}
	if c.Target == Value {
		if !isText {
			return fmt.Errorf("a value is compared with %v", c.Operand)
		}
		c.text = text
		return nil
	}
	if !isNumber {
		return fmt.Errorf("a number is compared with %v", c.Operand)
	}
	var err error
	c.number, err = number.Int64()
	return err
}
