"""Every Redis key, one function each, with its lifetime. The Lua scripts get the same functions (`lua_prelude`).

Short names, because each of these keys is kept a million times. No id in a key comes from outside as it stands: ids are ours,
and what Zoho or a user says (record ids, handler ids) may hold any character but is never parsed back out of a key.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

RQ = "rq"
"""RQ's own prefix; the test of the slips compares it with RQ's."""


def delivery(delivery_id: str) -> str:
    """String: one delivery, what it is and its body. Lives as long as the last of its events; a rejected one for the retention's days."""
    return f"zh:d:{delivery_id}"


def verdict(delivery_id: str) -> str:
    """Hash `verdict`, `same`, `sealed`, `forward`, `forgotten` of one delivery that was not just accepted. Lives as long as the delivery."""
    return f"zh:dv:{delivery_id}"


def deliveries(verdict: str) -> str:
    """Sorted set of at most 5,000 deliveries with a verdict other than accepted, by time received. Retention trims it."""
    return f"zh:ds:{verdict}"


def event(event_id: str) -> str:
    """Hash of how far one event is: `seq`, `state`, `run`, `delivery` (which tells what it is), `@HANDLER` for each of its jobs.
    Kept for the retention's days. Its values are short, for beyond 64 bytes a hash takes four times the room.
    """
    return f"zh:e:{event_id}"


def fact(event_id: str) -> str:
    """String: what one event is and says, where its delivery does not tell. Lives as long as the event."""
    return f"zh:f:{event_id}"


def events() -> str:
    """Sorted set of all events by time received. Retention trims it."""
    return "zh:es"


def events_of_type(event_type: str) -> str:
    """Sorted set of the events of one type by time received. Retention trims it."""
    return f"zh:es:t:{event_type}"


def events_of_source(source: str) -> str:
    """Sorted set of the events of one source by time received. Retention trims it."""
    return f"zh:es:s:{source}"


def events_of_record(record: str) -> str:
    """Sorted set of the events of one record by ledger sequence, which is the order they were accepted in. Retention trims it."""
    return f"zh:es:r:{record}"


def events_in_state(state: str) -> str:
    """Sorted set of events that are `unmatched` or `dead`, by time received. Retention trims it."""
    return f"zh:es:x:{state}"


def types() -> str:
    """Set of the event types ever seen, for the dashboard's filter. Small; kept."""
    return "zh:types"


def unrouted() -> str:
    """Sorted set of the events that are not routed yet, by ledger sequence: an order waits for the earlier ones. Kept till routed."""
    return "zh:unrouted"


def unrouted_of(source: str) -> str:
    """Sorted set of those of one source, for an order of a handler that wants events of named sources only. Kept till routed."""
    return f"zh:unrouted:{source}"


def order(key: str) -> str:
    """Sorted set of the unfinished jobs of one key of one handler, by ledger sequence. Empty when all are finished."""
    return f"zh:o:{key}"


def order_busy(key: str) -> str:
    """String: the job of one key that runs. Until it ends, whoever ends it."""
    return f"zh:o:{key}:busy"


def order_queue(key: str) -> str:
    """Sorted set of the jobs of one key that are not in its order any more and wait for their turn: live ones by sequence, then replays.
    Empty when none waits.
    """
    return f"zh:o:{key}:queue"


def orders() -> str:
    """Set of the orders that have jobs, for the recheck of the sweep. Kept while they have."""
    return "zh:o"


def latest(key: str) -> str:
    """Sorted set of the waiting jobs of one key of one handler, by ledger sequence, for superseding. Empty when none waits."""
    return f"zh:l:{key}"


def latest_opened(key: str) -> str:
    """String `SEQ EVENT`: the newest event of one key of one handler. Kept while one of its jobs is open or an older event may still be
    routed, for seven days at most.
    """
    return f"zh:l:{key}:opened"


