// redigo, Go's oldest client, and gorilla/sessions' store on top of it, from Debian's packages.
//
// Database 9 is emptied and used.
package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/boj/redistore"
	"github.com/gomodule/redigo/redis"
)

// No honest check takes longer, even on a busy machine with two cores.
const patience = 10 * time.Second

var failed bool

// check runs one check under the name of what it promises.
func check(promise string, run func() error) {
	done := make(chan error, 1)
	go func() { done <- run() }()
	err := errors.New("no answer")
	select {
	case err = <-done:
	case <-time.After(patience):
	}
	if err != nil {
		failed = true
		fmt.Printf("FAIL redigo: %s: %s\n", promise, strings.ReplaceAll(err.Error(), "\n", " | "))
		return
	}
	fmt.Printf("ok   redigo: %s\n", promise)
}

// same says what differs, or that the command failed.
func same(got interface{}, err error, wanted interface{}) error {
	if err == nil && !reflect.DeepEqual(got, wanted) {
		err = fmt.Errorf("%#v is not %#v", got, wanted)
	}
	return err
}

func first(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

func main() {
	server := os.Getenv("SERVER")
	pool := &redis.Pool{MaxIdle: 10, MaxActive: 20, Wait: true, Dial: func() (redis.Conn, error) {
		return redis.Dial("tcp", server, redis.DialDatabase(9), redis.DialReadTimeout(patience))
	}}
	c := pool.Get()
	defer c.Close()
	if _, err := c.Do("FLUSHDB"); err != nil {
		fmt.Println("FAIL redigo: the run begins:", err)
		os.Exit(1)
	}

	check("values are bytes, and live as long as their TTL says", func() error {
		binary := "\x00\r\n\xff$1\r\n"
		set, e1 := redis.String(c.Do("SET", binary, binary, "PX", 60000))
		got, e2 := redis.String(c.Do("GET", binary))
		_, none := redis.String(c.Do("GET", "nothing"))
		if none != redis.ErrNil {
			return fmt.Errorf("nothing is %v", none)
		}
		left, e3 := redis.Int(c.Do("PTTL", binary))
		counted, e4 := redis.Int64(c.Do("INCRBY", "n", 41))
		return first(same(set, e1, "OK"), same(got, e2, binary), same(left > 50000 && left <= 60000, e3, true), same(counted, e4, int64(41)))
	})

	check("hashes become structs, lists and sorted sets their kinds", func() error {
		type user struct {
			Name string `redis:"name"`
			Age  int    `redis:"age"`
		}
		var back user
		_, e1 := c.Do("HSET", redis.Args{"h"}.AddFlat(user{"zoe", 7})...)
		values, e2 := redis.Values(c.Do("HGETALL", "h"))
		e3 := redis.ScanStruct(values, &back)
		_, e4 := c.Do("ZADD", "z", 1.5, "a", 2, "b")
		scores, e5 := redis.StringMap(c.Do("ZRANGE", "z", 0, -1, "WITHSCORES"))
		_, e6 := c.Do("RPUSH", "l", 1, 2, 3)
		list, e7 := redis.Ints(c.Do("LRANGE", "l", 0, -1))
		return first(e1, e2, same(back, e3, user{"zoe", 7}), e4, same(scores, e5, map[string]string{"a": "1.5", "b": "2"}), e6, same(list, e7, []int{1, 2, 3}))
	})

	check("a pipeline's answers come in order, a refusal among them", func() error {
		for at := 0; at < 1000; at++ {
			c.Send("INCR", "many")
		}
		c.Send("LPUSH", "many", "x")
		c.Send("GET", "many")
		if err := c.Flush(); err != nil {
			return err
		}
		for at := 1; at <= 1000; at++ {
			number, err := redis.Int(c.Receive())
			if err := same(number, err, at); err != nil {
				return err
			}
		}
		_, refusal := c.Receive()
		if refusal == nil || !strings.HasPrefix(refusal.Error(), "WRONGTYPE ") {
			return fmt.Errorf("refused with %v", refusal)
		}
		last, err := redis.String(c.Receive())
		return same(last, err, "1000")
	})

	check("a transaction holds, unless what it watched has changed", func() error {
		c.Send("MULTI")
		c.Send("SET", "t", "1")
		c.Send("INCR", "t")
		done, e1 := redis.Values(c.Do("EXEC"))
		other := pool.Get()
		defer other.Close()
		_, e2 := c.Do("WATCH", "t")
		_, e3 := other.Do("SET", "t", "9")
		c.Send("MULTI")
		c.Send("SET", "t", "lost")
		lost, e4 := c.Do("EXEC")
		return first(same(done, e1, []interface{}{"OK", int64(2)}), e2, e3, same(lost, e4, nil))
	})

	check("a script is loaded when it is missing", func() error {
		script := redis.NewScript(1, fmt.Sprintf("return {redis.call('incrby', KEYS[1], ARGV[1]), 'x', false} -- %d", time.Now().UnixNano()))
		for _, wanted := range []int64{5, 10} {
			answer, err := redis.Values(script.Do(c, "script", 5))
			if err := same(answer, err, []interface{}{wanted, []byte("x"), nil}); err != nil {
				return err
			}
		}
		return nil
	})

	check("messages arrive, by channel and by pattern", func() error {
		heard := redis.PubSubConn{Conn: pool.Get()}
		defer heard.Close()
		if err := first(heard.Subscribe("redigo:a"), heard.PSubscribe("redigo:*"), heard.Ping("still")); err != nil {
			return err
		}
		var got []string
		for len(got) < 5 {
			switch said := heard.ReceiveWithTimeout(patience).(type) {
			case redis.Subscription:
				got = append(got, said.Kind)
			case redis.Pong:
				got = append(got, "pong "+said.Data)
				if _, err := c.Do("PUBLISH", "redigo:a", "hello"); err != nil {
					return err
				}
			case redis.Message:
				got = append(got, said.Pattern+" "+string(said.Data))
			case error:
				return said
			}
		}
		return same(got, nil, []string{"subscribe", "psubscribe", "pong still", " hello", "redigo:* hello"})
	})

	check("a pool serves a crowd, and who waits for a list is served", func() error {
		var crowd sync.WaitGroup
		for at := 0; at < 50; at++ {
			crowd.Add(1)
			go func() {
				defer crowd.Done()
				own := pool.Get()
				defer own.Close()
				for at := 0; at < 50; at++ {
					own.Do("INCR", "crowd")
				}
			}()
		}
		crowd.Wait()
		total, e1 := redis.Int(c.Do("GET", "crowd"))
		served := make(chan error, 1)
		go func() {
			own := pool.Get()
			defer own.Close()
			pair, err := redis.Strings(own.Do("BLPOP", "queue", 5))
			served <- same(pair, err, []string{"queue", "job"})
		}()
		_, e2 := c.Do("RPUSH", "queue", "job")
		return first(same(total, e1, 2500), e2, <-served)
	})

	check("gorilla's sessions are kept, and end with their cookie", func() error {
		kept, err := redistore.NewRediStoreWithPool(pool, []byte("only for this test, 32 bytes long"))
		if err != nil {
			return err
		}
		kept.SetMaxAge(3600)
		door := http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
			session, err := kept.Get(request, "shop")
			visits, _ := session.Values["visits"].(int)
			session.Values["visits"] = visits + 1
			if request.URL.Path == "/leave" {
				session.Options.MaxAge = -1
			}
			if err := first(err, session.Save(request, answer)); err != nil {
				http.Error(answer, err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprint(answer, visits+1)
		})
		visit := func(path, cookie string) (string, string) {
			request := httptest.NewRequest("GET", path, nil)
			request.Header.Set("Cookie", cookie)
			answer := httptest.NewRecorder()
			door.ServeHTTP(answer, request)
			return answer.Body.String(), strings.Split(answer.Header().Get("Set-Cookie"), ";")[0]
		}
		one, cookie := visit("/", "")
		two, _ := visit("/", cookie)
		other, _ := visit("/", "")
		keys, e1 := redis.Strings(c.Do("KEYS", "session_*"))
		left, e2 := redis.Int(c.Do("TTL", keys[0]))
		three, _ := visit("/leave", cookie)
		again, _ := visit("/", cookie)
		counted := []string{one, two, other, three, again}
		return first(same(len(keys), e1, 2), same(left > 3500 && left <= 3600, e2, true), same(counted, nil, []string{"1", "2", "1", "3", "1"}))
	})

	c.Do("FLUSHDB")
	fmt.Println("end")
	if failed {
		os.Exit(1)
	}
}
