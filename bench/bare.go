// The bare Go server: what Go's own library takes for a request and an answer of the sidecar's size.
//
// net/http, encoding/json both ways, one hash of the shopper's id, two variants. Nothing is configured, checked, logged
// or shipped.
// Build: go build -o bare-go bare.go    Use: ./bare-go PORT
package main

import (
	"encoding/json"
	"hash/fnv"
	"io"
	"log"
	"net/http"
	"os"
)

type question struct {
	Placement  string            `json:"placement"`
	UserID     string            `json:"user_id"`
	SessionID  string            `json:"session_id"`
	Attributes map[string]string `json:"attributes"`
}

type unit struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

type assignment struct {
	Experiment string `json:"experiment"`
	Variant    string `json:"variant"`
	Phase      int    `json:"phase"`
}

type answer struct {
	Placement   string            `json:"placement"`
	Revision    string            `json:"revision"`
	ConfigID    string            `json:"config_id"`
	ExposureID  string            `json:"exposure_id"`
	Unit        unit              `json:"unit"`
	Config      map[string]string `json:"config"`
	Assignments []assignment      `json:"assignments"`
}

func decide(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var asked question
	if err == nil {
		err = json.Unmarshal(body, &asked)
	}
	if err != nil {
		http.Error(w, "not JSON", http.StatusBadRequest)
		return
	}
	hash := fnv.New32a()
	hash.Write([]byte("experiment|variant|" + asked.UserID))
	variant, value := "control", "v1"
	if hash.Sum32()>>31 == 1 {
		variant, value = "treatment", "v2"
	}
	decided := answer{
		asked.Placement, "9f1c2d03ab77", "7f1c2d03ab77", "c1f7a09b52d3e684-1f", unit{"user", asked.UserID},
		map[string]string{"generation": "0", "p0": value, "p1": "v1", "p2": "v1"},
		[]assignment{{"e0", variant, 1}, {"e1", "control", 1}, {"e2", "control", 1}},
	}
	written, err := json.Marshal(decided)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(written)
}

func main() {
	http.HandleFunc("/v1/assign", decide)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