def latest_since(key: str) -> str:
    """String: since when a debounced key waits, in milliseconds. Kept for its longest wait, or until one of its jobs starts."""
    return f"zh:l:{key}:since"


def limit(key: str) -> str:
    """Sorted set of the runs that a limit counts, by the end of their leases. Dropped when that is past."""
    return f"zh:c:{key}"


def limit_queue(key: str) -> str:
    """Sorted set of the jobs that wait for a place under a limit, by since when. Kept till it has one."""
    return f"zh:c:{key}:queue"


def limits() -> str:
    """Set of the limits for which jobs wait, for the recheck of the sweep. Kept while they do."""
    return "zh:c"


def batch(key: str, lane: str) -> str:
    """Sorted set of the jobs that a batch of one key and lane may take along, by from when. Two days: losing it costs company only."""
    return f"zh:b:{key}:{lane}"


def batch_leads(key: str, lane: str) -> str:
    """Counter: how many jobs of a batch were just claimed and are about to take others along. Lives for a second."""
    return f"zh:bl:{key}:{lane}"


def rate(key: str) -> str:
    """List of the last starts under a rate, newest first, in milliseconds, as many as it allows. Lives for its window."""
    return f"zh:rs:{key}"


def rate_promised(key: str, lane: str) -> str:
    """String: the last start that was promised to who waits under a rate, in milliseconds; replays have their own. Until it is past."""
    return f"zh:rn:{key}:{lane}"


def steps(job_id: str) -> str:
    """Hash of the steps of one job that were begun or done, JSON. Lives as long as the job."""
    return f"zh:s:{job_id}"


def paused() -> str:
    """Set of what is paused: `handler:ID`, `queue:NAME`, `source:NAME`. Kept until resumed."""
    return "zh:paused"


def emitted(key: str) -> str:
    """String: the event that waits under a key of the user's own, until it is routed, replaced or cancelled. Kept a year."""
    return f"zh:k:{key}"


def replay(replay_id: str) -> str:
    """Hash: the record of one replay: its mode, filter, rate, state and counts. 30 days."""
    return f"zh:rp:{replay_id}"


def replay_jobs(replay_id: str) -> str:
    """List of the jobs of a replay that are not given to the workers yet, oldest first. 30 days, or until none is left."""
    return f"zh:rp:{replay_id}:jobs"


def replays() -> str:
    """Sorted set of the last 200 replays by time."""
    return "zh:rp"


def replays_running() -> str:
    """Set of the replays that still have jobs to give. Empty when none has."""
    return "zh:rp:running"


def backfill(wish: str) -> str:
    """String: the backfill that was begun last with these arguments, a replay's id. 30 days."""
    return f"zh:bf:{wish}"


def mark(dedupe: str) -> str:
    """String: the event that a fact became. 7 days for native identities, 60 seconds where only bytes can be compared."""
    return f"zh:m:{dedupe}"


def sequence() -> str:
    """Counter: the ledger's sequence, one per event. Kept: a gap in it after a failover is a loss."""
    return "zh:seq"


def epoch() -> str:
    """String: the random name of this ledger, made once. Kept: gone or another where Redis was emptied or exchanged."""
    return "zh:epoch"


def breaks() -> str:
    """Hash of the times when the ledger was found emptied, exchanged or behind what it had said, JSON. At most 1,000; kept."""
    return "zh:breaks"


def job(job_id: str) -> str:
    """Hash of one job (`EVENT:HANDLER`): `state`, `run`, `tries`, ... Lives as long as its event."""
    return f"zh:j:{job_id}"


def jobs_in_state(state: str) -> str:
    """Sorted set of the jobs in a state other than done, by the time they came into it. Retention trims it."""
    return f"zh:js:x:{state}"


def jobs_of_handler(handler: str, state: str) -> str:
    """Sorted set of the jobs of one handler in a state other than done, by the time they came into it. Retention trims it."""
    return f"zh:js:h:{handler}:{state}"


