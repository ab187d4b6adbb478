"""A small app: asks every two seconds and prints who answered. Standard library only."""

import json
import os
import time
import urllib.error
import urllib.request

URL = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
HEADERS = {
    "content-type": "application/json",
    "authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
}


def ask(number: int) -> str:
    question = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"Question {number}"}]}
    request = urllib.request.Request(URL, json.dumps(question).encode(), HEADERS)
    began = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)["choices"][0]["message"]["content"]
            status, headers = response.status, response.headers
    except urllib.error.HTTPError as error:
        answer, status, headers = error.headers.get("x-weir-advice", ""), error.code, error.headers
    except OSError as error:
        return f"{number}: no answer: {error}"
    return (
        f"{number}: {status} in {time.monotonic() - began:.2f}s by {headers.get('x-weir-upstream')}"
        f" after {headers.get('x-weir-attempts')} attempts: {answer[:60]}"
    )


number = 0
while True:
    number += 1
    print(ask(number))
    time.sleep(2)
