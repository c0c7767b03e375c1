// Rows a second: see clients/bench.py.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"runtime"
	"time"

	binpulse "binpulse/client"
	pb "binpulse/client/binpulsev1"
)

// rate is the rows a second of what takes a batch of rows.
func rate(work func() int) float64 {
	work()
	started, count := time.Now(), 0
	for time.Since(started) < 2*time.Second {
		count += work()
	}
	return float64(count) / time.Since(started).Seconds()
}

func decoded(body string) int {
	content, err := binpulse.Decode(body)
	if err != nil {
		log.Fatal(err)
	}
	count := 0
	for row := range binpulse.Rows(content.(*pb.ChangeBatch)) {
		present := 0
		for _, image := range []binpulse.Image{row.Before, row.After} {
			for _, value := range image {
				if value != nil {
					present++
				}
			}
		}
		if present > 0 {
			count++
		}
	}
	return count
}

func main() {
	runtime.GOMAXPROCS(1)
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var messages struct {
		Frame, Zstd, JSON string
		Debezium          []string
	}
	if err := json.Unmarshal(text, &messages); err != nil {
		log.Fatal(err)
	}
	rates := map[string]float64{
		"frame": rate(func() int { return decoded(messages.Frame) }),
		"zstd":  rate(func() int { return decoded(messages.Zstd) }),
		"json":  rate(func() int { return decoded(messages.JSON) }),
		"debezium": rate(func() int {
			for _, document := range messages.Debezium {
				var parsed map[string]any
				if err := json.Unmarshal([]byte(document), &parsed); err != nil {
					log.Fatal(err)
				}
			}
			return len(messages.Debezium)
		}),
	}
	shown, _ := json.Marshal(rates)
	fmt.Println(string(shown))
}
