import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import io.temporal.client.WorkflowClient;
import io.temporal.client.WorkflowClientOptions;
import io.temporal.client.WorkflowFailedException;
import io.temporal.client.WorkflowOptions;
import io.temporal.client.WorkflowStub;
import io.temporal.failure.ApplicationFailure;
import io.temporal.serviceclient.WorkflowServiceStubs;
import io.temporal.serviceclient.WorkflowServiceStubsOptions;
import java.util.Map;
import java.util.UUID;

/** Starts a run, waits for it and prints the answer. The task is the first argument. */
public class RunAgent {
  /** The fields that this program reads. Jackson refuses others unless it is told to ignore them. */
  @JsonIgnoreProperties(ignoreUnknown = true)
  public record Result(
      String status, @JsonProperty("output_text") String outputText, Usage usage, Problem error) {}

  @JsonIgnoreProperties(ignoreUnknown = true)
  public record Usage(@JsonProperty("total_tokens") long totalTokens) {}

  @JsonIgnoreProperties(ignoreUnknown = true)
  public record Problem(String message) {}

  public static void main(String[] arguments) {
    WorkflowServiceStubs service =
        WorkflowServiceStubs.newServiceStubs(
            WorkflowServiceStubsOptions.newBuilder()
                .setTarget(variable("TEMPORAL_ADDRESS", "localhost:7233"))
                .build());
    WorkflowClient client =
        WorkflowClient.newInstance(
            service,
            WorkflowClientOptions.newBuilder()
                .setNamespace(variable("TEMPORAL_NAMESPACE", "default"))
                .build());
    WorkflowStub run =
        client.newUntypedWorkflowStub(
            "AgentWorkflow",
            WorkflowOptions.newBuilder()
                .setTaskQueue(variable("AGENT_TASK_QUEUE", "agents"))
                .setWorkflowId("agent-java-" + UUID.randomUUID())
                .build());
    run.start(
        Map.of("task", arguments.length > 0 ? arguments[0] : "Say hello.", "reasoning_effort", "low"));
    System.err.println("started " + run.getExecution().getWorkflowId());

    int code = 0;
    try {
      Result result = run.getResult(Result.class);
      // completed, incomplete or cancelled: each has the text so far.
      System.err.println(result.status() + ", " + result.usage().totalTokens() + " tokens");
      System.out.println(result.outputText());
    } catch (WorkflowFailedException failed) {
      // The details of the failure are the same object, with `error` in it.
      if (!(failed.getCause() instanceof ApplicationFailure failure)) throw failed;
      System.err.println(failure.getDetails().get(0, Result.class).error().message());
      code = 1;
    }
    service.shutdownNow();
    System.exit(code);
  }

  private static String variable(String name, String otherwise) {
    String value = System.getenv(name);
    return value == null || value.isEmpty() ? otherwise : value;
  }
}
