// Ollama's own translation of the Responses API (its package middleware), in front of a scripted chat model instead of
// weights: `ollama-lane PORT`. The words that it follows are those of ../chat_model.py.
package main

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/middleware"
)

var seconds = regexp.MustCompile(`Take (\d+) seconds`)

func main() {
	gin.SetMode(gin.ReleaseMode)
	routes := gin.New()
	routes.GET("/v1", func(c *gin.Context) { c.String(http.StatusOK, "Ollama is running") })
	routes.POST("/v1/responses", middleware.ResponsesMiddleware(), chat)
	if err := routes.Run("127.0.0.1:" + os.Args[1]); err != nil {
		panic(err)
	}
}

func chat(c *gin.Context) {
	var asked api.ChatRequest
	if err := c.ShouldBindJSON(&asked); err != nil {
		c.JSON(http.StatusBadRequest, gin.H{"error": err.Error()})
		return
	}
	task, told := "", []string{}
	for _, message := range asked.Messages {
		switch {
		case message.Role == "user" && task == "":
			task = message.Content
		case message.Role == "tool":
			told = append(told, message.Content)
		}
	}
	if strings.Contains(task, "Look at the gate") && len(told) == 0 {
		arguments := api.NewToolCallFunctionArguments()
		arguments.Set("gate", "open")
		call := api.ToolCall{ID: "call_1", Function: api.ToolCallFunction{Name: "look", Arguments: arguments}}
		write(c, asked, api.Message{Role: "assistant", ToolCalls: []api.ToolCall{call}}, true)
		return
	}
	if task == "" {
		task = "unknown"
	}
	if len(told) == 0 {
		told = append(told, "nothing")
	}
	words := strings.SplitAfter("The task was: "+task+" I was told: "+strings.Join(told, " "), " ")
	pause := time.Duration(0)
	if found := seconds.FindStringSubmatch(task); found != nil {
		number, _ := strconv.Atoi(found[1])
		pause = time.Duration(number) * time.Second / time.Duration(len(words))
	}
	if asked.Stream != nil && !*asked.Stream {
		time.Sleep(pause * time.Duration(len(words)))
		write(c, asked, api.Message{Role: "assistant", Content: strings.Join(words, "")}, true)
		return
	}
	for number, word := range words {
		write(c, asked, api.Message{Role: "assistant", Content: word}, number == len(words)-1)
		c.Writer.Flush()
		time.Sleep(pause)
	}
}

func write(c *gin.Context, asked api.ChatRequest, message api.Message, last bool) {
	answer := api.ChatResponse{Model: asked.Model, CreatedAt: time.Now(), Message: message, Done: last}
	if last {
		answer.DoneReason = "stop"
		answer.Metrics = api.Metrics{PromptEvalCount: 10, EvalCount: 10}
	}
	data, _ := json.Marshal(answer)
	_, _ = c.Writer.Write(data)
}
