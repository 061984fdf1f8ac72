// The round trips of the SDK for Go: one line of JSON each. trips URL AWAY
package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/open-feature/go-sdk/openfeature"
)

func show(name string, value any, details openfeature.EvaluationDetails) {
	if object, is := value.(map[string]any); is {
		value = object["model"]
	}
	line := map[string]any{"case": name, "value": value, "reason": details.Reason, "error": details.ErrorCode}
	_ = json.NewEncoder(os.Stdout).Encode(line)
}

func main() {
	ctx, patient := context.Background(), 10*time.Second
	mine := map[string]any{"model": "default"}
	who := openfeature.NewEvaluationContext("u9", map[string]any{"session_id": "s1", "country": "DE"})
	nobody := openfeature.EvaluationContext{}
	_ = openfeature.SetNamedProviderAndWait("here", NewAbside(os.Args[1], patient))
	_ = openfeature.SetNamedProviderAndWait("away", NewAbside(os.Args[2], patient))
	here, away := openfeature.NewClient("here"), openfeature.NewClient("away")

	object := func(name string, client *openfeature.Client, flag string, who openfeature.EvaluationContext) {
		details, _ := client.ObjectValueDetails(ctx, flag, mine, who)
		show(name, details.Value, details.EvaluationDetails)
	}
	text := func(name string, flag string, who openfeature.EvaluationContext) {
		details, _ := here.StringValueDetails(ctx, flag, "default", who)
		show(name, details.Value, details.EvaluationDetails)
	}
	object("an object", here, "pdp", who)
	text("a string", "pdp-reranker", who)
	text("a string, not in the experiment", "nobodys", who)
	yes, _ := here.BooleanValueDetails(ctx, "pdp", false, who)
	show("a boolean", yes.Value, yes.EvaluationDetails)
	object("a flag that does not exist", here, "nope", who)
	object("an object without a context", here, "pdp", nobody)
	text("a string without a context", "pdp-reranker", nobody)
	object("a sidecar that is away", away, "pdp", who)

	cart := openfeature.NewTrackingEventDetails(19.9).Add("itemId", "i7").Add("currency", "EUR").Add("shelf", "top")
	here.Track(ctx, "add_to_cart", openfeature.NewEvaluationContext("u-go", nil), cart)
	here.Track(ctx, "add_to_cart", openfeature.NewEvaluationContext("u-go-free", nil), openfeature.TrackingEventDetails{})
}
