package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"
	"go.etcd.io/etcd/client/v3/mirror"
)

// actions are what can be done with a recipe, by name; each is given an argument and returns what there is to tell.
type actions map[string]func(argument string) (string, error)

var recipes = map[string]func(session *concurrency.Session, name string, count int) actions{
	"mutex":          mutex,
	"election":       election,
	"rwmutex":        rwmutex,
	"barrier":        barrier,
	"double_barrier": doubleBarrier,
	"stm":            stm,
	"mirror":         syncer,
}

var (
	ctx      = context.Background()
	errEnded = errors.New("it has ended")
)

func mutex(session *concurrency.Session, name string, _ int) actions {
	lock := concurrency.NewMutex(session, name)
	return actions{
		"lock":     quiet(func() error { return lock.Lock(ctx) }),
		"try_lock": quiet(func() error { return lock.TryLock(ctx) }),
		"unlock":   quiet(func() error { return lock.Unlock(ctx) }),
	}
}

func election(session *concurrency.Session, name string, _ int) actions {
	candidate := concurrency.NewElection(session, name)
	var terms <-chan clientv3.GetResponse
	return actions{
		"campaign": func(value string) (string, error) { return "", candidate.Campaign(ctx, value) },
		"proclaim": func(value string) (string, error) { return "", candidate.Proclaim(ctx, value) },
		"resign":   quiet(func() error { return candidate.Resign(ctx) }),
		"leader": func(string) (string, error) {
			found, err := candidate.Leader(ctx)
			if err != nil {
				return "", err
			}
			return string(found.Kvs[0].Value), nil
		},
		"observe": func(string) (string, error) {
			if terms == nil {
				terms = candidate.Observe(ctx)
			}
			term, ok := <-terms
			if !ok {
				return "", errEnded
			}
			return string(term.Kvs[0].Value), nil
		},
	}
}

func rwmutex(session *concurrency.Session, name string, _ int) actions {
	lock := recipe.NewRWMutex(session, name)
	return actions{
		"read":        quiet(lock.RLock),
		"end_reading": quiet(lock.RUnlock),
		"write":       quiet(lock.Lock),
		"end_writing": quiet(lock.Unlock),
	}
}

func barrier(session *concurrency.Session, name string, _ int) actions {
	gate := recipe.NewBarrier(session.Client(), name)
	return actions{"hold": quiet(gate.Hold), "release": quiet(gate.Release), "wait": quiet(gate.Wait)}
}

func doubleBarrier(session *concurrency.Session, name string, count int) actions {
	gate := recipe.NewDoubleBarrier(session, name, count)
	return actions{"enter": quiet(gate.Enter), "leave": quiet(gate.Leave)}
}

func stm(session *concurrency.Session, name string, _ int) actions {
	increment := func(tx concurrency.STM) error {
		number, err := strconv.Atoi(tx.Get(name))
		tx.Put(name, strconv.Itoa(number+1))
		return err
	}
	return actions{"increment": func(times string) (string, error) {
		left, err := strconv.Atoi(times)
		for ; err == nil && left > 0; left-- {
			_, err = concurrency.NewSTM(session.Client(), increment)
		}
		return "", err
	}}
}

func syncer(session *concurrency.Session, name string, _ int) actions {
	source := mirror.NewSyncer(session.Client(), name, 0)
	var updates clientv3.WatchChan
	var ahead []*clientv3.Event
	return actions{
		"base": func(string) (string, error) {
			told := ""
			pages, failures := source.SyncBase(ctx)
			for page := range pages {
				for _, kv := range page.Kvs {
					told += fmt.Sprintf("%s=%s ", kv.Key, kv.Value)
				}
			}
			err := <-failures
			updates = source.SyncUpdates(ctx)
			return told, err
		},
		"update": func(string) (string, error) {
			for len(ahead) == 0 {
				update, ok := <-updates
				if !ok {
					return "", errEnded
				}
				ahead = update.Events
			}
			event := ahead[0]
			ahead = ahead[1:]
			return fmt.Sprintf("%s %s=%s", event.Type, event.Kv.Key, event.Kv.Value), nil
		},
	}
}

// quiet is an action without an argument, of which there is nothing to tell.
func quiet(action func() error) func(string) (string, error) {
	return func(string) (string, error) { return "", action() }
}
