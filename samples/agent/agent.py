"""A LangGraph agent behind FastAPI: stateless, streaming where it is asked to, and without a model where it has no key."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field


class Turn(BaseModel):
    """What one side said."""

    role: Literal["user", "assistant"]
    content: str


class Question(BaseModel):
    """A message with what was said before it."""

    message: str = Field(min_length=1)
    history: list[Turn] = []


class State:
    """The graph once it is there, or why it is not."""

    graph: Any = None
    trouble: str = "starting"


state = State()


def model() -> Any:
    """The chat model of the environment; without a key one that answers by itself."""
    if os.environ.get("OPENAI_API_KEY"):
        from langchain_openai import ChatOpenAI

        if not os.environ.get("OPENAI_MODEL"):
            raise ValueError("OPENAI_MODEL is not set")
        return ChatOpenAI(model=os.environ["OPENAI_MODEL"], streaming=True)
    return mock_model()


def mock_model() -> Any:
    """A chat model that says back what it heard, word by word."""
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, AIMessageChunk
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

    class Mock(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "mock"

        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **options: Any) -> ChatResult:
            said = f"[mock] turn {len(messages)}: {messages[-1].content}"
            return ChatResult(generations=[ChatGeneration(message=AIMessage(said))])

        def _stream(
            self, messages: Any, stop: Any = None, run_manager: Any = None, **options: Any
        ) -> Iterator[ChatGenerationChunk]:
            said = self._generate(messages).generations[0].text
            for word in said.split(" "):
                yield ChatGenerationChunk(message=AIMessageChunk(word if word == "[mock]" else f" {word}"))

    return Mock()


def graph() -> Any:
    """The agent: one step that asks the model. Tools would be further steps."""
    from langgraph.graph import END, START, MessagesState, StateGraph

    chat = model()

    async def ask(said: MessagesState) -> dict[str, Any]:
        return {"messages": [await chat.ainvoke(said["messages"])]}

    steps = StateGraph(MessagesState)
    steps.add_node("ask", ask)
    steps.add_edge(START, "ask")
    steps.add_edge("ask", END)
    return steps.compile()


async def prepare() -> None:
    """Makes the graph beside the server, which answers its probes meanwhile."""
    try:
        state.graph = await asyncio.to_thread(graph)
    except Exception as error:  # whatever it is, /ready has to say it
        state.trouble = str(error)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Starts preparing when the server starts."""
    preparing = asyncio.create_task(prepare())
    yield
    preparing.cancel()


app = FastAPI(title="agent", lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    """Alive."""
    return {"status": "healthy"}


@app.get("/ready")
async def ready() -> JSONResponse:
    """Whether questions are answered."""
    if state.graph is None:
        return JSONResponse({"status": state.trouble}, status_code=503)
    return JSONResponse({"status": "ready"})


@app.post("/chat")
async def chat(question: Question, request: Request) -> Response:
    """An answer, at once or as a stream, as the client accepts it."""
    if state.graph is None:
        return JSONResponse({"error": state.trouble}, status_code=503)
    asked = {"messages": [*(turn.model_dump() for turn in question.history), ("user", question.message)]}
    if "text/event-stream" in request.headers.get("accept", ""):
        return StreamingResponse(streamed(asked), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
    answered = await state.graph.ainvoke(asked)
    return JSONResponse({"reply": answered["messages"][-1].text})


async def streamed(asked: dict[str, Any]) -> AsyncIterator[str]:
    """The answer as server-sent events: one for every piece of it, and one that closes it."""
    try:
        async for piece, _ in state.graph.astream(asked, stream_mode="messages"):
            if piece.text:
                yield event("token", {"text": piece.text})
    except Exception as error:  # the status is sent already
        yield event("error", {"error": str(error)})
        return
    yield event("done", {})


def event(name: str, data: dict[str, str]) -> str:
    """A server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
