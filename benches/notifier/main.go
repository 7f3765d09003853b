// Relays a double's webhooks through the notifier of the real livekit-server, and says what became of them.
//
//	notifier URL    prints the port that it listens on
//
// POST /webhook takes one event, unsigned; POST /quiet answers at once, as a receiver to compare with;
// GET / says what became of all events once none is under way, and starts anew.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/webhook"
	"google.golang.org/protobuf/encoding/protojson"
)

// The key and secret that every LiveKit in quell's tests has.
const (
	key    = "devkey"
	secret = "secret-that-is-long-enough-for-livekit-0123"
)

type figures struct {
	Queued   int            `json:"queued"`
	Accepted int            `json:"accepted"`
	Dropped  int            `json:"dropped"`
	Failed   map[string]int `json:"failed"`
	// In ms, ascending.
	Sending []float64 `json:"sending"`
	Waiting []float64 `json:"waiting"`
}

type relay struct {
	notifier *webhook.ResourceURLNotifier
	mutex    sync.Mutex
	figures  figures
}

func (r *relay) processed(_ context.Context, info *livekit.WebhookInfo) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	switch {
	case info.IsDropped:
		r.figures.Dropped++
	case info.SendError != "":
		r.figures.Failed[info.SendError]++
	default:
		r.figures.Accepted++
		r.figures.Sending = append(r.figures.Sending, float64(info.SendDurationNs)/1e6)
		r.figures.Waiting = append(r.figures.Waiting, float64(info.QueueDurationNs)/1e6)
	}
}

func (r *relay) take(answer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	event := &livekit.WebhookEvent{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, event); err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	r.mutex.Lock()
	r.figures.Queued++
	r.mutex.Unlock()
	// A full queue is told to the hook.
	_ = r.notifier.QueueNotify(context.Background(), event)
}

func (r *relay) tell(answer http.ResponseWriter, _ *http.Request) {
	for {
		r.mutex.Lock()
		told := r.figures
		failed := 0
		for _, count := range told.Failed {
			failed += count
		}
		if told.Accepted+told.Dropped+failed == told.Queued {
			r.figures = figures{Failed: map[string]int{}}
			r.mutex.Unlock()
			slices.Sort(told.Sending)
			slices.Sort(told.Waiting)
			_ = json.NewEncoder(answer).Encode(told)
			return
		}
		r.mutex.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: notifier URL")
	}
	webhook.InitWebhookStats(nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	url := os.Args[1]
	if url == "quiet" {
		url = fmt.Sprintf("http://%s/quiet", listener.Addr())
	}
	relay := &relay{figures: figures{Failed: map[string]int{}}}
	relay.notifier = webhook.NewResourceURLNotifier(webhook.ResourceURLNotifierParams{URL: url, APIKey: key, APISecret: secret})
	relay.notifier.RegisterProcessedHook(relay.processed)
	http.HandleFunc("POST /webhook", relay.take)
	http.HandleFunc("POST /quiet", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("GET /{$}", relay.tell)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.Serve(listener, nil))
}