def attempts(job_id: str) -> str:
    """List of the attempts of one job, oldest first, JSON; all but one that was just done, which the job's own fields tell.
    Lives as long as the job.
    """
    return f"zh:a:{job_id}"


def due() -> str:
    """Sorted set `e:EVENT` and `j:JOB` by when they must be looked at: their due time, or the end of their lease."""
    return "zh:due"


def slips(queue: str) -> str:
    """Hash: source -> how many of its slips wait in an RQ queue. Kept; put right by the sweep where RQ's list says otherwise."""
    return f"zh:slips:{queue}"


def waiting(queue: str, source: str) -> str:
    """Sorted set `n:EVENT` (as accepted), `e:EVENT` and `j:JOB` that are due and wait for room for a slip in a queue, by since when. Kept till they have one."""
    return f"zh:waiting:{source}:{queue}"


def waits() -> str:
    """Set `SOURCE QUEUE` of where anything waits for room. Kept while it does."""
    return "zh:waiting"


def asides() -> str:
    """Set of the RQ queues `QUEUE/HANDLER` of what waits until its handler may have another thread. Kept while one has slips."""
    return "zh:asides"


def parked(reason: str) -> str:
    """Set of the due members that cannot run until what the reason names ends. Kept till then."""
    return f"zh:parked:{reason}"


def parked_reasons() -> str:
    """Set of the reasons for which anything is parked. Kept while it is."""
    return "zh:parked"


def counts() -> str:
    """Hash of the totals since the ledger began. Kept."""
    return "zh:n"


def counts_in(minute: int | str) -> str:
    """Hash of the counts within one minute (minutes since 1970). Two days."""
    return f"zh:n:{minute}"


def latencies() -> str:
    """List of the last 1,000 times from webhook in to handler done, in milliseconds."""
    return "zh:ms"


def recent_jobs() -> str:
    """List of the last 200 finished jobs, newest first, for the live page and the demo's table."""
    return "zh:recent"


def rejects(source: str, minute: int | str) -> str:
    """Counter of the rejected deliveries kept of one source in one minute. Two minutes."""
    return f"zh:rj:{source}:{minute}"


def spool(host: str) -> str:
    """Hash of the spool of one host: `depth`, `bytes`, `oldest`, `quarantined`, `seen`. Kept while anything waits there, else a minute."""
    return f"zh:spool:{host}"


def spool_trial() -> str:
    """String: empty, written to find out whether Redis takes writes. A second."""
    return "zh:spool_trial"


def spools() -> str:
    """Sorted set of the hosts whose spool was told of, by when. Dropped with their rows."""
    return "zh:spools"


def wake() -> str:
    """List that idle workers block on. It carries nothing: losing it costs a second."""
    return "zh:wake"


def sweep() -> str:
    """String: the process that sweeps. A lease of a few ticks."""
    return "zh:sweep"


def redis_run() -> str:
    """String: the Redis run id that the sweep saw last. Kept."""
    return "zh:redis"


def catalogue(digest: str) -> str:
    """String: the handlers of the workers that run one version of them, JSON. 90 seconds, renewed while one lives."""
    return f"zh:cat:{digest}"


def catalogues() -> str:
    """Sorted set of digests by time published: the newest living one routes. Dead ones are dropped when they are met."""
    return "zh:cats"


def clock() -> str:
    """String: the process that is the clock. A lease of a few ticks."""
    return "zh:clock"


def token(connection: str) -> str:
    """Hash of a connection's token row: encrypted tokens, expiry, generation, state. Kept."""
    return f"zh:t:{connection}"


def token_lock(connection: str) -> str:
    """String: who refreshes, a fencing value. Lease longer than the token call's time-out."""
    return f"zh:t:{connection}:lock"


def token_refreshes(connection: str) -> str:
    """Sorted set of the recent token calls by time, for the budget of 8 in 10 minutes. Ten minutes."""
    return f"zh:t:{connection}:calls"


