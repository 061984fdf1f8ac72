// The round trips of the SDK for Java: one line of JSON each. Trips URL AWAY
import dev.openfeature.sdk.Client;
import dev.openfeature.sdk.EvaluationContext;
import dev.openfeature.sdk.FlagEvaluationDetails;
import dev.openfeature.sdk.ImmutableContext;
import dev.openfeature.sdk.MutableTrackingEventDetails;
import dev.openfeature.sdk.OpenFeatureAPI;
import dev.openfeature.sdk.Structure;
import dev.openfeature.sdk.Value;
import java.time.Duration;
import java.util.Map;

class Trips {
    public static void main(String[] args) {
        var api = OpenFeatureAPI.getInstance();
        var patient = Duration.ofSeconds(10);
        api.setProviderAndWait("here", new AbsideProvider(args[0], patient));
        api.setProviderAndWait("away", new AbsideProvider(args[1], patient));
        Client here = api.getClient("here");
        EvaluationContext who =
                new ImmutableContext("u9", Map.of("session_id", new Value("s1"), "country", new Value("DE")));
        var mine = new Value(Structure.mapToStructure(Map.of("model", "default")));
        show("an object", here.getObjectDetails("pdp", mine, who));
        show("a string", here.getStringDetails("pdp-reranker", "default", who));
        show("a string, not in the experiment", here.getStringDetails("nobodys", "default", who));
        show("a boolean", here.getBooleanDetails("pdp", false, who));
        show("a flag that does not exist", here.getObjectDetails("nope", mine, who));
        show("an object without a context", here.getObjectDetails("pdp", mine));
        show("a string without a context", here.getStringDetails("pdp-reranker", "default"));
        show("a sidecar that is away", api.getClient("away").getObjectDetails("pdp", mine, who));
        var cart = new MutableTrackingEventDetails(19.9).add("itemId", "i7").add("currency", "EUR").add("shelf", "top");
        here.track("add_to_cart", new ImmutableContext("u-java"), cart);
        here.track("add_to_cart", new ImmutableContext("u-java-free"));
        api.shutdown();
        System.exit(0); // the provider's own threads would keep it for a minute
    }

    static void show(String name, FlagEvaluationDetails<?> details) {
        Object value = details.getValue();
        if (value instanceof Value one) {
            value = one.isStructure() ? one.asStructure().getValue("model").asString() : one.asObject();
        }
        String error = details.getErrorCode() == null ? "" : details.getErrorCode().name();
        System.out.printf(
                "{\"case\": \"%s\", \"value\": \"%s\", \"reason\": \"%s\", \"error\": \"%s\"}%n",
                name, value, details.getReason(), error);
    }
}
