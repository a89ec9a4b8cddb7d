#!/usr/bin/env bash
# A remote agent in bash, curl and jq: it counts the words of texts that a fleet elsewhere hands to it.
#   AMAS_URL=https://fleet.example AMAS_REMOTE_TOKEN=... ./agent.sh
set -meuo pipefail # m: a job is a group of processes, so that all of it can be ended
API="${AMAS_URL:-http://localhost:8000}/api/remote/sessions"
NAME="${AGENT_NAME:-words-${HOSTNAME,,}-$$}"
TOKEN="${AMAS_REMOTE_TOKEN:-}" # opens a session, and is then the session's own
SESSION=""

say() { # POST the body on stdin to a path and print the answer; saying anything twice is harmless
  curl --silent --fail-with-body --retry 8 --retry-connrefused \
    --header @<(echo "Authorization: Bearer $TOKEN") --json @- "$API$1"
}
why() { jq -er .detail <<<"${1:-null}" 2>/dev/null || echo "no answer from $API"; } # what the API said against it

beat() { # renew the lease for as long as a task is worked on; end the work when it isn't wanted any more
  while sleep "$EVERY"; do
    stop=$(jq -n --arg id "$1" '{running: [$id]}' | say "/$SESSION/renew" | jq '.stop | length') || continue
    [ "$stop" = 0 ] || end "$2"
  done
}

work() { # the task on stdin, its result on stdout: any program could stand here
  jq -r .input.text | wc -w | jq -c '{words: .}'
}

end() { # end jobs with all that they have begun
  for job; do kill -- "-$job" 2>/dev/null || true; done
}

leave() {
  end $(jobs -p)
  [ -z "$SESSION" ] || curl --silent --request DELETE --header @<(echo "Authorization: Bearer $TOKEN") "$API/$SESSION" >&2
}

OPENED=$(jq -n --arg name "$NAME" '{agents: [{name: $name, capabilities: ["text.words"]}], take_over: true}' | say "") ||
  { echo "remote.$NAME isn't let in: $(why "$OPENED")" >&2; exit 1; }
SESSION=$(jq -r .session_id <<<"$OPENED") TOKEN=$(jq -r .token <<<"$OPENED") EVERY=$(jq -r .beat_every_s <<<"$OPENED")
trap leave EXIT
trap 'exit 0' INT TERM
echo "registered as remote.$NAME" >&2

while true; do
  if ! FOUND=$(jq -n '{wait_s: 20}' | say "/$SESSION/claim"); then
    echo "the session is lost: $(why "$FOUND")" >&2
    SESSION="" && sleep 1 && exec "$0"
  fi
  TASK=$(jq -c '.tasks[0] // empty' <<<"$FOUND")
  [ -n "$TASK" ] || continue
  ID=$(jq -r .task_id <<<"$TASK")
  OUT=$(mktemp)
  work <<<"$TASK" >"$OUT" & WORKING=$!
  beat "$ID" "$WORKING" & BEATING=$!
  if wait "$WORKING"; then
    jq --argjson task "$TASK" '{attempt: $task.attempt, result: .}' "$OUT" | say "/$SESSION/tasks/$ID/complete" >&2 || true
  else
    jq '{attempt: .attempt, message: "the work failed"}' <<<"$TASK" | say "/$SESSION/tasks/$ID/fail" >&2 || true
  fi
  end "$BEATING" && rm "$OUT"
done