def described(connection: str, what: str) -> str:
    """String: how Zoho describes a part of one connection (a module's fields), as it was told last. Ten minutes."""
    return f"zh:t:{connection}:is:{what}"


def describing(connection: str, what: str) -> str:
    """String: who asks Zoho for such a description just now. A lease of a call's length."""
    return f"zh:t:{connection}:ask:{what}"


def calls_in_flight(place: str) -> str:
    """Sorted set of the calls under way at one place (connection, product, organisation), by the end of their leases. A minute."""
    return f"zh:q:{place}:in"


def calls_heavy(place: str) -> str:
    """Sorted set of CRM's heavy calls under way at one place, of which Zoho lets fewer in, by the end of their leases. A minute."""
    return f"zh:q:{place}:heavy"


def calls_lately(place: str) -> str:
    """Sorted set of the calls of the last minute at one place, by the time of their answer, or the end of their lease. A minute more."""
    return f"zh:q:{place}:lately"


def calls_credits(place: str) -> str:
    """Hash: hour since 1970 -> credits spent at one place within it; `left`, `left_at`: what Zoho said is left. A day."""
    return f"zh:q:{place}:credits"


def calls_blocked(place: str) -> str:
    """String: why no call is made at one place, until it ends by itself."""
    return f"zh:q:{place}:block"


def calls_failed(place: str) -> str:
    """Counter of the calls in a row at one place that Zoho did not answer. Ten minutes."""
    return f"zh:q:{place}:failed"


def calls_places() -> str:
    """Sorted set of the places called at, by when they were last. Kept a week."""
    return "zh:q"


def calls_log() -> str:
    """List of the last 5,000 calls to Zoho, newest first, JSON, for the page of API activity."""
    return "zh:api"


def calls_of_day(day: str) -> str:
    """Hash of one day's calls to Zoho: `CONNECTION:PRODUCT:n` and others. Sixty days."""
    return f"zh:api:{day}"


def token_history(connection: str) -> str:
    """List of the last refreshes (when, by whom, outcome), JSON, no token in it. Bounded to 200."""
    return f"zh:t:{connection}:log"


def consents(client: str, customer: str) -> str:
    """Sorted set of the live refresh tokens of one client (and customer), by a digest, by when they were made. Kept."""
    return f"zh:t:{client}:{customer}:grants"


def customers() -> str:
    """Hash of the connections that consent links made: name -> whose client, organisations, data centre, JSON. Kept."""
    return "zh:customers"


def probe() -> str:
    """String: a word that the project's key has sealed, by which a process finds out that it has another. Kept; sealed anew with all else."""
    return "zh:probe"


def invitation(digest: str) -> str:
    """String: a consent link that is out, JSON, under a digest of its token. Seven days, or until it is used."""
    return f"zh:invite:{digest}"


def consent_state(state: str) -> str:
    """String: a consent under way, one use. Ten minutes."""
    return f"zh:consent:{state}"


def channel(name: str) -> str:
    """Hash of a CRM notification channel: id, generation, end. Kept while configured."""
    return f"zh:ch:{name}"


def channels() -> str:
    """Set of the names of channels that were ever made. Kept."""
    return "zh:chs"


def armed(source: str) -> str:
    """String: since when an operator lets the next secret be taken that is told for this source. Ten minutes, or until one came."""
    return f"zh:armed:{source}"


def source_secret(source: str) -> str:
    """List of the two newest secrets that a product told us for a source, sealed. Kept."""
    return f"zh:told:{source}"


def channel_owners() -> str:
    """Hash: the id of a CRM channel -> the customer whose it is. Kept while channels are made for customers."""
    return "zh:chs:of"


def forwards(source: str) -> str:
    """Sorted set of the deliveries of a source that are to be relayed, by when they are due. Kept till they are, or are given up."""
    return f"zh:fw:{source}"


def forwards_failed(source: str) -> str:
    """Sorted set of the last 5,000 deliveries of a source whose relaying was given up, by when. Retention trims it."""
    return f"zh:fw:{source}:failed"


