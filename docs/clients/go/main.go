// Starts a run, waits for it and prints the answer. The task is the first argument.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

// Input has the fields that this program sets; the others have defaults.
type Input struct {
	Task            string `json:"task"`
	ReasoningEffort string `json:"reasoning_effort,omitempty"`
}

// Result has the fields that this program reads. Go ignores the others.
type Result struct {
	Status     string `json:"status"`
	OutputText string `json:"output_text"`
	Usage      struct {
		TotalTokens int `json:"total_tokens"`
	} `json:"usage"`
	Error *struct {
		Message string `json:"message"`
	} `json:"error"`
}

func main() {
	log.SetFlags(0)
	task := "Say hello."
	if len(os.Args) > 1 {
		task = os.Args[1]
	}
	temporalClient, err := client.Dial(client.Options{
		HostPort:  or(os.Getenv("TEMPORAL_ADDRESS"), client.DefaultHostPort),
		Namespace: or(os.Getenv("TEMPORAL_NAMESPACE"), client.DefaultNamespace),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer temporalClient.Close()

	run, err := temporalClient.ExecuteWorkflow(context.Background(), client.StartWorkflowOptions{
		ID:        fmt.Sprintf("agent-go-%d", time.Now().UnixNano()),
		TaskQueue: or(os.Getenv("AGENT_TASK_QUEUE"), "agents"),
	}, "AgentWorkflow", Input{Task: task, ReasoningEffort: "low"})
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("started %s", run.GetID())

	var result Result
	var failure *temporal.ApplicationError
	if err := run.Get(context.Background(), &result); errors.As(err, &failure) && failure.HasDetails() {
		// The details of the failure are the same object, with Error in it.
		if err := failure.Details(&result); err != nil {
			log.Fatal(err)
		}
		log.Fatal(result.Error.Message)
	} else if err != nil {
		log.Fatal(err)
	}
	// completed, incomplete or cancelled: each has the text so far.
	log.Printf("%s, %d tokens", result.Status, result.Usage.TotalTokens)
	fmt.Println(result.OutputText)
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