def secrets_used(source: str) -> str:
    """Hash of when each secret of a source verified last, by a label that does not tell it. 90 days after the last of them."""
    return f"zh:used:{source}"


def session(token: str) -> str:
    """String: a dashboard session's role and CSRF token. Twelve hours."""
    return f"zh:web:{token}"


def sign_ins_failed(minute: int | str, address: str) -> str:
    """Counter: failed sign-ins of one minute, of one address or ("") of all. Two minutes."""
    return f"zh:web:failed:{minute}:{address}"


def write(record: str) -> str:
    """List of our own recent writes to one record, JSON, for telling echoes and causes. A quarter of an hour after the last."""
    return f"zh:w:{record}"


def writes() -> str:
    """String: there have been writes of ours lately. As long as the last of them is kept."""
    return "zh:w"


def writes_taken(record: str) -> str:
    """Hash of which event was taken for the echo or the effect of which write to one record. Kept as long as the writes."""
    return f"zh:w:{record}:taken"


def rq_queues() -> str:
    """RQ's set of queues."""
    return f"{RQ}:queues"


def rq_queue(name: str) -> str:
    """RQ's list of one queue."""
    return f"{RQ}:queue:{name}"


def rq_wip(name: str) -> str:
    """RQ's registry of the slips that a worker has started of one queue."""
    return f"{RQ}:wip:{name}"


def rq_ended(registry: str, name: str) -> str:
    """RQ's registry of the jobs of one queue that are `finished`, `failed` or `canceled`."""
    return f"{RQ}:{registry}:{name}"


def rq_workers() -> str:
    """RQ's set of workers."""
    return f"{RQ}:workers"


def rq_workers_of(name: str) -> str:
    """RQ's set of the workers of one queue."""
    return f"{RQ}:workers:{name}"


def rq_execution(rq_id: str, execution: str) -> str:
    """RQ's hash of one execution of a slip. Its worker's heartbeat."""
    return f"{RQ}:execution:{rq_id}:{execution}"


def rq_executions(rq_id: str) -> str:
    """RQ's sorted set of the executions of one slip."""
    return f"{RQ}:executions:{rq_id}"


def rq_worker(name: str) -> str:
    """RQ's hash of one worker."""
    return f"{RQ}:worker:{name}"


def rq_worker_executions(name: str) -> str:
    """RQ's set of what one worker executes."""
    return f"{RQ}:worker:{name}:executions"


def rq_suspended() -> str:
    """RQ's string: `rq suspend` is in force. Kept until `rq resume`."""
    return f"{RQ}:suspended"


def rq_job(rq_id: str) -> str:
    """RQ's hash of one slip. A day."""
    return f"{RQ}:job:{rq_id}"


def _all() -> dict[str, Callable[..., str]]:
    return {
        name: found
        for name, found in globals().items()
        if inspect.isfunction(found) and not name.startswith("_") and name not in {"lua_prelude", "patterns"}
    }


def lua_prelude(used: set[str] | None = None) -> str:
    """The same functions in Lua, as `K.event(id)`, so that a key is spelled in one place only; those `used`, or all.

    Redis makes them anew at every call of a script, so the ones that it does not use would only cost time.
    """
    lines = ["local K = {}"]
    for name, function in _all().items():
        if used is not None and name not in used:
            continue
        parameters = list(inspect.signature(function).parameters)
        pieces = function(*(f"\0{parameter}\0" for parameter in parameters)).split("\0")
        body = " .. ".join(
            piece if index % 2 else f"'{piece}'" for index, piece in enumerate(pieces) if piece
        )
        lines.append(f"K.{name} = function({', '.join(parameters)}) return {body} end")
    return "\n".join(lines) + "\n"


def patterns() -> dict[str, str]:
    """Function name -> a glob of its keys, for the test that holds a used Redis against this file."""
    return {
        name: function(*("*" for _ in inspect.signature(function).parameters))
        for name, function in _all().items()
    }
